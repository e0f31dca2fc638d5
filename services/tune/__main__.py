"""Starts the tune service: reads settings, wires, serves."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import grpc

from services.common.client import Outgoing, open_channel
from services.common.consuming import Subscription, consume
from services.common.database import Sessions, open_database, ping
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.lora.places import Places
from services.common.lora.signing import AdapterSigner, AdapterVerifier
from services.common.lora.store import AdapterStore
from services.common.outbox import Outbox
from services.common.permissions import Permissions, open_permissions
from services.common.rerankers import Rerankers
from services.common.server import Service, Task, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.tune.adapter_conducting import AdapterConductor, Engine, Jury, Publishing
from services.tune.adapters.adapter_erasure import Withdrawal
from services.tune.adapters.adapter_trainer import ProcessAdapterTrainer
from services.tune.adapters.aliases import PostgresAliases
from services.tune.adapters.bases import Base
from services.tune.adapters.canaries import PostgresCanaries
from services.tune.adapters.dataset_sources import GrpcRatedInteractions, GrpcReadableDocuments, PostgresKeptQuestions
from services.tune.adapters.datasets import PostgresBuilds, PostgresDatasets
from services.tune.adapters.documents import GrpcDocumentSearch
from services.tune.adapters.engine import GrpcEngine, Patience
from services.tune.adapters.erasure import PostgresErasure
from services.tune.adapters.evaluations import PostgresEvaluations
from services.tune.adapters.gate_rules import PostgresGateRules
from services.tune.adapters.golden import GrpcGoldenPassages, KeptGoldenSets
from services.tune.adapters.postgres import PostgresRerankers
from services.tune.adapters.question_sets import PostgresSets
from services.tune.adapters.ratings import GrpcRatedAnswers
from services.tune.adapters.registry import PostgresAdapters
from services.tune.adapters.registry_tables import OUTBOX
from services.tune.adapters.retrieval import GrpcLiveTuning, GrpcPassageSearch
from services.tune.adapters.runs import PostgresRuns
from services.tune.adapters.tables import SCHEMA
from services.tune.adapters.trainer import ProcessTrainer
from services.tune.adapters.training_data import StoredHeldOut, StoredTrainingData
from services.tune.canarying import CanaryWatcher
from services.tune.conducting import Conductor, Sources
from services.tune.consumer import GROUP, TOPICS, RegistryConsumer
from services.tune.dataset_servicer import DATASET, DatasetServicer, Desk
from services.tune.dataset_worker import Books, BuildWorker
from services.tune.datasets.store import Datasets
from services.tune.evaluating import Clock, Evaluator
from services.tune.evaluating import observe as observe_evaluations
from services.tune.evaluation_servicer import EVALUATION, EvaluationServicer
from services.tune.gate.judging import EngineGate
from services.tune.gate.judging import Sources as Measured
from services.tune.gate.shipped import RULES
from services.tune.gate_servicer import GATE, GateServicer
from services.tune.gathering import Gatherer, Machine, Wells
from services.tune.importing import Importer, Shelter
from services.tune.moving import Mover
from services.tune.promoting import Promoter
from services.tune.publishing import publish_again, relay
from services.tune.registry_metrics import moved
from services.tune.registry_metrics import observe as observe_registry
from services.tune.registry_servicer import REGISTRY, Files, RegistryServicer, Shown
from services.tune.servicer import (
    ERASURE,
    TUNING,
    Courses,
    ErasureServicer,
    Faces,
    Queue,
    Shelf,
    TuningServicer,
)
from services.tune.settings import Settings
from services.tune.worker import Conductors, Limits, Worker, observe

MIGRATIONS = Path(__file__).parent / "migrations"
# In the cache: where adapters lie while they are looked at.
LOOKED_AT = "adapters"


async def main() -> None:
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("tune", platform.log_level, platform.traces)
    signer = IdentitySigner(platform.identity_key.get_secret_value().encode())
    now, new_id = partial(datetime.now, UTC), lambda: uuid4().hex
    # What a process that was killed left behind.
    await asyncio.to_thread(shutil.rmtree, settings.cache / LOOKED_AT, ignore_errors=True)
    async with AsyncExitStack() as resources:
        parts = await opened(platform, settings, signer, resources)
        runs, rerankers = PostgresRuns(parts.sessions), PostgresRerankers(parts.sessions)
        tuning, clock = GrpcLiveTuning(parts.retrieve, parts.outgoing), Clock(now, new_id)
        registry = registry_of(settings, platform, parts)
        patient = GrpcLiveTuning(parts.retrieve, parts.outgoing, patient=True)
        search = GrpcPassageSearch(parts.retrieve, patient, parts.outgoing, settings.search_seconds)
        sources = Sources(search, GrpcRatedAnswers(parts.feedback, parts.outgoing), patient)
        conductor = Conductor(sources, ProcessTrainer(settings.bases, settings.threads), parts.rerankers, now)
        rules = PostgresGateRules(parts.sessions, RULES.read_text())
        conductors = Conductors(conductor, adapter_conductor_of(settings, parts, rules, registry))
        limits = Limits(settings.runs_at_once, settings.run_seconds)
        worker = Worker(runs, conductors, settings.cache / "runs", now, limits)
        tuner = TuningServicer(
            Queue(runs, worker.wake, settings.bases, new_id, now),
            Courses(StoredTrainingData(parts.datasets), settings.models, settings.max_lora_rank),
            Shelf(rerankers, tuning, parts.permissions),
            Promoter(rerankers, tuning, now, new_id),
        )
        evaluations, sets = PostgresEvaluations(parts.sessions), PostgresSets(parts.sessions)
        documents = GrpcDocumentSearch(parts.retrieve, parts.outgoing, settings.search_seconds)
        evaluator = Evaluator(evaluations, documents, clock, settings.evaluation_seconds)
        evaluating = EvaluationServicer(sets, evaluations, parts.permissions, evaluator.wake, clock)
        books, builder = builder_of(settings, parts, now)
        datasets = DatasetServicer(books, parts.permissions, Desk(builder.wake, clock))
        erased = PostgresErasure(parts.sessions, parts.rerankers, parts.datasets, registry.withdrawal)
        faces = Faces(
            tuner, evaluating, datasets, GateServicer(rules, clock), registry.servicer, ErasureServicer(erased, now)
        )
        service = Service(
            address=settings.address,
            metrics_address=settings.metrics_address,
            authenticate=signed_by(signer.verify),
            register=faces.register,
            names=(TUNING, EVALUATION, DATASET, GATE, REGISTRY, ERASURE),
            # What runs ask is no condition: without it they wait or fail, and what was made is shown. Nor is the
            # broker: without it aliases move, and replicas hear of it later.
            pings=(partial(ping, parts.sessions), parts.permissions.ping),
            tasks=(
                worker.run,
                partial(observe, runs, rerankers),
                evaluator.run,
                builder.run,
                partial(observe_evaluations, evaluations),
                *registry.tasks,
            ),
        )
        await serve(service, transport=Transport.of(platform))


@dataclass(frozen=True, slots=True)
class Parts:
    """What is opened once: the database, the services beside this one, and the stores."""

    sessions: Sessions
    permissions: Permissions
    outgoing: Outgoing
    retrieve: grpc.aio.Channel
    feedback: grpc.aio.Channel
    generate: grpc.aio.Channel
    datasets: Datasets
    rerankers: Rerankers
    adapters: AdapterStore
    signer: AdapterSigner
    verifier: AdapterVerifier


async def opened(
    platform: PlatformSettings, settings: Settings, signer: IdentitySigner, resources: AsyncExitStack
) -> Parts:
    """Open what all of the service stands on; `resources` closes it."""
    database, transport = settings.database_url.get_secret_value(), Transport.of(platform)
    blobs, adapter_signer = settings.blobs.get_secret_value(), AdapterSigner(settings.signing_key.get_secret_value())
    sessions = await resources.enter_async_context(open_database(database, MIGRATIONS, SCHEMA))
    manifest = settings.manifest_url.get_secret_value() or database

    async def channel(address: str) -> grpc.aio.Channel:
        return await resources.enter_async_context(open_channel(address, transport))

    return Parts(
        sessions=sessions,
        permissions=await resources.enter_async_context(open_permissions(manifest)),
        outgoing=Outgoing(signer),
        retrieve=await channel(settings.retrieve_address),
        feedback=await channel(settings.feedback_address),
        generate=await channel(settings.generate_address),
        datasets=Datasets(blobs),
        rerankers=Rerankers(blobs),
        adapters=AdapterStore(blobs),
        signer=adapter_signer,
        verifier=AdapterVerifier([adapter_signer.public_key]),
    )


def adapter_conductor_of(
    settings: Settings, parts: Parts, rules: PostgresGateRules, registry: "Registry"
) -> AdapterConductor:
    """Wire what trains adapters, and the gate that they pass or not."""
    engine = Engine(
        settings.models,
        settings.model_cache,
        settings.context_tokens,
        settings.instructions,
        settings.max_lora_rank,
        settings.threads,
    )
    measured = Measured(
        StoredHeldOut(parts.datasets),
        KeptGoldenSets(PostgresSets(parts.sessions), parts.permissions),
        GrpcGoldenPassages(parts.retrieve, parts.outgoing, settings.search_seconds),
        registry.adapters,
        rules,
    )
    patience = Patience(settings.gate_call_seconds, settings.gate_wait_seconds)
    answering = GrpcEngine(parts.generate, parts.outgoing, parts.adapters.uri, patience)
    return AdapterConductor(
        engine,
        StoredTrainingData(parts.datasets),
        ProcessAdapterTrainer(settings.train_command),
        Publishing(parts.adapters, parts.signer, parts.verifier),
        Jury(EngineGate(answering, measured, settings.gate_at_once), registry.adapters),
    )


def builder_of(settings: Settings, parts: Parts, now: Callable[[], datetime]) -> tuple[Books, BuildWorker]:
    """Wire what builds data sets."""
    books = Books(PostgresBuilds(parts.sessions), PostgresDatasets(parts.sessions), parts.datasets)
    wells = Wells(
        GrpcRatedInteractions(parts.feedback, parts.outgoing),
        GrpcReadableDocuments(parts.retrieve, parts.permissions, parts.outgoing, settings.search_seconds),
        PostgresKeptQuestions(PostgresSets(parts.sessions)),
        parts.datasets,
    )
    machine = Machine(next(iter(settings.models.values()), ""), settings.model_cache, settings.name_models)
    limits = Limits(settings.builds_at_once, settings.build_seconds)
    return books, BuildWorker(books, Gatherer(wells, machine), settings.cache / "builds", now, limits)


@dataclass(frozen=True, slots=True)
class Registry:
    """The part of the service that keeps adapters and moves aliases."""

    servicer: RegistryServicer
    adapters: PostgresAdapters
    withdrawal: Withdrawal
    tasks: tuple[Task, ...]


def registry_of(settings: Settings, platform: PlatformSettings, parts: Parts) -> Registry:
    """Wire the registry."""
    now, new_id = partial(datetime.now, UTC), lambda: uuid4().hex
    sessions, outbox = parts.sessions, Outbox(OUTBOX)
    adapters, canaries = PostgresAdapters(sessions, parts.adapters), PostgresCanaries(sessions)
    aliases = PostgresAliases(sessions, outbox, now, new_id, moved)
    looked_at, places = settings.cache / LOOKED_AT, Places(settings.adapter_protocols, settings.adapter_roots)
    base = Base(next(iter(settings.models.values()), ""), settings.max_lora_rank, settings.model_cache)
    servicer = RegistryServicer(
        Shown(adapters, aliases, canaries, parts.permissions, now),
        Files(parts.adapters, parts.verifier, looked_at),
        Importer(adapters, Shelter(places, looked_at, parts.adapters, parts.signer, base.read), now),
        Mover(adapters, aliases),
    )
    watcher = CanaryWatcher(canaries, aliases, now)
    consumer = RegistryConsumer(canaries, adapters, watcher.wake)
    subscription = Subscription(settings.bus, TOPICS, GROUP, security=platform.bus_options)
    tasks = (
        watcher.run,
        partial(consume, subscription, consumer.handle),
        partial(relay, outbox, sessions, settings.bus, platform.bus_options),
        partial(publish_again, aliases, settings.bus, platform.bus_options),
        partial(observe_registry, canaries, adapters, now),
    )
    return Registry(servicer, adapters, Withdrawal(parts.adapters, outbox), tasks)


if __name__ == "__main__":
    run(main)
