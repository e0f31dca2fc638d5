"""The gRPC face of the registry: checks requests, and translates both ways."""

import asyncio
import contextlib
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tandem.tune.v1 import registry_service_pb2 as pb
from tandem.tune.v1 import registry_service_pb2_grpc as rpc

from services.common.identity import Identity, caller
from services.common.lora.signing import AdapterVerifier
from services.common.lora.store import AdapterStore
from services.common.pages import InvalidPage, key_of, page_size_of, token_of
from services.common.permissions import Permissions
from services.tune.adapters.aliases import PostgresAliases, Trial
from services.tune.adapters.canaries import PostgresCanaries
from services.tune.adapters.registry import PostgresAdapters
from services.tune.adapters.registry_messages import (
    adapter_message,
    alias_message,
    canary_message,
    difference_message,
    move_message,
    replica_message,
    rule_of,
)
from services.tune.adapters.weights import config_of, distances
from services.tune.domain.canaries import Canary, checked_share
from services.tune.domain.registry import Alias, KeptAdapter
from services.tune.domain.runs import Position, position_of
from services.tune.importing import Importer
from services.tune.moving import Mover, Wish

REGISTRY = pb.DESCRIPTOR.services_by_name["RegistryService"].full_name


@dataclass(frozen=True, slots=True)
class Shown:
    """What is registered, where it points, and what is tried."""

    adapters: PostgresAdapters
    aliases: PostgresAliases
    canaries: PostgresCanaries
    permissions: Permissions
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Files:
    """Where adapters' files lie, and where they are looked at."""

    store: AdapterStore
    verifier: AdapterVerifier
    cache: Path


