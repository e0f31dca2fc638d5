"""Data sets from the call to the rows, and what becomes of them when one is killed, cancelled, erased or deleted."""

import asyncio
import json
import signal
import time
import uuid

import grpc
import orjson
import psutil
import pytest
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.tune.v1 import dataset_service_pb2 as pb
from tandem.tune.v1 import dataset_service_pb2_grpc as rpc
from tandem.tune.v1 import evaluation_service_pb2 as evaluation_pb
from tandem.tune.v1 import evaluation_service_pb2_grpc as evaluation_rpc

from services.cli.errors import failure_of
from services.common.access import Role
from services.common.client import open_channel
from services.tune.datasets.store import Datasets
from tests.integration.tune.running import called_by, tenant
from tests.manifest import open_manifest

pytestmark = pytest.mark.timeout(290)

WORKING = {pb.DATASET_BUILD_STATE_QUEUED, pb.DATASET_BUILD_STATE_RUNNING}
NOTHING_PERSONAL = pb.DatasetParameters(keep_personal_data=True)


@pytest.fixture
async def datasets(tune, neighbours):
    assert neighbours.may_search.is_set()
    async with open_channel(tune.address) as channel:
        yield rpc.DatasetServiceStub(channel)


@pytest.fixture
async def manifest(database_url):
    async with open_manifest(database_url) as manifest:
        yield manifest


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), failure_of(error.value, "").reason


async def ended(datasets, build, acme):
    deadline = time.monotonic() + 240
    while build.state in WORKING and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        build = (
            await datasets.GetDatasetBuild(pb.GetDatasetBuildRequest(build_id=build.build_id), **called_by(acme))
        ).build
    assert build.state not in WORKING, build
    return build


def lines(count: int = 60, **own) -> bytes:
    words = [uuid.uuid5(uuid.NAMESPACE_OID, str(number)).hex[:16] for number in range(count)]
    records = [{"prompt": f"What is {word}?", "completion": f"A {word[::-1]}.", **own} for word in words]
    return "\n".join(map(json.dumps, records)).encode()


async def uploaded(datasets, acme, content=None, **own):
    fields = {"kind": pb.DATASET_KIND_SFT, "file_name": "rows.jsonl", "parameters": NOTHING_PERSONAL, **own}
    request = pb.UploadDatasetRequest(content=lines() if content is None else content, **fields)
    return (await datasets.UploadDataset(request, **called_by(acme))).build


async def test_an_upload_becomes_a_data_set_that_is_listed_shown_and_deleted(datasets, tune):
    acme = tenant()
    build = await ended(datasets, await uploaded(datasets, acme, request_id="once"), acme)
    assert (build.state, build.origins) == (pb.DATASET_BUILD_STATE_SUCCEEDED, ["upload"]), (build, tune.log())
    assert (await uploaded(datasets, acme, request_id="once")).build_id == build.build_id
    [listed] = (await datasets.ListDatasets(pb.ListDatasetsRequest(), **called_by(acme))).datasets
    assert (listed.digest, listed.train_rows, listed.test_rows, listed.fit) == (build.dataset, 48, 6, True)
    opened = await Datasets(str(tune.folder / "blobs")).open(acme, build.dataset)
    assert len(opened.splits["train"]) == 48

    request = pb.ListDatasetRowsRequest(digest=build.dataset, page_size=30)
    first = await datasets.ListDatasetRows(request, **called_by(acme))
    request.page_token = first.next_page_token
    second = await datasets.ListDatasetRows(request, **called_by(acme))
    assert (len(first.rows), len(second.rows), second.next_page_token) == (30, 18, "")
    assert [orjson.loads(each) for each in (*first.rows, *second.rows)] == list(opened.splits["train"])
    report = await datasets.GetDatasetReport(pb.GetDatasetReportRequest(digest=build.dataset), **called_by(acme))
    assert orjson.loads(report.content)["rows"] == {"train": 48, "validation": 6, "test": 6}
    page = await datasets.GetDatasetReport(
        pb.GetDatasetReportRequest(digest=build.dataset, html=True), **called_by(acme)
    )
    assert b"<svg" in page.content

    unknown = (grpc.StatusCode.NOT_FOUND, "DATASET_NOT_FOUND")
    assert (
        await refused(datasets.GetDataset(pb.GetDatasetRequest(digest=build.dataset), **called_by(tenant()))) == unknown
    )
    await datasets.DeleteDataset(pb.DeleteDatasetRequest(digest=build.dataset), **called_by(tenant()))
    await datasets.DeleteDataset(pb.DeleteDatasetRequest(digest=build.dataset), **called_by(acme))
    assert await refused(datasets.GetDataset(pb.GetDatasetRequest(digest=build.dataset), **called_by(acme))) == unknown


