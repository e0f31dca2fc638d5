"""Asks a platform's assistants, and keeps what they said, cited and left open."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1.generate_service_pb2 import Sampling
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb

from bench.quality.indexed import Indexed
from services.common.evaluation.answers import Answered, Gold
from services.common.evaluation.questions import Question

AT_ONCE = 2
SECONDS = 300.0
MAX_TOKENS = 64
_MARKERS = re.compile(r"\s*\[\d+\]")


@dataclass(frozen=True, slots=True)
class Span:
    """What a citation points at: the set's id of the document, and the words."""

    document: str
    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came. `evidence` is sent with an abstention alone."""

    text: str
    spans: tuple[Span, ...]
    supported_share: float
    sentences: int
    abstained: bool
    is_late: bool
    evidence: float

    @property
    def answered(self) -> Answered:
        """Return what is measured: the text without the citations' numbers."""
        return Answered(
            _MARKERS.sub("", self.text),
            [span.document for span in self.spans],
            self.supported_share * self.sentences,
            self.sentences,
            self.abstained,
        )


def gold_of(question: Question, language: str = "en") -> Gold:
    return Gold(question.answers, question.documents, question.answerable, question.language or language)


async def replies(indexed: Indexed, questions: Sequence[Question], assistant: str = "") -> list[Reply]:
    """Return what the assistant answers to each question, in a conversation of its own; its likeliest answer."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(question: Question) -> Reply:
        async with free:
            return await _reply(indexed, question.text, assistant)

    return list(await asyncio.gather(*map(one, questions)))


async def _reply(indexed: Indexed, question: str, assistant: str) -> Reply:
    sampling = Sampling(max_tokens=MAX_TOKENS, temperature=0.0)
    request = pb.AskRequest(question=question, assistant=assistant, sampling=sampling)
    passages: Sequence[retrieve_pb.Passage] = ()
    pieces: list[str] = []
    citations, abstained = pb.Citations(), None
    async for event in indexed.platform.gateway.Ask(request, metadata=indexed.platform.metadata, timeout=SECONDS):
        match event.WhichOneof("event"):
            case "retrieval_done":
                passages = event.retrieval_done.passages
            case "token_delta":
                pieces.append(event.token_delta.text)
            case "citations":
                citations = event.citations
            case "abstained":
                abstained = event.abstained
    return Reply(
        "".join(pieces),
        tuple(_span(indexed.names, passages[each.passage_index], each) for each in citations.citations),
        citations.supported_share,
        citations.sentences,
        abstained is not None,
        bool(abstained and abstained.late),
        abstained.evidence if abstained else 1.0,
    )


def _span(names: Mapping[str, str], passage: retrieve_pb.Passage, citation: pb.Citation) -> Span:
    return Span(names[passage.document_id], passage.text[citation.passage_start : citation.passage_end])
