"""The two ways of asking the gateway a question of a set: for passages, and for an answer."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb

from services.cli.errors import Failure
from services.cli.evaluation.outcomes import EXCERPT_CHARS, Cited, Found, Outcome, Reply, Usage
from services.cli.gateway import Gateway
from services.cli.views.answers import location
from services.common.evaluation.questions import Question

# Conversations of evaluations are known by it, so that nobody learns from them.
CONVERSATION_PREFIX = "evaluation-"


class InvalidOption(Failure):
    """No field of a search is called so, or it does not take such a value."""

    reason = "INVALID_OPTION"


@dataclass(frozen=True, slots=True)
class Searching:
    """Searches with the fields of a request; `seconds` is each search's deadline."""

    gateway: Gateway
    request: pb.SearchRequest
    seconds: float

    def __call__(self, question: Question) -> Outcome:
        request = pb.SearchRequest(query=question.text)
        request.MergeFrom(self.request)
        answer = self.gateway.call(self.gateway.answers.Search, request, self.seconds)
        return Outcome(question, tuple(map(_found, answer.passages)))


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks an assistant; `seconds` is each answer's deadline. Each question is a conversation of its own."""

    gateway: Gateway
    request: pb.AskRequest
    seconds: float

    def __call__(self, question: Question) -> Outcome:
        conversation_id = f"{CONVERSATION_PREFIX}{uuid.uuid4().hex}"
        request = pb.AskRequest(question=question.text, conversation_id=conversation_id)
        request.MergeFrom(self.request)
        collected = Collected()
        for event in self.gateway.stream(self.gateway.answers.Ask, request, self.seconds):
            collected.take(event)
        return Outcome(question, tuple(map(_found, collected.passages)), collected.reply())


class Collected:
    """One answer's events, put together."""

    def __init__(self) -> None:
        self.passages: Sequence[retrieve_pb.Passage] = ()
        self.answer_id = ""
        self._pieces: list[str] = []
        self._citations = pb.Citations()
        self._usage = pb.Usage()
        self._abstained = False

    def take(self, event: pb.AskResponse) -> None:
        match event.WhichOneof("event"):
            case "retrieval_done":
                self.passages = event.retrieval_done.passages
            case "token_delta":
                self._pieces.append(event.token_delta.text)
            case "citations":
                self._citations = event.citations
            case "usage":
                self._usage = event.usage
            case "abstained":
                self._abstained = True
            case "end":
                self.answer_id = event.end.answer_id

    def reply(self) -> Reply:
        checked = self._citations
        return Reply(
            text="".join(self._pieces),
            citations=tuple(map(self._cited, checked.citations)),
            unsupported=tuple((each.answer_start, each.answer_end) for each in checked.unsupported),
            supported_share=checked.supported_share,
            sentences=checked.sentences,
            abstained=self._abstained,
            usage=_usage(self._usage),
        )

    def _cited(self, citation: pb.Citation) -> Cited:
        passage = self.passages[citation.passage_index]
        span = (citation.answer_start, citation.answer_end)
        return Cited(citation.number, citation.document_id or passage.document_id, passage.title, *span)


def search_request(gateway: Gateway, options: Iterable[str], sources: Sequence[str], passages: int) -> pb.SearchRequest:
    """Return a request without its query, of options such as "steps=1" or "tuning.rerank_off=true".

    "tuning=3" tries the third version of the tenant's tuning.

    Raises:
        InvalidOption: there is no such field, or it does not take such a value.
    """
    fields: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        _put(fields, name.strip().split("."), _value(gateway, name, value), option)
    try:
        request = ParseDict(fields, pb.SearchRequest())
    except ParseError as error:
        raise InvalidOption(f"a search has no such option: {error}") from error
    if sources:
        request.filter.sources.extend(sources)
    request.top_k = request.top_k or passages
    return request


def _put(fields: dict[str, Any], path: Sequence[str], value: Any, option: str) -> None:
    """Put an option's value where its path says."""
    *above, last = path
    for part in above:
        fields = fields.setdefault(part, {})
        if not isinstance(fields, dict):
            break
    if not isinstance(fields, dict) or last in fields or path == ["query"]:
        raise InvalidOption(f"{option!r} is no option of a search, or is given twice", option=option)
    fields[last] = value


def _value(gateway: Gateway, name: str, value: str) -> Any:
    if name == "tuning" and value.isdecimal():
        asked = tuning_pb.GetTuningRequest(version=int(value))
        found = gateway.call(gateway.tuning.GetTuning, asked).tuning
        return MessageToDict(found, preserving_proto_field_name=True)
    try:
        return json.loads(value)
    except ValueError:
        return value


def _usage(usage: pb.Usage) -> Usage:
    return Usage(
        first_token_ms=usage.first_token_ms,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        model=usage.model,
        adapter_digest=usage.adapter_digest,
    )


def _found(passage: retrieve_pb.Passage) -> Found:
    return Found(
        document_id=passage.document_id,
        title=passage.title,
        where=location(passage),
        text=passage.text[:EXCERPT_CHARS],
        also=tuple(place.document_id for place in passage.sources),
    )
