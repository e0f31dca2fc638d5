"""The settings: what is wrong with them is named, and holds no secret."""

import base64

import pytest
from pydantic import ValidationError

from services.tune.settings import Settings

TOLD = {
    "database_url": "postgresql+asyncpg:///x",
    "bus": "127.0.0.1:1",
    "blobs": "/blobs",
    "retrieve_address": "127.0.0.1:2",
    "feedback_address": "127.0.0.1:3",
    "generate_address": "127.0.0.1:4",
    "cache": "/cache",
    "bases": {"tiny": "/tiny"},
}


def test_a_key_that_signs_is_taken():
    key = base64.b64encode(b"k" * 32).decode()
    assert Settings(**TOLD, signing_key=key).signing_key.get_secret_value() == key


@pytest.mark.parametrize("key", ["", "not base64!", base64.b64encode(b"short").decode()])
def test_a_key_that_does_not_sign_stops_the_start_and_is_named(key):
    with pytest.raises(ValidationError) as refused:
        Settings(**TOLD, signing_key=key)
    assert "signing_key" in str(refused.value)
    assert not key or key not in str(refused.value)
