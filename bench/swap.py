"""Moving an alias on the real engine: how long until the new adapter is ready, and then until its first token.

The first token is timed by who asks through the gateway as soon as the report READY is read from the event
log; beside it stands the first token of the same question before the alias moves, under the same load.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.generate.v1.events_pb2 import ADAPTER_READINESS_READY, AdapterReported
from tandem.tune.v1.events_pb2 import AdapterRef, AliasState

from bench.platform import Platform
from bench.report import Row, median, quantile
from services.cli.plan import TENANT
from services.common.bus import ADAPTERS, ADAPTERS_REPORTED, Producer, Record, key_of, traced
from services.common.following import Following, follow
from services.common.lora.card import Card, Probe
from services.common.lora.checks import tunable
from services.common.lora.signing import AdapterSigner
from services.common.lora.store import AdapterStore
from services.common.models.folder import weight_shapes

ALIAS = ASSISTANT = "bench-swap"
STREAMS, MOVES, TOKENS = 16, 8, 24
RANK, SCALE, PROBE_TOKENS = 8, 0.05, 32
MODULES = ("q_proj", "v_proj")
READY_SECONDS = 120
FIRST_AT_MOST_MS = 300.0
QUESTION = "What does a good answer say?"


@dataclass
class Registry:
    """The registry's side: moves the alias, and sees what is reported."""

    producer: Producer
    revision: int = 0
    ready: dict[int, float] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def handle(self, records: Sequence[Record]) -> None:
        for record in records:
            report = AdapterReported.FromString(record.value)
            if report.alias == ALIAS and report.readiness == ADAPTER_READINESS_READY:
                self.ready.setdefault(report.revision, time.perf_counter())
                self.changed.set()

    async def move(self, digest: str) -> float:
        """Point the alias at an adapter, wait until it is ready, and return how many ms that took."""
        self.revision += 1
        live = AdapterRef(digest=digest, cleared=True, owner="bench")
        state = AliasState(tenant_id=TENANT, alias=ALIAS, revision=self.revision, live=live)
        began = time.perf_counter()
        await self.producer.send([traced(ADAPTERS, key_of(TENANT, ALIAS), state.SerializeToString())])
        async with asyncio.timeout(READY_SECONDS):
            while self.revision not in self.ready:
                self.changed.clear()
                await self.changed.wait()
        return (self.ready[self.revision] - began) * 1000


async def measure(platform: Platform) -> list[Row]:
    """Return times to ready and to the first token after it, alone and beside 16 streams."""
    model = next((platform.home / "cache" / "generate" / "models").glob("*/*/config.json")).parent
    store = AdapterStore(str(platform.home / "data" / "blobs"))
    digests = [await _published(store, model, platform.home / f"swap-{number}", number) for number in range(3)]
    await platform.put_assistant(ASSISTANT, adapter=ALIAS, without_retrieval=True)
    registry = Registry(Producer(platform.broker))
    following = Following(platform.broker, ADAPTERS_REPORTED, registry.handle, lambda: None)
    task = asyncio.create_task(follow(following))
    try:
        await registry.move(digests[0])
        rows = await _moves(platform, registry, digests, 0)
        return rows + await _moves(platform, registry, digests, STREAMS)
    finally:
        task.cancel()
        await asyncio.wait({task})
        await registry.producer.stop()


async def _moves(platform: Platform, registry: Registry, digests: Sequence[str], streams: int) -> list[Row]:
    stop = asyncio.Event()

    async def stream() -> None:
        while not stop.is_set():
            await _ask(platform)

    running = [asyncio.create_task(stream()) for _ in range(streams)]
    ready: list[float] = []
    first: list[float] = []
    before: list[float] = []
    for move in range(MOVES):
        before.append((await _ask(platform))[0])
        digest = digests[(move + 1) % len(digests)]
        ready.append(await registry.move(digest))
        milliseconds, answered = await _ask(platform)
        if answered != digest:
            raise LookupError("another adapter answered than the one that is ready")
        first.append(milliseconds)
    stop.set()
    await asyncio.gather(*running)
    name = f"an alias moves, {streams} streams"
    note = "reference: the same question's first token before the move"
    bar = FIRST_AT_MOST_MS
    return [
        Row(f"{name}: published to ready", "ms", median(ready), note="fetch, verify, load, prove, report"),
        Row(
            f"{name}: ready to first token p50",
            "ms",
            median(first),
            median(before),
            median(first),
            at_most=bar,
            note=note,
        ),
        Row(f"{name}: ready to first token, worst", "ms", max(first), quantile(before, 1), max(first), note=note),
    ]


async def _ask(platform: Platform) -> tuple[float, str]:
    """Return the milliseconds to an answer's first token, and who answered."""
    began, first, digest = time.perf_counter(), 0.0, ""
    request = pb.AskRequest(question=QUESTION, assistant=ASSISTANT, sampling=generate_pb.Sampling(max_tokens=TOKENS))
    async for event in platform.gateway.Ask(request, metadata=platform.metadata):
        if event.HasField("token_delta"):
            first = first or (time.perf_counter() - began) * 1000
        if event.HasField("usage"):
            digest = event.usage.adapter_digest
    return first, digest


async def _published(store: AdapterStore, model: Path, folder: Path, seed: int) -> str:
    """Make an adapter of random weights with its probe, and keep it in the platform's store."""
    probe = await asyncio.to_thread(_made, model, folder, seed)
    made_at = datetime.now(UTC).isoformat()
    card = Card("", TENANT, f"bench-{seed}", model.name, RANK, "import", "", "", seed, made_at, probe)
    return await store.publish(folder, card, AdapterSigner(base64.b64encode(secrets.token_bytes(32)).decode()))


def _made(model: Path, folder: Path, seed: int) -> Probe:
    folder.mkdir()
    random = np.random.default_rng(seed)
    weights = {}
    for name, (outer, inner) in tunable(weight_shapes(model)).items():
        module = name.removesuffix(".weight")
        if module.endswith(MODULES):
            shapes = {"A": (RANK, inner), "B": (outer, RANK)}
            for side, shape in shapes.items():
                values = random.normal(scale=SCALE, size=shape).astype(np.float32)
                weights[f"base_model.model.{module}.lora_{side}.weight"] = values
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "base_model_name_or_path": model.name, "r": RANK, "lora_alpha": RANK}
    config |= {"target_modules": list(MODULES), "bias": "none", "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return _probe(model, folder, [int(each) for each in random.integers(100, 20_000, 2 * PROBE_TOKENS)])


def _probe(model: Path, folder: Path, token_ids: Sequence[int]) -> Probe:
    """Return what Transformers and PEFT score of the second half after the first."""
    import torch  # noqa: PLC0415 - a second and much memory, for this row alone
    from peft import PeftModel  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)  # a folder on this disk  # nosec B615
    given = torch.tensor([token_ids])
    with torch.no_grad():
        plain = torch.log_softmax(base(given).logits[0].float(), -1)
        tuned = torch.log_softmax(PeftModel.from_pretrained(base, folder)(given).logits[0].float(), -1)
    half = len(token_ids) // 2
    places = [(place - 1, token_ids[place]) for place in range(half, len(token_ids))]
    scores = (tuple(float(table[place]) for place in places) for table in (tuned, plain))
    return Probe(tuple(token_ids[:half]), tuple(token_ids[half:]), *scores)