async def test_what_is_wrong_with_a_file_or_an_order_is_told_at_once(datasets):
    acme, invalid = tenant(), grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await uploaded(datasets, acme, lines(2) + b'\n{"prompt": "x"}')
    failure = failure_of(error.value, "")
    assert failure.reason == "INVALID_DATASET_FILE"
    assert (failure.facts["file"], failure.facts["line"], failure.facts["column"]) == ("rows.jsonl", "3", "completion")
    assert await refused(uploaded(datasets, acme, kind=99)) == (invalid, "INVALID_DATASET_BUILD")

    def started(**own):
        return datasets.StartDatasetBuild(pb.StartDatasetBuildRequest(**own), **called_by(acme))

    documents = pb.DocumentsSource()
    assert await refused(started(kind=pb.DATASET_KIND_SFT)) == (invalid, "INVALID_DATASET_BUILD")
    assert await refused(started(documents=documents)) == (invalid, "INVALID_DATASET_BUILD")
    assert await refused(started(kind=pb.DATASET_KIND_DPO, documents=documents)) == (invalid, "INVALID_DATASET_BUILD")
    small = pb.DatasetParameters(test_share=0.7)
    assert await refused(started(kind=1, ratings=pb.RatingsSource(), parameters=small)) == (
        invalid,
        "INVALID_DATASET_BUILD",
    )
    request = pb.ListDatasetsRequest()
    denied = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert await refused(datasets.ListDatasets(request, **called_by(acme, roles=frozenset({Role.READER})))) == denied


async def test_nothing_left_is_a_failure_with_its_reasons(datasets):
    acme = tenant()
    build = await ended(datasets, await uploaded(datasets, acme, b'{"prompt": "What?", "completion": " "}'), acme)
    assert (build.state, build.failure) == (pb.DATASET_BUILD_STATE_FAILED, "DATASET_EMPTY")
    assert "1 empty" in build.failure_message


async def test_golden_questions_of_the_tenant_are_not_learnt(datasets, tune):
    acme = tenant()
    content = lines()
    golden = json.loads(content.splitlines()[7])["prompt"]
    async with open_channel(tune.address) as channel:
        sets = evaluation_rpc.EvaluationServiceStub(channel)
        kept = json.dumps({"id": "q", "question": golden, "documents": ["d"]}).encode()
        await sets.PutSet(evaluation_pb.PutSetRequest(name="golden", content=kept), **called_by(acme))
    build = await ended(datasets, await uploaded(datasets, acme, content), acme)
    found = await datasets.GetDatasetReport(pb.GetDatasetReportRequest(digest=build.dataset), **called_by(acme))
    [step] = [each for each in orjson.loads(found.content)["steps"] if each["name"] == "golden items"]
    assert step["dropped"] == {"golden question": 1}


def rate(neighbours, number, rater, thumb, *, gone=False):
    """Have an answer rated whose passage is there, or gone."""
    word = uuid.uuid5(uuid.NAMESPACE_OID, f"rated {number}").hex[:16]
    told = feedback_pb.ExportRatingsResponse()
    told.rating.rating_id, told.rating.thumb, told.rating.subject = f"r{number}-{rater}", thumb, rater
    told.rating.rated_at.FromSeconds(1_790_000_000 + number * 100)
    interaction = told.interaction
    interaction.interaction_id, interaction.conversation_id = f"i{number}", f"c{number}"
    interaction.question, interaction.answer, interaction.subject = (
        f"What is {word}?",
        f"It is {word} of old.",
        "user:asker",
    )
    interaction.asked_at.FromSeconds(1_790_000_000 + number * 100 - 50)
    interaction.passages.add(chunk_id=f"chunk-{number}", document_id=f"doc-{number}", cited=True)
    if not gone:
        neighbours.chunks[f"chunk-{number}"] = (f"doc-{number}", f"Here stands that it is {word} of old.")
    neighbours.ratings.append(told)


