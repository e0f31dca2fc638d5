"""Paging of lists (AIP-158): clipped sizes and opaque tokens."""

import base64
import binascii
from datetime import UTC, datetime

from services.common.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500


class InvalidPage(InvalidArgument):
    """A negative page size, or a token that no answer carried."""

    reason = "INVALID_PAGE"


def page_size_of(requested: int) -> int:
    """Return how many rows to give: 0 means 50, more than 500 is clipped.

    Raises:
        InvalidPage: `requested` is negative.
    """
    if requested < 0:
        raise InvalidPage("page_size is negative", page_size=requested)
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def token_of(last_key: str) -> str:
    """Return the token of the page that begins after `last_key`."""
    return base64.urlsafe_b64encode(last_key.encode()).decode()


def key_of(token: str) -> str:
    """Return the key that the page begins after; "" for the first page.

    Raises:
        InvalidPage: `token` came from no answer.
    """
    try:
        key = base64.b64decode(token.encode("ascii"), b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidPage("the page token is not one of ours") from error
    # PostgreSQL keeps no such text, and refuses to look for it.
    if "\0" in key:
        raise InvalidPage("the page token is not one of ours")
    return key


def moment_of(text: str) -> datetime:
    """Return a time in a page's key, in UTC.

    Raises:
        InvalidPage: it is none that a token of ours has.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidPage("the page token is not one of ours") from error
    raise InvalidPage("the page token is not one of ours")
