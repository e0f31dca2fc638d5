"""index compare: the live index and the one beside it, on questions whose right documents are known."""

from pathlib import Path
from typing import Annotated

import typer
from tandem.ingest.v1 import index_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.session import Session
from services.common.evaluation.questions import Duplicates

WHOLE = (pb.INDEX_STATE_READY, pb.INDEX_STATE_KEPT)


class NothingToCompare(Failure):
    """No whole index is beside the live one."""

    reason = "INDEX_NOT_READY"


def compare(
    session: Session,
    path: Annotated[
        Path | None, typer.Option("--set", help="A BEIR folder, or a file of CSV or JSONL; .gz too.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of a BEIR folder: qrels/SPLIT.tsv.")] = "test",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Only the first so many questions.")] = 0,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=100, help="Documents that count.")] = 10,
    from_ratings: Annotated[
        bool, typer.Option("--from-ratings", help="Questions whose answers people found good.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write everything to this file, as JSON.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots and the worst cases.")] = None,
) -> None:
    """Search both indexes for the questions of a set, and say whether the difference is significant."""
    from services.cli.evaluation import work  # noqa: PLC0415 - numpy and ir-measures are slow to import

    index = session.gateway.call(session.gateway.index.GetIndex, pb.GetIndexRequest()).index
    if index.state not in WHOLE:
        raise NothingToCompare("no index is ready beside the live one: `tandem index build` makes one")
    terms = work.Terms(path, split, limit, from_ratings, Duplicates.REFUSE, False, (), 4, 30.0, out, html)
    work.evaluate_retrieval(session, terms, top_k, ["other_index=true"], [work.LIVE])
