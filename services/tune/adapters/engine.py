"""The engine behind the generate service, as the gate asks it: after its users."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2
from tandem.generate.v1 import generate_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2_grpc as rpc

from services.common.client import Outgoing
from services.common.identity import Identity
from services.common.interceptors import DETAILS_KEY
from services.tune.adapters.calls import options
from services.tune.domain.errors import CallRefused, ServiceUnavailable
from services.tune.gate.errors import ContenderAway, ContenderMoved, PromptRefused
from services.tune.gate.ports import Contender, Likelihood, Prompt, Written

GENERATE = "generate"
FIRST_REST_SECONDS = 0.5
MOST_REST_SECONDS = 15.0
# No tokenizer makes more tokens of a text than half its characters, but of a few scripts.
CHARACTERS_A_TOKEN = 2
LEAST_ROOM, MOST_ROOM = 256, 768

T = TypeVar("T")
_LATER = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that one call may take, and for how many more a call waits for an engine that is busy or away."""

    call_seconds: float
    wait_seconds: float


class GrpcEngine:
    """An Engine behind a channel; `uri` gives where a tenant's adapter of a digest lies."""

    def __init__(
        self, channel: grpc.aio.Channel, outgoing: Outgoing, uri: Callable[[str, str], str], patience: Patience
    ) -> None:
        self._answers = rpc.GenerateServiceStub(channel)
        self._adapters = rpc.AdapterServiceStub(channel)
        self._outgoing = outgoing
        self._uri = uri
        self._patience = patience

    async def write(self, identity: Identity, contender: Contender, prompt: Prompt, max_tokens: int) -> Written:
        request = _request(contender, prompt, max_tokens)
        return await self._patiently(lambda: self._written(identity, contender, request))

    async def score(
        self, identity: Identity, contender: Contender, prompt: Prompt, completions: Sequence[str]
    ) -> list[Likelihood]:
        room = max(map(len, completions)) // CHARACTERS_A_TOKEN
        request = pb.ScoreRequest(
            prompt=_request(contender, prompt, min(MOST_ROOM, max(LEAST_ROOM, room))), completions=completions
        )
        found = await self._patiently(
            lambda: self._answers.Score(request, **options(self._outgoing, identity, self._patience.call_seconds))
        )
        _check_digest(contender, found.adapter_digest)
        return [Likelihood(each.logprob, each.tokens) for each in found.scores]

    async def load(self, identity: Identity, contender: Contender) -> None:
        request = pb.LoadAdapterRequest(name=contender.name, uri=self._uri(identity.tenant_id, contender.digest))
        found = await self._patiently(
            lambda: self._adapters.LoadAdapter(
                request, **options(self._outgoing, identity, self._patience.call_seconds)
            )
        )
        _check_digest(contender, found.adapter.digest)

    async def unload(self, identity: Identity, contender: Contender) -> None:
        request = pb.UnloadAdapterRequest(name=contender.name)
        await self._patiently(
            lambda: self._adapters.UnloadAdapter(
                request, **options(self._outgoing, identity, self._patience.call_seconds)
            )
        )

    async def _written(self, identity: Identity, contender: Contender, request: pb.GenerateRequest) -> Written:
        """Return one whole answer, as its steps came."""
        began = time.perf_counter()
        call = self._answers.Generate(request, **options(self._outgoing, identity, self._patience.call_seconds))
        answer = _Answer()
        try:
            async for step in call:
                answer.take(step, time.perf_counter() - began)
        finally:
            # Leaving early ends the engine's work.
            call.cancel()
        _check_digest(contender, answer.digest)
        return answer.written(time.perf_counter() - began)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call; while the engine is busy with its users, or away, wait longer each time.

        Raises:
            ServiceUnavailable: it still is.
            ContenderAway, PromptRefused, CallRefused: it says no.
        """
        deadline, rest = time.monotonic() + self._patience.wait_seconds, FIRST_REST_SECONDS
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() not in _LATER:
                    raise _refusal(error) from error
                wait = max(rest, _asked_seconds(error))
                if time.monotonic() + wait > deadline:
                    raise ServiceUnavailable(
                        f"the engine is busy or away ({error.code().name})", service=GENERATE
                    ) from error
            await asyncio.sleep(wait)
            rest = min(2 * rest, MOST_REST_SECONDS)


class _Answer:
    """An answer's steps, put together."""

    def __init__(self) -> None:
        self.digest = ""
        self._texts: list[str] = []
        self._started = pb.Started()
        self._finished = pb.Finished()
        self._first_token_seconds = 0.0

    def take(self, step: pb.GenerateResponse, seconds: float) -> None:
        if step.HasField("started"):
            self._started, self.digest = step.started, step.started.adapter_digest
        if step.HasField("delta"):
            self._first_token_seconds = self._first_token_seconds or seconds
            self._texts.append(step.delta.text)
        if step.HasField("finished"):
            self._finished = step.finished

    def written(self, seconds: float) -> Written:
        """Return the whole answer.

        Raises:
            ServiceUnavailable: it broke off.
        """
        if not self._finished.reason:
            raise ServiceUnavailable("an answer broke off", service=GENERATE)
        tokens, indexes = self._finished.completion_tokens, tuple(self._started.passage_indexes)
        return Written("".join(self._texts), indexes, tokens, self._first_token_seconds, seconds)


def _request(contender: Contender, prompt: Prompt, max_tokens: int) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        instructions=prompt.instructions,
        history=[pb.Turn(question=question, answer=answer) for question, answer in prompt.history],
        passages=[pb.ContextPassage(title=each.title, text=each.text, score=each.score) for each in prompt.passages],
        question=prompt.question,
        adapter=contender.name,
        sampling=pb.Sampling(max_tokens=max_tokens),
        restricted=prompt.restricted,
        language=prompt.language,
    )


def _check_digest(contender: Contender, digest: str) -> None:
    if digest != contender.digest:
        raise ContenderMoved("another adapter answers than when the measurement began", name=contender.name)


def _refusal(error: grpc.aio.AioRpcError) -> Exception:
    match error.code():
        case grpc.StatusCode.NOT_FOUND:
            return ContenderAway("the engine has no adapter of this name")
        case grpc.StatusCode.INVALID_ARGUMENT:
            return PromptRefused(f"the engine takes no such request: {error.details()}")
        case code:
            return CallRefused(f"{GENERATE} says {code.name}: {error.details()}")


def _asked_seconds(error: grpc.aio.AioRpcError) -> float:
    """Return after how many seconds the engine asks to be called again; 0 where it asks nothing."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                told = error_details_pb2.RetryInfo()
                if detail.Unpack(told):
                    return float(told.retry_delay.ToTimedelta().total_seconds())
    return 0.0
