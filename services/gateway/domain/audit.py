"""The audit log: who did what, and who was given which passages; never a text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.common.errors import InvalidArgument, Unavailable

MAX_SUBJECT_CHARS = 300
MAX_DOCUMENT_ID_CHARS = 300


class AuditUnavailable(Unavailable):
    """What was done cannot be written down now; it may have been done, and a repeat is safe."""

    reason = "AUDIT_UNAVAILABLE"


class InvalidAuditFilter(InvalidArgument):
    """A filter that no event can ever match."""

    reason = "INVALID_AUDIT_FILTER"


class AuditKind(StrEnum):
    """What an event tells of."""

    ACT = "act"
    PASSAGES_GIVEN = "passages_given"


@dataclass(frozen=True, slots=True)
class GivenPassage:
    """A passage that somebody was given, by its ids."""

    chunk_id: str
    document_id: str
    document_version: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened; `code` is a gRPC code's name, `request` JSON, `at` has a zone."""

    tenant_id: str
    at: datetime
    kind: AuditKind
    subject: str
    actor: str
    rpc: str
    code: str
    trace_id: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    passages: tuple[GivenPassage, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as it is kept; ids rise."""

    event_id: int
    event: AuditEvent


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Narrows the events: each field that is set must hold. `after` is included, `before` is not."""

    kind: AuditKind | None = None
    subject: str = ""
    document_id: str = ""
    after: datetime | None = None
    before: datetime | None = None


def checked(wanted: AuditFilter) -> AuditFilter:
    """Return the filter.

    Raises:
        InvalidAuditFilter: nothing can ever match it.
    """
    limits = {
        "subject": (wanted.subject, MAX_SUBJECT_CHARS),
        "document_id": (wanted.document_id, MAX_DOCUMENT_ID_CHARS),
    }
    for name, (text, limit) in limits.items():
        if len(text) > limit or "\0" in text:
            raise InvalidAuditFilter("there is no such subject or document", field=name)
    if wanted.after and wanted.before and wanted.before < wanted.after:
        raise InvalidAuditFilter("the time ends before it begins", field="before")
    return wanted
