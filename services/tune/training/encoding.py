"""Rows of a data set as the tokens that the engine will see, and that an answer is made of."""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer

from services.common.prompts.lengths import AnswerLength
from services.common.prompts.packing import Passage
from services.common.prompts.prompt import Draft, Prompt, PromptPacker, Turn
from services.common.prompts.tokenizer import ChatTokenizer
from services.tune.training.rows import Row

# What stands after a first answer, among the pieces around the messages of a conversation of two questions.
_AFTER_ANSWER = 3


class Encoder:
    """Packs prompts as generate does when nobody says how long the answer is to be, and encodes answers."""

    def __init__(self, model: Path, context_tokens: int, instructions: str = "") -> None:
        """`model` is a folder with a tokenizer; `instructions` are the engine's for who brings none."""
        self.tokenizer = AutoTokenizer.from_pretrained(model)  # a folder on this disk  # nosec B615
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._chat = ChatTokenizer(model)
        self._context_tokens = context_tokens
        self._packer = PromptPacker(self._chat, context_tokens, instructions)
        self._end = self._end_of_answer()

    def prompt(self, row: Row) -> Prompt:
        """Return the prompt of a row.

        Raises:
            EmptyQuestion, QuestionTooLong: the row has none that fits.
        """
        return self._packer.pack(draft_of(row), min(AnswerLength.UNSET.tokens, self._context_tokens // 2))

    def answer(self, text: str) -> list[int]:
        """Return the tokens of an answer with the one that ends it."""
        return [*self._chat.encode(text), self._end]

    def fits(self, prompt: Sequence[int], *answers: Sequence[int]) -> bool:
        """Return whether the engine could give these answers to a prompt."""
        return len(prompt) + max(map(len, answers), default=0) <= self._context_tokens

    def probe(self, text: str) -> list[int]:
        """Return the tokens of a text by itself."""
        return list(self._chat.encode(text))

    def _end_of_answer(self) -> int:
        """Return the token that the chat template puts after an answer, or else the one that ends a text."""
        after = self._chat.frame(1)[_AFTER_ANSWER].token_ids
        controls = set(self.tokenizer.all_special_ids)
        return next((token for token in after[:1] if token in controls), int(self.tokenizer.eos_token_id))


def draft_of(row: Row) -> Draft:
    """Return what a row asks, as generate is asked for it."""
    return Draft(
        row["instructions"],
        [Turn(turn["question"], turn["answer"]) for turn in row["history"]],
        [Passage(passage["title"], passage["text"]) for passage in row["passages"]],
        row["question"],
        language=row["language"],
    )
