"""A replica comes to what aliases point at, whatever fails on the way, and never answers with what is not proved."""

import asyncio
import contextlib
import json
import pickle
import shutil
from dataclasses import replace

import pytest

from services.common.identity import Identity
from services.common.lora.card import Probe
from services.common.lora.routing import is_for_canary
from services.common.lora.signing import AdapterVerifier
from services.common.lora.store import AdapterStore
from services.generate.adapters.memory import MemoryEngine, MemoryErasedPeople, NoReadership
from services.generate.adapters.registered import RegisteredFiles
from services.generate.aliases import Aliases
from services.generate.answers import Adapters
from services.generate.converging import Converger, Patience, Workshop
from services.generate.domain.errors import (
    AdapterNotFound,
    AdapterNotPermitted,
    AdapterNotReady,
    EngineDead,
    NotConverged,
)
from services.generate.lineages import Lineages
from services.generate.ports import Readiness
from services.generate.proving import Prover
from services.generate.shelf import AdapterShelf
from tests.unit.generate.adapters import BASE, config, tensors, write
from tests.unit.generate.registry import (
    CARD,
    SIGNER,
    STRANGER,
    VERIFIER,
    KeptReports,
    made,
    place_of,
    pointing,
    probe_of,
    publish,
    ref,
)
from tests.unit.generate.waiting import eventually

ADA, EVE = (Identity("acme", f"user:{name}", ("everyone",)) for name in ("ada", "eve"))
READY, FAILED, UNLOADED = Readiness.READY, Readiness.FAILED, Readiness.UNLOADED
NOBODY = "sha256:" + "0" * 64
CAPACITY = 4
SHORT = Patience(longest_pause=0.5)


class Replica:
    """What follows aliases in one process, without a server and without a log."""

    def __init__(self, folder, verifier=VERIFIER, patience=SHORT):
        self.blobs, self.folder = folder / "blobs", folder
        self.engine, self.reports, self.store = MemoryEngine(), KeptReports(), AdapterStore(str(self.blobs))
        self.shelf = AdapterShelf(self.engine, lambda _, uri: made_by_hand(folder, uri), CAPACITY)
        self.aliases = Aliases()
        self.adapters = Adapters(self.shelf, self.aliases, Lineages(NoReadership(), MemoryErasedPeople()))
        self.files = RegisteredFiles(self.store, verifier, folder / "cache", BASE)
        workshop = Workshop(self.files.fetch, self.shelf, Prover(self.engine, 0.1))
        self.converger = Converger(self.aliases, workshop, self.reports, patience)

    @contextlib.asynccontextmanager
    async def running(self):
        tasks = [asyncio.create_task(each()) for each in (self.converger.run, self.shelf.remove_retired)]
        await asyncio.sleep(0)
        self.converger.heard_all()
        try:
            yield self
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def until(self, digest, readiness):
        async def told():
            return self.reports.of(digest)[-1:] == [readiness]

        await eventually(told)

    async def answers(self, conversation="", name="support", identity=ADA):
        async with self.adapters.permitted(identity, name, conversation) as serving:
            return serving

    async def digest(self, conversation="", **fields):
        return (await self.answers(conversation, **fields)).digest


def made_by_hand(folder, uri):
    from services.generate.adapters.files import adapter_in

    return adapter_in(write(folder / uri, weights=tensors(value=0.9)), f"sha256:{uri}", BASE)


@pytest.fixture
async def replica(tmp_path):
    async with Replica(tmp_path).running() as running:
        yield running


@pytest.fixture
async def digests(replica, tmp_path):
    return [await publish(replica.store, tmp_path / "made", number) for number in range(5)]


async def test_an_alias_answers_with_its_adapter_once_that_is_proved(replica, digests):
    replica.converger.want(pointing(digests[0]))
    with pytest.raises(AdapterNotReady) as caught:
        await replica.answers()
    assert caught.value.retry_seconds
    await replica.until(digests[0], READY)
    serving = await replica.answers()
    assert (serving.digest, serving.alias, serving.canary_id, serving.canary) == (digests[0], "support", "", False)
    assert replica.reports.said[0][-1] > 0


