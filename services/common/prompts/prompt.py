"""Packs instructions, history, passages and question into a prompt that fits the model."""

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.common.prompts.errors import EmptyQuestion, QuestionTooLong
from services.common.prompts.lengths import BRIEF, AnswerLength
from services.common.prompts.markup import neutral
from services.common.prompts.packing import Passage, Piece, chosen
from services.common.prompts.wording import asked, in_language
from services.common.text import printable

MAX_QUESTION_CHARACTERS = 8000
# No token of a common vocabulary is longer on average; what is longer is not worth encoding to find out.
MAX_CHARACTERS_A_TOKEN = 16
# With passages to show, history may take a third of what instructions and question leave.
HISTORY_SHARE = 3

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_MARKER = re.compile(r"\[(\d{1,4})\]")


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier question with its answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What a caller wants in a prompt: `history` oldest first, `passages` best first.

    `language` (ISO 639-1) is what the answer is to be in; "" leaves it to the model.
    """

    instructions: str
    history: Sequence[Turn]
    passages: Sequence[Passage]
    question: str
    language: str = ""
    length: AnswerLength = AnswerLength.UNSET

    def characters(self) -> int:
        """Return how much of it there is to read."""
        turns = sum(len(turn.question) + len(turn.answer) for turn in self.history)
        passages = sum(len(passage.title) + len(passage.text) for passage in self.passages)
        return len(self.instructions) + turns + passages + len(self.question)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A packed prompt, as text and as what the engine gets; the indexes of its passages rise."""

    text: str
    token_ids: list[int]
    passage_indexes: tuple[int, ...]
    turns_used: int


class Tokenizer(Protocol):
    """A model's vocabulary and its form of a conversation."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of `text`; no text becomes a token that has a role in conversations."""

    def beginning(self, text: str, tokens: int) -> str:
        """Return the longest beginning of `text` of at most `tokens` tokens."""

    def frame(self, turns: int) -> Sequence[Piece]:
        """Return what stands around the messages of a conversation: 2 * turns + 3 pieces.

        The messages are the instructions, a question and an answer for each of `turns`,
        and the last question; the last piece lets the model answer.
        """


