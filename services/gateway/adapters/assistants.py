"""Assistants and their versions in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Row,
    Select,
    String,
    Table,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.identity import Identity
from services.gateway.adapters.postgres import METADATA, TENANTS, make_tenant, transaction
from services.gateway.domain.assistants import (
    AnswerLength,
    Assistant,
    AssistantNotFound,
    CitationPolicy,
    Narrowing,
    check_version,
)

# Which version of each assistant is in use, if any is.
ASSISTANTS = Table(
    "assistants",
    METADATA,
    Column("tenant_id", ForeignKey(TENANTS.c.tenant_id), primary_key=True),
    # Byte order, so that pages follow each other as Python's strings do.
    Column("name", String(collation="C"), primary_key=True),
    # The last that was made.
    Column("version", BigInteger, nullable=False),
    Column("in_use", Boolean, nullable=False),
)
# Rows are made and never changed.
VERSIONS = Table(
    "assistant_versions",
    METADATA,
    Column("tenant_id", ForeignKey(TENANTS.c.tenant_id), primary_key=True),
    Column("name", String(collation="C"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("content", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)


class PostgresAssistants:
    """Assistants in the tables `assistants` and `assistant_versions`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, identity: Identity, name: str) -> Assistant | None:
        found = await self._all(_in_use(identity).where(ASSISTANTS.c.name == name))
        return found[0] if found else None

    async def put(self, identity: Identity, assistant: Assistant, expected: int | None = None) -> Assistant:
        async with transaction(self._sessions) as session:
            await make_tenant(session, identity)
            last = await _locked(session, identity, assistant.name)
            live = (await session.execute(_in_use(identity).where(ASSISTANTS.c.name == assistant.name))).one_or_none()
            kept = _assistant(live) if live else None
            check_version(kept.version if kept else 0, expected)
            if kept and kept.says_as_much_as(assistant):
                return kept
            return await _next(session, identity, replace(assistant, version=last + 1))

    async def page(self, identity: Identity, after: str, limit: int) -> Sequence[Assistant]:
        name = ASSISTANTS.c.name
        return await self._all(_in_use(identity).where(name > after).order_by(name).limit(limit))

    async def version(self, identity: Identity, name: str, version: int) -> Assistant | None:
        found = await self._all(_versions(identity, name).where(VERSIONS.c.version == version))
        return found[0] if found else None

    async def versions(self, identity: Identity, name: str, before: int, limit: int) -> Sequence[Assistant]:
        number = VERSIONS.c.version
        query = _versions(identity, name).where(number < before)
        return await self._all(query.order_by(number.desc()).limit(limit))

    async def delete(self, identity: Identity, name: str) -> None:
        table = ASSISTANTS.c
        statement = update(ASSISTANTS).where(table.tenant_id == identity.tenant_id, table.name == name)
        async with transaction(self._sessions) as session:
            changed = await session.execute(statement.values(in_use=False).returning(table.name))
            if changed.one_or_none() is None:
                raise AssistantNotFound("no such assistant", assistant=name)

    async def _all(self, query: Select[Any]) -> Sequence[Assistant]:
        async with transaction(self._sessions) as session:
            return [_assistant(row) for row in await session.execute(query)]


async def _locked(session: AsyncSession, identity: Identity, name: str) -> int:
    """Return the last version's number, 0 where there is none, and keep others from making the next one."""
    key = {"tenant_id": identity.tenant_id, "name": name}
    await session.execute(insert(ASSISTANTS).values(**key, version=0, in_use=False).on_conflict_do_nothing())
    query = select(ASSISTANTS.c.version).filter_by(**key).with_for_update()
    return int((await session.execute(query)).scalar_one())


async def _next(session: AsyncSession, identity: Identity, assistant: Assistant) -> Assistant:
    key = {"tenant_id": identity.tenant_id, "name": assistant.name}
    statement = insert(VERSIONS).values(**key, version=assistant.version, content=_content(assistant))
    made = (await session.execute(statement.returning(*VERSIONS.c))).one()
    live = update(ASSISTANTS).filter_by(**key).values(version=assistant.version, in_use=True)
    await session.execute(live)
    return _assistant(made)


def _in_use(identity: Identity) -> Select[Any]:
    live, every = ASSISTANTS.c, VERSIONS.c
    same = (live.tenant_id == every.tenant_id) & (live.name == every.name) & (live.version == every.version)
    return (
        select(*every)
        .select_from(ASSISTANTS.join(VERSIONS, same))
        .where(live.tenant_id == identity.tenant_id, live.in_use)
    )


def _versions(identity: Identity, name: str) -> Select[Any]:
    return select(VERSIONS).where(VERSIONS.c.tenant_id == identity.tenant_id, VERSIONS.c.name == name)


def _content(assistant: Assistant) -> dict[str, Any]:
    narrowing = assistant.narrowing
    return {
        "instructions": assistant.instructions,
        "sources": assistant.sources,
        "adapter": assistant.adapter,
        "top_k": assistant.top_k,
        "without_retrieval": assistant.without_retrieval,
        "languages": assistant.languages,
        "kinds": narrowing.kinds,
        "authors": narrowing.authors,
        "metadata": dict(narrowing.metadata),
        "changed_after": _written(narrowing.changed_after),
        "changed_before": _written(narrowing.changed_before),
        "citation_policy": assistant.citation_policy,
        "answer_length": assistant.answer_length,
        "without_abstention": assistant.without_abstention,
    }


def _assistant(row: Row[Any]) -> Assistant:
    """Return an assistant; what its version was made without is as it is by default."""
    content: Mapping[str, Any] = row.content
    return Assistant(
        name=row.name,
        instructions=content["instructions"],
        sources=tuple(content["sources"]),
        adapter=content["adapter"],
        top_k=content["top_k"],
        without_retrieval=content["without_retrieval"],
        languages=tuple(content.get("languages", ())),
        narrowing=_narrowing(content),
        citation_policy=CitationPolicy(content.get("citation_policy", CitationPolicy.MARK)),
        answer_length=AnswerLength(content.get("answer_length", AnswerLength.UNSET)),
        without_abstention=content.get("without_abstention", False),
        version=row.version,
        created_at=row.created_at.astimezone(UTC),
    )


def _narrowing(content: Mapping[str, Any]) -> Narrowing:
    return Narrowing(
        kinds=tuple(content.get("kinds", ())),
        authors=tuple(content.get("authors", ())),
        metadata=tuple(sorted(content.get("metadata", {}).items())),
        changed_after=_read(content.get("changed_after")),
        changed_before=_read(content.get("changed_before")),
    )


def _written(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _read(moment: str | None) -> datetime | None:
    return datetime.fromisoformat(moment) if moment else None
