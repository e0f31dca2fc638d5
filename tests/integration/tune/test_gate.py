"""The whole gate: rows in a blob store, a kept set and rules in PostgreSQL, searches, and a real generate service."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from services.common.client import Outgoing, open_channel
from services.common.database import open_database
from services.common.identity import Identity, IdentitySigner
from services.common.permissions import open_permissions
from services.generate.adapters.memory import MemoryEngine
from services.tune.adapters.engine import GrpcEngine, Patience
from services.tune.adapters.gate_rules import PostgresGateRules
from services.tune.adapters.golden import GrpcGoldenPassages, KeptGoldenSets
from services.tune.adapters.question_sets import PostgresSets
from services.tune.adapters.training_data import StoredHeldOut
from services.tune.datasets.errors import DatasetAltered, DatasetNotFound
from services.tune.datasets.store import Datasets
from services.tune.domain.adapters import Candidate
from services.tune.domain.errors import RunEnded
from services.tune.domain.hyperparameters import Method
from services.tune.gate.judging import EngineGate, Sources
from services.tune.gate.shipped import RULES
from tests.conftest import free_address
from tests.integration.generate.conftest import ADA, KEY, generate_service
from tests.integration.tune.running import neighbours_at
from tests.training_folders import write_dataset
from tests.unit.generate.adapters import config, tensors, write

MIGRATIONS = Path(__file__).parents[3] / "services/tune/migrations"
GOLDEN = "".join(
    f'{{"id": "g{n}", "question": "question {n}", "answers": ["d{n} tells"]}}\n'
    f'{{"id": "u{n}", "question": "Who is {n}", "answerable": false}}\n'
    for n in range(15)
)
GONE = '{"id": "x", "question": "What is withheld?", "documents": ["of somebody else"]}\n'
ROWS = [
    {
        "id": f"r{n}",
        "conversation": f"c{n}",
        "question": f"question {n}",
        "history": [{"question": "Hello?", "answer": "Hello."}],
        "passages": [{"document_id": "d1", "title": "Hours", "text": "It closes at 6 pm."}],
        "instructions": "",
        "language": "en",
        "at": "",
        "source": "test",
        "documents": ["d1"],
        "raters": [f"user:{n % 8}"],
        "weight": 1.0,
        "completion": "At 6 pm." if n % 2 else "Never, go away.",
        "label": bool(n % 2),
    }
    for n in range(24)
]


class NoAliases:
    async def live(self, _tenant_id, _alias):
        return ""


class World:
    """A tenant with a data set, a kept set, and a candidate that may be loaded."""

    def __init__(self, running, sessions, permissions, retrieve, folder) -> None:
        self.running, self.folder = running, folder
        self.ada = Identity(uuid4().hex, ADA.subject, ADA.principals, ADA.roles)
        self.sets, outgoing = PostgresSets(sessions), Outgoing(IdentitySigner(KEY))
        self.held_out = StoredHeldOut(Datasets(str(folder / "blobs")))
        adapter = write(folder / "adapter", config(), tensors())
        engine = GrpcEngine(running.channel, outgoing, lambda _tenant, _digest: str(adapter), Patience(20, 20))
        sources = Sources(
            self.held_out,
            KeptGoldenSets(self.sets, permissions),
            GrpcGoldenPassages(retrieve, Outgoing(IdentitySigner(b"k" * 32)), 10),
            NoAliases(),
            PostgresGateRules(sessions, RULES.read_text()),
        )
        self.gate = EngineGate(engine, sources, at_once=2)
        self.adapter = adapter

    async def prepare(self) -> Candidate:
        self.dataset = write_dataset(self.folder / "blobs", self.ada.tenant_id, Method.KTO, found=ROWS)
        content = (GOLDEN + GONE).encode()
        await self.sets.put(self.ada, "faq", content, 31, datetime.now(UTC))
        digest = (await self.running.client(self.ada).load("probe", self.adapter)).digest
        await self.running.client(self.ada).unload("probe")
        return Candidate(self.ada, "run1", digest, "Tiny-Model", self.dataset, "faq", "", self.folder)


@pytest.fixture
async def world(database_url, manifest, tmp_path):  # noqa: ARG001 - permissions need its tables
    address = free_address()
    async with (
        generate_service(MemoryEngine(), tmp_path / "cache") as running,
        neighbours_at(address),
        open_database(database_url, MIGRATIONS, "tune") as sessions,
        open_permissions(database_url) as permissions,
        open_channel(address) as retrieve,
    ):
        yield World(running, sessions, permissions, retrieve, tmp_path)


async def silent(_stage, _progress):
    pass


async def test_a_candidate_like_what_is_live_is_measured_on_everything_and_has_shown_nothing(world):
    report = await world.gate.judge(await world.prepare(), silent)
    measured = {section: found["measured"] for section, found in report.document["sections"].items()}
    assert measured == {"latency": 8, "general": 76, "safety": 42, "held-out": 24, "golden": 30}
    assert not report.document["skipped"]
    assert not report.passed
    failed = {rule.name for rule in report.rules if rule.required and not rule.passed}
    # Of an engine that takes no time, times say nothing.
    assert failed - {"first token ratio at most", "token ratio at most"} == {"preference margin better"}
    assert json.loads(json.dumps(report.document, allow_nan=False)) == report.document
    assert not (await world.running.client(world.ada).list()).adapters


async def test_who_ends_the_run_leaves_no_candidate_in_the_engine(world):
    async def ended(stage, _progress):
        if stage == "probing safety":
            raise RunEnded

    with pytest.raises(RunEnded):
        await world.gate.judge(await world.prepare(), ended)
    assert not (await world.running.client(world.ada).list()).adapters


async def test_rows_that_are_gone_or_altered_end_it_with_a_reason(world):
    await world.prepare()
    for tenant_id, dataset in (
        (world.ada.tenant_id, "e" * 64),
        ("another tenant", world.dataset),
        (world.ada.tenant_id, "../../etc/passwd"),
    ):
        with pytest.raises(DatasetNotFound):
            await world.held_out.test(tenant_id, dataset)
    [file] = world.folder.glob("blobs/datasets/*/*/test.parquet")
    whole = file.read_bytes()
    [other] = world.folder.glob("blobs/datasets/*/*/validation.parquet")
    for content in (b"PAR1 and no more", whole[:-20], other.read_bytes()):
        file.write_bytes(content)
        with pytest.raises(DatasetAltered):
            await world.held_out.test(world.ada.tenant_id, world.dataset)
