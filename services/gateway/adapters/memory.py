"""Keys, assistants and interactions kept in this process, for tests and trials."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from services.common.identity import Identity
from services.gateway.domain.assistants import Assistant, AssistantNotFound, check_version
from services.gateway.domain.keys import ApiKey, ApiKeyNotFound, KeyTerms, NewKey, StoredKey
from services.gateway.domain.people import (
    GROUP,
    MAX_MEMBERS,
    USER,
    AliasTaken,
    Expanded,
    Group,
    GroupNotFound,
    Person,
    User,
    check_count,
    expanded,
    fitting,
)
from services.gateway.ports import EntailmentFailed, GroupPage


class MemoryApiKeys:
    """ApiKeys in a dictionary."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[ApiKey, bytes]] = {}

    async def find(self, key_id: str) -> StoredKey | None:
        key, mac = self._keys.get(key_id, (None, b""))
        if key is None:
            return None
        terms, revoked = key.terms, key.revoked_at is not None
        return StoredKey(
            key_id, key.tenant_id, mac, revoked, terms.roles, terms.expires_at, terms.acts_for_users, terms.quota
        )

    async def create(self, identity: Identity, terms: KeyTerms, key: NewKey) -> ApiKey:
        kept = ApiKey(key.key_id, identity.tenant_id, terms, datetime.now(UTC))
        self._keys[key.key_id] = (kept, key.mac)
        return kept

    async def page(self, identity: Identity, after: tuple[datetime, str] | None, limit: int) -> Sequence[ApiKey]:
        keys = [key for key, _ in self._keys.values() if key.tenant_id == identity.tenant_id]
        keys.sort(key=_position, reverse=True)
        return [key for key in keys if after is None or _position(key) < after][:limit]

    async def revoke(self, identity: Identity, key_id: str) -> None:
        key, mac = self._keys.get(key_id, (None, b""))
        if key is None or key.tenant_id != identity.tenant_id:
            raise ApiKeyNotFound("no such key", key_id=key_id)
        self._keys[key_id] = (replace(key, revoked_at=key.revoked_at or datetime.now(UTC)), mac)


class MemoryAssistants:
    """Assistants in dictionaries."""

    def __init__(self) -> None:
        self._assistants: dict[tuple[str, str], Assistant] = {}
        self._versions: defaultdict[tuple[str, str], list[Assistant]] = defaultdict(list)

    async def find(self, identity: Identity, name: str) -> Assistant | None:
        return self._assistants.get((identity.tenant_id, name))

    async def put(self, identity: Identity, assistant: Assistant, expected: int | None = None) -> Assistant:
        key = identity.tenant_id, assistant.name
        live = self._assistants.get(key)
        check_version(live.version if live else 0, expected)
        if live and live.says_as_much_as(assistant):
            return live
        kept = replace(assistant, version=len(self._versions[key]) + 1, created_at=datetime.now(UTC))
        self._versions[key].append(kept)
        self._assistants[key] = kept
        return kept

    async def version(self, identity: Identity, name: str, version: int) -> Assistant | None:
        found = self._versions.get((identity.tenant_id, name), [])
        return found[version - 1] if 0 < version <= len(found) else None

    async def versions(self, identity: Identity, name: str, before: int, limit: int) -> Sequence[Assistant]:
        found = self._versions.get((identity.tenant_id, name), [])
        return [each for each in reversed(found) if each.version < before][:limit]

    async def delete(self, identity: Identity, name: str) -> None:
        key = identity.tenant_id, name
        if key not in self._versions:
            raise AssistantNotFound("no such assistant", assistant=name)
        self._assistants.pop(key, None)

    async def page(self, identity: Identity, after: str, limit: int) -> Sequence[Assistant]:
        tenant_id = identity.tenant_id
        names = sorted(name for tenant, name in self._assistants if tenant == tenant_id and name > after)
        return [self._assistants[tenant_id, name] for name in names[:limit]]


@dataclass(slots=True)
class _People:
    """One tenant's people."""

    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)

    def owner_of(self, name: str) -> User | None:
        return next((user for user in self.users.values() if name in {user.user_id, *user.aliases}), None)


