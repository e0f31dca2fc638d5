"""The gRPC face of API keys."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.common.access import number_of
from services.common.identity import caller
from services.common.pages import InvalidPage, key_of, moment_of, page_size_of, token_of
from services.gateway.domain.keys import (
    ApiKey,
    ApiKeyNotFound,
    InvalidExpiry,
    KeyMaker,
    KeyTerms,
    checked_terms,
    roles_of,
)
from services.gateway.domain.quotas import limits_of, quotas_of_key
from services.gateway.ports import ApiKeys


class AccessServicer(rpc.AccessServiceServicer):
    """Manages the keys of the caller's tenant; `revoked` is told the id of each key revoked."""

    def __init__(self, keys: ApiKeys, maker: KeyMaker, revoked: Callable[[str], None]) -> None:
        self._keys = keys
        self._maker = maker
        self._revoked = revoked

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Any) -> pb.CreateApiKeyResponse:
        terms, new = checked_terms(_terms(request), datetime.now(UTC)), self._maker.make()
        kept = await self._keys.create(caller(), terms, new)
        return pb.CreateApiKeyResponse(api_key=_message(kept), secret=new.credential)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Any) -> pb.ListApiKeysResponse:
        size, after = page_size_of(request.page_size), _position_of(request.page_token)
        found = await self._keys.page(caller(), after, size + 1)
        token = _token_of(found[size - 1]) if len(found) > size else ""
        return pb.ListApiKeysResponse(api_keys=map(_message, found[:size]), next_page_token=token)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Any) -> pb.RevokeApiKeyResponse:
        if "\0" in request.key_id:
            raise ApiKeyNotFound("no such key")
        await self._keys.revoke(caller(), request.key_id)
        self._revoked(request.key_id)
        return pb.RevokeApiKeyResponse()

    async def GetCaller(self, request: pb.GetCallerRequest, context: Any) -> pb.GetCallerResponse:
        who = caller()
        return pb.GetCallerResponse(
            tenant_id=who.tenant_id,
            subject=who.subject,
            actor=who.actor,
            roles=sorted(map(number_of, who.roles)),
            principals=sorted(who.principals),
        )


def _terms(request: pb.CreateApiKeyRequest) -> KeyTerms:
    limits = {limit.name: getattr(request.quota, limit.name) for limit in pb.Quota.DESCRIPTOR.fields}
    quota = quotas_of_key(**limits)
    return KeyTerms(request.name, roles_of(request.roles), _expiry(request), request.acts_for_users, quota)


def _expiry(request: pb.CreateApiKeyRequest) -> datetime | None:
    """Return when the key ends.

    Raises:
        InvalidExpiry: it is no time at all.
    """
    if not request.HasField("expires_at"):
        return None
    try:
        return request.expires_at.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidExpiry("expires_at is no time") from error


def _message(key: ApiKey) -> pb.ApiKey:
    terms = key.terms
    return pb.ApiKey(
        key_id=key.key_id,
        name=terms.name,
        created_at=_timestamp(key.created_at),
        revoked_at=_timestamp(key.revoked_at),
        roles=sorted(map(number_of, terms.roles)),
        expires_at=_timestamp(terms.expires_at),
        acts_for_users=terms.acts_for_users,
        quota=pb.Quota(**limits_of(terms.quota)),
    )


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _token_of(key: ApiKey) -> str:
    return token_of(f"{key.created_at.astimezone(UTC).isoformat()} {key.key_id}")


def _position_of(token: str) -> tuple[datetime, str] | None:
    created_at, _, key_id = key_of(token).partition(" ")
    if not token:
        return None
    if not key_id.isalnum():
        raise InvalidPage("the page token is not one of ours")
    return moment_of(created_at), key_id
