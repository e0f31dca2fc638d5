"""People and groups in PostgreSQL, and their expansion in one query."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Delete,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Select,
    String,
    Table,
    any_,
    bindparam,
    delete,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.identity import Identity
from services.gateway.adapters.postgres import METADATA, TENANTS, make_tenant, transaction
from services.gateway.domain.people import (
    GROUP,
    MAX_MEMBERS,
    MAX_PRINCIPALS,
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
from services.gateway.ports import GroupPage

_BYTES = String(collation="C")

USERS = Table(
    "users",
    METADATA,
    Column("tenant_id", ForeignKey(TENANTS.c.tenant_id), primary_key=True),
    Column("user_id", _BYTES, primary_key=True),
    Column("display_name", String, nullable=False),
)
GROUPS = Table(
    "groups",
    METADATA,
    Column("tenant_id", ForeignKey(TENANTS.c.tenant_id), primary_key=True),
    Column("group_id", _BYTES, primary_key=True),
    Column("display_name", String, nullable=False),
)
# A user's id is among the user's aliases here, so that ids and aliases are unique together.
ALIASES = Table(
    "aliases",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("alias", _BYTES, primary_key=True),
    Column("user_id", _BYTES, nullable=False),
    ForeignKeyConstraint(["tenant_id", "user_id"], [USERS.c.tenant_id, USERS.c.user_id], ondelete="CASCADE"),
    Index("ix_aliases_user_id", "tenant_id", "user_id"),
)
MEMBERSHIPS = Table(
    "memberships",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("group_id", _BYTES, primary_key=True),
    Column("member", _BYTES, primary_key=True),
    ForeignKeyConstraint(["tenant_id", "group_id"], [GROUPS.c.tenant_id, GROUPS.c.group_id], ondelete="CASCADE"),
    Index("ix_memberships_member", "tenant_id", "member"),
)

# The first name that the directory knows says who it is; a name of somebody else counts for nothing.
# UNION, not UNION ALL: groups may contain each other. The limit ends the walk where the answer is refused.
_EXPAND = text(
    """
    WITH RECURSIVE given AS (
      SELECT given.name, given.place, alias.user_id
      FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given (name, place)
      LEFT JOIN gateway.aliases alias ON alias.tenant_id = :tenant_id AND alias.alias = given.name
    ), known AS (
      SELECT user_id FROM given WHERE user_id IS NOT NULL ORDER BY place LIMIT 1
    ), begun (principal) AS (
      SELECT 'user:' || name FROM given WHERE user_id IS NULL OR user_id = (SELECT user_id FROM known)
      UNION
      SELECT 'user:' || alias FROM gateway.aliases
      WHERE tenant_id = :tenant_id AND user_id = (SELECT user_id FROM known)
      UNION
      SELECT unnest(CAST(:groups AS text[]))
    ), reached (principal) AS (
      SELECT principal COLLATE "C" FROM begun
      UNION
      SELECT ('group:' || group_id) COLLATE "C" FROM reached
      JOIN gateway.memberships ON tenant_id = :tenant_id AND member = principal
    )
    SELECT CAST(NULL AS text), principal FROM (SELECT principal FROM reached LIMIT :most) AS bounded
    UNION ALL
    SELECT user_id, CAST(NULL AS text) FROM known
    """
).bindparams(bindparam("names", type_=ARRAY(String)), bindparam("groups", type_=ARRAY(String)))


class PostgresDirectory:
    """Directory in the tables `users`, `aliases`, `groups` and `memberships`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def expand(self, person: Person) -> Expanded:
        values = {
            "tenant_id": person.tenant_id,
            "names": list(person.names),
            "groups": [GROUP + group for group in person.groups],
            "most": MAX_PRINCIPALS + 1,
        }
        async with transaction(self._sessions) as session:
            rows = (await session.execute(_EXPAND, values)).all()
        known = next((user_id for user_id, _ in rows if user_id is not None), person.names[0])
        return expanded(known, (principal for _, principal in rows if principal is not None))

    async def put_users(self, identity: Identity, users: Sequence[User]) -> None:
        names = [(name, user.user_id) for user in users for name in (user.user_id, *user.aliases)]
        async with self._writing(identity) as session:
            await _put(session, USERS, [(identity.tenant_id, user.user_id, user.display_name) for user in users])
            await session.execute(_delete(identity, ALIASES.c.user_id, [user.user_id for user in users]))
            added = insert(ALIASES).from_select(["tenant_id", "alias", "user_id"], _pairs(identity, names))
            kept = await session.scalars(added.on_conflict_do_nothing().returning(ALIASES.c.alias))
            if taken := {name for name, _ in names}.difference(kept):
                raise AliasTaken("an alias is another user's already", alias=min(taken))

    async def page_users(self, identity: Identity, after: str, limit: int) -> Sequence[User]:
        aliases = (
            select(func.array_agg(ALIASES.c.alias))
            .where(
                ALIASES.c.tenant_id == USERS.c.tenant_id,
                ALIASES.c.user_id == USERS.c.user_id,
                ALIASES.c.alias != USERS.c.user_id,
            )
            .scalar_subquery()
        )
        query = select(USERS.c.user_id, USERS.c.display_name, aliases.label("aliases"))
        query = query.where(USERS.c.tenant_id == identity.tenant_id, USERS.c.user_id > after)
        async with transaction(self._sessions) as session:
            rows = await session.execute(query.order_by(USERS.c.user_id).limit(limit))
            return [User(row.user_id, row.display_name, tuple(sorted(row.aliases or ()))) for row in rows]

    async def remove_users(self, identity: Identity, user_ids: Collection[str]) -> int:
        async with self._writing(identity) as session:
            names = await session.scalars(_delete(identity, ALIASES.c.user_id, user_ids).returning(ALIASES.c.alias))
            members = [USER + name for name in {*names, *user_ids}]
            await session.execute(_delete(identity, MEMBERSHIPS.c.member, members))
            removed = await session.scalars(_delete(identity, USERS.c.user_id, user_ids).returning(USERS.c.user_id))
            return len(removed.all())

    async def put_groups(self, identity: Identity, groups: Sequence[Group]) -> None:
        async with self._writing(identity) as session:
            await _put(session, GROUPS, [(identity.tenant_id, group.group_id, group.display_name) for group in groups])
            await session.execute(_delete(identity, MEMBERSHIPS.c.group_id, [group.group_id for group in groups]))
            await _add(session, identity, [(group.group_id, member) for group in groups for member in group.members])

    async def page_groups(self, identity: Identity, after: str, limit: int) -> GroupPage:
        size = (
            select(func.count())
            .where(MEMBERSHIPS.c.tenant_id == GROUPS.c.tenant_id, MEMBERSHIPS.c.group_id == GROUPS.c.group_id)
            .scalar_subquery()
        )
        query = select(GROUPS.c.group_id, GROUPS.c.display_name, size.label("size"))
        query = query.where(GROUPS.c.tenant_id == identity.tenant_id, GROUPS.c.group_id > after)
        async with transaction(self._sessions) as session:
            rows = (await session.execute(query.order_by(GROUPS.c.group_id).limit(limit + 1))).all()
            fit = fitting([row.size for row in rows[:limit]])
            members = await _members(session, identity, [row.group_id for row in rows[:fit]])
        groups = [Group(row.group_id, row.display_name, members.get(row.group_id, ())) for row in rows[:fit]]
        return GroupPage(groups, more=len(rows) > fit)

    async def remove_groups(self, identity: Identity, group_ids: Collection[str]) -> int:
        async with self._writing(identity) as session:
            await session.execute(_delete(identity, MEMBERSHIPS.c.member, [GROUP + each for each in group_ids]))
            removed = await session.scalars(
                _delete(identity, GROUPS.c.group_id, group_ids).returning(GROUPS.c.group_id)
            )
            return len(removed.all())

    async def change_members(
        self, identity: Identity, group_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> None:
        mine = (MEMBERSHIPS.c.tenant_id == identity.tenant_id, MEMBERSHIPS.c.group_id == group_id)
        known = select(GROUPS.c.group_id).where(GROUPS.c.tenant_id == identity.tenant_id, GROUPS.c.group_id == group_id)
        async with self._writing(identity) as session:
            if await session.scalar(known) is None:
                raise GroupNotFound("no such group", group_id=group_id)
            await _add(session, identity, [(group_id, member) for member in add])
            await session.execute(_delete(identity, MEMBERSHIPS.c.member, remove).where(*mine))
            size = await session.scalar(select(func.count()).select_from(MEMBERSHIPS).where(*mine))
            check_count(size or 0, MAX_MEMBERS)

    @asynccontextmanager
    async def _writing(self, identity: Identity) -> AsyncIterator[AsyncSession]:
        """Give a transaction that no other one writes beside, in the tenant's directory."""
        tenant = select(TENANTS.c.tenant_id).where(TENANTS.c.tenant_id == identity.tenant_id)
        async with transaction(self._sessions) as session:
            await make_tenant(session, identity)
            await session.execute(tenant.with_for_update(key_share=True))
            yield session


async def _put(session: AsyncSession, table: Table, rows: Sequence[tuple[str, str, str]]) -> None:
    """Create or replace users or groups, but for what belongs to them."""
    if rows:
        statement = insert(table).values(rows)
        names = {"display_name": statement.excluded.display_name}
        await session.execute(statement.on_conflict_do_update(constraint=table.primary_key, set_=names))


async def _add(session: AsyncSession, identity: Identity, pairs: Sequence[tuple[str, str]]) -> None:
    added = insert(MEMBERSHIPS).from_select(["tenant_id", "group_id", "member"], _pairs(identity, pairs))
    await session.execute(added.on_conflict_do_nothing())


async def _members(session: AsyncSession, identity: Identity, group_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    table = MEMBERSHIPS.c
    query = select(table.group_id, func.array_agg(table.member).label("members")).group_by(table.group_id)
    query = query.where(table.tenant_id == identity.tenant_id, table.group_id == any_(_array(group_ids)))
    return {row.group_id: tuple(sorted(row.members)) for row in await session.execute(query)}


def _delete(identity: Identity, column: Column[Any], values: Collection[str]) -> Delete:
    table = column.table
    return delete(table).where(table.c.tenant_id == identity.tenant_id, column == any_(_array(values)))


def _pairs(identity: Identity, pairs: Sequence[tuple[str, str]]) -> Select[Any]:
    """Return rows of the tenant's; as two arrays, for a statement takes only so many values."""
    rows = func.unnest(_array([first for first, _ in pairs]), _array([second for _, second in pairs]))
    return select(literal(identity.tenant_id, String), *rows.table_valued("first", "second").render_derived().c)


def _array(values: Collection[str]) -> ColumnElement[Any]:
    return literal(list(values), ARRAY(String))