class PromptPacker:
    """Packs prompts for one model; the parts that repeat come first, for its prefix cache."""

    def __init__(self, tokenizer: Tokenizer, context_tokens: int, instructions: str = "") -> None:
        """`context_tokens` holds prompt and answer; `instructions` are for who brings none, or else ours."""
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._own = instructions
        # Instructions are few, and come with every question.
        self._repeated = functools.lru_cache(maxsize=64)(self._piece)

    def pack(self, draft: Draft, max_tokens: int) -> Prompt:
        """Return the prompt that leaves `max_tokens` for the answer.

        Raises:
            EmptyQuestion: nothing printable is asked.
            QuestionTooLong: instructions and question do not fit.
        """
        budget, grounded = self._context_tokens - max_tokens, bool(draft.passages)
        wanted = clean(draft.instructions) or self._own or standing(grounded, draft.length)
        instructions = self._repeated(wanted) if len(wanted) <= budget * MAX_CHARACTERS_A_TOKEN else None
        wording = asked(_checked(draft.question), grounded, draft.length)
        wording += in_language(draft.language, foreign=bool(draft.instructions))
        question = self._encoded(wording, budget)
        if instructions is None or question is None:
            raise QuestionTooLong("instructions and question do not fit the model")
        left = budget - _tokens((instructions, question, *self._tokenizer.frame(0)))
        if left < 0:
            raise QuestionTooLong("instructions and question do not fit the model", tokens_over=-left)
        before = self._history(draft.history, left // HISTORY_SHARE if grounded else left)
        frame = self._tokenizer.frame(len(before) // 2)
        passages = self._passages(draft.passages, budget - _tokens((instructions, *before, question, *frame)))
        # The best comes last, next to the question, where small models look.
        indexes = tuple(sorted(passages))
        last = [*(passages[index] for index in reversed(indexes)), question]
        pieces = _interleaved(frame, (instructions, *before), last)
        return Prompt(
            "".join([piece.text for piece in pieces]),
            list(itertools.chain.from_iterable(piece.token_ids for piece in pieces)),
            indexes,
            len(before) // 2,
        )

    def _history(self, history: Sequence[Turn], left: int) -> list[Piece]:
        """Return the messages of the newest turns that fit."""
        newest: list[Piece] = []
        for turn in reversed(history):
            question, answer = (
                self._encoded(clean(turn.question), left),
                self._encoded(neutral(clean(turn.answer)), left),
            )
            if question is None or answer is None or self._cost((question, answer, *newest)) > left:
                break
            newest = [question, answer, *newest]
        return newest

    def _cost(self, messages: Sequence[Piece]) -> int:
        """Return the tokens that questions and answers take, with what stands around them."""
        around = _tokens(self._tokenizer.frame(len(messages) // 2)) - _tokens(self._tokenizer.frame(0))
        return _tokens(messages) + around

    def _passages(self, passages: Sequence[Passage], left: int) -> Mapping[int, Piece]:
        """Return what is worth most of what fits, by index; the very first is cut rather than left out."""
        if not passages:
            return {}

        def encode(index: int, passage: Passage) -> Piece | None:
            return self._encoded(quoted(index + 1, passage.title, passage.text), left)

        if found := chosen(passages, left, encode):
            return found
        cut = self._cut(passages[0], left)
        return {0: cut} if cut else {}

    def _cut(self, passage: Passage, left: int) -> Piece | None:
        """Return the first passage up to the last sentence that fits, or None where not even one does."""
        empty = self._encoded(quoted(1, passage.title, ""), left)
        room = left - len(empty.token_ids) if empty else 0
        text = clean(passage.text[: left * MAX_CHARACTERS_A_TOKEN])
        while room > 0 and (text := _whole_sentences(self._tokenizer.beginning(text, room))):
            piece = self._encoded(quoted(1, passage.title, text), left)
            if piece is not None and len(piece.token_ids) <= left:
                return piece
            room -= 8  # Cleaning can lengthen a text, and joining can add a token.
        return None

    def _encoded(self, text: str, left: int) -> Piece | None:
        """Return `text` with its tokens, or None where it is plainly longer than `left` tokens."""
        if len(text) > left * MAX_CHARACTERS_A_TOKEN:
            return None
        return self._piece(text)

    def _piece(self, text: str) -> Piece:
        return Piece(text, self._tokenizer.encode(text))


def clean(text: str) -> str:
    """Return `text` without control characters (newline and tab stay) and without space at the ends."""
    return _CONTROLS.sub("", text).strip()


def quoted(number: int, title: str, text: str) -> str:
    """Return a passage between delimiters that neither its title nor its text can forge.

    Numbers in square brackets become round ones, so that only ours look like citations.
    """
    heading = " ".join(_defused(title).split())
    return f"<passage {number}>\n{heading}\n{_defused(text)}\n</passage {number}>\n"


@functools.cache
def standing(grounded: bool, length: AnswerLength = AnswerLength.UNSET) -> str:  # noqa: FBT001 - what it turns on
    """Return our own instructions: with passages, short and with an example, for small models follow little else."""
    if not grounded:
        brief = "in one or two short sentences" if length in BRIEF else "as the question says"
        return f"You are a helpful assistant. Answer {brief}."
    hours = quoted(1, "Opening hours", "The shop is open from 9 am to 6 pm, Monday to Saturday.")
    kettle = quoted(2, "Kettle K2", "The K2 kettle is red, holds 1.7 litres and costs 35 euros.")
    example = f"{kettle}{hours}\nWhen does the shop close?\nThe shop closes at 6 pm [1]."
    return f"Answer the question with a fact from the passages, {length.words}.\n\nExample:\n{example}"


def _defused(text: str) -> str:
    return neutral(_MARKER.sub(r"(\1)", clean(text)))


def _checked(question: str) -> str:
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise QuestionTooLong("the question is too long", limit_characters=MAX_QUESTION_CHARACTERS)
    if not (kept := printable(question)):
        raise EmptyQuestion("the question is empty")
    return kept


def _whole_sentences(text: str) -> str:
    """Return `text` up to its last sentence that is whole, or else to its last word."""
    ends = [match.start() for match in _SENTENCE_END.finditer(text)]
    if ends and ends[-1]:
        return text[: ends[-1]]
    return text.rpartition(" ")[0] or text


def _tokens(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.token_ids) for piece in pieces)


def _interleaved(frame: Sequence[Piece], before: Sequence[Piece], last: Sequence[Piece]) -> list[Piece]:
    """Return the messages `before`, and the one made of `last`, each in its place in the frame."""
    pieces = [piece for pair in zip(frame, before, strict=False) for piece in pair]
    return [*pieces, frame[-2], *last, frame[-1]]
