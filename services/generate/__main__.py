"""Starts the generate service: `python -m services.generate`."""

import contextlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from services.common.database import open_database
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.lora.checks import BaseModel, model_name, tunable
from services.common.lora.signing import AdapterVerifier
from services.common.lora.store import AdapterStore
from services.common.models.folder import model_folder, weight_shapes
from services.common.permissions import open_permissions
from services.common.prompts.prompt import PromptPacker, Tokenizer
from services.common.server import Ping, Service, Task, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.generate import metrics
from services.generate.adapters.bus import AliasTopic, BusReports, Listener
from services.generate.adapters.files import AdapterFiles
from services.generate.adapters.memory import MemoryEngine, MemoryErasedPeople, NoReadership, WordTokenizer
from services.generate.adapters.postgres import SCHEMA, PostgresErasedPeople
from services.generate.adapters.registered import RegisteredFiles
from services.generate.admission import Admission
from services.generate.aliases import Aliases
from services.generate.answers import Adapters, Answers
from services.generate.converging import Converger, Patience, Workshop
from services.generate.erasure import Erasure, Files
from services.generate.lineages import Lineages
from services.generate.ports import Completing, Engine, ErasedPeople, Readership
from services.generate.proving import Prover
from services.generate.scoring import Model, Scores
from services.generate.servicer import (
    ADAPTERS,
    ERASURE,
    GENERATE,
    AdapterServicer,
    ErasureServicer,
    GenerateServicer,
    register,
)
from services.generate.settings import Settings
from services.generate.shelf import AdapterShelf


class Vocabulary(Tokenizer, Completing, Protocol):
    """A model's vocabulary, for prompts and for what is written after them."""


MIGRATIONS = Path(__file__).parent / "migrations"


async def main() -> None:
    """Serve until told to stop, or until the engine has stopped by itself."""
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("generate", platform.log_level, platform.traces)
    key = platform.identity_key.get_secret_value().encode()
    async with contextlib.AsyncExitStack() as stack:
        engine, tokenizer, base = _parts(settings, stack)
        files = AdapterFiles(settings.cache, base, settings.adapter_protocols, settings.adapter_roots)
        shelf = AdapterShelf(engine, files.fetch, settings.max_cpu_loras)
        packer = PromptPacker(tokenizer, settings.max_model_len, settings.instructions)
        admission = Admission(settings.max_running, settings.max_waiting)
        readership, people = await _permissions(settings.database_url.get_secret_value(), stack)
        adapters = Adapters(shelf, Aliases(), Lineages(readership, people))
        answers = Answers(engine, packer, admission, adapters, salt_key=key)
        scores = Scores(engine, Model(packer, tokenizer, settings.max_model_len), admission, adapters)
        registry = _registry(settings, platform, engine, adapters, base)
        erasure = Erasure(engine, adapters, people, Files(registry.forget, (files.remove, *registry.removes)))
        metrics.observe(admission, shelf, adapters.aliases)
        await serve(
            Service(
                address=settings.address,
                metrics_address=settings.metrics_address,
                authenticate=signed_by(IdentitySigner(key).verify),
                register=register(
                    GenerateServicer(answers, scores, base.name, settings.max_tokens),
                    AdapterServicer(adapters),
                    ErasureServicer(erasure),
                ),
                names=(GENERATE, ADAPTERS, ERASURE),
                pings=(engine.ping, *registry.pings),
                tasks=(engine.until_dead, shelf.remove_retired, *registry.tasks),
            ),
            transport=Transport.of(platform),
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """What following the registry adds to the service: nothing where there is no event log."""

    forget: Callable[[str], int] = lambda _tenant_id: 0
    removes: tuple[Callable[[str], int], ...] = ()
    pings: tuple[Ping, ...] = ()
    tasks: tuple[Task, ...] = ()


def _registry(
    settings: Settings, platform: PlatformSettings, engine: Engine, adapters: Adapters, base: BaseModel
) -> Registry:
    if not settings.bus:
        return Registry()
    verifier = AdapterVerifier(settings.adapter_keys)
    files = RegisteredFiles(AdapterStore(settings.blobs), verifier, settings.cache, base)
    files.tidy()
    workshop = Workshop(files.fetch, adapters.shelf, Prover(engine, settings.probe_tolerance))
    reports = BusReports(settings.bus, uuid.uuid4().hex, partial(datetime.now, UTC), platform.bus_options)
    patience = Patience(fetch_seconds=settings.fetch_seconds, ready_seconds=settings.converge_seconds)
    converger = Converger(adapters.aliases, workshop, reports, patience)
    listener = Listener(converger.want, converger.heard_all, settings.tenants)
    topic = AliasTopic(settings.bus, listener, platform.bus_options)
    tasks = (converger.run, topic.run, reports.run)
    return Registry(converger.forget, (files.remove,), (converger.converged,), tasks)


async def _permissions(url: str, stack: contextlib.AsyncExitStack) -> tuple[Readership, ErasedPeople]:
    if not url:
        return NoReadership(), MemoryErasedPeople()
    sessions = await stack.enter_async_context(open_database(url, MIGRATIONS, SCHEMA))
    return await stack.enter_async_context(open_permissions(url)), PostgresErasedPeople(sessions)


def _parts(settings: Settings, stack: contextlib.AsyncExitStack) -> tuple[Engine, Vocabulary, BaseModel]:
    if settings.engine == "memory":
        memory = MemoryEngine(settings.memory_tokens, settings.memory_step_tokens, settings.memory_step_seconds)
        return memory, WordTokenizer(), BaseModel("memory", {}, settings.max_lora_rank)
    if Path(settings.model).exists():
        # Nothing is to be asked of a hub; vLLM and transformers read this when they are imported.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", str(settings.reserved_cores))
    folder = model_folder(settings.model, settings.cache)
    from services.common.prompts.tokenizer import ChatTokenizer  # noqa: PLC0415 - after the environment is set
    from services.generate.adapters.vllm import VllmEngine  # noqa: PLC0415 - likewise

    engine = VllmEngine.start(settings.vllm_options(folder))
    stack.callback(engine.close)
    base = BaseModel(model_name(settings.model), tunable(weight_shapes(folder)), settings.max_lora_rank)
    return engine, ChatTokenizer(folder), base


if __name__ == "__main__":
    run(main)
