"""Each place but the shared one is a tenant's own."""

import pytest
from pydantic import SecretStr, ValidationError

from services.common.identity import system
from services.common.placements import PlaceUnknown
from services.common.places import MilvusPlaces
from services.common.settings import PlatformSettings

KEY = "k" * 32
OWN = {"milvus_uri": "http://127.0.0.1:1", "milvus_database": "acme", "tenant": "acme"}


def test_a_place_is_read_from_the_environment_with_its_database(monkeypatch):
    monkeypatch.setenv(
        "TANDEM_PLACES", '{"acme-own": {"milvus_uri": "http://m", "milvus_database": "a", "tenant": "t"}}'
    )
    (place,) = PlatformSettings(identity_key=KEY).places.values()
    assert (place.milvus_uri, place.milvus_database, place.generate_address, place.tenant) == ("http://m", "a", "", "t")


@pytest.mark.parametrize("name", ["shared", "Not A Name", ""])
def test_a_place_cannot_be_called_anything(name):
    with pytest.raises(ValidationError):
        PlatformSettings(identity_key=KEY, places={name: OWN})


async def test_a_place_is_given_to_its_tenant_alone():
    places = MilvusPlaces(
        "http://127.0.0.1:1", SecretStr(""), PlatformSettings(identity_key=KEY, places={"own": OWN}).places
    )
    assert places.names(system("acme", "test")) == ["shared", "own"]
    assert places.names(system("rival", "test")) == ["shared"]
    with pytest.raises(PlaceUnknown):
        places.client(system("rival", "test"), "own")
    with pytest.raises(PlaceUnknown):
        places.client(system("acme", "test"), "nowhere")
    await places.close()
