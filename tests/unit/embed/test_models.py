"""Other models are loaded once, when somebody needs them, and a caller that leaves ends no loading."""

import asyncio

import pytest
from tandem.embed.v1 import embed_service_pb2 as pb

from services.embed.adapters.memory import MemoryEmbedder, WordTokens
from services.embed.lanes import LaneLimits, Lanes, open_lanes
from services.embed.models import Model, Models, ModelUnavailable
from services.embed.servicer import EmbedServicer, ModelUnknown

LIMITS = LaneLimits(16, 64, 1000)


class Loading:
    """Loads when it is let, and counts how often it was asked to."""

    def __init__(self, lanes):
        self.may = asyncio.Event()
        self.fails = False
        self.count = 0
        self._lanes = lanes

    async def __call__(self):
        self.count += 1
        await self.may.wait()
        if self.fails:
            raise OSError("not there")
        return Model("other", 8, WordTokens(), self._lanes)


@pytest.fixture
async def loading():
    async with open_lanes(MemoryEmbedder(), LIMITS) as lanes:
        yield Loading(lanes)


@pytest.fixture
async def models(loading):
    async with open_lanes(MemoryEmbedder(), LIMITS) as lanes:
        yield Models(Model("own", 8, WordTokens(), lanes), {"other": loading})


async def test_the_deployment_s_own_model_is_there_by_its_name_and_without_one(models, loading):
    assert await models.of("") is await models.of("own") is models.own
    assert loading.count == 0


async def test_all_who_want_a_model_wait_for_one_loading(models, loading):
    waiting = [asyncio.create_task(models.of("other")) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    loading.may.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert {model.name for model in found[1:]} == {"other"}
    assert loading.count == 1


async def test_a_loading_that_failed_is_tried_again_by_who_comes_next(models, loading):
    loading.may.set()
    loading.fails = True
    with pytest.raises(ModelUnavailable):
        await models.of("other")
    loading.fails = False
    assert (await models.of("other")).name == "other"


async def test_a_query_is_embedded_by_the_model_that_is_asked_for(models, loading):
    loading.may.set()
    servicer = EmbedServicer(models)
    for asked, used in [("", "own"), ("own", "own"), ("other", "other")]:
        answer = await servicer.Embed(pb.EmbedRequest(texts=["x"], model=asked), None)
        assert (answer.model, len(answer.vectors)) == (used, 1)
    with pytest.raises(ModelUnknown):
        await servicer.Embed(pb.EmbedRequest(texts=["x"], model="unheard-of"), None)


async def test_models_that_share_a_turn_do_not_compute_at_once():
    computing, most = 0, 0

    class Embedder(MemoryEmbedder):
        def embed(self, texts):
            nonlocal computing, most
            computing += 1
            most = max(most, computing)
            try:
                return super().embed(texts)
            finally:
                computing -= 1

    turn = asyncio.Lock()
    async with open_lanes(Embedder(), LIMITS, turn) as first, open_lanes(Embedder(), LIMITS, turn) as second:
        many: list[Lanes] = [first, second] * 10
        await asyncio.gather(*(lanes.embed_queries([f"text {number}"]) for number, lanes in enumerate(many)))
    assert most == 1
