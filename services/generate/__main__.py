"""Starts the generate service: `python -m services.generate`."""

import contextlib
import os
from pathlib import Path

from services.common.database import open_database
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.permissions import open_permissions
from services.common.server import Service, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.generate import metrics
from services.generate.adapters.files import AdapterFiles
from services.generate.adapters.memory import MemoryEngine, MemoryErasedPeople, NoReadership, WordTokenizer
from services.generate.adapters.model import model_folder, weight_shapes
from services.generate.adapters.postgres import SCHEMA, PostgresErasedPeople
from services.generate.admission import Admission
from services.generate.answers import Adapters, Answers
from services.generate.domain.adapter import BaseModel, model_name
from services.generate.domain.prompt import PromptPacker, Tokenizer
from services.generate.erasure import Erasure
from services.generate.lineages import Lineages
from services.generate.ports import Engine, ErasedPeople, Readership
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
        adapters = Adapters(shelf, Lineages(readership, people))
        answers = Answers(engine, packer, admission, adapters, salt_key=key)
        erasure = Erasure(engine, shelf, adapters.lineages, people, files.remove)
        metrics.observe(lambda: admission.running, lambda: admission.waiting, shelf.count)
        await serve(
            Service(
                address=settings.address,
                metrics_address=settings.metrics_address,
                authenticate=signed_by(IdentitySigner(key).verify),
                register=register(
                    GenerateServicer(answers, base.name, settings.max_tokens),
                    AdapterServicer(adapters),
                    ErasureServicer(erasure),
                ),
                names=(GENERATE, ADAPTERS, ERASURE),
                pings=(engine.ping,),
                tasks=(engine.until_dead, shelf.remove_retired),
            ),
            transport=Transport.of(platform),
        )


async def _permissions(url: str, stack: contextlib.AsyncExitStack) -> tuple[Readership, ErasedPeople]:
    if not url:
        return NoReadership(), MemoryErasedPeople()
    sessions = await stack.enter_async_context(open_database(url, MIGRATIONS, SCHEMA))
    return await stack.enter_async_context(open_permissions(url)), PostgresErasedPeople(sessions)


def _parts(settings: Settings, stack: contextlib.AsyncExitStack) -> tuple[Engine, Tokenizer, BaseModel]:
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
    from services.generate.adapters.tokenizer import ChatTokenizer  # noqa: PLC0415 - after the environment is set
    from services.generate.adapters.vllm import VllmEngine  # noqa: PLC0415 - likewise

    engine = VllmEngine.start(settings.vllm_options(folder))
    stack.callback(engine.close)
    base = BaseModel(model_name(settings.model), weight_shapes(folder), settings.max_lora_rank)
    return engine, ChatTokenizer(folder), base


if __name__ == "__main__":
    run(main)
