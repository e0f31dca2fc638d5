"""People and their groups: what is kept of them, and what they may read as."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from services.common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.common.identity import EVERYONE
from services.common.text import printable

USER = "user:"
GROUP = "group:"

MAX_ID_CHARS = 200
MAX_ALIASES = 20
MAX_ENTRIES = 500
MAX_MEMBERS = 10_000
# Of all groups of one request, and of one page.
MAX_MEMBERS_TOGETHER = 20_000
# An identity travels in the metadata of every call behind the gateway, which takes 1 MiB.
MAX_PRINCIPALS = 5_000
MAX_PRINCIPALS_BYTES = 512 * 1024


class InvalidUser(InvalidArgument):
    """A user that can never be kept or found."""

    reason = "INVALID_USER"


class InvalidGroup(InvalidArgument):
    """A group, or a member of one, that can never be kept."""

    reason = "INVALID_GROUP"


class TooManyEntries(InvalidArgument):
    """More users, groups or members than one request may have."""

    reason = "TOO_MANY_ENTRIES"


class AliasTaken(AlreadyExists):
    """An alias or an id is another user's alias or id."""

    reason = "ALIAS_TAKEN"


class GroupNotFound(NotFound):
    """The tenant has no such group."""

    reason = "GROUP_NOT_FOUND"


class TooManyPrincipals(FailedPrecondition):
    """A user is in more groups than a call can carry; none is left out silently."""

    reason = "TOO_MANY_PRINCIPALS"


@dataclass(frozen=True, slots=True)
class User:
    """A person; `aliases` are the same person's ids in other systems."""

    user_id: str
    display_name: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Users and other groups, as "user:ID" and "group:ID"."""

    group_id: str
    display_name: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """A user of a tenant as a credential names them: by an id or alias, other aliases, and groups.

    `names` has the id first. What comes after it is believed only as far as the directory does
    not say that it is somebody else's.
    """

    tenant_id: str
    names: tuple[str, ...]
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expanded:
    """Who somebody is in the directory, and all that they may read as; "everyone" is among it."""

    user_id: str
    principals: tuple[str, ...] = field(repr=False)


def is_id(text: str) -> bool:
    """Return whether `text` may be the id of a user or a group: 1 to 200 characters that are what they look like."""
    return 1 <= len(text) <= MAX_ID_CHARS and printable(text) == text and not {"\n", "\t"} & set(text)


def user_id_of(text: str) -> str:
    """Return the id.

    Raises:
        InvalidUser: it can be nobody's.
    """
    if not is_id(text):
        raise InvalidUser("an id has 1 to 200 characters, without control characters or spaces at the ends")
    return text


def checked_users(users: Sequence[User]) -> Sequence[User]:
    """Return the users as they are kept.

    Raises:
        TooManyEntries: they are more than 500.
        InvalidUser: one of them can never be kept, or is there twice.
        AliasTaken: two of them would have the same alias.
    """
    check_count(len(users), MAX_ENTRIES)
    kept = list(map(_checked_user, users))
    if len({user.user_id for user in kept}) < len(kept):
        raise InvalidUser("a user is given twice")
    names = [name for user in kept for name in (user.user_id, *user.aliases)]
    if len(set(names)) < len(names):
        raise AliasTaken("two of the users have the same alias")
    return kept


def checked_groups(groups: Sequence[Group]) -> Sequence[Group]:
    """Return the groups as they are kept.

    Raises:
        TooManyEntries: they are more than 500, or have too many members.
        InvalidGroup: one of them can never be kept, or is there twice.
    """
    check_count(len(groups), MAX_ENTRIES)
    check_count(sum(len(group.members) for group in groups), MAX_MEMBERS_TOGETHER)
    kept = list(map(_checked_group, groups))
    if len({group.group_id for group in kept}) < len(kept):
        raise InvalidGroup("a group is given twice")
    return kept


def checked_members(members: Iterable[str]) -> tuple[str, ...]:
    """Return the members of a group, each once.

    Raises:
        TooManyEntries: they are more than 10,000.
        InvalidGroup: one is neither "user:ID" nor "group:ID".
    """
    once = tuple(dict.fromkeys(members))
    check_count(len(once), MAX_MEMBERS)
    if not all(map(_is_member, once)):
        raise InvalidGroup('a member is "user:ID" or "group:ID"', field="members")
    return once


def group_id_of(text: str) -> str:
    """Return the id.

    Raises:
        InvalidGroup: it can be no group's.
    """
    if not is_id(text):
        raise InvalidGroup("an id has 1 to 200 characters, without control characters or spaces at the ends")
    return text


def check_count(number: int, limit: int) -> None:
    """Check that a request has not too much of something.

    Raises:
        TooManyEntries: it has.
    """
    if number > limit:
        raise TooManyEntries("the request has too many entries", limit=limit)


def fitting(sizes: Iterable[int]) -> int:
    """Return how many of the groups, by the number of their members, go on a page together; one always does."""
    return sum(together <= MAX_MEMBERS_TOGETHER for together in accumulate(sizes))


def expanded(user_id: str, reached: Iterable[str]) -> Expanded:
    """Return who somebody is, and everything that was reached from them.

    Raises:
        TooManyPrincipals: it is more than a call can carry.
    """
    principals = tuple(sorted({EVERYONE, USER + user_id, *reached}))
    if len(principals) > MAX_PRINCIPALS or sum(len(each.encode()) for each in principals) > MAX_PRINCIPALS_BYTES:
        raise TooManyPrincipals("the user is in more groups than a call can carry", limit=MAX_PRINCIPALS)
    return Expanded(user_id, principals)


def _checked_user(user: User) -> User:
    aliases = tuple(alias for alias in dict.fromkeys(user.aliases) if alias != user.user_id)
    if len(aliases) > MAX_ALIASES:
        raise InvalidUser("a user has at most 20 aliases", field="aliases")
    for name in (user.user_id, *aliases):
        user_id_of(name)
    return replace(user, display_name=_display_name(user.display_name, InvalidUser), aliases=aliases)


def _checked_group(group: Group) -> Group:
    group_id_of(group.group_id)
    display_name = _display_name(group.display_name, InvalidGroup)
    return replace(group, display_name=display_name, members=checked_members(group.members))


def _display_name(name: str, fault: type[InvalidArgument]) -> str:
    cleaned = printable(name)
    if len(cleaned) > MAX_ID_CHARS:
        raise fault("a display name has at most 200 characters", field="display_name")
    return cleaned


def _is_member(member: str) -> bool:
    return any(member.startswith(kind) and is_id(member.removeprefix(kind)) for kind in (USER, GROUP))
