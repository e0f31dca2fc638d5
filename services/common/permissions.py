"""What ingest's manifest says of who may read a document now, as other services read it.

This is a contract between ingest, whose migrations make the view and the table, and whoever
shows what was found in documents. It is read from PostgreSQL, not asked of ingest: a search
must neither wait for a backfill nor fail with it.

`ingest.readable_documents` has a row (tenant_id, document_id, readers, reader_set) for each document
that is not deleted, deleting or failed, with its readers as they were last set: from the commit of a
revocation on, whatever the index still says. Where they are more than the index keeps, `readers` is
empty and `reader_set` names them; `ingest.reader_sets` has a row (tenant_id, set_id, member) for each
of them, and the index knows them as "set:ID" alone.
"""

import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any

import asyncpg

from services.common.errors import Unavailable
from services.common.identity import EVERYONE, Identity
from services.common.recent import Recent

SET_PREFIX = "set:"
POOL_SIZE = 8
SETS_SECONDS = 0.5
# A list of principals is hashed only where the plan is made for it.
PLANS = {"plan_cache_mode": "force_custom_plan"}
TIMEOUT_SECONDS = 5.0

_MEMBER = """
EXISTS (SELECT FROM ingest.reader_sets AS sets
WHERE sets.tenant_id = $1 AND sets.set_id = document.reader_set AND sets.member = ANY({}))
"""
_READABLE = f"""
SELECT document_id, CASE reader_set WHEN '' THEN $4 = ANY(readers) ELSE {_MEMBER.format("ARRAY[$4]")} END AS public
FROM ingest.readable_documents AS document
WHERE tenant_id = $1 AND document_id = ANY($2) AND CASE reader_set
WHEN '' THEN EXISTS (SELECT FROM unnest(readers) AS reader WHERE reader = ANY($3)) ELSE {_MEMBER.format("$3")} END
"""  # of constants  # noqa: S608  # nosec B608
_EXISTING = "SELECT document_id FROM ingest.readable_documents WHERE tenant_id = $1 AND document_id = ANY($2)"
_PAGE = f"""
SELECT document_id FROM ingest.readable_documents AS document
WHERE tenant_id = $1 AND document_id > $2 AND CASE reader_set
WHEN '' THEN EXISTS (SELECT FROM unnest(readers) AS reader WHERE reader = ANY($3)) ELSE {_MEMBER.format("$3")} END
ORDER BY document_id LIMIT $4
"""  # of constants  # noqa: S608  # nosec B608
_SETS = "SELECT DISTINCT set_id FROM ingest.reader_sets WHERE tenant_id = $1 AND member = ANY($2)"
_ANY_SET = "SELECT FROM ingest.reader_sets WHERE tenant_id = $1 LIMIT 1"


class PermissionsUnavailable(Unavailable):
    """Who may read what cannot be looked up now, so nothing is shown."""

    reason = "PERMISSIONS_UNAVAILABLE"
    retry_seconds = 1.0


class Permissions:
    """Looks up in the manifest what an identity may read.

    Every method raises PermissionsUnavailable when the database does not answer.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        # Most tenants have no set. Who is in a new one finds its documents this much later, and nobody sooner.
        self._have_sets = Recent(self._has_sets, SETS_SECONDS)

    async def ping(self) -> None:
        """Raise unless the database answers and has the manifest."""
        await self._fetch(_EXISTING, "", [])

    async def readable(self, identity: Identity, document_ids: Collection[str]) -> dict[str, bool]:
        """Return those of the documents that `identity` may read, each with whether everybody in the tenant may."""
        if not document_ids or not identity.principals:
            return {}
        rows = await self._fetch(_READABLE, identity.tenant_id, list(document_ids), list(identity.principals), EVERYONE)
        return {row["document_id"]: row["public"] for row in rows}

    async def page(self, identity: Identity, after: str, limit: int) -> list[str]:
        """Return at most `limit` of the documents that `identity` may read, by id, from after an id on."""
        if not identity.principals:
            return []
        rows = await self._fetch(_PAGE, identity.tenant_id, after, list(identity.principals), limit)
        return [row["document_id"] for row in rows]

    async def existing(self, identity: Identity, document_ids: Collection[str]) -> set[str]:
        """Return those of the documents that are there, whoever may read them."""
        rows = await self._fetch(_EXISTING, identity.tenant_id, list(document_ids)) if document_ids else ()
        return {row["document_id"] for row in rows}

    async def sets_of(self, identity: Identity) -> tuple[str, ...]:
        """Return, as principals of the index, the sets of readers that `identity` is in."""
        if not await self._have_sets.get(identity.tenant_id):
            return ()
        rows = await self._fetch(_SETS, identity.tenant_id, list(identity.principals))
        return tuple(SET_PREFIX + row["set_id"] for row in rows)

    async def _has_sets(self, tenant_id: str) -> bool:
        return bool(await self._fetch(_ANY_SET, tenant_id))

    async def _fetch(self, query: str, *arguments: object) -> Any:
        try:
            return await self._pool.fetch(query, *arguments, timeout=TIMEOUT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise PermissionsUnavailable("who may read what cannot be looked up") from error


@contextlib.asynccontextmanager
async def open_permissions(url: str) -> AsyncIterator[Permissions]:
    """Give the permissions in the database at `url`, which is SQLAlchemy's, with the asyncpg driver.

    The database need not be there yet.
    """
    url = url.replace("+asyncpg", "", 1)
    async with asyncpg.create_pool(
        url, min_size=0, max_size=POOL_SIZE, server_settings=PLANS, reset=_nothing_to_reset
    ) as pool:
        yield Permissions(pool)


async def _nothing_to_reset(_connection: object) -> None:
    """Leave a session as it is: these queries change nothing in it, and asking for a reset costs as much as they do."""
