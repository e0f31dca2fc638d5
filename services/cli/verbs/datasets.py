"""dataset …: builds what models are tuned from, and shows what it is worth."""

import time
import uuid
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from tandem.gateway.v1 import directory_service_pb2 as people_pb
from tandem.tune.v1 import dataset_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.gateway import int32
from services.cli.output import plain
from services.cli.session import Session
from services.cli.views import datasets as views
from services.cli.views.tables import table

POLL_SECONDS = 1.0
UPLOAD_SECONDS = 300.0
DIGITS = 64
WORKING = {pb.DATASET_BUILD_STATE_QUEUED, pb.DATASET_BUILD_STATE_RUNNING}
FAILED = {pb.DATASET_BUILD_STATE_FAILED, pb.DATASET_BUILD_STATE_CANCELLED}


class KindName(StrEnum):
    """The kinds, as people write them."""

    SFT = "sft"
    KTO = "kto"
    DPO = "dpo"
    GRPO = "grpo"


class BuildMadeNothing(Failure):
    """The build failed, or was cancelled."""

    reason = "BUILD_FAILED"


class NothingToBuildFrom(Failure):
    """Neither ratings nor documents are named."""

    reason = "NO_SOURCE"


class UnknownDataset(Failure):
    """No data set's digest begins so, or several do."""

    reason = "DATASET_NOT_FOUND"


Kind = Annotated[KindName, typer.Option(help="What the rows are to teach.")]
Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="The data set's digest, or its beginning.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is built.")]
Seed = Annotated[int, typer.Option(min=0, help="Of splits and samples.")]
Languages = Annotated[
    list[str] | None, typer.Option("--language", help="Only this one, such as en; may be given again.")
]
MaxTokens = Annotated[int, typer.Option(help="Of prompt and answer together; 0 means 2,048.")]
Names = Annotated[list[str] | None, typer.Option("--redact-name", help="A person's name; may be given again.")]
Directory = Annotated[
    bool, typer.Option("--redact-directory", help="The names of everybody in the directory, too; for admins.")
]
NotPersonal = Annotated[
    list[str] | None,
    typer.Option("--not-personal", help="What is not redacted, such as @example.com; may be given again."),
]
TestShare = Annotated[float, typer.Option(help="Of the rows, what is held out to measure on; 0 means 0.1.")]
KeepPersonal = Annotated[bool, typer.Option("--keep-personal-data", help="Redact nothing.")]


def build(
    session: Session,
    kind: Kind = KindName.SFT,
    from_ratings: Annotated[bool, typer.Option("--from-ratings", help="From what people rated and corrected.")] = False,
    from_documents: Annotated[
        bool, typer.Option("--from-documents", help="From questions and answers found in documents.")
    ] = False,
    source: Annotated[list[str] | None, typer.Option(help="Only documents of this source; may be given again.")] = None,
    max_documents: Annotated[int, typer.Option(min=0, help="Documents looked at; 0 means 10,000.")] = 0,
    unanswerable_every: Annotated[
        int, typer.Option(help="For every so many questions one that the passages do not answer; -1 means none.")
    ] = 0,
    language: Languages = None,
    max_tokens: MaxTokens = 0,
    test_share: TestShare = 0.0,
    seed: Seed = 0,
    redact_name: Names = None,
    redact_directory: Directory = False,
    not_personal: NotPersonal = None,
    keep_personal_data: KeepPersonal = False,
    wait: Wait = True,
) -> None:
    """Build a data set from ratings, from documents, or from both."""
    if not (from_ratings or from_documents):
        raise NothingToBuildFrom("name what to build from: --from-ratings, --from-documents")
    request = pb.StartDatasetBuildRequest(
        request_id=uuid.uuid4().hex,
        kind=_kind(kind),
        parameters=pb.DatasetParameters(
            seed=int32(seed),
            test_share=test_share,
            languages=language or (),
            max_tokens=int32(max_tokens),
            names=[*(redact_name or ()), *(_directory(session) if redact_directory else ())],
            not_personal=not_personal or (),
            keep_personal_data=keep_personal_data,
        ),
    )
    if from_ratings:
        request.ratings.SetInParent()
    if from_documents:
        request.documents.sources.extend(source or ())
        request.documents.max_documents = int32(max_documents)
        request.documents.unanswerable_every = int32(unanswerable_every)
        request.documents.SetInParent()
    started = session.gateway.call(session.gateway.datasets.StartDatasetBuild, request).build
    _finish(session, started, wait=wait)


def upload(
    session: Session,
    file: Annotated[Path, typer.Argument(help="JSONL or Parquet, in one of the common formats.")],
    kind: Kind = KindName.SFT,
    language: Languages = None,
    max_tokens: MaxTokens = 0,
    test_share: TestShare = 0.0,
    seed: Seed = 0,
    redact_name: Names = None,
    redact_directory: Directory = False,
    not_personal: NotPersonal = None,
    keep_personal_data: KeepPersonal = False,
    wait: Wait = True,
) -> None:
    """Build a data set from the rows of a file."""
    request = pb.UploadDatasetRequest(
        request_id=uuid.uuid4().hex,
        kind=_kind(kind),
        file_name=file.name,
        content=file.read_bytes(),
        parameters=pb.DatasetParameters(
            seed=int32(seed),
            test_share=test_share,
            languages=language or (),
            max_tokens=int32(max_tokens),
            names=[*(redact_name or ()), *(_directory(session) if redact_directory else ())],
            not_personal=not_personal or (),
            keep_personal_data=keep_personal_data,
        ),
    )
    started = session.gateway.call(session.gateway.datasets.UploadDataset, request, UPLOAD_SECONDS).build
    _finish(session, started, wait=wait)