async def test_an_alias_that_points_to_nothing_is_the_base_model(replica):
    replica.converger.want(pointing())
    serving = await replica.answers()
    assert (serving.loaded, serving.digest, serving.alias) == (None, "", "support")


async def test_a_name_that_is_none_s_is_not_found_but_before_all_aliases_are_known(tmp_path):
    replica = Replica(tmp_path)
    with pytest.raises(AdapterNotReady):
        await replica.answers(name="nobody")
    replica.converger.heard_all()
    with pytest.raises(AdapterNotFound):
        await replica.answers(name="nobody")


async def test_an_alias_is_its_own_tenant_s(replica, digests):
    replica.converger.want(pointing(digests[0]))
    await replica.until(digests[0], READY)
    with pytest.raises(AdapterNotFound):
        await replica.answers(identity=Identity("other", "user:ada", ()))


async def test_the_old_one_answers_until_the_new_one_is_proved_and_leaves_with_its_last_stream(replica, digests):
    one, two = digests[:2]
    replica.converger.want(pointing(one))
    await replica.until(one, READY)
    async with replica.adapters.permitted(ADA, "support") as stream:
        replica.converger.want(pointing(two, 2))
        assert await replica.digest() == one
        await replica.until(two, READY)
        assert await replica.digest() == two
        assert stream.digest == one
        assert len(await replica.engine.adapters()) == 2
        assert (replica.shelf.streams(retired=True), replica.shelf.streams(retired=False)) == (1, 0)
    await replica.until(one, UNLOADED)
    assert len(await replica.engine.adapters()) == 1


async def test_an_older_state_changes_nothing_whenever_it_comes(replica, digests):
    replica.converger.want(pointing(digests[1], 2))
    await replica.until(digests[1], READY)
    replica.converger.want(pointing(digests[0], 1))
    replica.converger.want(pointing(digests[0], 2))
    await asyncio.sleep(0.05)
    assert await replica.digest() == digests[1]
    assert digests[0] not in [each[2] for each in replica.reports.said]


async def test_moves_in_quick_succession_end_at_the_newest_and_keep_no_other(replica, digests):
    for revision, digest in enumerate([*digests, digests[0], digests[3]], 1):
        replica.converger.want(pointing(digest, revision))
        await asyncio.sleep(0)
    await replica.until(digests[3], READY)

    async def alone():
        return len(await replica.engine.adapters()) == 1

    await eventually(alone)
    assert await replica.digest() == digests[3]


async def test_two_aliases_share_what_both_point_at(replica, digests):
    replica.converger.want(pointing(digests[0]))
    replica.converger.want(pointing(digests[0], name="sales"))
    await replica.until(digests[0], READY)

    async def both():
        with contextlib.suppress(AdapterNotReady):
            return await replica.digest(name="sales") == await replica.digest() == digests[0]

    await eventually(both)
    assert len(await replica.engine.adapters()) == 1
    replica.converger.want(pointing("", 2))
    assert await replica.digest(name="sales") == digests[0]
    assert UNLOADED not in replica.reports.of(digests[0])


async def test_a_deleted_alias_answers_nobody_and_its_adapter_leaves(replica, digests):
    replica.converger.want(pointing(digests[0]))
    await replica.until(digests[0], READY)
    replica.converger.want(pointing(revision=2, deleted=True))
    with pytest.raises(AdapterNotFound):
        await replica.answers()
    await replica.until(digests[0], UNLOADED)
    replica.converger.want(pointing(digests[0], 1))
    with pytest.raises(AdapterNotFound):
        await replica.answers()


def conversations(canary_id, share, drawn):
    return [name for name in map(str, range(200)) if is_for_canary(canary_id, name, share) is drawn]


