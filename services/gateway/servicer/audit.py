"""The gRPC face of the audit log."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.gateway.v1 import audit_service_pb2 as pb
from tandem.gateway.v1 import audit_service_pb2_grpc as rpc

from services.common.identity import caller
from services.common.pages import MAX_PAGE_SIZE, InvalidPage, key_of, page_size_of, token_of
from services.gateway.adapters.audit import PostgresAudit
from services.gateway.domain.audit import AuditFilter, AuditKind, InvalidAuditFilter, KeptEvent, checked

_KINDS = {
    pb.AUDIT_EVENT_KIND_UNSPECIFIED: None,
    pb.AUDIT_EVENT_KIND_ACT: AuditKind.ACT,
    pb.AUDIT_EVENT_KIND_PASSAGES_GIVEN: AuditKind.PASSAGES_GIVEN,
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_MAX_ID = 2**63 - 1


class AuditServicer(rpc.AuditServiceServicer):
    """Shows the audit log of the caller's tenant."""

    def __init__(self, audit: PostgresAudit) -> None:
        self._audit = audit

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest, context: Any) -> pb.ListAuditEventsResponse:
        size, before, wanted = (
            page_size_of(request.page_size),
            _position_of(request.page_token),
            _wanted(request.filter),
        )
        found = await self._audit.newest(caller(), wanted, before, size + 1)
        token = token_of(str(found[size - 1].event_id)) if len(found) > size else ""
        return pb.ListAuditEventsResponse(events=map(_message, found[:size]), next_page_token=token)

    async def ExportAuditEvents(
        self, request: pb.ExportAuditEventsRequest, context: Any
    ) -> AsyncIterator[pb.ExportAuditEventsResponse]:
        wanted, after = _wanted(request.filter), 0
        while page := await self._audit.oldest(caller(), wanted, after, MAX_PAGE_SIZE):
            for kept in page:
                yield pb.ExportAuditEventsResponse(event=_message(kept))
            after = page[-1].event_id


def _wanted(message: pb.AuditFilter) -> AuditFilter:
    if message.kind not in _KINDS:
        raise InvalidAuditFilter("there is no such kind of event", field="kind")
    after = _time_of(message.after, "after") if message.HasField("after") else None
    before = _time_of(message.before, "before") if message.HasField("before") else None
    return checked(AuditFilter(_KINDS[message.kind], message.subject, message.document_id, after, before))


def _time_of(stamp: Timestamp, name: str) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidAuditFilter("there is no such time", field=name) from error


def _position_of(token: str) -> int | None:
    if not token:
        return None
    key = key_of(token)
    if not key.isascii() or not key.isdigit() or int(key[:20]) > _MAX_ID:
        raise InvalidPage("the page token is not one of ours")
    return int(key[:20])


def _message(kept: KeptEvent) -> pb.AuditEvent:
    event, at = kept.event, Timestamp()
    at.FromDatetime(event.at)
    message = pb.AuditEvent(
        event_id=kept.event_id,
        at=at,
        kind=_NUMBERS[event.kind],
        subject=event.subject,
        actor=event.actor,
        rpc=event.rpc,
        code=event.code,
        trace_id=event.trace_id,
        passages=[
            pb.GivenPassage(
                chunk_id=given.chunk_id, document_id=given.document_id, document_version=given.document_version
            )
            for given in event.passages
        ],
    )
    message.request.update(event.request)
    return message
