"""Interactions, and opinions of them, without gRPC, Kafka or PostgreSQL."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.common import pages
from services.common.errors import InvalidArgument, NotFound, Unavailable
from services.common.text import printable

MAX_TEXT_CHARS = 10_000
DEFAULT_TURNS = 10
MAX_TURNS = 100
# What was made of the documents: their text, and what was asked and told of it.
WITHHELD = frozenset(
    {"question", "standalone_question", "answer", "prompt", "passages", "citations", "history_document_ids"}
)
MAX_TITLE_CHARS = 200


class InvalidRating(InvalidArgument):
    """No thumb, or more text than is kept."""

    reason = "INVALID_RATING"


class InvalidMaxTurns(InvalidArgument):
    """A negative number of turns."""

    reason = "INVALID_MAX_TURNS"


class InvalidRatedAfter(InvalidArgument):
    """A timestamp outside the years 1 to 9999."""

    reason = "INVALID_RATED_AFTER"


class ConversationNotFound(NotFound):
    """The caller has no such conversation."""

    reason = "CONVERSATION_NOT_FOUND"


class StoreUnavailable(Unavailable):
    """The database did not answer; nothing is known to be kept."""

    reason = "STORE_UNAVAILABLE"


class Thumb(StrEnum):
    """The short opinion."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Interaction:
    """One question with its whole answer.

    `content` is the record in protobuf's JSON mapping; the fields beside it are those that
    are searched by.
    """

    tenant_id: str
    interaction_id: str
    conversation_id: str
    subject: str
    asked_at: datetime
    content: Mapping[str, Any]

    def document_ids(self) -> set[str]:
        """Return the documents that its prompt, and so its answer, came from."""
        passages = {passage.get("document_id", "") for passage in self.content.get("passages", ())}
        return passages | set(self.content.get("history_document_ids", ()))

    def shown(self, readable: Collection[str]) -> "Interaction":
        """Return it as who may read the documents in `readable` may see it."""
        if self.document_ids() <= set(readable):
            return self
        kept = {name: value for name, value in self.content.items() if name not in WITHHELD}
        return replace(self, content=kept | {"withheld": True})


@dataclass(frozen=True, slots=True)
class Conversation:
    """Questions of one subject that follow each other; `assistant` answered the last of them."""

    first: Interaction
    turns: int
    last_asked_at: datetime
    assistant: str

    def document_ids(self) -> set[str]:
        """Return the documents that its title came from."""
        return self.first.document_ids()

    def title(self, readable: Collection[str]) -> str | None:
        """Return what who may read the documents in `readable` may see of the first question; None for nothing."""
        shown = self.first.shown(readable)
        if shown.content.get("withheld"):
            return None
        return str(shown.content.get("question", ""))[:MAX_TITLE_CHARS]

    def position(self) -> "Position":
        """Return where a page that ends with it ends."""
        return Position(self.last_asked_at, self.first.conversation_id)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody thinks of an answer."""

    thumb: Thumb
    comment: str
    correction: str


@dataclass(frozen=True, slots=True)
class Rating:
    """One subject's opinion of one interaction; replacing the opinion keeps the id."""

    rating_id: str
    tenant_id: str
    interaction_id: str
    subject: str
    opinion: Opinion
    rated_at: datetime


@dataclass(frozen=True, slots=True)
class Rated:
    """A rating, and the interaction that it is of if that was recorded (yet)."""

    rating: Rating
    interaction: Interaction | None

    def document_ids(self) -> set[str]:
        """Return the documents that the answer rated came from."""
        return self.interaction.document_ids() if self.interaction else set()

    def withheld(self, subject: str, readable: Collection[str]) -> bool:
        """Return whether `subject`, who may read the documents in `readable`, may not see what was written.

        Where it is not known what an answer came from, only who rated it may.
        """
        if self.interaction is None:
            return self.rating.subject != subject
        return not self.document_ids() <= set(readable)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of a list ends, newest first: a time, and the id that breaks ties."""

    at: datetime
    object_id: str

    def token(self) -> str:
        """Return the page token that `position_of` reads."""
        return pages.token_of(f"{self.at.isoformat()} {self.object_id}")


def documents_of(shown: Iterable[Interaction | Rated | Conversation]) -> set[str]:
    """Return the documents that any of these came from."""
    return {document_id for one in shown for document_id in one.document_ids()}


def position_of(token: str) -> Position | None:
    """Return the position in a page token; None for the first page.

    Raises:
        InvalidPage: no answer carried `token`.
    """
    if not token:
        return None
    at, _, object_id = pages.key_of(token).partition(" ")
    return Position(pages.moment_of(at), object_id)


def opinion_of(thumb: Thumb | None, comment: str, correction: str) -> Opinion:
    """Return a valid opinion, its texts without control characters.

    Raises:
        InvalidRating: there is no thumb, or a text has more than 10,000 characters.
    """
    if thumb is None:
        raise InvalidRating("the thumb is neither up nor down")
    for name, text in (("comment", comment), ("correction", correction)):
        if len(text) > MAX_TEXT_CHARS:
            raise InvalidRating(f"the {name} is too long", field=name, characters=len(text), limit=MAX_TEXT_CHARS)
    return Opinion(thumb, printable(comment), printable(correction))


def turns_of(requested: int) -> int:
    """Return how many turns to give: 0 means 10, more than 100 is clipped.

    Raises:
        InvalidMaxTurns: `requested` is negative.
    """
    if requested < 0:
        raise InvalidMaxTurns("max_turns is negative", max_turns=requested)
    return min(requested or DEFAULT_TURNS, MAX_TURNS)
