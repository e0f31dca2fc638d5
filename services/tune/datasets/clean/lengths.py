"""Whether a row fits the model: its prompt is packed as the engine packs it, with room for its answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.common.prompts.errors import EmptyQuestion, QuestionTooLong
from services.common.prompts.lengths import AnswerLength
from services.common.prompts.packing import Piece
from services.common.prompts.prompt import PromptPacker, Tokenizer
from services.tune.datasets.citing import cited_by
from services.tune.datasets.counting import StepReport, Tally
from services.tune.datasets.rows import Row

# Where no tokenizer is known: English and French have about four characters a token.
CHARACTERS_A_TOKEN = 4
_AROUND_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """A row's length in tokens: its prompt, and its longest answer."""

    prompt: int
    answer: int

    @property
    def whole(self) -> int:
        """Return both together."""
        return self.prompt + self.answer


class Characters:
    """A Tokenizer that knows no model: so many characters are a token."""

    def encode(self, text: str) -> Sequence[int]:
        return [0] * -(-len(text) // CHARACTERS_A_TOKEN)

    def beginning(self, text: str, tokens: int) -> str:
        return text[: tokens * CHARACTERS_A_TOKEN]

    def frame(self, turns: int) -> Sequence[Piece]:
        return [Piece("", [0] * _AROUND_TOKENS) for _ in range(2 * turns + 3)]


class Lengths:
    """Drops rows whose question or answer does not fit, or whose cited passage does not."""

    def __init__(self, tokenizer: Tokenizer, limit: int, unit: str) -> None:
        """`limit` is what prompt and answer may have together, in the tokenizer's tokens; `unit` is their name."""
        self._tokenizer = tokenizer
        self.limit, self.unit = limit, unit
        self._packer = PromptPacker(tokenizer, limit)

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], StepReport]:
        """Return the rows that fit."""
        tally, kept = Tally("length"), []
        for row in rows:
            if reason := self._too_long(row):
                tally.drop(reason, row.question, row.documents)
            else:
                kept.append(row)
        return kept, tally.report(len(rows), len(kept))

    def measure(self, row: Row) -> Measured:
        """Return how long a row is that fits."""
        answer = self._answer_tokens(row)
        return Measured(len(self._packer.pack(row.draft(), self._room(answer)).token_ids), answer)

    def _too_long(self, row: Row) -> str:
        answer = self._answer_tokens(row)
        if answer > self.limit // 2:
            return "answer too long"
        try:
            prompt = self._packer.pack(row.draft(), self._room(answer))
        except QuestionTooLong:
            return "question too long"
        except EmptyQuestion:
            return "nothing asked"
        if any(place not in prompt.passage_indexes for place in cited_by(row.right, len(row.passages))):
            return "cited passage does not fit"
        return ""

    def _room(self, answer: int) -> int:
        # As much as the engine leaves; a small model's window is not taken up by it.
        return max(answer, min(AnswerLength.UNSET.tokens, self.limit // 4))

    def _answer_tokens(self, row: Row) -> int:
        return max((len(self._tokenizer.encode(each)) for each in row.told), default=0) + 1
