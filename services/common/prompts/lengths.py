"""How much an answer says: in words for the model, and in tokens at most."""

from enum import Enum


class AnswerLength(Enum):
    """The words that ask for it, and the most tokens where a caller says none."""

    UNSET = ("in one short sentence", 256)
    SHORT = ("in one short sentence", 96)
    MEDIUM = ("in a few sentences", 256)
    LONG = ("with every detail that the passages give", 768)

    @property
    def words(self) -> str:
        """What the model is told."""
        return self.value[0]

    @property
    def tokens(self) -> int:
        """What an answer may take."""
        return self.value[1]


# As briefly as a model is told to answer anyway.
BRIEF = frozenset({AnswerLength.UNSET, AnswerLength.SHORT})
