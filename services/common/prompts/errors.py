"""Why no prompt can be made."""

from services.common.errors import InvalidArgument


class EmptyQuestion(InvalidArgument):
    """Nothing printable was asked."""

    reason = "EMPTY_QUESTION"


class QuestionTooLong(InvalidArgument):
    """The question and the instructions do not fit the model together."""

    reason = "QUESTION_TOO_LONG"
