"""Sees to it that acts, and what was given to whom, get into the audit log."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from tandem.retrieve.v1.retrieve_service_pb2 import Passage

from services.common.access import Role, is_read, method_of, required_role
from services.common.identity import Identity, caller
from services.common.interceptors import Call
from services.common.telemetry import trace_id
from services.common.text import printable
from services.gateway.adapters.audit_writer import AuditWriter
from services.gateway.domain.audit import AuditEvent, AuditKind, GivenPassage

MAX_CHARS = 200
MAX_ITEMS = 20

# What readers and raters call is no administrative act.
_ACTING = {Role.CONTRIBUTOR, Role.TRAINER, Role.ADMIN}
_STRUCT = "google.protobuf.Struct"
_TIMES = {"google.protobuf.Timestamp", "google.protobuf.Duration"}


class Witness:
    """Writes down what is done and what is given on the gateway."""

    def __init__(self, writer: AuditWriter, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._writer = writer
        self._now = now
        self._acts: dict[str, bool] = {}

    async def __call__(self, call: Call, code: grpc.StatusCode) -> None:
        """Write an act down, whether it succeeded or not, before its answer leaves.

        Raises:
            AuditUnavailable: it cannot be written.
        """
        if not self._is_act(call.rpc):
            return
        event = self._event(AuditKind.ACT, call.identity, call.rpc, code, request=_request_of(call))
        if code is grpc.StatusCode.CANCELLED:
            # Nobody waits for the answer any more, yet the act may have been done.
            self._writer.note(event)
            return
        await self._writer.keep(event)

    def given(self, rpc: str, passages: Sequence[Passage]) -> None:
        """Write down that the caller is given these passages; nobody waits for it."""
        if not passages:
            return
        ids = tuple(
            GivenPassage(passage.chunk_id, passage.document_id, passage.document_version) for passage in passages
        )
        self._writer.note(self._event(AuditKind.PASSAGES_GIVEN, caller(), rpc, grpc.StatusCode.OK, passages=ids))

    def _event(self, kind: AuditKind, identity: Identity, rpc: str, code: grpc.StatusCode, **rest: Any) -> AuditEvent:
        return AuditEvent(
            tenant_id=identity.tenant_id,
            at=self._now(),
            kind=kind,
            subject=identity.subject,
            actor=identity.actor,
            rpc=rpc,
            code=code.name,
            trace_id=trace_id(),
            **rest,
        )

    def _is_act(self, rpc: str) -> bool:
        if rpc not in self._acts:
            self._acts[rpc] = is_act(rpc)
        return self._acts[rpc]


def is_act(rpc: str) -> bool:
    """Return whether an RPC is an administrative act: it changes something, or takes data out in bulk."""
    changes_or_exports = not is_read(rpc) or rpc.rpartition("/")[2].startswith("Export")
    return required_role(rpc) in _ACTING and changes_or_exports


def kept_fields(message: Message) -> dict[str, Any]:
    """Return a message's fields as JSON, without bytes and without what its proto says to redact.

    Strings are cut to 200 characters, lists and maps to 20 entries.
    """
    return {field.name: _kept_field(field, value) for field, value in message.ListFields() if not _is_left_out(field)}


def _request_of(call: Call) -> dict[str, Any]:
    message = GetMessageClass(method_of(call.rpc).input_type)()
    try:
        message.ParseFromString(call.request)
    except DecodeError:
        return {}
    return kept_fields(message)


def _is_left_out(field: FieldDescriptor) -> bool:
    holds_anything = field.message_type is not None and field.message_type.full_name == _STRUCT
    redacted: bool = field.GetOptions().debug_redact
    return redacted or holds_anything or field.type == FieldDescriptor.TYPE_BYTES


def _kept_field(field: FieldDescriptor, value: Any) -> Any:
    if not field.is_repeated:
        return _kept_value(field, value)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _kept_map(field, value)
    return [_kept_value(field, item) for item in value[:MAX_ITEMS]]


def _kept_map(field: FieldDescriptor, value: Any) -> dict[str, Any]:
    entry = field.message_type.fields_by_name["value"] if field.message_type else field
    if _is_left_out(entry):
        return {}
    kept = sorted(value, key=str)[:MAX_ITEMS]
    return {_kept_text(str(key)): _kept_value(entry, value[key]) for key in kept}


def _kept_value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return value.ToJsonString() if _is_time(field, value) else kept_fields(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _kept_text(value) if isinstance(value, str) else value


def _is_time(field: FieldDescriptor, value: Any) -> bool:
    """Return whether a value is a time that has a text; what is out of range stays numbers."""
    if field.message_type is None or field.message_type.full_name not in _TIMES:
        return False
    try:
        value.ToJsonString()
    except ValueError:
        return False
    return True


def _kept_text(text: str) -> str:
    return printable(text[:MAX_CHARS])
