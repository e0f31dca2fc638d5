"""Adapter runs from the call to the signed adapter, and what becomes of them when something is killed or cancelled."""

import asyncio
import signal
import time

import grpc
import psutil
import pytest
from tandem.tune.v1 import tuning_service_pb2 as pb

from services.common.lora.signing import AdapterSigner, AdapterVerifier
from services.common.lora.store import AdapterStore, tenant_folder
from services.tune.domain.hyperparameters import Method
from tests.integration.tune.running import SIGNING_KEY, called_by, ended, stub_of, tenant
from tests.integration.tune.test_service import refused
from tests.training_folders import write_dataset
from tests.training_rows import rows

pytestmark = pytest.mark.timeout(900)
QUICK = {"batch_size": 4, "micro_batch": 2, "learning_rate": 5e-3, "epochs": 1, "rank": 4}
INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
UNFIT = grpc.StatusCode.FAILED_PRECONDITION
SECONDS = 600


def wanted(dataset, **fields):
    numbers = fields.pop("hyperparameters", pb.Hyperparameters(**QUICK))
    fields = {"method": pb.TRAINING_METHOD_SFT, "dataset": dataset, "seed": 7} | fields
    return pb.StartAdapterRunRequest(hyperparameters=numbers, **fields)


async def started(stub, acme, request):
    return (await stub.StartAdapterRun(request, **called_by(acme))).run


async def seen(stub, acme, run_id, condition):
    """Return the run once the condition holds for it."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        # A caller's identity does not last as long as a run may.
        run = (await stub.GetRun(pb.GetRunRequest(run_id=run_id), **called_by(acme))).run
        if condition(run):
            return run
        await asyncio.sleep(0.2)
    raise TimeoutError(run)


def trainers_of(tune):
    return [
        child
        for child in psutil.Process(tune.pid).children(recursive=True)
        if "services.tune.training" in child.cmdline()
    ]


async def nothing_left(tune):
    """Wait until no run's folder is there: it goes a moment after the run has ended."""
    for _ in range(100):
        if not list((tune.folder / "cache/runs").glob("*")):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(list((tune.folder / "cache/runs").glob("*")))


@pytest.mark.usefixtures("engine")
async def test_a_run_that_was_killed_with_its_service_and_once_by_itself_makes_the_adapter_all_the_same(tune, stub):
    acme = tenant()
    blobs = tune.folder / "blobs"
    found = rows(Method.SFT, 48)
    dataset = write_dataset(blobs, acme, Method.SFT, found=found)
    run = await started(stub, acme, wanted(dataset, request_id="one", golden_set="faq"))
    assert (await started(stub, acme, wanted(dataset, request_id="one"))).run_id == run.run_id
    at_work = await seen(stub, acme, run.run_id, lambda each: each.training.step >= 2)
    assert (at_work.stage, at_work.training.steps, at_work.training.attempts) == ("training", 12, 1)
    assert at_work.training.loss > 0
    assert at_work.training.HasField("eta")

    [child] = trainers_of(tune)
    tune.stop(signal.SIGKILL)
    tune.start()
    await tune.ready()
    await asyncio.to_thread(psutil.wait_procs, [child], 30)
    assert not child.is_running()
    async with stub_of(tune) as again:
        taken_up = await seen(again, acme, run.run_id, lambda each: each.training.attempts == 2)
        assert taken_up.state == pb.RUN_STATE_RUNNING
        await seen(again, acme, run.run_id, lambda _: trainers_of(tune))
        trainers_of(tune)[0].kill()
        made = await seen(again, acme, run.run_id, ended)
    assert made.state == pb.RUN_STATE_SUCCEEDED, (made, tune.log()[-3000:])
    training = made.training
    # The engine in memory answers everybody alike: the gate has seen nothing better.
    assert (training.step, training.steps, training.passed) == (12, 12, False)
    assert (training.hyperparameters.rank, training.hyperparameters.alpha) == (4, 8)
    await nothing_left(tune)

    verifier = AdapterVerifier([AdapterSigner(SIGNING_KEY).public_key])
    folder, card = await AdapterStore(str(blobs)).fetch(acme, training.adapter, tune.folder / "fetched", verifier)
    assert (card.run_id, card.method, card.dataset, card.seed) == (run.run_id, "sft", dataset, 7)
    assert len(card.probe.logprobs) == 16
    lineage = (folder / "lineage.json").read_text()
    assert all(name in lineage for name in ("d0", "d47", "user:rater-0", "user:rater-1"))


