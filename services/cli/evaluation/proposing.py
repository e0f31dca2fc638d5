"""Proposes a set of questions from what people asked and from the documents, for a person to edit."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb

from services.cli.errors import Failure
from services.cli.evaluation import past
from services.cli.gateway import Gateway
from services.common.evaluation.questions import MAX_QUESTION_CHARS, Question, jsonl_of

NOTE_CHARS = 300
PASSAGES = 5
# How a heading, and a title alone, become a question.
_PHRASES = {
    "en": ("What does \u201c{title}\u201d say about \u201c{heading}\u201d?", "What is \u201c{title}\u201d about?"),
    "fr": (
        "Que dit \u00ab\u00a0{title}\u00a0\u00bb de \u00ab\u00a0{heading}\u00a0\u00bb\u00a0?",
        "De quoi parle \u00ab\u00a0{title}\u00a0\u00bb\u00a0?",
    ),
}


class FileExists(Failure):
    """The file to write is there already, and may have been edited."""

    reason = "FILE_EXISTS"


class NothingToPropose(Failure):
    """There are neither questions nor documents that the caller may read."""

    reason = "NOTHING_TO_PROPOSE"


@dataclass(frozen=True, slots=True)
class Proposed:
    """A question for a person to look at, and what the documents say there."""

    question: Question
    note: str = ""
    was_asked: bool = False


def propose(gateway: Gateway, count: int, sources: Sequence[str]) -> list[Proposed]:
    """Return at most `count` questions: up to half of what people asked, the rest made of documents.

    Raises:
        NothingToPropose: there is none.
    """
    asked = [Proposed(question, was_asked=True) for question in past.asked(gateway, count)]
    made = list(islice(_of_documents(gateway, sources), max(count - len(asked), (count + 1) // 2)))
    found = (asked[: count - len(made)] + made)[:count]
    if not found:
        raise NothingToPropose("nobody has asked anything with citations, and there is no document that you may read")
    return found


def write(path: Path, proposed: Iterable[Proposed], *, force: bool) -> None:
    """Write a set for a person to edit.

    Raises:
        FileExists: there is such a file, and it is not to be replaced.
    """
    try:
        with path.open("wb" if force else "xb") as file:
            for each in proposed:
                file.write(jsonl_of(_unreviewed(each.question), each.note))
    except FileExistsError as error:
        raise FileExists(f"{path} is there already: --force writes over it", file=str(path)) from error


def _unreviewed(question: Question) -> Question:
    return Question(question.id, question.text, question.answers, question.documents, reviewed=False)


def _of_documents(gateway: Gateway, sources: Sequence[str]) -> Iterator[Proposed]:
    """Yield a question for each document that a search for its title finds."""
    for source in sources or ("",):
        request = ingest_pb.ListDocumentsRequest(source=source, state=ingest_pb.DOCUMENT_STATE_INDEXED)
        pages = gateway.pages(gateway.sources.ListDocuments, request)
        for document in (each for page in pages for each in page.documents):
            title = (document.title or document.external_id)[:MAX_QUESTION_CHARS]
            wanted = pb.SearchRequest(query=title, top_k=PASSAGES)
            found = gateway.call(gateway.answers.Search, wanted).passages
            own = [passage for passage in found if passage.document_id == document.document_id]
            if own:
                # The deepest heading says most precisely what may be asked.
                yield _of_passage(title, max(own, key=lambda passage: len(passage.headings)))


def _of_passage(title: str, passage: retrieve_pb.Passage) -> Proposed:
    text = question_of(title, passage.headings[-1] if passage.headings else "", passage.language)
    documents = {passage.document_id: 1}
    note = " ".join(passage.text.split())[:NOTE_CHARS]
    return Proposed(Question(passage.chunk_id, text, (), documents), note)


def question_of(title: str, heading: str, language: str) -> str:
    """Return what a person might ask whom this heading answers; a heading that asks stays as it is."""
    if heading.rstrip().endswith("?"):
        return heading.strip()
    about, alone = _PHRASES.get(language, _PHRASES["en"])
    if not heading or heading.casefold() == title.casefold():
        return alone.format(title=title)
    return about.format(title=title, heading=heading)
