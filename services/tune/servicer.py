"""The gRPC face of tune: checks requests, and translates both ways."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.tune.v1 import dataset_service_pb2_grpc as dataset_rpc
from tandem.tune.v1 import evaluation_service_pb2_grpc as evaluation_rpc
from tandem.tune.v1 import gate_service_pb2_grpc as gate_rpc
from tandem.tune.v1 import registry_service_pb2_grpc as registry_rpc
from tandem.tune.v1 import tuning_service_pb2 as pb
from tandem.tune.v1 import tuning_service_pb2_grpc as rpc

from services.common.erasing import subjects_of
from services.common.identity import Identity, caller
from services.common.pages import page_size_of
from services.common.permissions import Permissions
from services.tune.adapters.erasure import PostgresErasure
from services.tune.adapters.messages import order_of, promotion_message, reranker_message, run_message
from services.tune.adapters.postgres import PostgresRerankers
from services.tune.adapters.runs import PostgresRuns
from services.tune.adapters.training_messages import adapter_order_of
from services.tune.dataset_servicer import DatasetServicer
from services.tune.domain.adapter_runs import AdapterOrder
from services.tune.domain.runs import Order, Position, Reranker, Run, position_of
from services.tune.evaluation_servicer import EvaluationServicer
from services.tune.gate_servicer import GateServicer
from services.tune.ports import LiveTuning, TrainingData
from services.tune.promoting import Promoter
from services.tune.registry_servicer import RegistryServicer

TUNING = pb.DESCRIPTOR.services_by_name["TuningService"].full_name
ERASURE = erasure_pb.DESCRIPTOR.services_by_name["ErasureService"].full_name


@dataclass(frozen=True, slots=True)
class Queue:
    """Where runs wait: the store, who is told of a new one, and what runs may start from."""

    runs: PostgresRuns
    wake: Callable[[], None]
    bases: Mapping[str, str]
    new_id: Callable[[], str]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Courses:
    """What adapters may be trained from: data sets, models by name, and the highest rank that is served."""

    data: TrainingData
    models: Collection[str]
    max_rank: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """What runs have made, and what is live of it."""

    rerankers: PostgresRerankers
    tuning: LiveTuning
    permissions: Permissions


class TuningServicer(rpc.TuningServiceServicer):
    def __init__(self, queue: Queue, courses: Courses, shelf: Shelf, promoter: Promoter) -> None:
        self._queue = queue
        self._courses = courses
        self._shelf = shelf
        self._promoter = promoter

    async def StartRerankerRun(self, request: pb.StartRerankerRunRequest, context: Any) -> pb.StartRerankerRunResponse:
        run = await self._started(order_of(request, caller(), self._queue.bases))
        return pb.StartRerankerRunResponse(run=run_message(run))

    async def StartAdapterRun(self, request: pb.StartAdapterRunRequest, context: Any) -> pb.StartAdapterRunResponse:
        courses = self._courses
        order = adapter_order_of(request, who := caller(), courses.models, courses.max_rank)
        # Known at once, and not when the run has its turn. It may be gone by then, so the run looks again.
        (await courses.data.card(who.tenant_id, order.dataset)).check(order.method)
        if order.reward_dataset:
            (await courses.data.card(who.tenant_id, order.reward_dataset)).check_preferences()
        return pb.StartAdapterRunResponse(run=run_message(await self._started(order)))

    async def _started(self, order: Order | AdapterOrder) -> Run:
        run = await self._queue.runs.add(order, self._queue.new_id(), self._queue.now())
        self._queue.wake()
        return run

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        return pb.GetRunResponse(run=run_message(await self._queue.runs.find(caller(), request.run_id)))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Any) -> pb.ListRunsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._queue.runs.page(caller(), after, size + 1)
        ends = [Position(each.created_at, each.run_id) for each in found]
        return pb.ListRunsResponse(runs=map(run_message, found[:size]), next_page_token=_next_token(ends, size))

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> pb.CancelRunResponse:
        run = await self._queue.runs.cancel(caller(), request.run_id, self._queue.now())
        return pb.CancelRunResponse(run=run_message(run))

    async def ListRerankers(self, request: pb.ListRerankersRequest, context: Any) -> pb.ListRerankersResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._shelf.rerankers.page(who := caller(), after, size + 1)
        ends = [Position(each.created_at, each.digest) for each in found]
        shown = await self._shown(who, found[:size])
        return pb.ListRerankersResponse(rerankers=shown, next_page_token=_next_token(ends, size))

    async def PromoteReranker(self, request: pb.PromoteRerankerRequest, context: Any) -> pb.PromoteRerankerResponse:
        promotion = await self._promoter.promote(caller(), request.digest, override=request.override)
        return pb.PromoteRerankerResponse(promotion=promotion_message(promotion) if promotion else None)

    async def RollbackReranker(self, request: pb.RollbackRerankerRequest, context: Any) -> pb.RollbackRerankerResponse:
        return pb.RollbackRerankerResponse(promotion=promotion_message(await self._promoter.roll_back(caller())))

    async def ListPromotions(self, request: pb.ListPromotionsRequest, context: Any) -> pb.ListPromotionsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._shelf.rerankers.promotions(caller(), after, size + 1)
        ends = [Position(each.promoted_at, each.promotion_id) for each in found]
        shown = map(promotion_message, found[:size])
        return pb.ListPromotionsResponse(promotions=shown, next_page_token=_next_token(ends, size))

    async def _shown(self, who: Identity, found: Sequence[Reranker]) -> list[pb.Reranker]:
        """Return the rerankers with what became of what they learnt from."""
        if not found:
            return []
        live = await self._shelf.tuning.get(who)
        documents = {document for each in found for document in each.lineage.documents}
        existing = await self._shelf.permissions.existing(who, documents)
        return [
            reranker_message(
                each,
                live=each.digest == live.digest,
                deleted_documents=sum(document not in existing for document in each.lineage.documents),
            )
            for each in found
        ]


class ErasureServicer(erasure_rpc.ErasureServiceServicer):
    """Removes what runs and rerankers keep of people."""

    def __init__(self, erasure: PostgresErasure, now: Callable[[], datetime]) -> None:
        self._erasure = erasure
        self._now = now

    async def Erase(self, request: erasure_pb.EraseRequest, context: Any) -> erasure_pb.EraseResponse:
        removed, stale = await self._erasure.erase(caller(), subjects_of(request), self._now())
        counts = [erasure_pb.Removed(kind=kind, count=count) for kind, count in removed.items()]
        # What a run made meanwhile is found by the call after this one.
        return erasure_pb.EraseResponse(removed=counts, done=not counts, stale_adapters=stale)


@dataclass(frozen=True, slots=True)
class Faces:
    """Every service that this process serves."""

    tuning: TuningServicer
    evaluation: EvaluationServicer
    datasets: DatasetServicer
    gate: GateServicer
    registry: RegistryServicer
    erasure: ErasureServicer

    def register(self, server: grpc.aio.Server) -> None:
        """Add them to a server."""
        rpc.add_TuningServiceServicer_to_server(self.tuning, server)
        evaluation_rpc.add_EvaluationServiceServicer_to_server(self.evaluation, server)
        gate_rpc.add_GateServiceServicer_to_server(self.gate, server)
        registry_rpc.add_RegistryServiceServicer_to_server(self.registry, server)
        dataset_rpc.add_DatasetServiceServicer_to_server(self.datasets, server)
        erasure_rpc.add_ErasureServiceServicer_to_server(self.erasure, server)


def _next_token(ends: Sequence[Position], size: int) -> str:
    """Return the token of the page after the first `size`; "" when that is all."""
    return ends[size - 1].token() if len(ends) > size else ""
