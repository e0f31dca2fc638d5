"""audit: who did what, and who was given which passages."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer
from tandem.gateway.v1 import audit_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.output import plain
from services.cli.session import Session
from services.cli.views.tables import table

EXPORT_SECONDS = 3600.0
COLUMNS = ("event_id", "at", "kind", "subject", "actor", "rpc", "code", "passages")
KINDS = {"": 0, "act": pb.AUDIT_EVENT_KIND_ACT, "passages-given": pb.AUDIT_EVENT_KIND_PASSAGES_GIVEN}

Kind = Annotated[str, typer.Option(help="act or passages-given; all by default.")]
Subject = Annotated[str, typer.Option(help='Who did it, such as "user:ada" or "key:5f0c".')]
Document = Annotated[str, typer.Option(help="Events that gave a passage of this document.")]
After = Annotated[datetime | None, typer.Option(help="At or after this time, UTC.")]
Before = Annotated[datetime | None, typer.Option(help="Before this time, UTC.")]


class UnknownKind(Failure):
    """There is no such kind of event."""

    reason = "UNKNOWN_KIND"


def list_events(
    session: Session,
    kind: Kind = "",
    subject: Subject = "",
    document: Document = "",
    after: After = None,
    before: Before = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 50,
) -> None:
    """List the audit log's events, newest first."""
    request = pb.ListAuditEventsRequest(filter=_filter(kind, subject, document, after, before))
    pages = session.gateway.pages(session.gateway.audit.ListAuditEvents, request)
    rows = [plain(event) for event in islice((event for page in pages for event in page.events), limit)]
    session.output.show({"events": rows}, lambda: table(map(_row, rows), COLUMNS))


def export_events(
    session: Session,
    kind: Kind = "",
    subject: Subject = "",
    document: Document = "",
    after: After = None,
    before: Before = None,
) -> None:
    """Print the audit log's events as lines of JSON, oldest first."""
    request = pb.ExportAuditEventsRequest(filter=_filter(kind, subject, document, after, before))
    for answer in session.gateway.stream(session.gateway.audit.ExportAuditEvents, request, EXPORT_SECONDS):
        session.output.json(plain(answer.event))


def _filter(kind: str, subject: str, document: str, after: datetime | None, before: datetime | None) -> pb.AuditFilter:
    if kind not in KINDS:
        raise UnknownKind(f"there is no kind {kind!r}: act or passages-given", kind=kind)
    wanted = pb.AuditFilter(kind=KINDS[kind], subject=subject, document_id=document)  # type: ignore[arg-type]
    if after:
        wanted.after.FromDatetime(after.replace(tzinfo=after.tzinfo or UTC))
    if before:
        wanted.before.FromDatetime(before.replace(tzinfo=before.tzinfo or UTC))
    return wanted


def _row(event: Mapping[str, Any]) -> Mapping[str, Any]:
    given = [f"{passage['document_id']}@{passage['document_version']}" for passage in event["passages"]]
    return {**event, "at": event["at"][:19].replace("T", " "), "passages": given}
