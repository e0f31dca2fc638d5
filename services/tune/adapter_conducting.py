"""What an adapter run does: gets its data, has a process train, publishes, has the gate judge, and registers."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import prod
from pathlib import Path

import orjson
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from services.common.lora.card import Card, Probe
from services.common.lora.checks import (
    MAX_DOCUMENTS,
    MAX_USERS,
    BaseModel,
    check_config,
    lineage_of,
    model_name,
    tunable,
)
from services.common.lora.errors import AdapterAltered, AdapterMissing, AdapterUntrusted, InvalidAdapter
from services.common.lora.signing import AdapterSigner, AdapterVerifier
from services.common.lora.store import CONFIG, LINEAGE, AdapterStore, digest_of
from services.common.models.folder import ModelNotConverted, model_folder, weight_shapes
from services.tune.domain.adapter_runs import AdapterOrder
from services.tune.domain.adapters import AdapterReport, Candidate, RegisteredAdapter
from services.tune.domain.errors import DatasetNotFit, ParentNotFit, TrainingFailed
from services.tune.domain.hyperparameters import Hyperparameters, defaults, figures, resolved
from services.tune.domain.runs import Lineage, Run, Stage
from services.tune.ports import AdapterRegistry, AdapterTrainer, CandidateGate, Teller, TrainingData
from services.tune.training.spec import PROBE, Layout, Spec

_PROBE = TypeAdapter(Probe)


@dataclass(frozen=True, slots=True)
class Engine:
    """What adapters are for: the models by name, the first the default, and how the engine packs prompts.

    `models` are folders, .gguf files or names on the hub, converted into `cache`. `context_tokens` hold prompt and
    answer, `instructions` are for who brings none, `max_rank` is the highest rank that is served. `threads` of 0 leaves
    it to the library.
    """

    models: Mapping[str, str]
    cache: Path
    context_tokens: int
    instructions: str
    max_rank: int
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Publishing:
    """Where adapters go, and by whom they are signed."""

    store: AdapterStore
    signer: AdapterSigner
    verifier: AdapterVerifier


@dataclass(frozen=True, slots=True)
class Jury:
    """Who says how good an adapter is, and who keeps that."""

    gate: CandidateGate
    registry: AdapterRegistry


class AdapterConductor:
    """Conducts one run at a time from its data set to an adapter that is registered; each step can be done again."""

    def __init__(
        self, engine: Engine, data: TrainingData, trainer: AdapterTrainer, publishing: Publishing, jury: Jury
    ) -> None:
        self._engine = engine
        self._data = data
        self._trainer = trainer
        self._publishing = publishing
        self._jury = jury

    async def conduct(
        self, run: Run, order: AdapterOrder, folder: Path, told: Teller, now: Callable[[], datetime]
    ) -> RegisteredAdapter:
        """Return what the run makes, registered; what an earlier attempt left in `folder` is gone on with.

        Raises:
            ServiceError: it makes nothing, and why.
        """
        layout = Layout(folder)
        await told(Stage.PREPARING, 0.0)
        if not layout.spec.exists():
            await self._prepare(order, layout)
        spec = layout.read()
        await told.resolve(figures(spec.hyperparameters))
        made = layout.adapter if layout.adapter.is_dir() else await self._trainer.train(folder, told)
        lineage = await asyncio.to_thread(lineage_in, layout)
        await told(Stage.PUBLISHING, 0.0)
        await asyncio.to_thread(_write_lineage, made, lineage)
        card = await asyncio.to_thread(_card, run, order, made, spec, now())
        was_there = await self._is_kept(run.tenant_id, card.digest, layout)
        await self._publishing.store.publish(made, card, self._publishing.signer)
        try:
            report = await self._judged(order, run.run_id, card, made, told)
            # Whoever ended the run until here gets no adapter.
            await told(Stage.PUBLISHING, 1.0)
        except Exception:
            if not was_there:
                await self._publishing.store.remove(run.tenant_id, card.digest)
            raise
        entry = _entry(run, order, card, lineage, report)
        await self._jury.registry.register(entry)
        return entry

    async def _judged(self, order: AdapterOrder, run_id: str, card: Card, folder: Path, told: Teller) -> AdapterReport:
        await told(Stage.JUDGING, 0.0)
        who, base = order.identity, card.base_model
        candidate = Candidate(who, run_id, card.digest, base, order.dataset, order.golden_set, order.alias, folder)
        return await self._jury.gate.judge(candidate, told)

    async def _is_kept(self, tenant_id: str, digest: str, layout: Layout) -> bool:
        """Return whether the store has this adapter already: the same data and seed have made it before."""
        cache = layout.folder / "kept"
        try:
            await self._publishing.store.fetch(tenant_id, digest, cache, self._publishing.verifier)
        except (AdapterMissing, AdapterAltered, AdapterUntrusted):
            return False
        finally:
            await asyncio.to_thread(shutil.rmtree, cache, ignore_errors=True)
        return True

    async def _prepare(self, order: AdapterOrder, layout: Layout) -> None:
        """Write what the process needs; spec.json comes last.

        Raises:
            DatasetNotFound, DatasetNotFit, DatasetAltered, ParentNotFit: it cannot be had, or must not be learnt from.
        """
        tenant_id = order.identity.tenant_id
        (card := await self._data.card(tenant_id, order.dataset)).check(order.method)
        await self._data.fetch(tenant_id, order.dataset, layout.rows)
        people = list(card.people)
        if order.reward_dataset:
            (card := await self._data.card(tenant_id, order.reward_dataset)).check_preferences()
            await self._data.fetch(tenant_id, order.reward_dataset, layout.preferences)
            people += card.people
        await asyncio.to_thread(layout.people.write_bytes, orjson.dumps(people))
        if order.parent:
            await self._fetch_parent(tenant_id, order.parent, layout)
        spec = await asyncio.to_thread(self._spec, order, layout)
        await asyncio.to_thread(layout.write, spec)

    async def _fetch_parent(self, tenant_id: str, digest: str, layout: Layout) -> None:
        cache = layout.folder / "fetched"
        try:
            found, _ = await self._publishing.store.fetch(tenant_id, digest, cache, self._publishing.verifier)
        except (AdapterMissing, AdapterAltered, AdapterUntrusted) as error:
            raise ParentNotFit(f"the adapter to begin from cannot be had: {error}", parent=digest) from error
        await asyncio.to_thread(shutil.copytree, found, layout.parent, dirs_exist_ok=True)
        await asyncio.to_thread(shutil.rmtree, cache)

    def _spec(self, order: AdapterOrder, layout: Layout) -> Spec:
        """Return what to train, with every hyper-parameter; a model that is no folder yet is converted first."""
        engine = self._engine
        model = engine.models.get(order.base)
        try:
            base = model_folder(model or "", engine.cache)
        except (ModelNotConverted, OSError, ValueError) as error:
            raise TrainingFailed("the base model cannot be read here", base=order.base) from error
        shapes = weight_shapes(base)
        parameters = sum(prod(shape) for shape in shapes.values())
        numbers = resolved(
            defaults(order.method, parameters, _count_rows(layout.rows)), order.overrides, engine.max_rank
        )
        if order.parent:
            numbers = _shaped_as(
                layout.parent, numbers, BaseModel(model_name(str(model)), tunable(shapes), engine.max_rank)
            )
        return Spec(
            method=order.method,
            base=str(base.absolute()),
            base_name=model_name(str(model)),
            seed=order.seed,
            hyperparameters=numbers,
            context_tokens=engine.context_tokens,
            instructions=engine.instructions,
            parent=bool(order.parent),
            rewards=bool(order.reward_dataset),
            threads=engine.threads,
        )


def lineage_in(layout: Layout) -> Lineage:
    """Return what a run learns from: of its rows, of those that it is rewarded by, and of its parent.

    Raises:
        DatasetNotFit: it is more than an engine takes.
    """
    tables = [_lineage_columns(path) for path in (layout.rows, layout.preferences) if path.exists()]
    documents = {name for table in tables for row in table["documents"] for name in row}
    people = {name for table in tables for row in table["raters"] for name in row}
    people |= set(orjson.loads(layout.people.read_bytes()))
    if (inherited := layout.parent / LINEAGE).exists():
        found = lineage_of(orjson.loads(inherited.read_bytes()))
        documents |= set(found.documents)
        people |= set(found.users)
    if len(documents) > MAX_DOCUMENTS or len(people) > MAX_USERS:
        raise DatasetNotFit(
            "more documents or people are behind the rows than an adapter may have learnt from",
            documents=len(documents),
            people=len(people),
        )
    return Lineage(tuple(sorted(documents)), tuple(sorted(people)))


def _lineage_columns(path: Path) -> Mapping[str, list[list[str]]]:
    found: Mapping[str, list[list[str]]] = pq.read_table(path, columns=["documents", "raters"]).to_pydict()
    return found


def _write_lineage(folder: Path, lineage: Lineage) -> None:
    known = {"documents": list(lineage.documents), "users": list(lineage.people)}
    (folder / LINEAGE).write_bytes(orjson.dumps(known, option=orjson.OPT_SORT_KEYS))


def _count_rows(path: Path) -> int:
    return int(pq.ParquetFile(path).metadata.num_rows)


def _shaped_as(parent: Path, numbers: Hyperparameters, base: BaseModel) -> Hyperparameters:
    """Return the hyper-parameters with the shape of the adapter that is begun from.

    Raises:
        ParentNotFit: it is for another model, or of a rank or a kind that the engine does not serve.
    """
    config = orjson.loads((parent / CONFIG).read_bytes())
    try:
        rank = check_config(config, base)
    except InvalidAdapter as error:
        raise ParentNotFit(f"the adapter to begin from does not fit: {error}", **error.facts) from error
    return replace(numbers, rank=rank, alpha=int(config["lora_alpha"]))


def _card(run: Run, order: AdapterOrder, folder: Path, spec: Spec, now: datetime) -> Card:
    return Card(
        digest=digest_of(folder),
        tenant_id=run.tenant_id,
        run_id=run.run_id,
        base_model=spec.base_name,
        rank=spec.hyperparameters.rank,
        method=order.method.value,
        dataset=order.dataset,
        parent=order.parent,
        seed=order.seed,
        created_at=now.isoformat(),
        probe=_PROBE.validate_json((folder / PROBE).read_bytes()),
    )


def _entry(run: Run, order: AdapterOrder, card: Card, lineage: Lineage, report: AdapterReport) -> RegisteredAdapter:
    return RegisteredAdapter(
        tenant_id=run.tenant_id,
        digest=card.digest,
        run_id=run.run_id,
        base=card.base_model,
        rank=card.rank,
        method=card.method,
        dataset=order.dataset,
        parent=order.parent,
        seed=order.seed,
        lineage=lineage,
        owner=order.identity.subject,
        created_at=datetime.fromisoformat(card.created_at),
        report=report,
    )
