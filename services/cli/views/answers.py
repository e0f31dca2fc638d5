"""How answers and passages look."""

from collections.abc import Sequence
from urllib.parse import unquote

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb

from services.cli.output import Output, plain, visible

EXCERPT_CHARACTERS = 400


class Answer:
    """Prints the events of one answer as they come."""

    def __init__(self, output: Output) -> None:
        self.answer_id = ""
        self._output = output
        self._passages: Sequence[retrieve_pb.Passage] = ()
        self._usage = pb.Usage()

    def take(self, event: pb.AskResponse) -> None:
        """Print one event."""
        kind = event.WhichOneof("event")
        if kind is None:
            return
        if self._output.as_json:
            self._output.json({"event": kind, **plain(getattr(event, kind))})
        self._show(kind, event)

    def _show(self, kind: str, event: pb.AskResponse) -> None:
        match kind:
            case "rewritten":
                self._output.draw(Text(f"asked as: {visible(event.rewritten.standalone_question)}", "dim"))
            case "retrieval_done":
                self._passages = event.retrieval_done.passages
            case "token_delta":
                self._output.write(event.token_delta.text)
            case "citations":
                self._cite(event.citations.citations)
            case "usage":
                self._usage = event.usage
            case "end":
                self._end(event.end)

    def _cite(self, citations: Sequence[pb.Citation]) -> None:
        self._output.write("\n")
        if not citations:
            self._output.draw(Text("No sentence of this answer was found in the documents.", "yellow"))
        first_of = {citation.number: citation for citation in reversed(citations)}
        for number, citation in sorted(first_of.items()):
            passage = self._passages[citation.passage_index]
            self._output.draw(Text.assemble((f"[{number}] ", "bold cyan"), _heading(passage)))

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
