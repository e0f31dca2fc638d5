"""While a tenant has a second index, what changes reaches both, and what fails in the second keeps nobody waiting."""

import pytest
from tandem.embed.v1 import embed_service_pb2

from services.common.identity import set_caller
from services.common.index_config import IndexConfig
from services.common.indexes import IndexConfigUnavailable, IndexState, Made, TenantIndex
from services.common.placements import MoveState, Placement
from services.embed.domain import Beside, Change, Deleted, Failed, Indexed
from services.embed.emptying import PlaceServicer
from services.embed.index_servicer import IndexInUse, IndexServicer
from services.embed.indexing import BlobsUnavailable
from services.embed.placing import IndexChanged
from tests.unit.embed.placed import LIVE, OWN, SECOND, TEXT, T, open_platform

COPYING = Placement("shared", MoveState.COPYING, "own", mirrored=True)
FRENCH = Made(IndexConfig(OWN, ("fr",), 64, 0), "french")
OTHER_MODEL = Made(IndexConfig(SECOND, ("en",), 64, 0), "other-model")
UNKNOWN = Made(IndexConfig("unheard-of", ("en",), 64, 0), "unknown")
LONG = "# A\n\n" + " ".join(f"word{number}" for number in range(150))


def building(other, state=IndexState.BUILDING):
    return TenantIndex(LIVE, state, other, mirrored=True)


@pytest.fixture
async def platform(tmp_path):
    async with open_platform(tmp_path) as platform:
        yield platform


async def test_a_second_index_of_the_same_model_copies_vectors_and_embeds_nothing(platform):
    await platform.index_one(1, TEXT)
    platform.configured.index = building(FRENCH)
    result = await platform.result_of(1, TEXT)
    assert result.outcome == Indexed(1, 2, 0)
    assert result.beside == Beside("french", Indexed(1, 2, 0))
    assert platform.embedders[OWN].texts == 2
    assert await platform.rows("shared french") == await platform.rows("shared")


async def test_chunks_of_another_size_are_embedded_as_far_as_they_differ(platform):
    text = f"{TEXT}\n\n{LONG}"
    await platform.index_one(1, text)
    longer = Made(IndexConfig(OWN, ("en",), 300, 0), "longer")
    platform.configured.index = building(longer)
    before = platform.embedders[OWN].texts
    assert (await platform.result_of(1, text)).beside == Beside("longer", Indexed(1, 3, 1))
    assert platform.embedders[OWN].texts == before + 1


async def test_another_model_is_loaded_once_when_it_is_first_needed(platform):
    await platform.index_one(1, TEXT)
    assert platform.loads == 0
    platform.configured.index = building(OTHER_MODEL)
    assert (await platform.result_of(1, TEXT)).beside == Beside("other-model", Indexed(1, 2, 2))
    assert (await platform.result_of(2, TEXT.replace("first", "else"))).beside == Beside(
        "other-model", Indexed(2, 2, 1)
    )
    assert (platform.loads, platform.embedders[SECOND].texts) == (1, 3)


@pytest.mark.parametrize("other", [FRENCH, OTHER_MODEL])
async def test_a_deletion_leaves_nothing_in_either(platform, other):
    platform.configured.index = building(other)
    await platform.index_one(1, TEXT)
    assert await platform.rows(f"shared {other.key}")
    result = await platform.result_of(2, deleted=True)
    assert (result.outcome, result.beside) == (Deleted(2), None)
    assert await platform.rows("shared") == await platform.rows(f"shared {other.key}") == set()


async def test_a_version_that_fails_in_the_live_index_leaves_nothing_in_the_other(platform):
    platform.configured.index = building(FRENCH)
    await platform.index_one(1, TEXT)
    result = await platform.result_of(2, "other", size_bytes=2000)
    assert isinstance(result.outcome, Failed)
    assert result.beside is None
    assert await platform.rows("shared french") == set()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_model_that_cannot_be_had_fails_in_the_other_index_alone(platform, fails):
    platform.configured.index, platform.load_fails = building(OTHER_MODEL if fails else UNKNOWN), fails
    result = await platform.result_of(1, TEXT)
    assert result.outcome == Indexed(1, 2, 2)
    assert (result.beside.outcome.version, result.beside.outcome.reason) == (1, "MODEL_UNAVAILABLE")