async def test_a_run_that_is_cancelled_ends_its_process_and_leaves_nothing(tune, stub):
    acme = tenant()
    dataset = write_dataset(tune.folder / "blobs", acme, Method.SFT)
    run = await started(stub, acme, wanted(dataset, hyperparameters=pb.Hyperparameters(max_steps=5000)))
    await seen(stub, acme, run.run_id, lambda each: each.stage == "training")
    children = trainers_of(tune)
    cancelled = (await stub.CancelRun(pb.CancelRunRequest(run_id=run.run_id), **called_by(acme))).run
    assert cancelled.state == pb.RUN_STATE_CANCELLED
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 60)
    assert not alive
    await nothing_left(tune)
    assert not (tune.folder / "blobs/adapters" / tenant_folder(acme)).exists()


async def test_what_cannot_be_learnt_is_refused_before_it_waits(tune, stub):
    acme, rival = tenant(), tenant()
    blobs = tune.folder / "blobs"
    dataset, pairs = write_dataset(blobs, acme, Method.SFT), write_dataset(blobs, acme, Method.DPO)
    unfit = write_dataset(blobs, acme, Method.SFT, fit=False)
    for request, code, reason in (
        (wanted(dataset, method=pb.TRAINING_METHOD_UNSPECIFIED), INVALID, "INVALID_RUN"),
        (wanted("../../secrets"), INVALID, "INVALID_RUN"),
        (wanted(dataset, seed=-1), INVALID, "INVALID_RUN"),
        (wanted(dataset, parent="latest"), INVALID, "INVALID_RUN"),
        (wanted(dataset, reward_dataset=pairs), INVALID, "INVALID_RUN"),
        (wanted(dataset, golden_set="x" * 201), INVALID, "INVALID_RUN"),
        (wanted(dataset, base="/etc"), INVALID, "UNKNOWN_BASE"),
        (wanted(dataset, hyperparameters=pb.Hyperparameters(rank=64)), INVALID, "INVALID_HYPERPARAMETERS"),
        (wanted(dataset, hyperparameters=pb.Hyperparameters(epochs=0)), INVALID, "INVALID_HYPERPARAMETERS"),
        (wanted("0" * 64), MISSING, "DATASET_NOT_FOUND"),
        (wanted(unfit), UNFIT, "DATASET_NOT_FIT"),
        (wanted(dataset, method=pb.TRAINING_METHOD_KTO), UNFIT, "DATASET_NOT_FIT"),
    ):
        assert await refused(stub.StartAdapterRun(request, **called_by(acme))) == (code, reason), request
    foreign = await refused(stub.StartAdapterRun(wanted(dataset), **called_by(rival)))
    assert foreign == (MISSING, "DATASET_NOT_FOUND")
    assert not (await stub.ListRuns(pb.ListRunsRequest(), **called_by(acme))).runs


async def test_a_run_says_why_it_makes_nothing(tune, stub):
    acme = tenant()
    few = write_dataset(tune.folder / "blobs", acme, Method.SFT, found=rows(Method.SFT, 3))
    run = await started(stub, acme, wanted(few))
    orphan = await started(stub, acme, wanted(few, parent=f"sha256:{'0' * 64}"))
    failed = await seen(stub, acme, run.run_id, ended)
    assert (failed.state, failed.failure) == (pb.RUN_STATE_FAILED, "TOO_LITTLE_DATA")
    assert "too few examples" in failed.failure_message
    failed = await seen(stub, acme, orphan.run_id, ended)
    assert (failed.state, failed.failure) == (pb.RUN_STATE_FAILED, "PARENT_NOT_FIT")