class MemoryDirectory:
    """Directory in dictionaries."""

    def __init__(self) -> None:
        self._tenants: defaultdict[str, _People] = defaultdict(_People)

    async def expand(self, person: Person) -> Expanded:
        people = self._tenants[person.tenant_id]
        owners = [people.owner_of(name) for name in person.names]
        known = next(filter(None, owners), None)
        names = {name for name, owner in zip(person.names, owners, strict=True) if owner in {None, known}}
        names |= {known.user_id, *known.aliases} if known else set()
        reached = {*(USER + name for name in names), *(GROUP + group for group in person.groups)}
        while more := self._containing(people, reached) - reached:
            reached |= more
        return expanded(known.user_id if known else person.names[0], reached)

    async def put_users(self, identity: Identity, users: Sequence[User]) -> None:
        people = self._tenants[identity.tenant_id]
        kept = {**people.users, **{user.user_id: user for user in users}}
        names = [name for user in kept.values() for name in (user.user_id, *user.aliases)]
        if len(set(names)) < len(names):
            raise AliasTaken("an alias is another user's already")
        people.users = kept

    async def page_users(self, identity: Identity, after: str, limit: int) -> Sequence[User]:
        users = self._tenants[identity.tenant_id].users
        found = [users[user_id] for user_id in sorted(users) if user_id > after][:limit]
        return [replace(user, aliases=tuple(sorted(user.aliases))) for user in found]

    async def remove_users(self, identity: Identity, user_ids: Collection[str]) -> int:
        people = self._tenants[identity.tenant_id]
        removed = [people.users.pop(user_id) for user_id in set(user_ids) if user_id in people.users]
        names = {*user_ids, *(alias for user in removed for alias in user.aliases)}
        _take_out(people, {USER + name for name in names})
        return len(removed)

    async def put_groups(self, identity: Identity, groups: Sequence[Group]) -> None:
        self._tenants[identity.tenant_id].groups |= {group.group_id: group for group in groups}

    async def page_groups(self, identity: Identity, after: str, limit: int) -> GroupPage:
        groups = self._tenants[identity.tenant_id].groups
        found = [groups[group_id] for group_id in sorted(groups) if group_id > after]
        page = found[: min(limit, fitting([len(group.members) for group in found]))]
        return GroupPage([replace(group, members=tuple(sorted(group.members))) for group in page], found != page)

    async def remove_groups(self, identity: Identity, group_ids: Collection[str]) -> int:
        people = self._tenants[identity.tenant_id]
        removed = [people.groups.pop(group_id) for group_id in set(group_ids) if group_id in people.groups]
        _take_out(people, {GROUP + group_id for group_id in group_ids})
        return len(removed)

    async def change_members(
        self, identity: Identity, group_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> None:
        groups = self._tenants[identity.tenant_id].groups
        if group_id not in groups:
            raise GroupNotFound("no such group", group_id=group_id)
        members = {*groups[group_id].members, *add}.difference(remove)
        check_count(len(members), MAX_MEMBERS)
        groups[group_id] = replace(groups[group_id], members=tuple(members))

    def _containing(self, people: _People, reached: set[str]) -> set[str]:
        return {GROUP + each.group_id for each in people.groups.values() if not reached.isdisjoint(each.members)}


def _take_out(people: _People, members: set[str]) -> None:
    for group in people.groups.values():
        kept = tuple(member for member in group.members if member not in members)
        people.groups[group.group_id] = replace(group, members=kept)


class MemoryInteractionLog:
    """InteractionLog in lists."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, bytes]] = []
        self.failures: list[tuple[str, str, bytes]] = []

    def record(self, tenant_id: str, conversation_id: str, interaction: bytes) -> asyncio.Future[None]:
        self.records.append((tenant_id, conversation_id, interaction))
        return self._done()

    def fail(self, tenant_id: str, conversation_id: str, failure: bytes) -> asyncio.Future[None]:
        self.failures.append((tenant_id, conversation_id, failure))
        return self._done()

    def _done(self) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class MemoryEntailment:
    """Entailment that says what it was told to; of a pair that it was not told, nothing."""

    def __init__(self, known: Mapping[tuple[str, str], float]) -> None:
        self._known = known

    async def scores(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        try:
            return [self._known[pair] for pair in pairs]
        except KeyError as error:
            raise EntailmentFailed("a pair is not known") from error


def _position(key: ApiKey) -> tuple[datetime, str]:
    return key.created_at, key.key_id
