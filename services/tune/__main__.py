"""Starts the tune service: reads settings, wires, serves."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

from services.common.client import Outgoing, open_channel
from services.common.database import open_database, ping
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.permissions import open_permissions
from services.common.rerankers import Rerankers
from services.common.server import Service, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.tune.adapters.documents import GrpcDocumentSearch
from services.tune.adapters.erasure import PostgresErasure
from services.tune.adapters.evaluations import PostgresEvaluations
from services.tune.adapters.postgres import PostgresRerankers, PostgresRuns
from services.tune.adapters.question_sets import PostgresSets
from services.tune.adapters.ratings import GrpcRatedAnswers
from services.tune.adapters.retrieval import GrpcLiveTuning, GrpcPassageSearch
from services.tune.adapters.tables import SCHEMA
from services.tune.adapters.trainer import ProcessTrainer
from services.tune.conducting import Conductor, Sources
from services.tune.evaluating import Clock, Evaluator
from services.tune.evaluating import observe as observe_evaluations
from services.tune.evaluation_servicer import EVALUATION, EvaluationServicer
from services.tune.promoting import Promoter
from services.tune.servicer import ERASURE, TUNING, ErasureServicer, Queue, Shelf, TuningServicer, register
from services.tune.settings import Settings
from services.tune.worker import Limits, Worker, observe

MIGRATIONS = Path(__file__).parent / "migrations"


async def main() -> None:
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("tune", platform.log_level, platform.traces)
    signer = IdentitySigner(platform.identity_key.get_secret_value().encode())
    transport, outgoing = Transport.of(platform), Outgoing(signer)
    now, new_id = partial(datetime.now, UTC), lambda: uuid4().hex
    async with AsyncExitStack() as resources:
        database = open_database(settings.database_url.get_secret_value(), MIGRATIONS, SCHEMA)
        sessions = await resources.enter_async_context(database)
        manifest_url = settings.manifest_url.get_secret_value() or settings.database_url.get_secret_value()
        permissions = await resources.enter_async_context(open_permissions(manifest_url))
        retrieve = await resources.enter_async_context(open_channel(settings.retrieve_address, transport))
        feedback = await resources.enter_async_context(open_channel(settings.feedback_address, transport))
        tuning = GrpcLiveTuning(retrieve, outgoing)
        search = GrpcPassageSearch(retrieve, tuning, outgoing, settings.search_seconds)
        files, runs, rerankers = (
            Rerankers(settings.blobs.get_secret_value()),
            PostgresRuns(sessions),
            PostgresRerankers(sessions),
        )
        sources = Sources(search, GrpcRatedAnswers(feedback, outgoing), tuning)
        conductor = Conductor(sources, ProcessTrainer(settings.bases, settings.threads), files, now)
        limits = Limits(settings.runs_at_once, settings.run_seconds)
        worker = Worker(runs, conductor, settings.cache / "runs", now, limits)
        servicer = TuningServicer(
            Queue(runs, worker.wake, settings.bases, new_id, now),
            Shelf(rerankers, tuning, permissions),
            Promoter(rerankers, tuning, now, new_id),
        )
        evaluations, clock = PostgresEvaluations(sessions), Clock(now, new_id)
        documents = GrpcDocumentSearch(retrieve, outgoing, settings.search_seconds)
        evaluator = Evaluator(evaluations, documents, clock, settings.evaluation_seconds)
        evaluating = EvaluationServicer(PostgresSets(sessions), evaluations, permissions, evaluator.wake, clock)
        erasure = ErasureServicer(PostgresErasure(sessions, files), now)
        service = Service(
            address=settings.address,
            metrics_address=settings.metrics_address,
            authenticate=signed_by(signer.verify),
            register=register(servicer, evaluating, erasure),
            names=(TUNING, EVALUATION, ERASURE),
            # What runs ask is no condition: without it they wait or fail, and what was made is shown.
            pings=(partial(ping, sessions), permissions.ping),
            tasks=(
                worker.run,
                partial(observe, runs, rerankers),
                evaluator.run,
                partial(observe_evaluations, evaluations),
            ),
        )
        await serve(service, transport=transport)


if __name__ == "__main__":
    run(main)
