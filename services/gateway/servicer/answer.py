"""One answer as it grows: what is sent of it, and what is recorded."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.feedback.v1.events_pb2 import Interaction
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.retrieve.v1.retrieve_service_pb2 import Passage

from services.common.errors import Unavailable
from services.common.grounding.abstention import Abstention, text_of
from services.common.grounding.citations import Checked
from services.common.grounding.evidence import Evidence, evidence_of
from services.common.telemetry import trace_id
from services.gateway.adapters.services import Caller
from services.gateway.checking import Checks
from services.gateway.domain.assistants import Assistant
from services.gateway.domain.questions import answer_language_of
from services.gateway.metrics import ANSWER_TOKENS, FIRST_TOKEN_SECONDS
from services.gateway.servicer.support import (
    abstained_event,
    citations_event,
    count,
    given_of,
    interaction_citations,
    interaction_passages,
    seen_of,
)

# A question may be made to stand alone with words of so many turns before it.
TOLD_TURNS = 3


class AnswerIncomplete(Unavailable):
    """The engine's stream ended before the answer did."""

    reason = "ANSWER_INCOMPLETE"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was let in; `arrived_at` is what time.perf_counter said then."""

    caller: Caller
    question: str
    assistant: Assistant
    conversation_id: str
    top_k: int
    arrived_at: float
    asked_at: Timestamp
    # Of the question, ISO 639-1; empty where it cannot be told.
    language: str = ""
    # What is searched for and answered; empty where the question stands alone as it is.
    standalone: str = ""
    # Whether a trainer has it answered otherwise than the assistant answers.
    overridden: bool = False

    @property
    def query(self) -> str:
        """The question as it stands without its conversation."""
        return self.standalone or self.question

    @property
    def answer_language(self) -> str:
        """What it is answered in; empty leaves it to the model."""
        return answer_language_of(self.language, self.assistant.languages)

    @property
    def drawn_by(self) -> str:
        """The conversation by which a canary is drawn; empty for none, where an override says who answers."""
        return "" if self.overridden else self.conversation_id

    def milliseconds(self) -> int:
        """Return how long ago the question arrived."""
        return round((time.perf_counter() - self.arrived_at) * 1000)


class Answer:
    """Takes the engine's events, and gives the caller's."""

    def __init__(self, asked: Asked, passages: Sequence[Passage], turns: Sequence[Interaction]) -> None:
        self._asked = asked
        self._passages = passages
        self._turns = turns
        self._retrieval_ms = asked.milliseconds()
        self._first_token_ms = 0
        self._total_ms = 0
        self._started = generate_pb.Started()
        self._finished = generate_pb.Finished()
        self._texts: list[str] = []
        self._evidence: Evidence | None = None
        self._abstention: Abstention | None = None
        self._streamed_tokens = 0

    def take(self, events: Iterable[generate_pb.GenerateResponse]) -> pb.AskResponse | None:
        """Add what arrived, and return it as one piece, if any of it is text."""
        text, tokens = "", 0
        for event in events:
            if event.HasField("started"):
                self._started = event.started
            text += event.delta.text
            tokens += event.delta.tokens
            self._streamed_tokens += event.delta.tokens
            if event.HasField("finished"):
                self._finished = event.finished
                self._total_ms = self._asked.milliseconds()
        return self._piece(text, tokens) if text or tokens else None

    def tokens(self) -> int:
        """Return how many tokens were read and written for the answer so far, whether it is whole or not."""
        return self._started.prompt_tokens + max(self._finished.completion_tokens, self._streamed_tokens)

    @property
    def started(self) -> generate_pb.Started:
        """What the engine said of who answers; empty before it has."""
        return self._started

    def whole(self) -> None:
        """Make sure that the engine said that the answer is complete.

        Raises:
            AnswerIncomplete: it did not.
        """
        if not self._finished.reason:
            raise AnswerIncomplete("the answer broke off")
        ANSWER_TOKENS.inc(self._finished.completion_tokens)

    def evidence(self) -> Evidence:
        """Return how much of the question is found in the passages."""
        if self._evidence is None:
            seen = [seen_of(passage, self._asked.language) for passage in self._passages]
            self._evidence = evidence_of(self._asked.query, seen)
        return self._evidence

    def abstain(self, abstention: Abstention) -> Iterator[pb.AskResponse]:
        """Give the events that say that there is no answer, instead of the engine's."""
        self._abstention = abstention
        yield abstained_event(abstention)
        yield self._piece(text_of(self._asked.answer_language, offers=bool(abstention.nearest)), 0)
        self._finished = generate_pb.Finished(reason=generate_pb.FINISH_REASON_STOP)
        self._total_ms = self._asked.milliseconds()

    async def checked(self, checks: Checks) -> Checked:
        """Return what in the prompt's passages supports the answer; a text that tells nothing needs none."""
        if self._abstention:
            return Checked(())
        text = "".join(self._texts)
        found = await checks.check(text, [given_of(passage) for passage in self._shown()], self._asked.query)
        if self._passages:
            self._abstention = checks.thresholds.after(self.evidence(), found, text)
        return found

    def usage(self) -> pb.AskResponse:
        """Return what the answer cost."""
        return pb.AskResponse(
            usage=pb.Usage(
                prompt_tokens=self._started.prompt_tokens,
                completion_tokens=self._finished.completion_tokens,
                cached_tokens=self._finished.cached_tokens,
                retrieval_ms=self._retrieval_ms,
                first_token_ms=self._first_token_ms,
                total_ms=self._total_ms,
                model=self._started.model,
                adapter_digest=self._started.adapter_digest,
            )
        )

    def end(self, answer_id: str) -> pb.AskResponse:
        """Return the last event."""
        end = pb.End(
            answer_id=answer_id, conversation_id=self._asked.conversation_id, finish_reason=self._finished.reason
        )
        return pb.AskResponse(end=end)

    def ending(self, checked: Checked) -> Iterator[pb.AskResponse]:
        """Give what follows the answer's text, but its End."""
        count(checked, self._abstention)
        yield citations_event(checked, self._passages, self._shown_indexes())
        if self._abstention and self._abstention.late:
            yield abstained_event(self._abstention)
        yield self.usage()

    def interaction(self, interaction_id: str, checked: Checked) -> Interaction:
        """Return the record of the question and its whole answer."""
        asked, who, shown = self._asked, self._asked.caller.identity, self._shown()
        return Interaction(
            interaction_id=interaction_id,
            tenant_id=who.tenant_id,
            conversation_id=asked.conversation_id,
            subject=who.subject,
            actor=who.actor,
            assistant=asked.assistant.name,
            assistant_version=asked.assistant.version,
            question=asked.question,
            standalone_question=asked.standalone,
            answer="".join(self._texts),
            prompt=self._started.prompt,
            passages=interaction_passages(shown, {span.passage_index for _, _, span in checked.cited()}),
            history_document_ids=_documents_of(self._turns_behind()),
            model=self._started.model,
            adapter_digest=self._started.adapter_digest,
            adapter_alias=self._started.adapter_alias,
            canary_id=self._started.canary_id,
            canary=self._started.canary,
            prompt_tokens=self._started.prompt_tokens,
            completion_tokens=self._finished.completion_tokens,
            first_token_ms=self._first_token_ms,
            total_ms=self._total_ms,
            trace_id=trace_id(),
            asked_at=asked.asked_at,
            supported_share=checked.supported_share,
            sentences=len(checked.verdicts),
            abstained=self._abstention is not None,
            citations=interaction_citations(checked, shown),
            overridden=asked.overridden,
        )

    def _piece(self, text: str, tokens: int) -> pb.AskResponse:
        if not self._texts:
            FIRST_TOKEN_SECONDS.observe(time.perf_counter() - self._asked.arrived_at)
            self._first_token_ms = self._asked.milliseconds()
        self._texts.append(text)
        return pb.AskResponse(token_delta=pb.TokenDelta(text=text, tokens=tokens))

    def _shown(self) -> Sequence[Passage]:
        return [self._passages[index] for index in self._shown_indexes()]

    def _shown_indexes(self) -> Sequence[int]:
        """Return which passages were in the prompt, or were offered where there was no prompt."""
        if self._abstention and not self._abstention.late:
            return self._abstention.nearest
        there = range(len(self._passages))
        claimed = self._started.passage_indexes or there[: max(0, self._started.passages_used)]
        return sorted({index for index in claimed if index in there})

    def _turns_behind(self) -> Sequence[Interaction]:
        """Return the turns that are in the prompt, or may have words in the question as it stands alone."""
        told = TOLD_TURNS if self._asked.standalone else 0
        return self._turns[max(0, len(self._turns) - max(told, self._started.turns_used)) :]


def _documents_of(turns: Sequence[Interaction]) -> list[str]:
    """Return the documents behind `turns`, and behind the turns before them."""
    own = {passage.document_id for turn in turns for passage in turn.passages}
    return sorted(own.union(*(turn.history_document_ids for turn in turns)))
