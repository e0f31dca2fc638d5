"""source … and wait: where documents come from, and how far they have come."""

import re
import time
import uuid
from pathlib import Path
from typing import Annotated

import typer
from tandem.ingest.v1 import ingest_service_pb2 as pb
from tandem.ingest.v1.events_pb2 import Chunking

from services.cli.errors import Failure
from services.cli.output import plain
from services.cli.session import Session
from services.cli.views import sources as views
from services.cli.views.tables import counted

SYNC_SECONDS = 600.0
POLL_SECONDS = 0.3

SourceName = Annotated[str, typer.Argument(metavar="NAME", help="The source's name or id.")]
Readers = Annotated[
    list[str] | None,
    typer.Option("--readers", help="Who may read: everyone, user:ID, group:ID; may be given again; or else you alone."),
]
Strategy = Annotated[
    str,
    typer.Option(
        "--chunking",
        help="How documents are cut: text, table, slides, turns, mail, code or fixed; or else by each one's kind.",
    ),
]
ChunkTokens = Annotated[int, typer.Option(help="Most tokens of a passage; 0: the deployment's.")]
OverlapTokens = Annotated[
    int, typer.Option(help="Tokens of prose that a passage repeats of the one before; -1: the deployment's.")
]


class NotIndexedInTime(Failure):
    """Documents were still pending when the time was up."""

    reason = "NOT_INDEXED_IN_TIME"


class SyncFailed(Failure):
    """The source could not be read."""

    reason = "SYNC_FAILED"


def add_files(
    session: Session,
    path: Annotated[Path, typer.Argument(help="A folder, or one file.")],
    name: Annotated[str, typer.Option(help="The folder's name by default.")] = "",
    watch: Annotated[bool, typer.Option(help="Follow changes as they happen.")] = True,
    include: Annotated[list[str] | None, typer.Option(help="Only what matches this glob; may be given again.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Not what matches this glob; may be given again.")] = None,
    readers: Readers = None,
    chunking: Strategy = "",
    chunk_tokens: ChunkTokens = 0,
    overlap_tokens: OverlapTokens = -1,
) -> None:
    """Add a folder: its documents are indexed, and followed as they change."""
    path = path.expanduser().resolve()
    files = pb.FilesConfig(path=str(path), include=include or (), exclude=exclude or (), watch=watch)
    cut = _chunking(chunking, chunk_tokens, overlap_tokens)
    request = pb.CreateSourceRequest(name=name or name_of(path), kind="files", files=files, chunking=cut)
    _create(session, request, readers)


def add_push(
    session: Session,
    name: Annotated[str, typer.Option(help="The source's name.")],
    readers: Readers = None,
    chunking: Strategy = "",
    chunk_tokens: ChunkTokens = 0,
    overlap_tokens: OverlapTokens = -1,
) -> None:
    """Add a source that applications push documents into."""
    cut = _chunking(chunking, chunk_tokens, overlap_tokens)
    _create(session, pb.CreateSourceRequest(name=name, kind="push", push=pb.PushConfig(), chunking=cut), readers)


def name_of(path: Path) -> str:
    """Return a name for a source that reads `path`."""
    return re.sub(r"[^\w.-]+", "-", path.name, flags=re.ASCII).strip("-")[:100] or "files"


def _create(session: Session, request: pb.CreateSourceRequest, readers: list[str] | None) -> None:
    request.request_id = uuid.uuid4().hex
    request.readers.extend(readers or ())
    source = session.gateway.call(session.gateway.sources.CreateSource, request, SYNC_SECONDS).source
    session.output.show({"source": plain(source)}, lambda: f"source {source.name} added ({source.source_id})")


def list_sources(session: Session) -> None:
    """List the sources with their counts."""
    sources = all_sources(session)
    session.output.show({"sources": list(map(plain, sources))}, lambda: views.sources_table(sources))


def all_sources(session: Session) -> list[pb.Source]:
    """Return every source of the tenant."""
    rpc = session.gateway.sources.ListSources
    return [source for page in session.gateway.pages(rpc, pb.ListSourcesRequest()) for source in page.sources]


def status(session: Session, name: SourceName) -> None:
    """Show how many documents are pending, indexed and failed, and why they failed."""
    answer = session.gateway.call(session.gateway.sources.GetSource, pb.GetSourceRequest(source=name))
    session.output.show(plain(answer), lambda: views.source_status(answer))