async def rated(datasets, neighbours, acme, kind=pb.DATASET_KIND_SFT):
    neighbours.ratings.clear()
    for number in range(70):
        rate(neighbours, number, f"user:rater-{number % 3}", events_pb2.THUMB_UP, gone=number >= 60)
    request = pb.StartDatasetBuildRequest(kind=kind, ratings=pb.RatingsSource(), parameters=NOTHING_PERSONAL)
    return (await datasets.StartDatasetBuild(request, **called_by(acme))).build


async def test_ratings_teach_with_their_passages_and_who_is_erased_takes_the_rows_along(datasets, neighbours, tune):
    acme = tenant()
    build = await ended(datasets, await rated(datasets, neighbours, acme), acme)
    assert build.state == pb.DATASET_BUILD_STATE_SUCCEEDED, (build, tune.log())
    answer = await datasets.GetDatasetReport(pb.GetDatasetReportRequest(digest=build.dataset), **called_by(acme))
    steps = {each["name"]: each for each in orjson.loads(answer.content)["steps"]}
    assert steps["ratings"]["dropped"] == {"passages are gone": 10}
    opened = await Datasets(str(tune.folder / "blobs")).open(acme, build.dataset)
    assert all(each["completion"].endswith("of old [1].") for each in opened.splits["train"])
    assert answer.dataset.person_count == 4
    # The manifest has none of these documents, so that nobody is shown a row of them.
    assert (answer.dataset.stale, answer.dataset.deleted_documents, answer.withheld > 0) == (True, 60, True)
    page = await datasets.ListDatasetRows(pb.ListDatasetRowsRequest(digest=build.dataset), **called_by(acme))
    assert (len(page.rows), page.withheld) == (0, 48)

    async with open_channel(tune.address) as channel:
        eraser = erasure_rpc.ErasureServiceStub(channel)
        person = erasure_pb.EraseRequest(person=erasure_pb.Person(principals=["user:rater-1"]))
        answer = await eraser.Erase(person, **called_by(acme))
        assert {each.kind: each.count for each in answer.removed} == {"data sets with rows of them": 1}
        assert list(answer.stale_adapters) == [f"data set {build.dataset}"]
        assert (await eraser.Erase(person, **called_by(acme))).done
        left = (await datasets.GetDataset(pb.GetDatasetRequest(digest=build.dataset), **called_by(acme))).dataset
        assert (left.erased, left.fit, left.erased_people, left.person_count) == (True, False, 1, 4)
        request = pb.ListDatasetRowsRequest(digest=build.dataset)
        erased = (grpc.StatusCode.FAILED_PRECONDITION, "DATASET_ERASED")
        assert await refused(datasets.ListDatasetRows(request, **called_by(acme))) == erased
        assert list((tune.folder / "blobs").rglob(build.dataset)) == []
        whole = erasure_pb.EraseRequest(whole_tenant=erasure_pb.WholeTenant())
        answer = await eraser.Erase(whole, **called_by(acme))
        assert {each.kind: each.count for each in answer.removed} == {"data sets": 1, "data set builds": 1}
    assert not (await datasets.ListDatasets(pb.ListDatasetsRequest(), **called_by(acme))).datasets