async def test_a_canary_answers_its_share_of_conversations_and_always_the_same_ones(replica, digests):
    live, canary = digests[:2]
    replica.converger.want(pointing(live, 1))
    await replica.until(live, READY)
    state = pointing(live, 2, canary=canary, share=0.3)
    replica.converger.want(state)
    own, others = (conversations(state.canary.id, 0.3, drawn) for drawn in (True, False))
    waiting = await replica.answers(own[0])
    assert (waiting.digest, waiting.canary_id, waiting.canary) == (live, "", False)
    await replica.until(canary, READY)
    for name in own:
        serving = await replica.answers(name)
        assert (serving.digest, serving.canary_id, serving.canary) == (canary, state.canary.id, True)
    for name in others:
        serving = await replica.answers(name)
        assert (serving.digest, serving.canary_id, serving.canary) == (live, state.canary.id, False)
    assert (await replica.answers("")).canary_id == ""


async def test_a_canary_that_is_promoted_is_live_at_once_and_one_that_is_taken_back_answers_nobody_at_once(
    replica, digests
):
    live, canary = digests[:2]
    replica.converger.want(pointing(live, 1, canary=canary, share=1.0))
    await replica.until(canary, READY)
    await replica.until(live, READY)
    assert await replica.digest("c") == canary
    replica.converger.want(pointing(live, 2))
    assert await replica.digest("c") == live
    await replica.until(canary, UNLOADED)
    replica.converger.want(pointing(live, 3, canary=canary, share=1.0))
    await replica.until(canary, READY)
    replica.converger.want(pointing(canary, 4))
    assert await replica.digest("c") == await replica.digest() == canary


async def test_a_canary_that_cannot_be_loaded_leaves_its_conversations_to_who_is_live(replica, digests):
    replica.converger.want(pointing(digests[0], canary=NOBODY, share=1.0))
    await replica.until(NOBODY, FAILED)
    serving = await replica.answers("c")
    assert (serving.digest, serving.canary_id) == (digests[0], "")


async def test_a_blob_that_is_missing_is_loaded_when_it_is_there(replica, tmp_path):
    one = await publish(replica.store, tmp_path / "made", 0)
    two = await publish(replica.store, tmp_path / "made", 1)
    shutil.move(place_of(replica.blobs, two), tmp_path / "elsewhere")
    replica.converger.want(pointing(one))
    await replica.until(one, READY)
    replica.converger.want(pointing(two, 2))
    await replica.until(two, FAILED)
    assert replica.reports.reasons(two) == ["ADAPTER_MISSING"]
    assert await replica.digest() == one
    shutil.move(tmp_path / "elsewhere", place_of(replica.blobs, two))
    await replica.until(two, READY)
    assert await replica.digest() == two


async def test_a_blob_that_was_altered_is_refused_until_it_is_right(replica, digests):
    weights = place_of(replica.blobs, digests[0]) / "adapter_model.safetensors"
    right = weights.read_bytes()
    weights.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    replica.converger.want(pointing(digests[0]))
    await replica.until(digests[0], FAILED)
    assert replica.reports.reasons(digests[0]) == ["ADAPTER_ALTERED"]
    with pytest.raises(AdapterNotReady):
        await replica.answers()
    weights.write_bytes(right)
    await replica.until(digests[0], READY)


async def test_a_failure_gives_way_to_the_next_state_at_once(tmp_path):
    async with Replica(tmp_path, patience=Patience(longest_pause=60)).running() as replica:
        replica.converger.want(pointing(NOBODY))
        await replica.until(NOBODY, FAILED)
        digest = await publish(replica.store, tmp_path / "made")
        replica.converger.want(pointing(digest, 2))
        await replica.until(digest, READY)


async def refused_with(replica, digest):
    replica.converger.want(pointing(digest))
    await replica.until(digest, FAILED)

    async def unloaded():
        return not await replica.engine.adapters()

    # It is tried again, and for that moment it is loaded.
    await eventually(unloaded)
    with pytest.raises(AdapterNotReady):
        await replica.answers()
    return replica.reports.reasons(digest)


@pytest.mark.parametrize(
    "configuration", [config(base_model_name_or_path="someone/Other-Model"), config(r=64), config(r=1)]
)
async def test_what_the_engine_cannot_run_is_refused(replica, tmp_path, configuration):
    folder, card = made(tmp_path / "made", configuration=configuration)
    digest = await replica.store.publish(folder, card, SIGNER)
    assert await refused_with(replica, digest) == ["INVALID_ADAPTER"]


