"""Real cross-encoders, tiny ones, behind retrieve's port: from folders, and from the blob store by digest."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from services.common.identity import Identity, set_caller
from services.common.rerankers import NotACrossEncoder, Rerankers
from services.retrieve.adapters import cross_encoder
from services.retrieve.adapters.cross_encoder import CrossEncoderReranker, Opened, Shelf, open_reranker
from services.retrieve.ports import RerankerUnavailable
from tests.tiny_cross_encoder import write_cross_encoder, write_embedding_model

TEXTS = ["the first text", "a second, longer text that says more", "third"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cross_encoder(tmp_path_factory.mktemp("own") / "model")


@pytest.fixture
def store(tmp_path: Path) -> Rerankers:
    return Rerankers(str(tmp_path / "blobs"))


@pytest.fixture(autouse=True)
def ada() -> None:
    set_caller(Identity("acme", "user:ada", ()))


def shelf(tmp_path: Path, store: Rerankers | None = None, own: str = "", loaded: int = 2) -> Shelf:
    return Shelf(own, store, tmp_path / "cache", 64, loaded)


def write_trained(folder: Path, tenant_id: str = "acme", seed: int = 1) -> Path:
    write_cross_encoder(folder, seed)
    (folder / "tandem.json").write_text(json.dumps({"tenant_id": tenant_id}))
    return folder


async def test_the_deployments_own_scores_each_text_the_same_again(model: Path, tmp_path: Path):
    async with open_reranker(shelf(tmp_path, own=str(model))) as reranker:
        scores = await reranker.scores("", "which text?", TEXTS)
        assert len(scores) == 3
        assert len(set(scores)) == 3
        alone = await reranker.scores("", "which text?", TEXTS[:1])
        # Padding beside longer texts moves the last bits of bfloat16.
        assert alone[0] == pytest.approx(scores[0], abs=0.02)
        assert await reranker.scores("", "which text?", []) == []


async def test_what_is_no_cross_encoder_is_refused_at_the_start(tmp_path: Path):
    folder = write_embedding_model(tmp_path / "embedding")
    with pytest.raises(NotACrossEncoder, match="no head"):
        async with open_reranker(shelf(tmp_path, own=str(folder))):
            pass
    folder = write_cross_encoder(tmp_path / "classifier", labels=3)
    with pytest.raises(NotACrossEncoder, match="more than one score"):
        async with open_reranker(shelf(tmp_path, own=str(folder))):
            pass


async def test_a_tenants_own_is_found_by_its_digest_and_is_nobody_elses(tmp_path: Path, store: Rerankers):
    digest = await store.publish(write_trained(tmp_path / "made"))
    async with open_reranker(shelf(tmp_path, store)) as reranker:
        assert len(await reranker.scores(digest, "which?", TEXTS)) == 3
        set_caller(Identity("rival", "user:eve", ()))
        with pytest.raises(RerankerUnavailable):
            await reranker.scores(digest, "which?", TEXTS)


async def test_one_that_was_altered_is_not_used_and_not_tried_at_once_again(tmp_path: Path, store: Rerankers):
    digest = await store.publish(write_trained(tmp_path / "made"))
    weights = tmp_path / "blobs/rerankers" / digest / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    now = [100.0]
    with ThreadPoolExecutor(1) as thread:
        reranker = CrossEncoderReranker(shelf(tmp_path, store), thread, lambda: now[0])
        with pytest.raises(RerankerUnavailable):
            await reranker.scores(digest, "which?", TEXTS)
        weights.write_bytes(whole)
        with pytest.raises(RerankerUnavailable):
            await reranker.scores(digest, "which?", TEXTS)
        now[0] += cross_encoder.REFUSED_SECONDS + 1
        assert len(await reranker.scores(digest, "which?", TEXTS)) == 3


async def test_without_one_there_are_no_scores(tmp_path: Path, store: Rerankers):
    async with open_reranker(shelf(tmp_path, store)) as reranker:
        for digest in ("", "0" * 64):
            with pytest.raises(RerankerUnavailable):
                await reranker.scores(digest, "which?", TEXTS)


async def test_of_tenants_models_the_longest_unused_goes_and_the_deployments_own_stays(
    model: Path, tmp_path: Path, store: Rerankers
):
    digests = [await store.publish(write_trained(tmp_path / f"made-{seed}", seed=seed)) for seed in (1, 2, 3)]
    async with open_reranker(shelf(tmp_path, store, own=str(model))) as reranker:
        for digest in (digests[0], digests[1], digests[0], digests[2]):
            await reranker.scores(digest, "which?", TEXTS)
        assert list(reranker._opened) == ["", digests[0], digests[2]]


class Slow:
    """A model that counts what it is asked, and answers when it may."""

    def __init__(self) -> None:
        self.asked, self.begun, self.may = 0, threading.Event(), threading.Event()

    def predict(self, pairs, **_options) -> torch.Tensor:
        self.asked += 1
        self.begun.set()
        assert self.may.wait(30)
        return torch.zeros(len(pairs))


async def test_of_callers_that_leave_only_what_is_begun_is_finished(tmp_path: Path):
    slow = Slow()
    async with open_reranker(shelf(tmp_path)) as reranker:
        reranker._opened[""] = Opened(slow, "")
        calls = [asyncio.create_task(reranker.scores("", "which?", TEXTS)) for _ in range(10)]
        await asyncio.to_thread(slow.begun.wait, 30)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        slow.may.set()
        assert await reranker.scores("", "which?", TEXTS) == [0.5, 0.5, 0.5]
        # The one that had begun, and the last.
        assert slow.asked == 2


async def test_whoever_comes_when_too_many_wait_is_told_so(model: Path, tmp_path: Path):
    async with open_reranker(shelf(tmp_path, own=str(model))) as reranker:
        await reranker.scores("", "which?", TEXTS)
        outcomes = await asyncio.gather(
            *(reranker.scores("", "which?", TEXTS) for _ in range(cross_encoder.MOST_WAITING + 3)),
            return_exceptions=True,
        )
        refused = [each for each in outcomes if isinstance(each, RerankerUnavailable)]
        assert len(refused) == 3
