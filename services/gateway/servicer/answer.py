"""One answer as it grows: what is sent of it, and what is recorded."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.feedback.v1.events_pb2 import Interaction, InteractionPassage
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.retrieve.v1.retrieve_service_pb2 import Passage

from services.common.errors import Unavailable
from services.common.telemetry import trace_id
from services.gateway.adapters.services import Caller
from services.gateway.domain.assistants import Assistant
from services.gateway.domain.citations import Cited, cite
from services.gateway.metrics import ANSWER_TOKENS, CITATIONS, FIRST_TOKEN_SECONDS, UNSUPPORTED_SENTENCES

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
    # What is searched for and answered; empty where the question stands alone as it is.
    standalone: str = ""

    @property
    def query(self) -> str:
        """The question as it stands without its conversation."""
        return self.standalone or self.question

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

    def whole(self) -> None:
        """Make sure that the engine said that the answer is complete.

        Raises:
            AnswerIncomplete: it did not.
        """
        if not self._finished.reason:
            raise AnswerIncomplete("the answer broke off")
        ANSWER_TOKENS.inc(self._finished.completion_tokens)

    def cited(self) -> Cited:
        """Return what in the prompt's passages supports the answer."""
        # Citations count the passages as the caller got them; what the prompt did not hold supports nothing.
        texts = [passage.text if index in self._in_prompt() else "" for index, passage in enumerate(self._passages)]
        found = cite("".join(self._texts), texts)
        CITATIONS.inc(len(found.citations))
        UNSUPPORTED_SENTENCES.inc(found.unsupported_sentences)
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

    def interaction(self, interaction_id: str, cited: Cited) -> Interaction:
        """Return the record of the question and its whole answer."""
        asked, who = self._asked, self._asked.caller.identity
        indexes = {citation.passage_index for citation in cited.citations}
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
            passages=[_reference(self._passages[index], index in indexes) for index in self._in_prompt()],
            history_document_ids=_documents_of(self._turns_behind()),
            model=self._started.model,
            adapter_digest=self._started.adapter_digest,
            prompt_tokens=self._started.prompt_tokens,
            completion_tokens=self._finished.completion_tokens,
            first_token_ms=self._first_token_ms,
            total_ms=self._total_ms,
            trace_id=trace_id(),
            asked_at=asked.asked_at,
        )

    def _piece(self, text: str, tokens: int) -> pb.AskResponse:
        if not self._texts:
            FIRST_TOKEN_SECONDS.observe(time.perf_counter() - self._asked.arrived_at)
            self._first_token_ms = self._asked.milliseconds()
        self._texts.append(text)
        return pb.AskResponse(token_delta=pb.TokenDelta(text=text, tokens=tokens))

    def _in_prompt(self) -> Sequence[int]:
        """Return the indexes of the passages that the prompt holds, rising, as far as there are such passages."""
        return sorted(set(range(len(self._passages))).intersection(self._started.passage_indexes))

    def _turns_behind(self) -> Sequence[Interaction]:
        """Return the turns that are in the prompt, or may have words in the question as it stands alone."""
        told = TOLD_TURNS if self._asked.standalone else 0
        return self._turns[max(0, len(self._turns) - max(told, self._started.turns_used)) :]


def citations_event(cited: Cited) -> pb.AskResponse:
    """Return the event that carries an answer's citations."""
    return pb.AskResponse(citations=pb.Citations(citations=[pb.Citation(**asdict(found)) for found in cited.citations]))


def _documents_of(turns: Sequence[Interaction]) -> list[str]:
    """Return the documents behind `turns`, and behind the turns before them."""
    own = {passage.document_id for turn in turns for passage in turn.passages}
    return sorted(own.union(*(turn.history_document_ids for turn in turns)))


def _reference(passage: Passage, cited: bool) -> InteractionPassage:  # noqa: FBT001 - a field's value, not a switch
    return InteractionPassage(
        chunk_id=passage.chunk_id,
        document_id=passage.document_id,
        document_version=passage.document_version,
        score=passage.score,
        title=passage.title,
        cited=cited,
    )
