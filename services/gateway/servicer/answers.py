"""The gRPC face of questions: retrieve, generate, check, record, and stream it all."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1.events_pb2 import Interaction
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb

from services.common.analysis import language_of
from services.common.answer_ids import AnswerIds
from services.common.bus import BusUnavailable
from services.common.errors import ServiceError
from services.common.grounding.citations import Checked
from services.common.identity import caller
from services.gateway.adapters.quotas import Meter, Use
from services.gateway.adapters.services import Caller, Services, reaching
from services.gateway.checking import Checks
from services.gateway.domain.assistants import assistant_of, name_of
from services.gateway.domain.overrides import Override, overridden
from services.gateway.domain.questions import conversation_id_of, new_id, question_of, top_k_of
from services.gateway.metrics import ASKS, RETRIEVAL_SECONDS
from services.gateway.ports import InteractionLog
from services.gateway.servicer.ahead import reading_ahead
from services.gateway.servicer.answer import Answer, Asked
from services.gateway.servicer.assistants import LENGTHS, RecentAssistants
from services.gateway.servicer.failing import failures_told
from services.gateway.servicer.filters import narrowed
from services.gateway.servicer.rewriting import Rewriter
from services.gateway.servicer.witness import Witness

HISTORY_TURNS = 10

ASK, SEARCH = "/tandem.gateway.v1.GatewayService/Ask", "/tandem.gateway.v1.GatewayService/Search"

# The caller's own doing, or a limit that it met; anything else is a failure of ours.
_REFUSALS = {
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass(frozen=True, slots=True)
class Recording:
    """Where answers are recorded, the most seconds that takes, and who signs their ids."""

    log: InteractionLog
    seconds: float
    answer_ids: AnswerIds


@dataclass(frozen=True, slots=True)
class Oversight:
    """Who holds callers to their quotas, and who writes down what they are given."""

    meter: Meter
    witness: Witness


@dataclass(frozen=True, slots=True)
class Methods:
    """How follow-ups are made to stand alone, and how answers are checked."""

    rewriter: Rewriter
    checks: Checks


class GatewayServicer(rpc.GatewayServiceServicer):
    def __init__(
        self,
        services: Services,
        assistants: RecentAssistants,
        methods: Methods,
        recording: Recording,
        oversight: Oversight,
    ) -> None:
        self._services = services
        self._assistants = assistants
        self._rewriter = methods.rewriter
        self._recording = recording
        self._oversight = oversight
        self._checks = methods.checks

    async def Ask(self, request: pb.AskRequest, context: Any) -> AsyncIterator[pb.AskResponse]:
        async with _counted(self._oversight.meter.answer(caller())) as use:
            asked = await self._asked(request, context)
            turns = await self._turns(asked, request.conversation_id)
            rewritten = await self._rewriter.rewritten(asked, turns)
            use.tokens = lambda: rewritten.tokens
            if rewritten.question != asked.question:
                asked = replace(asked, standalone=rewritten.question)
                yield pb.AskResponse(rewritten=pb.Rewritten(standalone_question=rewritten.question))
            passages = await self._passages(asked, request)
            answer = Answer(asked, passages, turns)
            use.tokens = lambda: rewritten.tokens + answer.tokens()
            wanted = _generate_request(asked, turns, passages, request)
            with failures_told(self._recording.log, asked, answer):
                # Left before anything else happens, so that the engine stops when the caller goes.
                async with contextlib.aclosing(self._told(asked, passages, answer, wanted)) as events:
                    async for event in events:
                        yield event
                answer.whole()
            checked, interaction_id = await answer.checked(self._checks.of(asked.assistant)), new_id()
            recorded = self._recorded(asked, answer, interaction_id, checked)
            for event in answer.ending(checked):
                yield event
            await _acknowledged(recorded, self._recording.seconds)
            yield answer.end(self._recording.answer_ids.mint(asked.caller.identity.tenant_id, interaction_id))

    async def _told(
        self, asked: Asked, passages: Sequence[retrieve_pb.Passage], answer: Answer, wanted: generate_pb.GenerateRequest
    ) -> AsyncGenerator[pb.AskResponse]:
        """Give the passages and the answer's text: the engine's, or ours where the passages do not tell."""
        done = pb.AskResponse(retrieval_done=pb.RetrievalDone(passages=passages))
        if none := self._checks.of(asked.assistant).thresholds.before(answer.evidence()):
            self._oversight.witness.given(ASK, passages)
            yield done
            for event in answer.abstain(none):
                yield event
            return
        generating = await self._services.generate(wanted, asked.caller)
        with reading_ahead(generating) as batches, reaching("generate"):
            self._oversight.witness.given(ASK, passages)
            yield done
            async for batch in batches:
                if piece := answer.take(batch):
                    yield piece

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        await self._oversight.meter.request(caller())
        found = await self._services.retrieve(_wanted(request), Caller(caller(), context))
        self._oversight.witness.given(SEARCH, found.passages)
        return pb.SearchResponse(
            passages=found.passages,
            index_version=found.index_version,
            model=found.model,
            searches=found.searches,
            dense_share=found.dense_share,
            tuning_version=found.tuning_version,
            reranked=found.reranked,
        )

    async def Rate(self, request: pb.RateRequest, context: Any) -> pb.RateResponse:
        opinion = feedback_pb.RateRequest(
            answer_id=request.answer_id, thumb=request.thumb, comment=request.comment, correction=request.correction
        )
        kept = await self._services.rate(opinion, Caller(caller(), context))
        return pb.RateResponse(rating_id=kept.rating.rating_id)

    async def _asked(self, request: pb.AskRequest, context: Any) -> Asked:
        arrived_at, asked_at, who = time.perf_counter(), Timestamp(), caller()
        asked_at.GetCurrentTime()
        question, name = question_of(request.question), name_of(request.assistant)
        conversation_id = conversation_id_of(request.conversation_id) or new_id()
        kept = assistant_of(name, await self._assistants.get((who.tenant_id, name)))
        assistant = overridden(kept, _override_of(request), who.roles)
        top_k = top_k_of(request.top_k, assistant)
        language = language_of(question, (*self._checks.languages, *assistant.languages))
        asked = Asked(Caller(who, context), question, assistant, conversation_id, top_k, arrived_at, asked_at, language)
        return replace(asked, overridden=request.HasField("override"))

    async def _turns(self, asked: Asked, continued: str) -> Sequence[Interaction]:
        """Return the earlier turns of the caller's conversation, without those that may not be shown again."""
        if not continued:
            return ()
        wanted = feedback_pb.GetConversationRequest(conversation_id=continued, max_turns=HISTORY_TURNS)
        found = await self._services.conversation(wanted, asked.caller)
        return [turn for turn in found.interactions if not turn.withheld]

    async def _passages(self, asked: Asked, request: pb.AskRequest) -> Sequence[retrieve_pb.Passage]:
        allowed = asked.assistant.sources
        both = narrowed(asked.assistant.narrowing, request.filter)
        if asked.assistant.without_retrieval or both is None:
            return ()
        if not both.sources:
            both.sources.extend(allowed)
        wanted = retrieve_pb.RetrieveRequest(query=asked.query, top_k=asked.top_k, filter=both)
        with RETRIEVAL_SECONDS.time():
            found = await self._services.retrieve(wanted, asked.caller)
        # A caller may narrow what an assistant reads, never widen it.
        return [passage for passage in found.passages if not allowed or _is_of(passage, allowed)]

    def _recorded(self, asked: Asked, answer: Answer, interaction_id: str, checked: Checked) -> asyncio.Future[None]:
        record = answer.interaction(interaction_id, checked).SerializeToString()
        return self._recording.log.record(asked.caller.identity.tenant_id, asked.conversation_id, record)