async def test_what_is_deleted_leaves_an_index_whose_model_is_gone_too(platform):
    platform.configured.index = building(FRENCH)
    await platform.index_one(1, TEXT)
    gone = Made(UNKNOWN.config, "french")
    platform.configured.index, platform.placements.placement = building(gone), COPYING
    assert await platform.rows("shared french")
    result = await platform.result_of(2, deleted=True)
    assert (result.outcome, result.beside) == (Deleted(2), None)
    for place in ("shared", "shared french", "own", "own french"):
        assert await platform.rows(place) == set()


async def test_what_fails_for_want_of_a_model_leaves_no_earlier_version(platform):
    platform.configured.index = building(FRENCH)
    await platform.index_one(1, TEXT)
    platform.configured.index = building(Made(UNKNOWN.config, "french"))
    assert (await platform.result_of(2, TEXT)).beside.outcome.reason == "MODEL_UNAVAILABLE"
    assert await platform.rows("shared french") == set()


async def test_a_document_is_withdrawn_from_every_index(platform):
    platform.configured.index, platform.placements.placement = building(FRENCH), COPYING
    await platform.index_one(1, TEXT)
    await platform.indexer.withdraw(Change("t", "d", 1))
    for place in ("shared", "shared french", "own", "own french"):
        assert await platform.rows(place) == set()


async def test_what_nobody_foresaw_in_the_other_index_is_no_fault_of_the_live_one(platform):
    def surprise():
        raise ZeroDivisionError

    platform.configured.index = building(FRENCH)
    await platform.index_one(1, TEXT)
    platform.indexes["shared french"].on_write = surprise
    result = await platform.result_of(2, TEXT, readers=("user:b",))
    assert result.outcome == Indexed(2, 2, 0)
    assert (result.beside.outcome.version, result.beside.outcome.reason) == (2, "INTERNAL")
    assert await platform.rows("shared french") == set()
    platform.indexes["shared french"].on_write = lambda: None
    assert (await platform.result_of(2, TEXT, readers=("user:b",))).beside == Beside("french", Indexed(2, 2, 0))


@pytest.mark.parametrize("writes", range(2))
async def test_a_build_that_broke_off_is_made_whole_by_the_same_record(platform, writes):
    await platform.index_one(1, TEXT)
    platform.configured.index = building(FRENCH)
    await platform.result_of(1, TEXT)
    platform.indexes["shared french"].writes_left = writes
    with pytest.raises(BlobsUnavailable):
        await platform.result_of(2, TEXT, readers=("user:b",))
    platform.indexes["shared french"].writes_left = 1000
    assert (await platform.result_of(2, TEXT, readers=("user:b",))).beside == Beside("french", Indexed(2, 2, 0))
    assert {version for _, version in await platform.rows("shared french")} == {2}


async def test_after_a_switch_the_earlier_index_still_gets_what_changes(platform):
    await platform.index_one(1, TEXT)
    platform.configured.index = TenantIndex(FRENCH, IndexState.KEPT, LIVE, mirrored=True)
    result = await platform.result_of(2, TEXT, readers=("user:b",))
    assert result.beside == Beside(OWN, Indexed(2, 2, 0))
    assert await platform.rows("shared french") == await platform.rows("shared")


async def test_a_batch_that_was_begun_before_the_switch_is_done_again_after_it(platform):
    def switch():
        platform.configured.index = TenantIndex(FRENCH, IndexState.KEPT, LIVE, mirrored=True)

    platform.configured.index = building(FRENCH, IndexState.READY)
    platform.indexes["shared"].on_write = switch
    with pytest.raises(IndexChanged):
        await platform.result_of(1, TEXT)
    assert (await platform.result_of(1, TEXT)).beside.key == OWN


