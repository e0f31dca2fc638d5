"""Runs from the call to the promotion, and what becomes of them when something is killed, cancelled or erased."""

import asyncio
import signal

import grpc
import psutil
import pytest
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.feedback.v1 import events_pb2
from tandem.tune.v1 import tuning_service_pb2 as pb

from services.cli.errors import failure_of
from services.common.client import open_channel
from services.common.rerankers import Rerankers
from tests.integration.tune.running import (
    TRAINER,
    called_by,
    ended,
    neighbours_at,
    stub_of,
    tenant,
    training_set,
    until,
)

pytestmark = pytest.mark.timeout(280)


async def refused(call):
    """Return the code and the reason that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), failure_of(error.value, "").reason


async def made_by(stub, acme, request=None):
    run = (await stub.StartRerankerRun(request or training_set(), **called_by(acme))).run
    return await until(stub, run.run_id, ended, **called_by(acme))


async def test_a_run_trains_and_is_measured_and_an_admin_alone_may_overrule_the_gate(stub, neighbours, tune):
    acme = tenant()
    run = await made_by(stub, acme, training_set(seed=3))
    assert run.state == pb.RUN_STATE_SUCCEEDED, (run, tune.log())
    report = run.report
    assert (report.trained_queries, report.tuned_queries, report.held_out_queries) == (36, 9, 15)
    # What is live is right already, so that nothing can be better.
    assert (report.live_ndcg, report.passed) == (1.0, False)
    [reranker] = (await stub.ListRerankers(pb.ListRerankersRequest(), **called_by(acme))).rerankers
    assert (reranker.digest, reranker.live, reranker.report) == (run.reranker, False, report)
    # The manifest has none of these documents.
    assert (reranker.stale, reranker.document_count, reranker.deleted_documents) == (True, 63, 63)
    folder = await Rerankers(str(tune.folder / "blobs")).fetch(run.reranker, tune.folder / "fetched")
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".txt"}

    wanted = pb.PromoteRerankerRequest(digest=run.reranker)
    overruled = pb.PromoteRerankerRequest(digest=run.reranker, override=True)
    failed = (grpc.StatusCode.FAILED_PRECONDITION, "GATE_FAILED")
    assert await refused(stub.PromoteReranker(wanted, **called_by(acme))) == failed
    denied = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert await refused(stub.PromoteReranker(overruled, **called_by(acme, roles=TRAINER))) == denied
    promotion = (await stub.PromoteReranker(overruled, **called_by(acme))).promotion
    assert (promotion.reranker, promotion.previous, promotion.overridden) == (run.reranker, "", True)
    live = neighbours.tunings[acme]
    assert (live.reranker, live.rerank_weight, live.version) == (run.reranker, report.rerank_weight, 1)
    assert not (await stub.PromoteReranker(overruled, **called_by(acme))).HasField("promotion")
    [reranker] = (await stub.ListRerankers(pb.ListRerankersRequest(), **called_by(acme))).rerankers
    assert reranker.live

    back = (await stub.RollbackReranker(pb.RollbackRerankerRequest(), **called_by(acme))).promotion
    assert (back.reranker, back.rollback) == ("", True)
    assert (neighbours.tunings[acme].reranker, neighbours.tunings[acme].HasField("rerank_weight")) == ("", False)
    nothing = (grpc.StatusCode.FAILED_PRECONDITION, "NOTHING_TO_ROLL_BACK")
    assert await refused(stub.RollbackReranker(pb.RollbackRerankerRequest(), **called_by(acme))) == nothing
    listed = (await stub.ListPromotions(pb.ListPromotionsRequest(), **called_by(acme))).promotions
    assert [each.rollback for each in listed] == [True, False]
    # It searched as who started it.
    assert {who.subject for who in neighbours.searchers if who.tenant_id == acme} == {"user:ada"}


async def test_ratings_are_learnt_and_who_rated_is_forgotten_when_erased(stub, neighbours, tune):
    acme = tenant()
    for number in range(60):
        neighbours.rate(number, events_pb2.THUMB_UP, f"user:rater-{number % 2}")
    run = await made_by(stub, acme, pb.StartRerankerRunRequest(ratings=pb.Ratings()))
    assert run.state == pb.RUN_STATE_SUCCEEDED, (run, tune.log())
    [reranker] = (await stub.ListRerankers(pb.ListRerankersRequest(), **called_by(acme))).rerankers
    assert (reranker.person_count, reranker.erased_people) == (3, 0)
    async with open_channel(tune.address) as channel:
        erasure = erasure_rpc.ErasureServiceStub(channel)
        person = erasure_pb.EraseRequest(person=erasure_pb.Person(principals=["user:rater-1", "user:unknown"]))
        first = await erasure.Erase(person, **called_by(acme))
        assert (first.done, list(first.stale_adapters)) == (False, [f"reranker {run.reranker}"])
        assert (await erasure.Erase(person, **called_by(acme))).done
        [reranker] = (await stub.ListRerankers(pb.ListRerankersRequest(), **called_by(acme))).rerankers
        assert (reranker.stale, reranker.person_count, reranker.erased_people) == (True, 3, 1)

        everything = erasure_pb.EraseRequest(whole_tenant=erasure_pb.WholeTenant())
        assert not (await erasure.Erase(everything, **called_by(acme))).done
        assert (await erasure.Erase(everything, **called_by(acme))).done
    assert not (tune.folder / "blobs/rerankers" / run.reranker).exists()
    assert not (await stub.ListRuns(pb.ListRunsRequest(), **called_by(acme))).runs


async def test_a_run_whose_service_was_killed_has_failed_and_its_process_is_gone(stub, tune):
    acme = tenant()
    run = (await stub.StartRerankerRun(training_set(), **called_by(acme))).run
    await until(stub, run.run_id, lambda each: each.stage == "training", **called_by(acme))
    [child] = psutil.Process(tune.pid).children()
    tune.stop(signal.SIGKILL)
    tune.start()
    await tune.ready()
    async with stub_of(tune) as again:
        lost = await until(again, run.run_id, ended, **called_by(acme))
        assert (lost.state, lost.failure) == (pb.RUN_STATE_FAILED, "RUN_LOST")
    await asyncio.to_thread(psutil.wait_procs, [child], 30)
    assert not child.is_running()
    assert not list((tune.folder / "cache/runs").glob("*"))


@pytest.mark.parametrize("ratings", [False, True])
async def test_a_run_waits_for_services_that_are_away_for_a_moment(tune, beside, ratings):
    acme = tenant()
    request = pb.StartRerankerRunRequest(ratings=pb.Ratings()) if ratings else training_set(3)
    async with stub_of(tune) as stub:
        run = (await stub.StartRerankerRun(request, **called_by(acme))).run
        await until(stub, run.run_id, lambda each: each.state == pb.RUN_STATE_RUNNING, **called_by(acme))
        await asyncio.sleep(1)
        async with neighbours_at(beside):
            failed = await until(stub, run.run_id, ended, **called_by(acme))
    # It has asked, and been told.
    assert (failed.state, failed.failure) == (pb.RUN_STATE_FAILED, "TOO_LITTLE_DATA")


async def test_runs_of_a_tenant_wait_for_each_other_and_are_cancelled(stub, neighbours):
    acme = tenant()
    neighbours.may_search.clear()
    first = (await stub.StartRerankerRun(training_set(request_id="one"), **called_by(acme))).run
    assert (await stub.StartRerankerRun(training_set(request_id="one"), **called_by(acme))).run.run_id == first.run_id
    second = (await stub.StartRerankerRun(training_set(), **called_by(acme))).run
    await until(stub, first.run_id, lambda each: each.state == pb.RUN_STATE_RUNNING, **called_by(acme))
    waiting = (await stub.GetRun(pb.GetRunRequest(run_id=second.run_id), **called_by(acme))).run
    assert waiting.state == pb.RUN_STATE_QUEUED
    for run in (second, first):
        cancelled = (await stub.CancelRun(pb.CancelRunRequest(run_id=run.run_id), **called_by(acme))).run
        assert cancelled.state == pb.RUN_STATE_CANCELLED
    neighbours.may_search.set()
    again = (await stub.CancelRun(pb.CancelRunRequest(run_id=first.run_id), **called_by(acme))).run
    assert again.state == pb.RUN_STATE_CANCELLED
    # The next one has its turn.
    third = (await stub.StartRerankerRun(training_set(3), **called_by(acme))).run
    failed = await until(stub, third.run_id, ended, **called_by(acme))
    assert (failed.state, failed.failure) == (pb.RUN_STATE_FAILED, "TOO_LITTLE_DATA")


async def test_what_cannot_be_learnt_is_refused_before_it_waits(stub):
    acme, invalid = tenant(), grpc.StatusCode.INVALID_ARGUMENT
    twice = training_set(2)
    twice.training_set.queries[1].query = "QUESTION 0"
    for request, reason in (
        (pb.StartRerankerRunRequest(), "INVALID_RUN"),
        (training_set(seed=-1), "INVALID_RUN"),
        (training_set(request_id="x" * 65), "INVALID_RUN"),
        (training_set(base="/etc"), "UNKNOWN_BASE"),
        (training_set(0), "INVALID_TRAINING_SET"),
        (twice, "INVALID_TRAINING_SET"),
    ):
        assert await refused(stub.StartRerankerRun(request, **called_by(acme))) == (invalid, reason)
    assert not (await stub.ListRuns(pb.ListRunsRequest(), **called_by(acme))).runs


async def test_anothers_runs_and_rerankers_are_not_found(stub, neighbours):
    acme, rival = tenant(), tenant()
    neighbours.may_search.clear()
    run = (await stub.StartRerankerRun(training_set(), **called_by(acme))).run
    missing = (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
    assert await refused(stub.GetRun(pb.GetRunRequest(run_id=run.run_id), **called_by(rival))) == missing
    assert await refused(stub.CancelRun(pb.CancelRunRequest(run_id=run.run_id), **called_by(rival))) == missing
    assert await refused(stub.GetRun(pb.GetRunRequest(run_id="a\0b"), **called_by(rival))) == missing
    none = (grpc.StatusCode.NOT_FOUND, "RERANKER_NOT_FOUND")
    for digest in ("0" * 64, "", "a\0b"):
        promote = pb.PromoteRerankerRequest(digest=digest, override=True)
        assert await refused(stub.PromoteReranker(promote, **called_by(acme))) == none
    await stub.CancelRun(pb.CancelRunRequest(run_id=run.run_id), **called_by(acme))


async def test_lists_come_in_pages_newest_first(stub, neighbours):
    acme = tenant()
    neighbours.may_search.clear()
    started = [(await stub.StartRerankerRun(training_set(), **called_by(acme))).run.run_id for _ in range(5)]
    listed, token = [], ""
    while True:
        page = await stub.ListRuns(pb.ListRunsRequest(page_size=2, page_token=token), **called_by(acme))
        listed += [run.run_id for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert listed == started[::-1]
    bad = pb.ListRunsRequest(page_token="bm9uZQ==")
    assert await refused(stub.ListRuns(bad, **called_by(acme))) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE")
    for run_id in started:
        await stub.CancelRun(pb.CancelRunRequest(run_id=run_id), **called_by(acme))
