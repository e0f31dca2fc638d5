"""The gRPC face of erasures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.erasure.v1.erasure_service_pb2 import Removed
from tandem.gateway.v1 import erasure_service_pb2 as pb
from tandem.gateway.v1 import erasure_service_pb2_grpc as rpc

from services.common.identity import caller
from services.common.pages import InvalidPage, key_of, moment_of, page_size_of, token_of
from services.gateway.adapters.erasures import PostgresErasures
from services.gateway.adapters.quotas import key_id_of
from services.gateway.domain.erasures import Erasure, ErasureNotFound, check_confirmation
from services.gateway.domain.people import user_id_of

WATCH_SECONDS = 0.3


class ErasureServicer(rpc.ErasureServiceServicer):
    """Begins and shows the erasures of the caller's tenant; `begun` is called when one begins."""

    def __init__(
        self, erasures: PostgresErasures, begun: Callable[[], None], watch_seconds: float = WATCH_SECONDS
    ) -> None:
        self._erasures = erasures
        self._begun = begun
        self._watch_seconds = watch_seconds

    async def EraseUser(self, request: pb.EraseUserRequest, context: Any) -> pb.EraseUserResponse:
        erasure = await self._erasures.begin_user(caller(), user_id_of(request.user_id))
        self._begun()
        return pb.EraseUserResponse(erasure=_message(erasure))

    async def EraseTenant(self, request: pb.EraseTenantRequest, context: Any) -> pb.EraseTenantResponse:
        who = caller()
        check_confirmation(request.confirmation, who.tenant_id)
        erasure = await self._erasures.begin_tenant(who, key_id_of(who))
        self._begun()
        return pb.EraseTenantResponse(erasure=_message(erasure))

    async def WatchErasure(
        self, request: pb.WatchErasureRequest, context: Any
    ) -> AsyncIterator[pb.WatchErasureResponse]:
        if "\0" in request.erasure_id:
            raise ErasureNotFound("no such erasure")
        shown = None
        while shown is None or shown.finished_at is None:
            erasure = await self._erasures.find(caller(), request.erasure_id)
            if erasure != shown:
                yield pb.WatchErasureResponse(erasure=_message(erasure))
            elif erasure.finished_at is None:
                await asyncio.sleep(self._watch_seconds)
            shown = erasure

    async def ListErasures(self, request: pb.ListErasuresRequest, context: Any) -> pb.ListErasuresResponse:
        size, after = page_size_of(request.page_size), _position_of(request.page_token)
        found = await self._erasures.page(caller(), after, size + 1)
        token = _token_of(found[size - 1]) if len(found) > size else ""
        return pb.ListErasuresResponse(erasures=map(_message, found[:size]), next_page_token=token)


def _message(erasure: Erasure) -> pb.Erasure:
    done = erasure.finished_at is not None
    return pb.Erasure(
        erasure_id=erasure.erasure_id,
        state=pb.ERASURE_STATE_DONE if done else pb.ERASURE_STATE_RUNNING,
        user_id=erasure.user_id,
        removed=[Removed(kind=kind, count=count) for kind, count in sorted(erasure.removed.items())],
        stale_adapters=erasure.stale_adapters,
        created_at=_timestamp(erasure.created_at),
        finished_at=_timestamp(erasure.finished_at),
    )


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _token_of(erasure: Erasure) -> str:
    return token_of(f"{erasure.created_at.astimezone(UTC).isoformat()} {erasure.erasure_id}")


def _position_of(token: str) -> tuple[datetime, str] | None:
    created_at, _, erasure_id = key_of(token).partition(" ")
    if not token:
        return None
    if not erasure_id.isalnum():
        raise InvalidPage("the page token is not one of ours")
    return moment_of(created_at), erasure_id
