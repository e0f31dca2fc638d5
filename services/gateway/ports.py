"""What the gateway needs kept, and written, for it.

Where an `identity` is asked for, only its tenant's are found and changed.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.common.errors import Unavailable
from services.common.identity import Identity
from services.gateway.domain.assistants import Assistant
from services.gateway.domain.keys import ApiKey, KeyTerms, NewKey, StoredKey
from services.gateway.domain.people import Expanded, Group, Person, User


class StoreUnavailable(Unavailable):
    """Keys and assistants cannot be read or written now."""

    reason = "STORE_UNAVAILABLE"


class EntailmentFailed(Unavailable):
    """The entailment model did not judge; what words say stands."""

    reason = "ENTAILMENT_FAILED"


class Entailment(Protocol):
    """Judges whether one text follows from another."""

    async def scores(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        """Return for each (premise, hypothesis) how surely the one entails the other, 0 to 1.

        Raises:
            EntailmentFailed: it cannot tell.
        """


class ApiKeys(Protocol):
    """Keeps the tenants' keys. Every method raises StoreUnavailable when it cannot."""

    async def find(self, key_id: str) -> StoredKey | None:
        """Return what credentials of this id are checked against."""

    async def create(self, identity: Identity, terms: KeyTerms, key: NewKey) -> ApiKey:
        """Keep a new key; the tenant is made if it is missing."""

    async def page(self, identity: Identity, after: tuple[datetime, str] | None, limit: int) -> Sequence[ApiKey]:
        """Return at most `limit` of the tenant's keys made before that time (and id), newest first."""

    async def revoke(self, identity: Identity, key_id: str) -> None:
        """Revoke a key; one that was revoked stays so.

        Raises:
            ApiKeyNotFound: the tenant has no such key.
        """


class Assistants(Protocol):
    """Keeps the tenants' assistants and all their versions. Every method raises StoreUnavailable when it cannot."""

    async def find(self, identity: Identity, name: str) -> Assistant | None:
        """Return the assistant of this name that is in use."""

    async def put(self, identity: Identity, assistant: Assistant, expected: int | None = None) -> Assistant:
        """Put an assistant to use as a new version, and return it; what is as it was stays the version that it was.

        Raises:
            AssistantChanged: the version in use is not `expected`; 0 is none.
        """

    async def version(self, identity: Identity, name: str, version: int) -> Assistant | None:
        """Return a version of an assistant, in use or not."""

    async def versions(self, identity: Identity, name: str, before: int, limit: int) -> Sequence[Assistant]:
        """Return at most `limit` versions before that number, newest first."""

    async def delete(self, identity: Identity, name: str) -> None:
        """Take an assistant out of use; its versions stay, and their numbers go on.

        Raises:
            AssistantNotFound: it never had a version.
        """

    async def page(self, identity: Identity, after: str, limit: int) -> Sequence[Assistant]:
        """Return at most `limit` of the tenant's assistants whose names come after `after`, by name."""


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Some groups, and whether more come after them."""

    groups: Sequence[Group]
    more: bool


class Directory(Protocol):
    """Keeps the tenants' people. Every method raises StoreUnavailable when it cannot.

    No two users of a tenant share a name, be it an id or an alias.
    """

    async def expand(self, person: Person) -> Expanded:
        """Return who somebody is, and all that they may read as, whether they are known or not.

        Raises:
            TooManyPrincipals: it is more than a call can carry.
        """

    async def put_users(self, identity: Identity, users: Sequence[User]) -> None:
        """Create or replace users by id, all or none.

        Raises:
            AliasTaken: a name is another user's.
        """

    async def page_users(self, identity: Identity, after: str, limit: int) -> Sequence[User]:
        """Return at most `limit` users whose ids come after `after`, by id."""

    async def remove_users(self, identity: Identity, user_ids: Collection[str]) -> int:
        """Remove users, and their memberships under every name; return how many were known."""

    async def put_groups(self, identity: Identity, groups: Sequence[Group]) -> None:
        """Create or replace groups by id, with all their members, all or none."""

    async def page_groups(self, identity: Identity, after: str, limit: int) -> GroupPage:
        """Return at most `limit` groups whose ids come after `after`, by id; fewer where they have many members."""

    async def remove_groups(self, identity: Identity, group_ids: Collection[str]) -> int:
        """Remove groups, also as members of others; return how many were known."""

    async def change_members(
        self, identity: Identity, group_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> None:
        """Add members to a group and remove others; what is in both is removed.

        Raises:
            GroupNotFound: the tenant has no such group.
            TooManyEntries: the group would have more members than a group may.
        """


class InteractionLog(Protocol):
    """Records what was asked and answered, and what failed."""

    def record(self, tenant_id: str, conversation_id: str, interaction: bytes) -> asyncio.Future[None]:
        """Send a record on its way; the future is done when it cannot be lost any more.

        It ends with BusUnavailable when that cannot be had.
        """

    def fail(self, tenant_id: str, conversation_id: str, failure: bytes) -> asyncio.Future[None]:
        """Send the record of an answer that failed on its way, as `record` does."""
