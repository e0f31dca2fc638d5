"""Makes follow-ups stand alone before anything is searched for: by rule, or by a model that the rules stand behind."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from tandem.feedback.v1.events_pb2 import Interaction
from tandem.generate.v1 import generate_service_pb2 as generate_pb

from services.common.errors import ServiceError
from services.gateway.adapters.services import Services, reaching
from services.gateway.domain.followup import LONGEST_FOLLOW_UP, Said, adds_nothing, standalone
from services.gateway.metrics import FOLLOW_UPS
from services.gateway.servicer.answer import TOLD_TURNS, Asked

TOLD_CHARS = 600
LONGEST_TOLD = 2000
MOST_TOKENS = 64
INSTRUCTIONS = (
    "Rewrite the last question so that it can be understood without the conversation. Keep its language, and use only "
    "names and numbers of the conversation. Write the question and nothing else."
)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A question that stands alone, and the tokens that it took to make it so."""

    question: str
    tokens: int = 0


class Rewriter:
    """Makes follow-ups stand alone; a model that is late, away, or adds something is not listened to."""

    def __init__(self, services: Services, *, by_model: bool, seconds: float) -> None:
        self._services = services
        self._by_model = by_model
        self._seconds = seconds

    async def rewritten(self, asked: Asked, turns: Sequence[Interaction]) -> Rewritten:
        """Return the question of `asked` as it stands without `turns`, which the caller may read."""
        said = [_said(turn) for turn in turns]
        if not said:
            return Rewritten(asked.question)
        tokens = 0
        if self._by_model:
            proposed = await self._proposed(asked, said)
            tokens = proposed.tokens
            if proposed.question and adds_nothing(proposed.question, asked.question, said[-TOLD_TURNS:]):
                FOLLOW_UPS.labels("model").inc()
                return proposed
            FOLLOW_UPS.labels("model_refused").inc()
        by_rule = standalone(asked.question, said)
        FOLLOW_UPS.labels("alone" if by_rule == asked.question else "rule").inc()
        return Rewritten(by_rule, tokens)

    async def _proposed(self, asked: Asked, said: Sequence[Said]) -> Rewritten:
        """Return what the model makes of the question; "" where it fails or takes too long."""
        request = generate_pb.GenerateRequest(
            instructions=INSTRUCTIONS,
            question=_told(asked.question, said),
            sampling=generate_pb.Sampling(max_tokens=MOST_TOKENS),
            # What was answered earlier may come from anything that the caller may read.
            restricted=True,
        )
        heard = _Heard()
        try:
            async with asyncio.timeout(self._seconds):
                call = await self._services.generate(request, asked.caller)
                try:
                    with reaching("generate"):
                        async for event in call:
                            heard.take(event)
                finally:
                    call.cancel()
        except (TimeoutError, grpc.aio.AioRpcError, ServiceError):
            return Rewritten("", heard.tokens)
        return Rewritten(heard.question(), heard.tokens)


class _Heard:
    """What the model has said so far."""

    def __init__(self) -> None:
        self.tokens = 0
        self._texts: list[str] = []
        self._whole = False

    def take(self, event: generate_pb.GenerateResponse) -> None:
        self._texts.append(event.delta.text)
        self.tokens += event.started.prompt_tokens + event.delta.tokens
        self._whole |= event.finished.reason == generate_pb.FINISH_REASON_STOP

    def question(self) -> str:
        """Return the one line that was said; "" where it is none, was cut, or is too long to be a question."""
        text = "".join(self._texts).strip()
        sound = self._whole and "\n" not in text and len(text) <= LONGEST_FOLLOW_UP
        return text if sound else ""


def _said(turn: Interaction) -> Said:
    cited = any(passage.cited for passage in turn.passages)
    return Said(turn.standalone_question or turn.question, _supported(turn) if cited else "")


def _supported(turn: Interaction) -> str:
    """Return the sentences of an answer that are cited; all of it where it is not known which are."""
    spans = [turn.answer[cited.answer_start : cited.answer_end] for cited in turn.citations]
    return " ".join(spans) or turn.answer


def _told(question: str, said: Sequence[Said]) -> str:
    turns = [f"Q: {turn.question[:TOLD_CHARS]}\nA: {turn.answer[:TOLD_CHARS]}" for turn in said[-TOLD_TURNS:]]
    return "\n".join([*turns, f"Last question: {question[:LONGEST_TOLD]}"])