class RegistryServicer(rpc.RegistryServiceServicer):
    def __init__(self, registry: Shown, files: Files, importer: Importer, mover: Mover) -> None:
        self._registry = registry
        self._files = files
        self._importer = importer
        self._mover = mover

    async def ImportAdapter(self, request: pb.ImportAdapterRequest, context: Any) -> pb.ImportAdapterResponse:
        kept = await self._importer.take(who := caller(), request.uri, request.digest)
        return pb.ImportAdapterResponse(adapter=(await self._shown(who, [kept]))[0])

    async def GetAdapter(self, request: pb.GetAdapterRequest, context: Any) -> pb.GetAdapterResponse:
        kept = await self._registry.adapters.find((who := caller()).tenant_id, request.digest)
        [adapter] = await self._shown(who, [kept], whole=True)
        return pb.GetAdapterResponse(adapter=adapter, replicas=await self._replicas(who, kept.adapter.digest))

    async def ListAdapters(self, request: pb.ListAdaptersRequest, context: Any) -> pb.ListAdaptersResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._registry.adapters.page((who := caller()).tenant_id, after, size + 1)
        ends = [Position(each.adapter.created_at, each.adapter.digest).token() for each in found]
        shown = await self._shown(who, found[:size])
        return pb.ListAdaptersResponse(adapters=shown, next_page_token=_next_token(ends, size))

    async def DiffAdapters(self, request: pb.DiffAdaptersRequest, context: Any) -> pb.DiffAdaptersResponse:
        who, asked = caller(), (request.left, request.right)
        found = [await self._registry.adapters.find(who.tenant_id, digest) for digest in asked]
        left, right = await self._shown(who, found)
        async with self._fetched(who, found) as folders:
            modules = await asyncio.to_thread(distances, *folders)
            return difference_message(left, right, [config_of(folder) for folder in folders], modules)

    async def DeleteAdapter(self, request: pb.DeleteAdapterRequest, context: Any) -> pb.DeleteAdapterResponse:
        await self._registry.adapters.delete(caller().tenant_id, request.digest)
        return pb.DeleteAdapterResponse()

    async def PromoteAdapter(self, request: pb.PromoteAdapterRequest, context: Any) -> pb.PromoteAdapterResponse:
        return pb.PromoteAdapterResponse(alias=alias_message(await self._mover.promote(caller(), _wish(request))))

    async def StartCanary(self, request: pb.StartCanaryRequest, context: Any) -> pb.StartCanaryResponse:
        share = checked_share(request.share)
        trial = Trial(request.digest, share, request.cleared, rule_of(request.rule))
        alias = await self._mover.start_canary(caller(), _wish(request), trial)
        return pb.StartCanaryResponse(alias=alias_message(alias))

    async def PromoteCanary(self, request: pb.PromoteCanaryRequest, context: Any) -> pb.PromoteCanaryResponse:
        alias = await self._mover.end_canary(caller(), _wish(request), promote=True)
        return pb.PromoteCanaryResponse(alias=alias_message(alias))

    async def StopCanary(self, request: pb.StopCanaryRequest, context: Any) -> pb.StopCanaryResponse:
        alias = await self._mover.end_canary(caller(), _wish(request), promote=False)
        return pb.StopCanaryResponse(alias=alias_message(alias))

    async def RollbackAlias(self, request: pb.RollbackAliasRequest, context: Any) -> pb.RollbackAliasResponse:
        return pb.RollbackAliasResponse(alias=alias_message(await self._mover.roll_back(caller(), _wish(request))))

    async def ListAliases(self, request: pb.ListAliasesRequest, context: Any) -> pb.ListAliasesResponse:
        size, after = page_size_of(request.page_size), key_of(request.page_token)
        found = await self._registry.aliases.page(caller().tenant_id, after, size + 1)
        ends = [token_of(each.alias) for each in found]
        shown = map(alias_message, found[:size])
        return pb.ListAliasesResponse(aliases=shown, next_page_token=_next_token(ends, size))

    async def GetAlias(self, request: pb.GetAliasRequest, context: Any) -> pb.GetAliasResponse:
        alias = await self._registry.aliases.find((who := caller()).tenant_id, request.alias)
        used = {alias.live.digest, alias.canary.digest if alias.canary else ""} - {""}
        return pb.GetAliasResponse(
            alias=alias_message(alias, await self._tried(alias) if alias.canary else None),
            last_canary=None if alias.canary else await self._last_canary(alias),
            replicas=[each for each in await self._replicas(who, *used) if each.alias == alias.alias],
        )

    async def ListAliasHistory(self, request: pb.ListAliasHistoryRequest, context: Any) -> pb.ListAliasHistoryResponse:
        size, before = page_size_of(request.page_size), _revision_of(request.page_token)
        found = await self._registry.aliases.history(caller().tenant_id, request.alias, before, size + 1)
        ends = [token_of(str(each.revision)) for each in found]
        shown = map(move_message, found[:size])
        return pb.ListAliasHistoryResponse(moves=shown, next_page_token=_next_token(ends, size))

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Any) -> pb.DeleteAliasResponse:
        await self._mover.delete(caller(), _wish(request))
        return pb.DeleteAliasResponse()

    async def _tried(self, alias: Alias) -> pb.Canary | None:
        """Return the canary that runs, as it is now."""
        canary = alias.canary
        if canary is None:
            return None
        look = await self._registry.canaries.look(alias.tenant_id, canary, self._registry.now())
        return canary_message(canary, look, await self._decisions(alias, canary))

    async def _last_canary(self, alias: Alias) -> pb.Canary | None:
        last = await self._registry.canaries.last(alias.tenant_id, alias.alias)
        if last is None:
            return None
        canary, look = last
        return canary_message(canary, look, await self._decisions(alias, canary))

    async def _decisions(self, alias: Alias, canary: Canary) -> Sequence[Any]:
        return await self._registry.canaries.decisions(alias.tenant_id, canary.canary_id)

    async def _replicas(self, who: Identity, *digests: str) -> list[pb.Replica]:
        now = self._registry.now()
        return [replica_message(each, now) for each in await self._registry.adapters.replicas(who.tenant_id, digests)]

    @contextlib.asynccontextmanager
    async def _fetched(self, who: Identity, found: Sequence[KeptAdapter]) -> AsyncIterator[list[Path]]:
        """Give the adapters' folders, as long as this lasts: nothing of a tenant stays where erasures do not look."""
        store, verifier, cache = self._files.store, self._files.verifier, self._files.cache / uuid.uuid4().hex
        try:
            fetched = [await store.fetch(who.tenant_id, each.adapter.digest, cache, verifier) for each in found]
            yield [folder for folder, _ in fetched]
        finally:
            await asyncio.to_thread(shutil.rmtree, cache, ignore_errors=True)

    async def _shown(self, who: Identity, found: Sequence[KeptAdapter], *, whole: bool = False) -> list[pb.Adapter]:
        """Return adapters with what became of what they learnt from."""
        documents = {document for each in found for document in each.adapter.lineage.documents}
        existing = await self._registry.permissions.existing(who, documents)
        return [
            adapter_message(
                each,
                sum(document not in existing for document in each.adapter.lineage.documents),
                whole=whole,
            )
            for each in found
        ]


def _wish(request: Any) -> Wish:
    """Return what a request wants of an alias; not every request has every field."""
    fields = request.DESCRIPTOR.fields_by_name
    told = {name: getattr(request, name) for name in ("digest", "cleared", "override", "reason") if name in fields}
    expected = request.expected_revision if request.HasField("expected_revision") else None
    return Wish(request.alias, expected=expected, **told)


def _revision_of(token: str) -> int | None:
    """Return the revision that a page begins before; None for the first page.

    Raises:
        InvalidPage: the token came from no answer.
    """
    if not (key := key_of(token)):
        return None
    if not key.isascii() or not key.isdigit() or len(key) > 18:  # noqa: PLR2004 - fits a bigint
        raise InvalidPage("the page token is not one of ours")
    return int(key)


def _next_token(ends: Sequence[str], size: int) -> str:
    """Return the token of the page after the first `size`; "" when that is all."""
    return ends[size - 1] if len(ends) > size else ""
