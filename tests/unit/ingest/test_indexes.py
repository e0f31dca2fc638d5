"""What may happen to a tenant's indexes, and what is refused by name."""

import pytest

from services.common.index_config import IndexConfig, InvalidIndexConfig
from services.common.indexes import IndexState, Made
from services.ingest.errors import IndexBuildUnderWay, IndexNotKept, IndexNotReady, IndexSame, ModelUnknown
from services.ingest.indexes import (
    Deployment,
    Owned,
    Wanted,
    begun,
    built,
    config_of,
    dropped,
    reverted,
    settled,
    switched,
)

DEFAULT = Made(IndexConfig("minilm", ("en", "fr"), 220, 30, {"mail": "text"}), "minilm")
DEPLOYMENT = Deployment(DEFAULT, {"minilm": 256, "e5": 512, "unmeasured": 0})
OTHER = IndexConfig("e5", ("en", "fr"), 220, 30, {"mail": "text"})
NEVER_CHOSE = Owned("t")
BUILDING = begun(NEVER_CHOSE, DEFAULT, OTHER)
READY = built(BUILDING)
KEPT = switched(READY, 0, accept_failed=False)
DROPPING = dropped(READY)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), DEFAULT.config),
        (Wanted(model="e5"), OTHER),
        (Wanted(languages=("de",)), IndexConfig("minilm", ("de",), 220, 30, {"mail": "text"})),
        (Wanted(chunk_tokens=100), IndexConfig("minilm", ("en", "fr"), 100, 30, {"mail": "text"})),
        (Wanted(overlap_tokens=0), IndexConfig("minilm", ("en", "fr"), 220, 0, {"mail": "text"})),
        (
            Wanted(strategies={"code": "fixed"}),
            IndexConfig("minilm", ("en", "fr"), 220, 30, {"mail": "text", "code": "fixed"}),
        ),
        (
            Wanted(model="unmeasured", chunk_tokens=4000),
            IndexConfig("unmeasured", ("en", "fr"), 4000, 30, {"mail": "text"}),
        ),
    ],
)
def test_what_is_left_out_is_as_in_the_live_index(wanted, expected):
    assert config_of(DEFAULT.config, wanted, DEPLOYMENT) == expected


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Wanted(model="unheard-of"), ModelUnknown),
        (Wanted(languages=("xx",)), InvalidIndexConfig),
        (Wanted(languages=("en", "en")), InvalidIndexConfig),
        (Wanted(overlap_tokens=220), InvalidIndexConfig),
        (Wanted(overlap_tokens=-1), InvalidIndexConfig),
        (Wanted(chunk_tokens=-5), InvalidIndexConfig),
        (Wanted(chunk_tokens=257), InvalidIndexConfig),
        (Wanted(strategies={"mail": "unheard-of"}), InvalidIndexConfig),
        (Wanted(strategies={"unheard-of": "text"}), InvalidIndexConfig),
    ],
)
def test_what_no_index_can_be_made_of_is_refused(wanted, error):
    with pytest.raises(error):
        config_of(DEFAULT.config, wanted, DEPLOYMENT)


def test_a_first_build_writes_down_how_the_live_index_is_made():
    assert (BUILDING.tenant_id, BUILDING.live, BUILDING.state) == ("t", DEFAULT, IndexState.BUILDING)
    assert BUILDING.other.config == OTHER


def test_the_same_configuration_built_again_is_another_index():
    again = begun(settled(DROPPING), DEFAULT, OTHER)
    assert again.other.config == BUILDING.other.config
    assert again.other.key != BUILDING.other.key


@pytest.mark.parametrize("owned", [BUILDING, READY])
def test_the_same_build_again_changes_nothing(owned):
    assert begun(owned, DEFAULT, OTHER) is owned


@pytest.mark.parametrize("owned", [NEVER_CHOSE, BUILDING, READY])
def test_the_live_configuration_is_not_built_again(owned):
    with pytest.raises(IndexSame):
        begun(owned, DEFAULT, DEFAULT.config)


@pytest.mark.parametrize("owned", [BUILDING, READY, DROPPING])
def test_there_is_one_other_index_at_a_time(owned):
    with pytest.raises(IndexBuildUnderWay):
        begun(owned, DEFAULT, IndexConfig("e5", ("de",), 220, 30))


def test_an_index_that_is_being_dropped_is_not_built_before_it_is_gone():
    with pytest.raises(IndexBuildUnderWay):
        begun(DROPPING, DEFAULT, OTHER)
    assert begun(settled(DROPPING), DEFAULT, OTHER).state is IndexState.BUILDING


def test_a_switch_swaps_and_going_back_swaps_again():
    assert (KEPT.live, KEPT.other, KEPT.state) == (READY.other, DEFAULT, IndexState.KEPT)
    assert reverted(KEPT) == READY
    assert switched(reverted(KEPT), 0, accept_failed=False) == KEPT


def test_a_repeat_of_a_switch_or_of_going_back_changes_nothing():
    assert switched(KEPT, 3, accept_failed=False) is KEPT
    assert reverted(READY) is READY


@pytest.mark.parametrize("owned", [NEVER_CHOSE, BUILDING, DROPPING])
def test_only_an_index_that_is_whole_becomes_the_live_one(owned):
    with pytest.raises(IndexNotReady):
        switched(owned, 0, accept_failed=True)
    with pytest.raises(IndexNotKept):
        reverted(owned)


def test_an_index_that_cannot_hold_every_document_becomes_live_where_that_is_accepted():
    with pytest.raises(IndexNotReady):
        switched(READY, 1, accept_failed=False)
    assert switched(READY, 1, accept_failed=True) == KEPT


@pytest.mark.parametrize("owned", [BUILDING, READY, KEPT])
def test_whatever_is_beside_the_live_index_can_be_dropped(owned):
    left = dropped(owned)
    assert (left.live, left.other, left.state) == (owned.live, owned.other, IndexState.DROPPING)
    assert dropped(left) is left
    assert settled(left) == Owned("t", owned.live, builds=1)


def test_where_nothing_is_beside_the_live_index_nothing_is_dropped():
    assert dropped(NEVER_CHOSE) is NEVER_CHOSE
