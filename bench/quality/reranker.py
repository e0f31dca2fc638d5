"""What a reranker is worth that the platform trains from the set's own training questions, and what it costs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from tandem.tune.v1 import tuning_service_pb2 as pb
from tandem.tune.v1 import tuning_service_pb2_grpc as rpc

from bench.quality import speed
from bench.quality.indexed import How, Indexed
from bench.quality.results import Figure, compared, figure
from bench.quality.search import DEEP, scored
from bench.quality.sets import NDCG, KnownSet, questions_of
from bench.report import quantile

AT_LEAST = 0.72
TRAINING_SECONDS = 5400.0
POLL_SECONDS = 5.0
CALL_SECONDS = 120.0
OFF = {"rerank_off": True}
ON_OR_OFF = {"reranked": How(speed.TOP_K), "nothing reranked": How(speed.TOP_K, tuning=OFF)}


class TrainingFailed(Exception):
    """The run made no reranker."""


async def measure(known: KnownSet, indexed: Indexed) -> list[Figure]:
    """Train on the training questions, and search for the test questions with the reranker and without."""
    questions = questions_of(known)
    async with _channel(indexed) as tuning:
        run = await _trained(known, indexed, tuning)
        metadata = indexed.platform.metadata
        # Whatever its gate says: what it is worth is measured here.
        request = pb.PromoteRerankerRequest(digest=run.reranker, override=True)
        await tuning.PromoteReranker(request, metadata=metadata, timeout=CALL_SECONDS)
        try:
            without = (await scored(indexed, questions, How(DEEP, tuning=OFF)))[NDCG]
            with_ = (await scored(indexed, questions, How(DEEP)))[NDCG]
            milliseconds = await speed.taken(known, indexed, ON_OR_OFF)
        finally:
            await tuning.RollbackReranker(pb.RollbackRerankerRequest(), metadata=metadata, timeout=CALL_SECONDS)
    gate = run.report
    passed = "passed" if gate.passed else "did not pass"
    note = (
        f"weight {gate.rerank_weight:.2f}, depth {gate.depth}; {passed} its gate on {gate.held_out_queries} questions"
    )
    return [
        *figure("trained reranker", NDCG, with_, at_least=AT_LEAST, note=note),
        *figure("nothing reranked", NDCG, without),
        *compared("trained reranker against nothing reranked", NDCG, without, with_),
        *(
            Figure(name, f"{label} ms", quantile(values, share), count=len(values))
            for name, values in milliseconds.items()
            for label, share in (("p50", 0.5), ("p95", 0.95))
        ),
        Figure("training", "minutes", (run.ended_at.seconds - run.started_at.seconds) / 60, count=gate.trained_queries),
    ]


@asynccontextmanager
async def _channel(indexed: Indexed) -> AsyncIterator[rpc.TuningServiceStub]:
    # A training set is larger than what a message may be by default.
    options = [("grpc.max_send_message_length", 64 * 1024**2)]
    async with grpc.aio.insecure_channel(indexed.platform.address, options) as channel:
        yield rpc.TuningServiceStub(channel)


async def _trained(known: KnownSet, indexed: Indexed, tuning: rpc.TuningServiceStub) -> pb.Run:
    """Return the run once it has ended.

    Raises:
        TrainingFailed: it made nothing.
    """
    request = pb.StartRerankerRunRequest(request_id=known.name, training_set=_training_set(known, indexed))
    metadata = indexed.platform.metadata
    run = (await tuning.StartRerankerRun(request, metadata=metadata, timeout=CALL_SECONDS)).run
    deadline = time.monotonic() + TRAINING_SECONDS
    while run.state in {pb.RUN_STATE_QUEUED, pb.RUN_STATE_RUNNING} and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        run = (await tuning.GetRun(pb.GetRunRequest(run_id=run.run_id), metadata=metadata, timeout=CALL_SECONDS)).run
    if run.state != pb.RUN_STATE_SUCCEEDED:
        raise TrainingFailed(f"{run.failure or 'it is still running'}: {run.failure_message}")
    return run


def _training_set(known: KnownSet, indexed: Indexed) -> pb.TrainingSet:
    ids = {name: document_id for document_id, name in indexed.names.items()}
    return pb.TrainingSet(
        queries=[
            pb.TrainingQuery(
                query=question.text, positives=[pb.Positive(document_id=ids[name]) for name in question.documents]
            )
            for question in questions_of(known, "train").questions
        ]
    )