def sync(session: Session, name: SourceName) -> None:
    """Compare the source with what is known of it, now."""
    request = pb.SyncSourceRequest(source=name)
    found = plain(session.gateway.call(session.gateway.sources.SyncSource, request, SYNC_SECONDS))
    session.output.show(found, lambda: ", ".join(f"{count} {what}" for what, count in found.items()))


def readers(
    session: Session,
    name: SourceName,
    readers: Annotated[
        list[str] | None,
        typer.Option("--readers", help="user:ID, group:ID or everyone; may be given again. None: only the owner."),
    ] = None,
) -> None:
    """Change who may read the source's documents that have no readers of their own."""
    request = pb.SetSourceReadersRequest(source=name, readers=readers or ())
    answer = session.gateway.call(session.gateway.sources.SetSourceReaders, request, SYNC_SECONDS)
    session.output.show(
        plain(answer),
        lambda: (
            f"source {answer.source.name}: {views.readers_of(answer.source)};"
            f" {counted(answer.changed, 'document')} changed"
        ),
    )


def rechunk(
    session: Session,
    name: SourceName,
    chunking: Strategy = "",
    chunk_tokens: ChunkTokens = 0,
    overlap_tokens: OverlapTokens = -1,
) -> None:
    """Change how the source's documents are cut, and index all of them again."""
    request = pb.SetSourceChunkingRequest(source=name, chunking=_chunking(chunking, chunk_tokens, overlap_tokens))
    answer = session.gateway.call(session.gateway.sources.SetSourceChunking, request, SYNC_SECONDS)
    session.output.show(
        plain(answer), lambda: f"source {answer.source.name}: {counted(answer.changed, 'document')} to be cut again"
    )


def _chunking(strategy: str, chunk_tokens: int, overlap_tokens: int) -> Chunking | None:
    if (strategy, chunk_tokens) == ("", 0) and overlap_tokens < 0:
        return None
    overlap = overlap_tokens if overlap_tokens >= 0 else None
    return Chunking(strategy=strategy, chunk_tokens=chunk_tokens, overlap_tokens=overlap)


def remove(session: Session, name: SourceName) -> None:
    """Remove the source, and its documents from the index."""
    session.gateway.call(session.gateway.sources.DeleteSource, pb.DeleteSourceRequest(source=name))
    session.output.show({"removed": name}, lambda: f"source {name} is being removed")


def replay(session: Session, name: SourceName) -> None:
    """Try every failed document of the source again."""
    request = pb.ReplayFailedDocumentsRequest(source=name)
    replayed = session.gateway.call(session.gateway.sources.ReplayFailedDocuments, request).replayed
    session.output.show({"replayed": replayed}, lambda: f"tried again: {counted(replayed, 'document')}")


def wait(
    session: Session,
    source: Annotated[str, typer.Option(help="Only this source, by name or id.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 600.0,
) -> None:
    """Wait until every document is indexed; exit code 1 when the time is up before."""
    deadline = time.monotonic() + timeout
    with views.waiting(session.output) as advance:
        while True:
            sources = _waited_for(session, source)
            advance(sources)
            if not any(map(_is_busy, sources)):
                break
            if time.monotonic() > deadline:
                raise _not_in_time(sources, timeout)
            time.sleep(POLL_SECONDS)
    session.output.show({"sources": list(map(plain, sources))}, lambda: views.wait_summary(sources))


def _waited_for(session: Session, name: str) -> list[pb.Source]:
    if not name:
        return all_sources(session)
    return [session.gateway.call(session.gateway.sources.GetSource, pb.GetSourceRequest(source=name)).source]


def _is_busy(source: pb.Source) -> bool:
    """Tell whether a source has documents on their way, or has not been read for the first time."""
    if source.last_sync_error:
        raise SyncFailed(f"source {source.name} could not be read: {source.last_sync_error}", source=source.name)
    active = source.state == pb.SOURCE_STATE_ACTIVE
    unread = active and source.kind == "files" and not source.HasField("last_sync_at")
    return unread or source.state == pb.SOURCE_STATE_DELETING or bool(source.counts.pending + source.counts.deleting)


def _not_in_time(sources: list[pb.Source], seconds: float) -> NotIndexedInTime:
    total = views.total_of(sources)
    return NotIndexedInTime(
        f"after {seconds:.0f} seconds {counted(total.pending, 'document')} still pending,"
        f" {total.indexed} indexed, {total.failed} failed",
        **plain(total),
    )
