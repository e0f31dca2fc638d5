"""How answers and passages look."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb

from services.cli.output import Output, plain, visible

EXCERPT_CHARACTERS = 400

_REASONS = {
    pb.UNSUPPORTED_REASON_NO_SUPPORT: "no passage says this",
    pb.UNSUPPORTED_REASON_NUMBER_DIFFERS: "the passages have another number",
    pb.UNSUPPORTED_REASON_NAME_DIFFERS: "the passages have other names",
    pb.UNSUPPORTED_REASON_NEGATION_DIFFERS: "the passages say the contrary",
    pb.UNSUPPORTED_REASON_NOT_ENTAILED: "this does not follow from the passages",
}


class Answer:
    """Prints the events of one answer as they come."""

    def __init__(self, output: Output) -> None:
        self.answer_id = ""
        self._output = output
        self._passages: Sequence[retrieve_pb.Passage] = ()
        self._text = ""
        # What an answer that is none comes with: shown once its text is written.
        self._offered = pb.Abstained()
        self._usage = pb.Usage()
        self._takers: Mapping[str, Callable[[Any], None]] = {
            "rewritten": self._rewritten,
            "retrieval_done": self._found,
            "token_delta": self._write,
            "citations": self._cite,
            "abstained": self._abstain,
            "usage": self._cost,
            "end": self._end,
        }

    def take(self, event: pb.AskResponse) -> None:
        """Print one event."""
        kind = event.WhichOneof("event")
        if kind is None:
            return
        if self._output.as_json:
            self._output.json({"event": kind, **plain(getattr(event, kind))})
        if taker := self._takers.get(kind):
            taker(getattr(event, kind))

    def _rewritten(self, rewritten: pb.Rewritten) -> None:
        self._output.draw(Text(f"asked as: {visible(rewritten.standalone_question)}", "dim"))

    def _found(self, done: pb.RetrievalDone) -> None:
        self._passages = done.passages

    def _write(self, delta: pb.TokenDelta) -> None:
        self._text += delta.text
        self._output.write(delta.text)

    def _cost(self, usage: pb.Usage) -> None:
        self._usage = usage

    def _cite(self, found: pb.Citations) -> None:
        self._output.write("\n")
        self._offer(self._offered)
        first_of = {citation.number: citation for citation in reversed(found.citations)}
        for number, citation in sorted(first_of.items()):
            passage = self._passages[citation.passage_index]
            self._output.draw(Text.assemble((f"[{number}] ", "bold cyan"), _heading(passage)))
        for sentence in found.unsupported:
            said = visible(self._text[sentence.answer_start : sentence.answer_end])
            why = _REASONS.get(sentence.reason, "unsupported")
            self._output.draw(Text.assemble((f"[?] {why}: ", "bold yellow"), said))
        if found.check_failure:
            self._output.draw(Text("The entailment model did not judge; this is by words alone.", "yellow"))

    def _abstain(self, told: pb.Abstained) -> None:
        if told.late:
            self._output.draw(Text("The documents do not tell: do not rely on this answer.", "bold yellow"))
            self._offer(told)
        else:
            self._offered = told

    def _offer(self, told: pb.Abstained) -> None:
        for index in told.nearest:
            self._output.draw(Text.assemble(("near: ", "bold cyan"), _heading(self._passages[index])))

    def _end(self, end: pb.End) -> None:
        self.answer_id = end.answer_id
        usage = self._usage
        self._output.draw(
            Text(
                f"answer {end.answer_id} · conversation {end.conversation_id} · retrieval {usage.retrieval_ms} ms,"
                f" first token {usage.first_token_ms} ms, all {usage.total_ms} ms, {usage.completion_tokens} tokens",
                "dim",
            )
        )


def passages(found: Sequence[retrieve_pb.Passage]) -> RenderableType:
    """Return passages, best first."""
    if not found:
        return Text("nothing was found", "dim")
    return Group(*(_passage(number, passage) for number, passage in enumerate(found, 1)))


def _passage(number: int, passage: retrieve_pb.Passage) -> RenderableType:
    text = " ".join(visible(passage.text).split())
    excerpt = text if len(text) <= EXCERPT_CHARACTERS else text[:EXCERPT_CHARACTERS].rstrip() + " …"
    head = Text.assemble((f"{number:2}. ", "bold cyan"), _heading(passage))
    return Group(head, Padding(Text(excerpt), (0, 0, 1, 4)))


def _heading(passage: retrieve_pb.Passage) -> Text:
    """Return a passage's title, where it is found, and its score."""
    page = f"page {passage.page}" if passage.page else ""
    where = filter(None, (location(passage), " > ".join(passage.headings), page))
    title = passage.title or passage.document_id
    return Text.assemble(
        (visible(title), "bold"), " · ", visible(" · ".join(where)), (f" · score {passage.score:.3f}", "dim")
    )


def location(passage: retrieve_pb.Passage) -> str:
    """Return where a person finds the original; a file by its path."""
    if passage.uri.startswith("file://"):
        return unquote(passage.uri.removeprefix("file://"))
    return passage.uri or passage.source_name
