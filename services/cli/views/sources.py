"""How sources and their documents look."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text
from tandem.ingest.v1 import ingest_service_pb2 as pb

from services.cli.output import Output, plain, visible
from services.cli.views.tables import cell, counted, new_table

MAX_NAMED = 5

Advance = Callable[[Sequence[pb.Source]], None]


def sources_table(sources: Sequence[pb.Source]) -> RenderableType:
    """Return the sources with their counts."""
    if not sources:
        return Text("no sources yet: add one with `tandem source add files PATH`", "dim")
    drawn = new_table("name", "kind", "state", "pending", "indexed", "failed", "chunks", "where")
    for source in sources:
        counts = source.counts
        numbers = map(str, (counts.pending + counts.deleting, counts.indexed, counts.failed, counts.chunks))
        drawn.add_row(source.name, source.kind, plain(source)["state"], *numbers, cell(source.files.path))
    return drawn


def source_status(answer: pb.GetSourceResponse) -> RenderableType:
    """Return one source with what went wrong lately."""
    parts: list[RenderableType] = [sources_table([answer.source])]
    if answer.source.last_sync_error:
        parts.append(Text(f"the last sync failed: {visible(answer.source.last_sync_error)}", "bold red"))
    if answer.failures:
        drawn = new_table("failed document", "reason", "what happened")
        for failure in answer.failures:
            drawn.add_row(cell(failure.external_id), failure.failure_reason, cell(failure.failure_message))
        parts.append(drawn)
    more = answer.source.counts.failed - len(answer.failures)
    if more > 0:
        parts.append(Text(f"and {counted(more, 'failed document')} before these", "yellow"))
    return Group(*parts)


def documents_table(documents: Sequence[pb.Document]) -> RenderableType:
    """Return documents with who may read them."""
    if not documents:
        return Text("no documents yet", "dim")
    drawn = new_table("document", "state", "version", "chunks", "suspicious", "owner", "readers")
    for document in documents:
        numbers = map(str, (document.version, document.chunk_count, document.suspicious_chunk_count))
        readers = "" if document.follows_source else "its own: "
        drawn.add_row(
            cell(document.external_id),
            plain(document)["state"],
            *numbers,
            cell(document.owner),
            cell(readers + readers_of(document)),
        )
    return drawn


def readers_of(holder: pb.Source | pb.Document) -> str:
    """Return who may read, the first of them by name."""
    named = list(holder.readers)[:MAX_NAMED]
    more = max(holder.reader_count, len(holder.readers)) - len(named)
    return visible(", ".join(named) or "nobody") + (f" and {more} more" if more else "")


def total_of(sources: Sequence[pb.Source]) -> pb.SourceCounts:
    """Return the counts of all `sources` together."""
    return pb.SourceCounts(
        pending=sum(source.counts.pending for source in sources),
        indexed=sum(source.counts.indexed for source in sources),
        failed=sum(source.counts.failed for source in sources),
        deleting=sum(source.counts.deleting for source in sources),
        chunks=sum(source.counts.chunks for source in sources),
        suspicious_chunks=sum(source.counts.suspicious_chunks for source in sources),
    )


def wait_summary(sources: Sequence[pb.Source]) -> RenderableType:
    """Return what there is, now that nothing is pending."""
    total = total_of(sources)
    lines = [Text(f"indexed: {counted(total.indexed, 'document')}, {counted(total.chunks, 'chunk')}", "green")]
    if total.failed:
        lines.append(
            Text(f"failed: {counted(total.failed, 'document')}, `tandem source status NAME` tells why", "yellow")
        )
    lines += [
        Text(f"source {source.name} holds no documents: {visible(source.files.path)}", "yellow")
        for source in sources
        if source.kind == "files" and not source.counts.indexed + source.counts.failed
    ]
    if not sources:
        lines = [Text("no sources yet: add one with `tandem source add files PATH`", "yellow")]
    return Group(*lines)


@contextlib.contextmanager
def waiting(output: Output) -> Iterator[Advance]:
    """Give a function that moves a progress bar to where the sources are."""
    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=output.console, transient=True, disable=output.as_json or not output.console.is_terminal
    ) as progress:
        task = progress.add_task("indexing", total=None)

        def advance(sources: Sequence[pb.Source]) -> None:
            total = total_of(sources)
            done = total.indexed + total.failed
            progress.update(task, completed=done, total=done + total.pending + total.deleting or None)

        yield advance