async def test_a_batch_that_was_begun_before_a_drop_fills_the_index_that_was_left_no_more(platform):
    platform.configured.index = building(FRENCH)
    await platform.index_one(1, TEXT)
    before = await platform.rows("shared french")

    def drop():
        platform.configured.index = TenantIndex(LIVE, IndexState.DROPPING, FRENCH, droppable=True)

    platform.indexes["shared french"].on_write = drop
    with pytest.raises(IndexChanged):
        await platform.result_of(2, "# A\n\nnew\n\n# B\n\nnewer")
    platform.indexes["shared french"].on_write = lambda: None
    assert (await platform.result_of(3, TEXT, readers=("user:b",))).beside is None
    assert 3 not in {version for _, version in await platform.rows("shared french")}
    assert before


async def test_while_a_tenant_moves_both_its_indexes_are_made_the_same_in_the_other_place(platform):
    platform.configured.index, platform.placements.placement = building(OTHER_MODEL), COPYING
    await platform.index_one(1, TEXT)
    for index in ("", " other-model"):
        assert await platform.rows(f"own{index}") == await platform.rows(f"shared{index}") != set()
    await platform.index_one(2, deleted=True)
    for place in ("own", "shared", "own other-model", "shared other-model"):
        assert await platform.rows(place) == set()


async def test_a_place_that_was_left_keeps_neither_index(platform):
    platform.configured.index = building(OTHER_MODEL)
    await platform.index_one(1, TEXT)
    platform.placements.placement = Placement("own", MoveState.EMPTYING, "shared", emptiable=True)
    set_caller(T)
    request = embed_service_pb2.EmptyPlaceRequest(place="shared")
    assert (await PlaceServicer(platform.indexes, platform.placements).EmptyPlace(request, None)).removed == 4


async def test_without_knowing_which_indexes_there_are_nothing_is_written(platform):
    platform.configured.away = True
    with pytest.raises(IndexConfigUnavailable):
        await platform.index_one(1, TEXT)
    assert await platform.rows("shared") == set()


@pytest.mark.parametrize(
    ("index", "key"),
    [
        (TenantIndex(), ""),
        (TenantIndex(), OWN),
        (building(FRENCH), "french"),
        (TenantIndex(LIVE, IndexState.DROPPING, FRENCH, mirrored=True), "french"),
        (TenantIndex(LIVE, IndexState.DROPPING, FRENCH, droppable=True), OWN),
    ],
)
async def test_an_index_in_use_is_not_dropped(platform, index, key):
    platform.configured.index = building(FRENCH)
    await platform.index_one(1, TEXT)
    platform.configured.index = index
    set_caller(T)
    with pytest.raises(IndexInUse):
        await servicer_of(platform).DropIndex(embed_service_pb2.DropIndexRequest(key=key), None)
    assert len(await platform.rows("shared french")) == len(await platform.rows("shared")) == 2


async def test_an_index_that_was_left_is_dropped_once_and_everywhere(platform):
    platform.configured.index, platform.placements.placement = building(FRENCH), COPYING
    await platform.index_one(1, TEXT)
    platform.configured.index = TenantIndex(LIVE, IndexState.DROPPING, FRENCH, droppable=True)
    set_caller(T)
    request = embed_service_pb2.DropIndexRequest(key="french")
    assert (await servicer_of(platform).DropIndex(request, None)).removed == 4
    assert (await servicer_of(platform).DropIndex(request, None)).removed == 0
    assert len(await platform.rows("shared")) == len(await platform.rows("own")) == 2


async def test_the_deployment_says_what_indexes_it_can_make(platform):
    answer = await servicer_of(platform).GetDeployment(embed_service_pb2.GetDeploymentRequest(), None)
    assert (answer.index.model, answer.index.chunk_tokens, answer.key) == (OWN, 64, OWN)
    assert [(model.name, model.max_tokens) for model in answer.models] == [(OWN, 256), (SECOND, 0)]


def servicer_of(platform):
    return IndexServicer(platform.indexes, platform.configured, LIVE, {OWN: 256, SECOND: 0})
