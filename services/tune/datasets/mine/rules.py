"""Every rule at once: the pairs of a document, each with the passage in which its answer stands."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.tune.datasets.counting import Tally
from services.tune.datasets.mine.articles import pairs_in_article
from services.tune.datasets.mine.documents import Document, Pair, is_whole
from services.tune.datasets.mine.threads import pairs_in_thread
from services.tune.datasets.mine.tickets import pairs_in_tickets
from services.tune.datasets.rows import RowPassage

LEAST_QUESTION_WORDS, LEAST_ANSWER_WORDS = 3, 2
# What makes a document longer to read than it is worth.
MOST_CHARACTERS = 2_000_000


@dataclass(frozen=True, slots=True)
class Mined:
    """A pair with the passage that holds its answer, and what is known of its document."""

    pair: Pair
    passage: RowPassage
    conversation: str
    at: str
    source: str
    language: str
    author: str


def mine(document: Document, tally: Tally) -> list[Mined]:
    """Return what a document tells, each question once; what cannot be learnt is counted."""
    if sum(len(chunk.text) for chunk in document.chunks) > MOST_CHARACTERS:
        tally.drop("document too long", document.title, (document.document_id,))
        return []
    found: dict[str, Mined] = {}
    for pair in _pairs(document):
        if reason := _unfit(pair):
            tally.drop(reason, pair.question, (document.document_id,))
            continue
        passage = document.passage_at(pair.start)
        if passage is None or not is_whole(pair, [passage.text]):
            tally.drop("answer stands in no one passage", pair.question, (document.document_id,))
            continue
        conversation = document.document_id if pair.together else ""
        facts = (conversation, document.at, document.source, document.language, document.author)
        if found.setdefault(pair.question.casefold(), Mined(pair, passage, *facts)).pair is pair:
            tally.change(pair.rule)
    return list(found.values())


def _pairs(document: Document) -> Iterator[Pair]:
    yield from pairs_in_article(document)
    yield from pairs_in_tickets(document)
    yield from pairs_in_thread(document)


def _unfit(pair: Pair) -> str:
    if len(pair.question.split()) < LEAST_QUESTION_WORDS:
        return "question too short"
    return "answer too short" if len(pair.answer.split()) < LEAST_ANSWER_WORDS else ""
