"""The rows of `ingest.sources`, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.identity import Identity
from services.ingest.adapters.tables import DOCUMENTS, REQUESTS, SOURCES
from services.ingest.domain import PUSH, Chunking, Counts, DocumentState, FilesConfig, Source, SourceState
from services.ingest.errors import NotAPushSource, SourceExists, SourceNotFound

COLUMNS = SOURCES.c


async def create(session: AsyncSession, source: Source) -> None:
    """Add a source.

    Raises:
        SourceExists: the name is taken.
    """
    row = asdict(source) | {"config": asdict(source.config) if source.config else {}}
    try:
        await session.execute(insert(SOURCES).values(row | {"readers": list(source.readers)}))
    except IntegrityError as error:
        raise SourceExists("another source has this name", name=source.name) from error


async def find(session: AsyncSession, identity: Identity, name_or_id: str, *, lock: bool = False) -> Source:
    """Return a tenant's source by its id or name; of two of a name, the one not being deleted.

    Raises:
        SourceNotFound: the tenant has none.
    """
    if "\0" in name_or_id:
        raise SourceNotFound("there is no such source")
    query = (
        select(SOURCES)
        .where(
            COLUMNS.tenant_id == identity.tenant_id, (COLUMNS.source_id == name_or_id) | (COLUMNS.name == name_or_id)
        )
        .order_by(COLUMNS.source_id != name_or_id, COLUMNS.state == SourceState.DELETING, COLUMNS.created_at.desc())
        .limit(1)
    )
    row = (await session.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise SourceNotFound("there is no such source", source=name_or_id[:100])
    return _source_of(row)


async def find_push(session: AsyncSession, identity: Identity, name_or_id: str) -> Source:
    """Return and lock a tenant's source that an application fills.

    Raises:
        SourceNotFound: the tenant has none, or it is being deleted.
        NotAPushSource: it fills itself.
    """
    source = await find(session, identity, name_or_id, lock=True)
    if source.state is SourceState.DELETING:
        raise SourceNotFound("the source is being deleted", source=source.name)
    if source.kind != PUSH:
        raise NotAPushSource("the source fills itself", source=source.name, kind=source.kind)
    return source


async def get(session: AsyncSession, source_id: str, *, lock: bool = False) -> Source:
    """Return a source by its id alone.

    Raises:
        SourceNotFound: it is gone.
    """
    query = select(SOURCES).where(COLUMNS.source_id == source_id)
    row = (await session.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise SourceNotFound("the source has been deleted")
    return _source_of(row)


async def page(session: AsyncSession, identity: Identity, after: tuple[str, str], limit: int) -> list[Source]:
    """Return a tenant's sources by name and id, those after `after`."""
    query = (
        select(SOURCES)
        .where(COLUMNS.tenant_id == identity.tenant_id, tuple_(COLUMNS.name, COLUMNS.source_id) > tuple_(*after))
        .order_by(COLUMNS.name, COLUMNS.source_id)
        .limit(limit)
    )
    return await _all(session, query)


async def syncing(session: AsyncSession, kind: str) -> list[Source]:
    """Return the active sources of a kind, of all tenants."""
    return await _all(session, select(SOURCES).where(COLUMNS.kind == kind, COLUMNS.state == SourceState.ACTIVE))


async def by_id(session: AsyncSession, source_ids: Sequence[str]) -> dict[str, Source]:
    """Return those of the sources that are there."""
    found = await _all(session, select(SOURCES).where(COLUMNS.source_id.in_(source_ids)))
    return {source.source_id: source for source in found}


async def lock_all(session: AsyncSession, wanted: ColumnElement[bool]) -> list[Source]:
    """Return and lock the sources that `wanted` says."""
    return await _all(session, select(SOURCES).where(wanted).order_by(COLUMNS.source_id).with_for_update())


async def change(session: AsyncSession, source_id: str, **values: object) -> None:
    """Set columns of a source."""
    await session.execute(update(SOURCES).where(COLUMNS.source_id == source_id).values(**values))


async def remove_emptied(session: AsyncSession) -> None:
    """Remove the sources being deleted whose last document is gone."""
    left = exists().where(DOCUMENTS.c.source_id == COLUMNS.source_id)
    await session.execute(delete(SOURCES).where(COLUMNS.state == SourceState.DELETING, ~left))


async def counts(session: AsyncSession, source_ids: Sequence[str]) -> dict[str, Counts]:
    """Return each source's documents by state; sources without any are left out."""
    columns = DOCUMENTS.c
    chunks = func.coalesce(func.sum(columns.chunk_count).filter(columns.state == DocumentState.INDEXED), 0)
    suspicious = func.coalesce(
        func.sum(columns.suspicious_chunk_count).filter(columns.state == DocumentState.INDEXED), 0
    )
    states = [func.count().filter(columns.state == state).label(state.value) for state in DocumentState]
    query = (
        select(columns.source_id, chunks.label("chunks"), suspicious.label("suspicious_chunks"), *states)
        .where(columns.source_id.in_(source_ids))
        .group_by(columns.source_id)
    )
    rows = (await session.execute(query)).mappings()
    return {row["source_id"]: Counts(**{key: row[key] for key in row if key != "source_id"}) for row in rows}


async def served(session: AsyncSession, identity: Identity, rpc: str, request_id: str) -> str | None:
    """Return the source of a request that was served already; waits for one being served now."""
    if not request_id:
        return None
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"{identity.tenant_id}/{rpc}/{request_id}"))))
    query = select(REQUESTS.c.source_id).where(
        REQUESTS.c.tenant_id == identity.tenant_id, REQUESTS.c.rpc == rpc, REQUESTS.c.request_id == request_id
    )
    found: str | None = (await session.execute(query)).scalar_one_or_none()
    return found


async def remember(
    session: AsyncSession, identity: Identity, request: tuple[str, str], source_id: str, now: datetime
) -> None:
    """Note that a request (RPC, request id) is served; one without an id is not noted."""
    rpc, request_id = request
    if request_id:
        row = {"tenant_id": identity.tenant_id, "rpc": rpc, "request_id": request_id, "source_id": source_id, "at": now}
        await session.execute(insert(REQUESTS).values(row))


async def forget(session: AsyncSession, before: datetime) -> None:
    """Forget requests served before then."""
    await session.execute(delete(REQUESTS).where(REQUESTS.c.at < before))


async def _all(session: AsyncSession, query: Select[Any]) -> list[Source]:
    return [_source_of(row) for row in await session.execute(query)]


def _source_of(row: Row[Any]) -> Source:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    config = values.pop("config")
    return Source(
        **values
        | {
            "state": SourceState(values["state"]),
            "readers": tuple(values["readers"]),
            "chunking": Chunking(**values["chunking"]),
            "config": FilesConfig(**config | {key: tuple(config[key]) for key in ("include", "exclude")})
            if config
            else None,
        }
    )
