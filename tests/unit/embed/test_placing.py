"""Changes go where the tenant is, and while it moves to the other place too, whatever fails on the way."""

import pytest
from tandem.embed.v1 import embed_service_pb2

from services.common.identity import set_caller
from services.common.placements import MoveState, Placement, PlacementUnavailable, PlaceUnknown
from services.embed.domain import Deleted, Indexed
from services.embed.emptying import PlaceInUse, PlaceServicer
from services.embed.indexing import BlobsUnavailable
from services.embed.placing import PlaceChanged
from tests.unit.embed.placed import TEXT, T, open_platform

COPYING = Placement("shared", MoveState.COPYING, "own", mirrored=True)
TURNED = Placement("own", MoveState.EMPTYING, "shared", mirrored=True)
LEFT = Placement("own", MoveState.EMPTYING, "shared", emptiable=True)


@pytest.fixture
async def platform(tmp_path):
    async with open_platform(tmp_path) as platform:
        yield platform


async def test_what_is_copied_is_neither_parsed_nor_embedded_again(platform):
    await platform.index_one(1, TEXT)
    platform.placements.placement = COPYING
    assert await platform.index_one(2, TEXT) == Indexed(2, 2, 0)
    assert platform.parser.parsed == 1
    assert len(await platform.rows("own")) == 2
    assert await platform.rows("own") == await platform.rows("shared")
    ids = [row.id for row in await platform.indexes["own"].stored(T, ["d"])]
    own, shared = [await platform.indexes[place].passages(T, ids) for place in ("own", "shared")]
    assert all((mine.vector == theirs.vector).all() for mine, theirs in zip(own, shared, strict=True))


async def test_a_deletion_while_copying_leaves_nothing_in_either_place(platform):
    platform.placements.placement = COPYING
    await platform.index_one(1, TEXT)
    assert await platform.index_one(2, deleted=True) == Deleted(2)
    assert await platform.rows("own") == await platform.rows("shared") == set()


@pytest.mark.parametrize("writes", range(2))
async def test_a_copy_that_broke_off_is_made_whole_by_the_same_record(platform, writes):
    await platform.index_one(1, "# A\n\nfirst\n\n# Old\n\nolder")
    platform.placements.placement = COPYING
    platform.indexes["own"].writes_left = writes
    with pytest.raises(BlobsUnavailable):
        await platform.index_one(2, TEXT)
    platform.indexes["own"].writes_left = 1000
    assert await platform.index_one(2, TEXT) == Indexed(2, 2, 0)
    assert await platform.rows("own") == await platform.rows("shared")


async def test_after_the_turn_changes_are_mirrored_back_until_nobody_reads_the_old_place(platform):
    platform.placements.placement = COPYING
    await platform.index_one(1, TEXT)
    platform.placements.placement = TURNED
    await platform.index_one(2, TEXT, title="T")
    assert {version for _, version in await platform.rows("shared")} == {2}
    platform.placements.placement = LEFT
    await platform.index_one(3, TEXT, title="U")
    assert {version for _, version in await platform.rows("shared")} == {2}
    assert {version for _, version in await platform.rows("own")} == {3}


async def test_a_batch_that_was_begun_before_the_turn_fills_the_place_that_was_left_no_more(platform):
    def turn():
        platform.placements.placement = LEFT

    platform.indexes["shared"].on_write = turn
    with pytest.raises(PlaceChanged):
        await platform.index_one(1, TEXT)
    assert len(await platform.rows("shared")) == 1
    await platform.index_one(1, TEXT)
    assert len(await platform.rows("own")) == 2


async def test_without_knowing_where_the_tenant_is_nothing_is_written(platform):
    platform.placements.away = True
    with pytest.raises(PlacementUnavailable):
        await platform.index_one(1, TEXT)
    platform.placements.away, platform.placements.placement = False, Placement("elsewhere")
    with pytest.raises(PlaceUnknown):
        await platform.index_one(1, TEXT)
    assert await platform.rows("shared") == await platform.rows("own") == set()


@pytest.mark.parametrize(
    ("placement", "place"), [(Placement(), "shared"), (COPYING, "own"), (TURNED, "shared"), (LEFT, "own")]
)
async def test_a_place_in_use_is_not_emptied(platform, placement, place):
    await platform.index_one(1, TEXT)
    platform.placements.placement = placement
    set_caller(T)
    with pytest.raises(PlaceInUse):
        await PlaceServicer(platform.indexes, platform.placements).EmptyPlace(
            embed_service_pb2.EmptyPlaceRequest(place=place), None
        )
    assert len(await platform.rows("shared")) == 2


async def test_a_place_that_was_left_is_emptied_once(platform):
    await platform.index_one(1, TEXT)
    platform.placements.placement = LEFT
    set_caller(T)
    servicer, request = PlaceServicer(platform.indexes, platform.placements), embed_service_pb2.EmptyPlaceRequest
    assert (await servicer.EmptyPlace(request(place="shared"), None)).removed == 2
    assert (await servicer.EmptyPlace(request(place="shared"), None)).removed == 0
