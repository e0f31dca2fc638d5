"""index: how the tenant's index is made, and changing that beside the live one."""

import time
from typing import Annotated

import typer
from tandem.common.v1 import index_pb2
from tandem.ingest.v1 import index_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.output import plain, visible
from services.cli.session import Session

POLL_SECONDS = 1.0
# A switch replays what failed, document by document, before it answers.
TURN_SECONDS = 120.0

Wait = Annotated[bool, typer.Option("--wait", help="Return when that is done.")]


def show(session: Session) -> None:
    """Show the live index, the other one, and how far that is."""
    _show(session, _index(session))


def build(
    session: Session,
    *,
    model: Annotated[str, typer.Option(help="Another embedding model, by its name in the deployment.")] = "",
    language: Annotated[list[str] | None, typer.Option(help="ISO 639-1; repeat it for each language.")] = None,
    chunk_tokens: Annotated[int, typer.Option(help="Most tokens of a chunk.")] = 0,
    overlap_tokens: Annotated[int | None, typer.Option(help="Tokens that a chunk repeats of the one before.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="KIND=STRATEGY: how documents of a kind are cut.")] = None,
    wait: Wait = False,
) -> None:
    """Build another index beside the live one; what is left out is as it is."""
    config = index_pb2.IndexConfig(
        model=model,
        languages=language or (),
        chunk_tokens=chunk_tokens,
        overlap_tokens=overlap_tokens,
        strategies=[_strategy(text) for text in strategy or ()],
    )
    index = session.gateway.call(session.gateway.index.BuildIndex, pb.BuildIndexRequest(config=config)).index
    _show(session, _until(session, index, pb.INDEX_STATE_BUILDING) if wait else index)


def switch(
    session: Session,
    *,
    accept_failed: Annotated[
        bool, typer.Option("--accept-failed", help="Though documents failed in the other index.")
    ] = False,
) -> None:
    """Let searches read the other index; the live one is kept, and kept up to date."""
    request = pb.SwitchIndexRequest(accept_failed=accept_failed)
    _show(session, session.gateway.call(session.gateway.index.SwitchIndex, request, TURN_SECONDS).index)


def revert(session: Session) -> None:
    """Let searches read the index that was live before the switch."""
    _show(session, session.gateway.call(session.gateway.index.RevertIndex, pb.RevertIndexRequest(), TURN_SECONDS).index)


def drop(session: Session, *, wait: Wait = False) -> None:
    """Remove the other index, or cancel its build."""
    index = session.gateway.call(session.gateway.index.DropIndex, pb.DropIndexRequest()).index
    _show(session, _until(session, index, pb.INDEX_STATE_DROPPING) if wait else index)


def _index(session: Session) -> pb.TenantIndex:
    return session.gateway.call(session.gateway.index.GetIndex, pb.GetIndexRequest()).index


def _until(session: Session, index: pb.TenantIndex, state: int) -> pb.TenantIndex:
    """Show how far it is until it is in the state no more."""
    while index.state == state:
        session.output.say(_beside(index), "dim")
        time.sleep(POLL_SECONDS)
        index = _index(session)
    return index


def _strategy(text: str) -> index_pb2.ChunkStrategy:
    kind, equals, strategy = text.partition("=")
    if not (kind and equals and strategy):
        raise Failure("a strategy is written KIND=STRATEGY", "INVALID_OPTION")
    return index_pb2.ChunkStrategy(kind=kind, strategy=strategy)


def _show(session: Session, index: pb.TenantIndex) -> None:
    session.output.show({"index": plain(index)}, lambda: "\n".join((f"live: {_line(index.live)}", _beside(index))))


def _line(config: index_pb2.IndexConfig) -> str:
    strategies = "".join(f", {each.kind}={each.strategy}" for each in config.strategies)
    chunks = f"chunks of {config.chunk_tokens} tokens, {config.overlap_tokens} of them repeated"
    return visible(f"{config.model}, {' '.join(config.languages)}, {chunks}{strategies}")


def _beside(index: pb.TenantIndex) -> str:
    if index.state == pb.INDEX_STATE_SETTLED:
        return "no other index"
    failures = ", ".join(f"{each.reason} {each.documents}" for each in index.failures)
    failed = f"; {index.failed} failed: {visible(failures)}" if index.failed else ""
    done = f"{index.done} of {index.documents} documents are in it{failed}"
    what = {
        pb.INDEX_STATE_BUILDING: f"is being built: {done}",
        pb.INDEX_STATE_READY: f"is ready: {done}",
        pb.INDEX_STATE_KEPT: "was live before, and is kept",
        pb.INDEX_STATE_DROPPING: "is being removed",
    }
    return f"other: {_line(index.other)}; {what[index.state]}"
