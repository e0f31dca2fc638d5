"""Questions: what may be asked, and the ids of what is answered."""

import re
import secrets
import time
from collections.abc import Callable, Sequence

from services.common.errors import InvalidArgument
from services.common.text import printable
from services.gateway.domain.assistants import DEFAULT_TOP_K, MAX_TOP_K, Assistant

MAX_QUESTION_CHARS = 8000

_CONVERSATION_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class EmptyQuestion(InvalidArgument):
    """Nothing printable was asked."""

    reason = "EMPTY_QUESTION"


class QuestionTooLong(InvalidArgument):
    """The question has more than 8,000 characters."""

    reason = "QUESTION_TOO_LONG"


class InvalidTopK(InvalidArgument):
    """top_k is negative."""

    reason = "INVALID_TOP_K"


class InvalidConversationId(InvalidArgument):
    """A conversation's id has other characters than it may, or too many."""

    reason = "INVALID_CONVERSATION_ID"


def question_of(text: str) -> str:
    """Return the question, cleaned.

    Raises:
        EmptyQuestion: nothing printable is in it.
        QuestionTooLong: more than 8,000 characters are.
    """
    # What is far too long is not even cleaned: that would hold everybody else up.
    question = printable(text) if len(text) <= 8 * MAX_QUESTION_CHARS else text
    if not question:
        raise EmptyQuestion("the question is empty")
    if len(question) > MAX_QUESTION_CHARS:
        raise QuestionTooLong("the question is too long", characters=len(question), most_characters=MAX_QUESTION_CHARS)
    return question


def top_k_of(requested: int, assistant: Assistant) -> int:
    """Return how many passages to retrieve: 0 means the assistant's, more than 100 is clipped.

    Raises:
        InvalidTopK: `requested` is negative.
    """
    if requested < 0:
        raise InvalidTopK("top_k is negative", top_k=requested)
    return min(requested or assistant.top_k or DEFAULT_TOP_K, MAX_TOP_K)


def conversation_id_of(requested: str) -> str:
    """Return the conversation's id, "" for a new one.

    Raises:
        InvalidConversationId: it is not 1 to 64 letters, digits, '.', '_' and '-'.
    """
    if requested and not _CONVERSATION_ID.fullmatch(requested):
        raise InvalidConversationId("a conversation's id has at most 64 letters, digits, '.', '_' and '-'")
    return requested


def answer_language_of(question: str, allowed: Sequence[str]) -> str:
    """Return the language to answer in: the question's, or the first of those `allowed` where it is not among them."""
    return question if question in allowed or not allowed else allowed[0]


def new_id(now: Callable[[], float] = time.time) -> str:
    """Return a unique id of 32 hex digits; ids sort by the millisecond they were made in."""
    return f"{int(now() * 1000):012x}{secrets.token_hex(10)}"
