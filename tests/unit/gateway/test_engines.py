"""A tenant's questions and adapters go to the engine of its place."""

import pytest

from services.common.identity import system
from services.common.placements import Placement, PlaceUnknown
from services.gateway.adapters.engines import Engines, engine_addresses

ACME = system("acme", "test")


class Placed:
    def __init__(self, place):
        self.place = place

    async def of(self, identity):
        return Placement(self.place)


@pytest.mark.parametrize("place", ["shared", "own"])
async def test_the_engine_is_the_places(place):
    assert (
        await Engines({"shared": "shared engine", "own": "own engine"}, Placed(place)).channel(ACME)
        == f"{place} engine"
    )


async def test_a_place_that_is_not_known_has_no_engine():
    with pytest.raises(PlaceUnknown):
        await Engines({"shared": "engine"}, Placed("own")).channel(ACME)


def test_a_place_without_an_engine_of_its_own_uses_the_shared_one():
    addresses = engine_addresses("h:1", {"a": "h:2", "b": ""})
    assert addresses == {"shared": "h:1", "a": "h:2", "b": "h:1"}