async def test_a_card_of_another_base_model_is_refused(replica, tmp_path):
    folder, card = made(tmp_path / "made", configuration=config(base_model_name_or_path=None))
    digest = await replica.store.publish(folder, replace(card, base_model="Other-Model"), SIGNER)
    assert await refused_with(replica, digest) == ["INVALID_ADAPTER"]


async def test_weights_that_were_cut_off_before_they_were_signed_are_refused(replica, tmp_path):
    folder, card = made(tmp_path / "made")
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert await refused_with(replica, await replica.store.publish(folder, card, SIGNER)) == ["INVALID_ADAPTER"]


async def test_a_pickle_among_the_files_is_refused_unread(replica, digests):
    (place_of(replica.blobs, digests[0]) / "adapter_model.bin").write_bytes(pickle.dumps({}))
    assert await refused_with(replica, digests[0]) == ["ADAPTER_ALTERED"]


async def test_an_adapter_of_another_tenant_is_refused(replica, tmp_path):
    digest = await publish(replica.store, tmp_path / "made", tenant="other")
    shutil.copytree(place_of(replica.blobs, digest, "other"), place_of(replica.blobs, digest))
    assert await refused_with(replica, digest) == ["ADAPTER_ALTERED"]


async def test_what_somebody_else_signed_is_refused_and_what_nobody_signed_too(tmp_path):
    for number, signed in enumerate((True, False)):
        async with Replica(tmp_path / str(number)).running() as replica:
            digest = await replica.store.publish(*made(tmp_path / "made", number), STRANGER)
            if not signed:
                (place_of(replica.blobs, digest) / "card.sig").unlink()
            reason = "ADAPTER_UNTRUSTED" if signed else "ADAPTER_ALTERED"
            assert await refused_with(replica, digest) == [reason]


async def test_without_keys_any_signature_will_do(tmp_path):
    async with Replica(tmp_path, AdapterVerifier([])).running() as replica:
        digest = await replica.store.publish(*made(tmp_path / "made"), STRANGER)
        replica.converger.want(pointing(digest))
        await replica.until(digest, READY)


async def test_weights_that_answer_otherwise_than_was_recorded_are_refused(replica, tmp_path):
    folder, card = made(tmp_path / "made")
    other, _ = made(tmp_path / "made", 1)
    digest = await replica.store.publish(folder, replace(card, probe=probe_of(other)), SIGNER)
    assert await refused_with(replica, digest) == ["PROBE_FAILED"]


@pytest.mark.parametrize(
    "probe", [Probe((1,), (2,), (), (-1.0,)), Probe((1,), (), (), ()), Probe((1,), (2,), (float("nan"),), (-1.0,))]
)
async def test_a_probe_that_says_nothing_is_refused(replica, tmp_path, probe):
    folder, card = made(tmp_path / "made")
    digest = await replica.store.publish(folder, replace(card, probe=probe), SIGNER)
    assert replica.reports.reasons(digest) == []
    replica.converger.want(pointing(digest))
    await replica.until(digest, FAILED)


async def test_an_adapter_without_a_probe_is_taken_on_its_digest(replica, tmp_path):
    folder, card = made(tmp_path / "made")
    digest = await replica.store.publish(folder, replace(card, probe=None), SIGNER)
    replica.converger.want(pointing(digest))
    await replica.until(digest, READY)


async def test_what_no_alias_needs_gives_way_where_the_engine_is_full(replica, digests):
    for number in range(CAPACITY):
        await replica.shelf.load(ADA, f"by-hand-{number}", f"by-hand-{number}")
    async with replica.adapters.permitted(ADA, "by-hand-0"):
        replica.converger.want(pointing(digests[0]))
        await replica.until(digests[0], READY)
        assert list(replica.shelf.adapters(ADA)) == ["by-hand-0", "by-hand-2", "by-hand-3"]
    assert len(await replica.engine.adapters()) == CAPACITY