async def test_documents_teach_who_may_read_them_and_nobody_else(datasets, neighbours, manifest, tune):
    acme = tenant()
    for number in range(40):
        word = uuid.uuid5(uuid.NAMESPACE_OID, f"article {number}").hex[:12]
        await manifest.put(acme, f"article-{number:02}", "everyone" if number < 30 else "user:other")
        text = f"# Part {word}\n\n**What does {word} cost?** It costs {number + 3} euros a piece.\n"
        neighbours.documents[f"article-{number:02}"] = text
    request = pb.StartDatasetBuildRequest(
        kind=pb.DATASET_KIND_SFT, documents=pb.DocumentsSource(unanswerable_every=2), parameters=NOTHING_PERSONAL
    )
    build = (await datasets.StartDatasetBuild(request, **called_by(acme))).build
    build = await ended(datasets, build, acme)
    assert build.state == pb.DATASET_BUILD_STATE_SUCCEEDED, (build, tune.log())
    opened = await Datasets(str(tune.folder / "blobs")).open(acme, build.dataset)
    rows = [each for split in opened.splits.values() for each in split]
    assert sum("euros a piece [" in each["completion"] for each in rows) == 30
    assert sum(each["completion"].startswith("I don't find an answer") for each in rows) >= 5
    assert {each for each in opened.card.documents if each.startswith("article")} == {
        f"article-{number:02}" for number in range(30)
    }
    assert {who.subject for who in neighbours.searchers if who.tenant_id == acme} == {"user:ada"}
    # Rows are shown to who may read all their documents.
    request = pb.ListDatasetRowsRequest(digest=build.dataset)
    page = await datasets.ListDatasetRows(request, **called_by(acme))
    assert (len(page.rows), page.withheld) == (0, len(opened.splits["train"]))
    for document in opened.card.documents:
        await manifest.put(acme, document, "everyone")
    page = await datasets.ListDatasetRows(request, **called_by(acme))
    assert (len(page.rows), page.withheld) == (len(opened.splits["train"]), 0)
    await manifest.put(acme, opened.card.documents[0], "user:other")
    assert (await datasets.ListDatasetRows(request, **called_by(acme))).withheld > 0


async def test_a_build_that_is_cancelled_keeps_nothing(datasets, neighbours, manifest):
    acme = tenant()
    neighbours.may_search.clear()
    await manifest.put(acme, "article", "everyone")
    neighbours.documents["article"] = "**What does the part cost?** It costs ten euros.\n"
    request = pb.StartDatasetBuildRequest(kind=pb.DATASET_KIND_SFT, documents=pb.DocumentsSource())
    build = (await datasets.StartDatasetBuild(request, **called_by(acme))).build
    sent = await uploaded(datasets, acme)
    for each in (build, sent, build):
        wanted = pb.CancelDatasetBuildRequest(build_id=each.build_id)
        cancelled = (await datasets.CancelDatasetBuild(wanted, **called_by(acme))).build
        assert cancelled.state == pb.DATASET_BUILD_STATE_CANCELLED
    neighbours.may_search.set()
    assert not (await datasets.ListDatasets(pb.ListDatasetsRequest(), **called_by(acme))).datasets
    builds = (await datasets.ListDatasetBuilds(pb.ListDatasetBuildsRequest(), **called_by(acme))).builds
    assert {each.build_id for each in builds} == {build.build_id, sent.build_id}
    wanted = pb.CancelDatasetBuildRequest(build_id=build.build_id)
    unknown = (grpc.StatusCode.NOT_FOUND, "BUILD_NOT_FOUND")
    assert await refused(datasets.CancelDatasetBuild(wanted, **called_by(tenant()))) == unknown


async def test_a_build_whose_service_is_killed_has_failed_and_its_process_is_gone(datasets, tune):
    acme = tenant()
    build = await uploaded(datasets, acme)
    children = []
    while not children:
        await asyncio.sleep(0.05)
        children = [each for each in psutil.Process(tune.pid).children() if "build_dataset" in " ".join(each.cmdline())]
    tune.stop(signal.SIGKILL)
    tune.start()
    await tune.ready()
    lost = await ended(datasets, build, acme)
    assert (lost.state, lost.failure) == (pb.DATASET_BUILD_STATE_FAILED, "BUILD_LOST")
    assert not psutil.wait_procs(children, timeout=20)[1]
    # What comes after it is built.
    again = await ended(datasets, await uploaded(datasets, acme), acme)
    assert again.state == pb.DATASET_BUILD_STATE_SUCCEEDED
