"""The gRPC faces of generate: answers and adapters."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing

import grpc
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.generate.v1 import generate_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2_grpc as pb_grpc

from services.common.access import Role
from services.common.erasing import subjects_of
from services.common.errors import ServiceError
from services.common.identity import Identity, caller
from services.common.pages import key_of, page_size_of, token_of
from services.common.prompts.lengths import AnswerLength
from services.common.prompts.packing import Passage
from services.common.prompts.prompt import Draft, Turn
from services.generate import metrics
from services.generate.answers import Adapters, Answers, Begun, Ended, Wanted, Written
from services.generate.domain.errors import AdapterNameTaken
from services.generate.domain.sampling import Sampling, checked
from services.generate.erasure import Erasure
from services.generate.lineages import Gone
from services.generate.ports import FinishReason
from services.generate.scoring import Scores
from services.generate.shelf import Loaded

# Of a stale adapter these many documents are named.
MAX_DELETED = 100

GENERATE = pb.DESCRIPTOR.services_by_name["GenerateService"].full_name
ADAPTERS = pb.DESCRIPTOR.services_by_name["AdapterService"].full_name
ERASURE = erasure_pb.DESCRIPTOR.services_by_name["ErasureService"].full_name

_LENGTHS: dict[int, AnswerLength] = {
    pb.ANSWER_LENGTH_SHORT: AnswerLength.SHORT,
    pb.ANSWER_LENGTH_MEDIUM: AnswerLength.MEDIUM,
    pb.ANSWER_LENGTH_LONG: AnswerLength.LONG,
}
_REASONS = {FinishReason.STOP: pb.FINISH_REASON_STOP, FinishReason.LENGTH: pb.FINISH_REASON_LENGTH}

Context = grpc.aio.ServicerContext[object, object]


class GenerateServicer(pb_grpc.GenerateServiceServicer):
    """Streams answers, and scores them."""

    def __init__(self, answers: Answers, scores: Scores, model: str, max_tokens: int) -> None:
        self._answers = answers
        self._scores = scores
        self._model = model
        self._max_tokens = max_tokens

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> AsyncIterator[pb.GenerateResponse]:
        answer = self._answers.write(caller(), self._wanted(request))
        async with aclosing(answer) as steps:
            async for written in steps:
                yield self._response(written)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        scores, serving = await self._scores.score(caller(), self._wanted(request.prompt), request.completions)
        return pb.ScoreResponse(
            scores=[pb.Scored(logprob=scored.logprob, tokens=scored.tokens) for scored in scores],
            adapter_digest=serving.digest,
            model=self._model,
        )

    def _wanted(self, request: pb.GenerateRequest) -> Wanted:
        draft = _draft(request)
        sampling = checked(_sampling(request.sampling, draft.length), self._max_tokens)
        return Wanted(draft, request.adapter, sampling, request.restricted, request.conversation_id)

    def _response(self, written: Written) -> pb.GenerateResponse:
        return pb.GenerateResponse(
            started=self._started(written.begun) if written.begun else None,
            delta=pb.Delta(text=written.text, tokens=written.tokens) if written.text else None,
            finished=_finished(written.ended) if written.ended else None,
        )

    def _started(self, begun: Begun) -> pb.Started:
        return pb.Started(
            prompt=begun.prompt.text,
            prompt_tokens=len(begun.prompt.token_ids),
            passages_used=len(begun.prompt.passage_indexes),
            passage_indexes=begun.prompt.passage_indexes,
            turns_used=begun.prompt.turns_used,
            model=self._model,
            adapter_digest=begun.serving.digest,
            adapter_alias=begun.serving.alias,
            canary_id=begun.serving.canary_id,
            canary=begun.serving.canary,
        )


class AdapterServicer(pb_grpc.AdapterServiceServicer):
    """Manages the caller's tenant's adapters."""

    def __init__(self, adapters: Adapters) -> None:
        self._shelf = adapters.shelf
        self._aliases = adapters.aliases
        self._lineages = adapters.lineages

    async def LoadAdapter(self, request: pb.LoadAdapterRequest, context: Context) -> pb.LoadAdapterResponse:
        who = caller()
        try:
            if self._aliases.knows(who.tenant_id, request.name):
                raise AdapterNameTaken("an alias has that name")
            loaded = await self._shelf.load(who, request.name, request.uri, cleared=request.cleared)
        except ServiceError as error:
            metrics.ADAPTER_LOADS.labels(error.reason).inc()
            raise
        metrics.ADAPTER_LOADS.labels("ok").inc()
        return pb.LoadAdapterResponse(adapter=(await self._messages(who, {request.name: loaded}))[0])

    async def UnloadAdapter(self, request: pb.UnloadAdapterRequest, context: Context) -> pb.UnloadAdapterResponse:
        await self._shelf.unload(caller(), request.name)
        return pb.UnloadAdapterResponse()

    async def ListAdapters(self, request: pb.ListAdaptersRequest, context: Context) -> pb.ListAdaptersResponse:
        size, after = page_size_of(request.page_size), key_of(request.page_token)
        adapters = self._shelf.adapters(who := caller())
        names = [name for name in adapters if name > after]
        return pb.ListAdaptersResponse(
            adapters=await self._messages(who, {name: adapters[name] for name in names[:size]}),
            next_page_token=token_of(names[size - 1]) if len(names) > size else "",
        )

    async def _messages(self, who: Identity, adapters: Mapping[str, Loaded]) -> list[pb.Adapter]:
        gone = await self._lineages.gone(who, {name: loaded.adapter for name, loaded in adapters.items()})
        return [_adapter(name, loaded, gone[name]) for name, loaded in adapters.items()]


class ErasureServicer(erasure_rpc.ErasureServiceServicer):
    """Erases people and whole tenants."""

    def __init__(self, erasure: Erasure) -> None:
        self._erasure = erasure

    async def Erase(self, request: erasure_pb.EraseRequest, context: Context) -> erasure_pb.EraseResponse:
        subjects = subjects_of(request)
        if subjects is not None:
            stale = await self._erasure.erase_people(caller(), subjects)
            return erasure_pb.EraseResponse(stale_adapters=stale, done=True)
        removed = await self._erasure.erase_tenant(caller())
        counts = [erasure_pb.Removed(kind=kind, count=count) for kind, count in removed.items()]
        return erasure_pb.EraseResponse(removed=counts, done=True)


def register(
    answers: GenerateServicer, adapters: AdapterServicer, erasure: ErasureServicer
) -> Callable[[grpc.aio.Server], None]:
    """Return what adds the services to a server."""

    def add(server: grpc.aio.Server) -> None:
        pb_grpc.add_GenerateServiceServicer_to_server(answers, server)
        pb_grpc.add_AdapterServiceServicer_to_server(adapters, server)
        erasure_rpc.add_ErasureServiceServicer_to_server(erasure, server)

    return add


def _finished(ended: Ended) -> pb.Finished:
    return pb.Finished(
        reason=_REASONS[ended.reason], completion_tokens=ended.completion_tokens, cached_tokens=ended.cached_tokens
    )


def _draft(request: pb.GenerateRequest) -> Draft:
    return Draft(
        request.instructions,
        [Turn(turn.question, turn.answer) for turn in request.history],
        [Passage(passage.title, passage.text, _relevance(passage.score)) for passage in request.passages],
        request.question,
        language=request.language,
        # A length of a caller that is newer than we are.
        length=_LENGTHS.get(request.answer_length, AnswerLength.UNSET),
    )


def _relevance(score: float) -> float:
    """Return a score that is one; what is none leaves the passage to its rank."""
    return min(score, 1.0) if score > 0 else 0.0


def _sampling(sampling: pb.Sampling, length: AnswerLength) -> Sampling:
    return Sampling(sampling.max_tokens or length.tokens, sampling.temperature, sampling.top_p, sampling.seed)


def _adapter(name: str, loaded: Loaded, gone: Gone) -> pb.Adapter:
    adapter, trains = loaded.adapter, {Role.TRAINER, Role.ADMIN} & caller().roles
    return pb.Adapter(
        name=name,
        digest=adapter.digest,
        rank=adapter.rank,
        base_model=adapter.base_model,
        document_count=len(adapter.lineage.documents),
        cleared=loaded.cleared,
        owner=loaded.owner if trains else "",
        stale=gone.stale,
        deleted_document_ids=gone.document_ids[:MAX_DELETED] if trains else (),
        erased_users=gone.users if trains else (),
    )