async def test_more_aliases_than_the_engine_holds_say_so_and_the_others_go_on(replica, digests):
    for number, digest in enumerate(digests):
        replica.converger.want(pointing(digest, name=f"alias-{number}"))

    async def full():
        return [each[4] for each in replica.reports.said].count("TOO_MANY_ADAPTERS") == 1

    await eventually(full)
    (left_out,) = [each[2] for each in replica.reports.said if each[3] is FAILED]
    named = {digest: f"alias-{number}" for number, digest in enumerate(digests)}
    for digest in set(digests) - {left_out}:
        assert await replica.digest(name=named[digest]) == digest
    free = next(digest for digest in digests if digest != left_out)
    replica.converger.want(pointing(name=named[free], revision=2, deleted=True))
    await replica.until(left_out, READY)


async def test_an_alias_goes_before_what_was_loaded_by_hand_under_its_name(replica, digests):
    await replica.shelf.load(ADA, "support", "by-hand")
    replica.converger.want(pointing(digests[0]))
    with pytest.raises(AdapterNotReady):
        await replica.answers()
    await replica.until(digests[0], READY)
    assert await replica.digest() == digests[0]


async def test_an_adapter_that_is_not_cleared_answers_who_put_it_there(replica, digests):
    state = pointing(digests[0])
    replica.converger.want(replace(state, live=ref(digests[0], cleared=False)))
    await replica.until(digests[0], READY)
    assert await replica.digest() == digests[0]
    with pytest.raises(AdapterNotPermitted) as caught:
        await replica.answers(identity=EVE)
    assert caught.value.facts["alias"] == "support"
    replica.converger.want(replace(state, revision=2))
    assert await replica.digest(identity=EVE) == digests[0]


async def test_an_error_under_an_alias_says_whom_it_concerns(replica, digests):
    state = pointing(digests[0], canary=digests[1], share=1.0)
    replica.converger.want(state)
    await replica.until(digests[1], READY)
    with pytest.raises(EngineDead) as caught:
        async with replica.adapters.permitted(ADA, "support", "c"):
            raise EngineDead("the engine has stopped")
    assert caught.value.facts == {
        "alias": "support",
        "adapter_digest": digests[1],
        "canary_id": state.canary.id,
        "canary": "true",
    }


async def test_a_replica_has_not_converged_before_it_has_tried_all_that_there_is(tmp_path):
    replica = Replica(tmp_path)
    with pytest.raises(NotConverged):
        await replica.converger.converged()
    replica.converger.want(pointing(await publish(replica.store, tmp_path / "made")))
    replica.converger.want(pointing(NOBODY, name="broken"))
    replica.converger.want(pointing(name="base"))
    async with replica.running():
        with pytest.raises(NotConverged):
            await replica.converger.converged()

        async def converged():
            with contextlib.suppress(NotConverged):
                await replica.converger.converged()
                return True

        await eventually(converged)
        assert await replica.digest()


async def test_a_replica_serves_after_a_time_whatever_is_not_there(tmp_path):
    await Replica(tmp_path, patience=Patience(ready_seconds=0)).converger.converged()


async def test_an_erased_tenant_leaves_nothing_in_the_engine(replica, digests, tmp_path):
    theirs = await publish(replica.store, tmp_path / "made", tenant="other")
    replica.converger.want(pointing(digests[0], canary=digests[1]))
    replica.converger.want(pointing(theirs, tenant="other"))
    for digest in (*digests[:2], theirs):
        await replica.until(digest, READY)
    assert replica.converger.forget("acme") == 2
    assert replica.files.remove("acme") == 2
    assert replica.files.remove("acme") == replica.converger.forget("acme") == 0
    with pytest.raises(AdapterNotFound):
        await replica.answers()
    assert await replica.digest(identity=Identity("other", "user:ada", ())) == theirs


async def test_a_lineage_comes_with_the_files(replica, tmp_path):
    folder, _ = made(tmp_path / "made")
    (folder / "lineage.json").write_text(json.dumps({"users": ["user:eve"]}))
    digest = await replica.store.publish(folder, replace(CARD, probe=probe_of(folder)), SIGNER)
    replica.converger.want(pointing(digest))
    await replica.until(digest, READY)
    assert replica.adapters.in_use(ADA)["support"].adapter.lineage.users == ("user:eve",)
