"""Rows from what was mined: the passage that tells among others, and an answer that cites it; or none tells."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.common.grounding.abstention import text_of
from services.common.grounding.citations import Given, check
from services.common.grounding.sentences import spans_of
from services.common.prompts.prompt import Turn
from services.tune.datasets.citing import marked
from services.tune.datasets.counting import StepReport, Tally
from services.tune.datasets.likeness import folded
from services.tune.datasets.mine.documents import plain
from services.tune.datasets.mine.rules import Mined
from services.tune.datasets.rows import Kind, Row, RowPassage

# As many as an assistant's prompt has by default.
MOST_PASSAGES = 4
# Of a row whose passages do not tell.
LEAST_OTHERS = 1


@dataclass(frozen=True, slots=True)
class Found:
    """A mined pair with what a search for its question finds, best first."""

    question: str
    answer: str
    history: tuple[Turn, ...]
    passage: RowPassage
    conversation: str
    at: str
    source: str
    language: str
    found: tuple[RowPassage, ...]

    @classmethod
    def with_passages(cls, mined: Mined, found: Sequence[RowPassage]) -> "Found":
        """Return what was mined, beside what was found."""
        pair = mined.pair
        facts = (mined.conversation, mined.at, mined.source, mined.language)
        return cls(pair.question, pair.answer, pair.history, mined.passage, *facts, tuple(found))

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Found":
        """Return it from JSON."""
        own = {
            "history": tuple(Turn(**each) for each in record["history"]),
            "passage": RowPassage(**record["passage"]),
            "found": tuple(RowPassage(**each) for each in record["found"]),
        }
        return cls(**{**record, **own})

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def rows_of_pairs(
    kind: Kind, pairs: Iterable[Found], unanswerable_every: int, seed: int
) -> tuple[list[Row], StepReport]:
    """Return the rows of SFT or GRPO; for some questions one more, whose passages do not tell."""
    tally, rows, count = Tally("mined questions"), [], 0
    for each in pairs:
        count += 1
        rows.append(_told(kind, each, seed))
        if unanswerable_every > 0 and _number(each, seed) % unanswerable_every == 0:
            rows += _untold(kind, each, tally)
    return rows, tally.report(count, len(rows))


def _told(kind: Kind, each: Found, seed: int) -> Row:
    answer = folded(each.answer)
    others = [
        one
        for one in each.found
        if answer not in folded(plain(one.text)) or one.document_id != each.passage.document_id
    ]
    # It stands anywhere, wherever the search found it: else a model would learn to copy what stands first.
    place = _number(each, seed) // 7 % (min(len(others), MOST_PASSAGES - 1) + 1)
    passages = (*others[:place], each.passage, *others[place:])[:MOST_PASSAGES]
    place = passages.index(each.passage)
    if kind is Kind.GRPO:
        return _row(each, passages, answers=(each.answer,), answerable=True)
    return _row(each, passages, completion=_cited(each.answer, place))


def _untold(kind: Kind, each: Found, tally: Tally) -> Iterable[Row]:
    """Yield the question with passages none of which tells, if there are any."""
    others = [one for one in each.found if one.document_id != each.passage.document_id and not _tells(each, one)]
    if len(others) < LEAST_OTHERS:
        return
    tally.change("whose passages do not tell")
    passages = tuple(others[:MOST_PASSAGES])
    if kind is Kind.GRPO:
        yield _row(each, passages, answers=(), answerable=False)
    else:
        yield _row(each, passages, completion=text_of(each.language, offers=False))


def _tells(each: Found, passage: RowPassage) -> bool:
    if folded(each.answer) in folded(plain(passage.text)):
        return True
    verdicts = check(each.answer, [Given(passage.text, passage.title)], each.question)
    return any(verdict.reason is None for verdict in verdicts)


def _cited(answer: str, place: int) -> str:
    """Return an answer each of whose sentences cites the passage at a place, from 0."""
    return " ".join(marked(answer[start:end], place) for start, end in spans_of(answer))


def _row(each: Found, passages: Sequence[RowPassage], **own: Any) -> Row:
    return Row(
        question=each.question,
        conversation=each.conversation,
        at=each.at,
        source=each.source,
        language=each.language,
        history=each.history,
        passages=tuple(passages),
        documents=tuple(sorted({one.document_id for one in (each.passage, *passages)})),
        **own,
    )


def _number(each: Found, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{each.question}/{each.answer}".encode()).digest()[:8])
