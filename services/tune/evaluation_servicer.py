"""The gRPC face of kept sets and their evaluations."""

from collections.abc import Callable
from typing import Any

from tandem.tune.v1 import evaluation_service_pb2 as pb
from tandem.tune.v1 import evaluation_service_pb2_grpc as rpc

from services.common.evaluation.questions import jsonl_of
from services.common.identity import Identity, caller
from services.common.pages import key_of, page_size_of, token_of
from services.common.permissions import Permissions
from services.tune.adapters.evaluation_messages import evaluation_message, set_message
from services.tune.adapters.evaluations import PostgresEvaluations
from services.tune.adapters.question_sets import PostgresSets
from services.tune.domain.evaluations import checked_hours, checked_name, known_id, known_name, questions_of
from services.tune.domain.runs import Position, position_of
from services.tune.evaluating import Clock

EVALUATION = pb.DESCRIPTOR.services_by_name["EvaluationService"].full_name


class EvaluationServicer(rpc.EvaluationServiceServicer):
    def __init__(
        self,
        sets: PostgresSets,
        evaluations: PostgresEvaluations,
        permissions: Permissions,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._sets = sets
        self._evaluations = evaluations
        self._permissions = permissions
        self._wake = wake
        self._clock = clock

    async def PutSet(self, request: pb.PutSetRequest, context: Any) -> pb.PutSetResponse:
        name = checked_name(request.name)
        questions = questions_of(name, request.content).questions
        kept = await self._sets.put(caller(), name, request.content, len(questions), self._clock.now())
        return pb.PutSetResponse(set=set_message(kept))

    async def ListSets(self, request: pb.ListSetsRequest, context: Any) -> pb.ListSetsResponse:
        size, after = page_size_of(request.page_size), key_of(request.page_token)
        found = await self._sets.page(caller(), after, size + 1)
        token = token_of(found[size - 1].name) if len(found) > size else ""
        return pb.ListSetsResponse(sets=map(set_message, found[:size]), next_page_token=token)

    async def GetSet(self, request: pb.GetSetRequest, context: Any) -> pb.GetSetResponse:
        who = caller()
        kept, content = await self._sets.find(who, known_name(request.name))
        shown, withheld = await self._shown(who, kept.name, content)
        return pb.GetSetResponse(set=set_message(kept), content=shown, withheld=withheld)

    async def DeleteSet(self, request: pb.DeleteSetRequest, context: Any) -> pb.DeleteSetResponse:
        await self._sets.delete(caller(), known_name(request.name))
        return pb.DeleteSetResponse()

    async def SetSchedule(self, request: pb.SetScheduleRequest, context: Any) -> pb.SetScheduleResponse:
        every_hours = checked_hours(request.every_hours)
        kept = await self._sets.schedule(caller(), known_name(request.name), every_hours, self._clock.now())
        return pb.SetScheduleResponse(set=set_message(kept))

    async def Evaluate(self, request: pb.EvaluateRequest, context: Any) -> pb.EvaluateResponse:
        queued = await self._evaluations.queue(
            caller(), known_name(request.name), self._clock.new_id(), self._clock.now()
        )
        self._wake()
        return pb.EvaluateResponse(evaluation=evaluation_message(queued))

    async def GetEvaluation(self, request: pb.GetEvaluationRequest, context: Any) -> pb.GetEvaluationResponse:
        found = await self._evaluations.find(caller(), known_id(request.evaluation_id))
        return pb.GetEvaluationResponse(evaluation=evaluation_message(found))

    async def CancelEvaluation(self, request: pb.CancelEvaluationRequest, context: Any) -> pb.CancelEvaluationResponse:
        ended = await self._evaluations.cancel(caller(), known_id(request.evaluation_id), self._clock.now())
        return pb.CancelEvaluationResponse(evaluation=evaluation_message(ended))

    async def ListEvaluations(self, request: pb.ListEvaluationsRequest, context: Any) -> pb.ListEvaluationsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        who = caller()
        await self._sets.find(who, known_name(request.name))
        found = await self._evaluations.page(who, known_name(request.name), after, size + 1)
        shown = [evaluation_message(each) for each in found[:size]]
        last = found[size - 1] if len(found) > size else None
        token = Position(last.created_at, last.evaluation_id).token() if last else ""
        return pb.ListEvaluationsResponse(evaluations=shown, next_page_token=token)

    async def _shown(self, who: Identity, name: str, content: bytes) -> tuple[bytes, int]:
        """Return the questions all of whose documents the caller may read, and how many others there are."""
        questions = questions_of(name, content).questions
        named = {document for question in questions for document in question.documents}
        readable = await self._permissions.readable(who, named)
        shown = [question for question in questions if question.documents.keys() <= readable.keys()]
        return b"".join(map(jsonl_of, shown)), len(questions) - len(shown)
