"""A document as it was read, put together again from its chunks, and what is found in it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.grounding.sentences import spans_of
from services.common.prompts.prompt import Turn
from services.tune.datasets.rows import RowPassage

# An answer is short: small models learn to say one thing, and to cite it.
MOST_SENTENCES, MOST_CHARACTERS = 2, 400
_SHORT_SENTENCE = 12
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_MARKS = re.compile(r"\*\*|__|`|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)|^[ \t]*(?:#{1,6}|[>|-])[ \t]+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, [start, end) of its parsed text; the table's header may stand before it."""

    chunk_id: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document's chunks in their order, and what is known of it; `at` is an ISO time, or ""."""

    document_id: str
    title: str
    source: str
    kind: str
    language: str
    author: str
    at: str
    chunks: tuple[Chunk, ...]

    def text(self) -> str:
        """Return the parsed text, every character where it was; what no chunk has is blank."""
        text = ""
        for chunk in self.chunks:
            own = chunk.text[-(chunk.end - chunk.start) :] if chunk.end > chunk.start else ""
            gap = chunk.start - len(text)
            text += "\n" * gap + own[max(0, -gap) :]
        return text

    def passage_at(self, offset: int) -> RowPassage | None:
        """Return the passage that holds a character, if one does."""
        for chunk in self.chunks:
            if chunk.start <= offset < chunk.end:
                return RowPassage(self.document_id, self.title, chunk.text)
        return None


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and its answer as a document has them; `start` is where the answer begins in the document.

    `together` tells whether the document is one conversation, whose pairs belong together.
    """

    question: str
    answer: str
    start: int
    rule: str
    history: tuple[Turn, ...] = ()
    together: bool = False


def plain(text: str) -> str:
    """Return a text without Markdown's marks, on one line."""
    return " ".join(_MARKS.sub("", _LINK.sub(r"\1", text)).split())


def shortened(answer: str) -> str:
    """Return the beginning of an answer: a sentence or two that say something."""
    answer = plain(answer)
    taken, end = 0, 0
    for start, stop in spans_of(answer):
        if end and stop > MOST_CHARACTERS:
            break
        # "Yes." alone is no sentence to stop at.
        taken += stop - start >= _SHORT_SENTENCE
        end = stop
        if taken >= MOST_SENTENCES:
            break
    return answer[:end] if 0 < end <= MOST_CHARACTERS else ""


def asks(text: str) -> bool:
    """Return whether a text has a question in it."""
    return "?" in text or "\uff1f" in text


def questions_in(turn: str) -> str:
    """Return a turn as a question: whole where it is short, or else those of its sentences that ask."""
    turn = plain(turn)
    if len(turn) <= MOST_CHARACTERS:
        return turn
    return " ".join(turn[start:stop] for start, stop in spans_of(turn) if asks(turn[start:stop]))[:MOST_CHARACTERS]


def statements_in(turn: str) -> str:
    """Return what a turn says before it asks something itself."""
    turn = plain(turn)
    end = 0
    for start, stop in spans_of(turn):
        if asks(turn[start:stop]):
            break
        end = stop
    return turn[:end]


def starts_in(text: str, part: str, start: int, end: int) -> int:
    """Return where the first word of `part` stands in [start, end) of a text; `start` where it does not."""
    word = next(iter(re.findall(r"\w+", part)), "")
    at = text.find(word, start, end) if word else -1
    return at if at >= 0 else start


def is_whole(pair: Pair, texts: Sequence[str]) -> bool:
    """Return whether one of the texts holds a pair's answer."""
    answer = plain(pair.answer).casefold()
    return any(answer in plain(text).casefold() for text in texts)