def _override_of(request: pb.AskRequest) -> Override | None:
    if not request.HasField("override"):
        return None
    asked = request.override
    adapter = asked.adapter if asked.HasField("adapter") else None
    return Override(adapter, asked.base_model, asked.without_retrieval)


def _wanted(request: pb.SearchRequest) -> retrieve_pb.RetrieveRequest:
    """Return what retrieve is asked for a search: its fields are retrieve's own, named one by one."""
    wanted = retrieve_pb.RetrieveRequest(
        query=request.query,
        top_k=request.top_k,
        widen=request.widen,
        steps=request.steps,
        other_index=request.other_index,
    )
    if request.HasField("filter"):
        wanted.filter.CopyFrom(request.filter)
    if request.HasField("tuning"):
        wanted.tuning.CopyFrom(request.tuning)
    return wanted


def _generate_request(
    asked: Asked, turns: Sequence[Interaction], passages: Sequence[retrieve_pb.Passage], request: pb.AskRequest
) -> generate_pb.GenerateRequest:
    return generate_pb.GenerateRequest(
        instructions=asked.assistant.instructions,
        history=[generate_pb.Turn(question=turn.question, answer=turn.answer) for turn in turns],
        passages=_context(passages),
        question=asked.query,
        adapter=asked.assistant.adapter,
        conversation_id=asked.drawn_by,
        answer_length=LENGTHS[asked.assistant.answer_length],
        sampling=request.sampling if request.HasField("sampling") else None,
        language=asked.answer_language,
        # What was answered earlier may come from anything that the caller may read.
        restricted=bool(turns) or any(passage.restricted for passage in passages),
    )


def _context(passages: Sequence[retrieve_pb.Passage]) -> list[generate_pb.ContextPassage]:
    """Return passages as the prompt is packed from them, each with its relevance beside the best one's."""
    best = max((passage.score for passage in passages), default=0.0)
    return [
        generate_pb.ContextPassage(
            title=passage.title, text=passage.text, score=max(0.0, passage.score / best) if best > 0 else 0.0
        )
        for passage in passages
    ]


def _is_of(passage: retrieve_pb.Passage, sources: Sequence[str]) -> bool:
    return passage.source_id in sources or passage.source_name in sources


async def _acknowledged(recorded: asyncio.Future[None], seconds: float) -> None:
    """Wait until the answer is recorded: one that is not could never be rated.

    Raises:
        BusUnavailable: it was not, in time.
    """
    try:
        async with asyncio.timeout(seconds):
            await recorded
    except TimeoutError as error:
        raise BusUnavailable("the answer could not be recorded") from error


@contextlib.asynccontextmanager
async def _counted(metered: contextlib.AbstractAsyncContextManager[Use]) -> AsyncIterator[Use]:
    outcome = "failed"
    try:
        async with metered as use:
            yield use
        outcome = "answered"
    except (asyncio.CancelledError, GeneratorExit):
        outcome = "cancelled"
        raise
    except ServiceError as error:
        outcome = "refused" if error.code in _REFUSALS else "failed"
        raise
    except grpc.aio.AioRpcError as error:
        outcome = "refused" if error.code() in _REFUSALS else "failed"
        raise
    finally:
        ASKS.labels(outcome).inc()