def list_all(session: Session, limit: Limit = 20) -> None:
    """List data sets, newest first."""
    rows = [plain(each) for each in islice(_datasets(session), limit)]
    session.output.show({"datasets": rows}, lambda: table(map(views.row_of, rows), views.COLUMNS))


def builds(session: Session, limit: Limit = 20) -> None:
    """List builds of data sets, newest first."""
    pages = session.gateway.pages(session.gateway.datasets.ListDatasetBuilds, pb.ListDatasetBuildsRequest())
    rows = [plain(each) for each in islice((each for page in pages for each in page.builds), limit)]
    columns = ("build_id", "state", "stage", "kind", "origins", "dataset", "created_at", "failure")
    session.output.show({"builds": rows}, lambda: table(rows, columns))


def cancel(session: Session, build_id: Annotated[str, typer.Argument(help="The build's id.")]) -> None:
    """End a build that waits or works."""
    request = pb.CancelDatasetBuildRequest(build_id=build_id)
    ended = plain(session.gateway.call(session.gateway.datasets.CancelDatasetBuild, request).build)
    session.output.show({"build": ended}, lambda: f"build {build_id} is {ended['state']}")


def show(session: Session, digest: Digest) -> None:
    """Show what a data set is, and whether it is fit to learn from."""
    request = pb.GetDatasetRequest(digest=_whole(session, digest))
    found = session.gateway.call(session.gateway.datasets.GetDataset, request).dataset
    session.output.show({"dataset": plain(found)}, lambda: views.dataset(found))


def report(
    session: Session,
    digest: Digest,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")] = None,
) -> None:
    """Show what was counted when a data set was built: what was dropped and why, lengths, coverage, samples."""
    request = pb.GetDatasetReportRequest(digest=_whole(session, digest))
    if html:
        page = pb.GetDatasetReportRequest(digest=request.digest, html=True)
        html.write_bytes(session.gateway.call(session.gateway.datasets.GetDatasetReport, page).content)
    answer = session.gateway.call(session.gateway.datasets.GetDatasetReport, request)
    counted = orjson.loads(answer.content)
    data = {"report": counted, "withheld": answer.withheld, "file": str(html) if html else ""}
    session.output.show(data, lambda: views.report(counted, answer.withheld))


def rows(
    session: Session,
    digest: Digest,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    limit: Limit = 20,
) -> None:
    """Show rows of a data set: those whose documents you may read."""
    request = pb.ListDatasetRowsRequest(digest=_whole(session, digest), split=split, page_size=min(limit, 500))
    found: list[dict[str, Any]] = []
    withheld = 0
    for page in session.gateway.pages(session.gateway.datasets.ListDatasetRows, request):
        found += map(orjson.loads, page.rows)
        withheld += page.withheld
        if len(found) >= limit:
            break
    found = found[:limit]
    session.output.show({"rows": found, "withheld": withheld}, lambda: views.rows(found, withheld))


def delete(session: Session, digest: Digest) -> None:
    """Remove a data set with its rows."""
    whole = _whole(session, digest)
    session.gateway.call(session.gateway.datasets.DeleteDataset, pb.DeleteDatasetRequest(digest=whole))
    session.output.show({"deleted": whole}, lambda: f"data set {whole[:12]} is removed")


def _finish(session: Session, build: pb.DatasetBuild, *, wait: bool) -> None:
    """Show a build, and what it made where that is waited for."""
    if not wait:
        session.output.show({"build": plain(build)}, lambda: f"build {build.build_id} waits for its turn")
        return
    build = _followed(session, build)
    if build.state in FAILED:
        said = build.failure_message or "it was cancelled"
        raise BuildMadeNothing(f"the build made no data set: {said}", build.failure, build_id=build.build_id)
    request = pb.GetDatasetRequest(digest=build.dataset)
    made = session.gateway.call(session.gateway.datasets.GetDataset, request).dataset
    session.output.show({"build": plain(build), "dataset": plain(made)}, lambda: views.dataset(made))


def _followed(session: Session, build: pb.DatasetBuild) -> pb.DatasetBuild:
    """Return a build once it has ended; it goes on without this command, too."""
    session.output.say(f"build {build.build_id} goes on until it is done, with or without this command", "dim")
    said = ""
    while build.state in WORKING:
        stage = build.stage or "waiting"
        if stage != said:
            session.output.say(stage)
            said = stage
        time.sleep(POLL_SECONDS)
        request = pb.GetDatasetBuildRequest(build_id=build.build_id)
        build = session.gateway.call(session.gateway.datasets.GetDatasetBuild, request).build
    return build


def _directory(session: Session) -> Iterator[str]:
    pages = session.gateway.pages(session.gateway.people.ListUsers, people_pb.ListUsersRequest())
    return (each.display_name for page in pages for each in page.users if each.display_name)


def _datasets(session: Session) -> Iterator[pb.Dataset]:
    pages = session.gateway.pages(session.gateway.datasets.ListDatasets, pb.ListDatasetsRequest())
    return (each for page in pages for each in page.datasets)


def _whole(session: Session, beginning: str) -> str:
    if len(beginning) == DIGITS:
        return beginning
    found = [each.digest for each in _datasets(session) if each.digest.startswith(beginning)]
    if len(found) != 1:
        raise UnknownDataset(f"{len(found)} data sets' digests begin so", beginning=beginning)
    return found[0]


def _kind(kind: KindName) -> "pb.DatasetKind.ValueType":
    return pb.DatasetKind.Value(f"DATASET_KIND_{kind.name}")
