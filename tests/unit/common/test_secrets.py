"""What is sealed is opened in its own place, with its own key, unchanged, and nowhere else."""

import base64
import os
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.secrets import (
    Envelope,
    InvalidKeys,
    SecretDamaged,
    SecretKeyUnknown,
    SecretsNotConfigured,
    SecretsSettings,
    keyring_of,
    keys_of,
)


def written(**keys):
    return orjson.dumps({key_id: base64.b64encode(key).decode() for key_id, key in keys.items()})


OLD, NEW = b"o" * 32, b"n" * 32
ENVELOPE = Envelope(lambda: keyring_of(written(old=OLD)))
ROTATED = Envelope(lambda: keyring_of(written(new=NEW, old=OLD)))


@given(st.binary(min_size=1, max_size=500), st.text(max_size=20), st.text(max_size=20))
def test_what_was_sealed_is_opened(secret, tenant, name):
    sealed = ENVELOPE.seal(tenant, name, secret)
    assert ENVELOPE.open(tenant, name, sealed) == secret
    assert ROTATED.open(tenant, name, ROTATED.rewrap(tenant, name, sealed)) == secret


@given(st.data())
def test_a_change_of_any_byte_is_noticed(data):
    sealed = ENVELOPE.seal("t", "n", b"secret")
    part = data.draw(st.sampled_from(["wrapped_key", "sealed"]))
    whole = bytearray(getattr(sealed, part))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SecretDamaged):
        ENVELOPE.open("t", "n", replace(sealed, **{part: bytes(whole)}))


@given(st.tuples(st.text(max_size=5), st.text(max_size=5)), st.tuples(st.text(max_size=5), st.text(max_size=5)))
def test_a_secret_is_opened_in_its_own_place_alone(place, other):
    sealed = ENVELOPE.seal(*place, b"secret")
    if place != other:
        with pytest.raises(SecretDamaged):
            ENVELOPE.open(*other, sealed)


def test_a_wrong_key_of_the_right_name_opens_nothing():
    sealed = ENVELOPE.seal("t", "n", b"secret")
    with pytest.raises(SecretDamaged):
        Envelope(lambda: keyring_of(written(old=NEW))).open("t", "n", sealed)


def test_a_key_that_is_not_there_is_named():
    sealed = ENVELOPE.seal("t", "n", b"secret")
    with pytest.raises(SecretKeyUnknown) as caught:
        Envelope(lambda: keyring_of(written(new=NEW))).open("t", "n", sealed)
    assert caught.value.facts == {"key_id": "old"}


def test_rewrapping_leaves_the_ciphertext_as_it_is():
    sealed = ENVELOPE.seal("t", "n", b"secret")
    again = ROTATED.rewrap("t", "n", sealed)
    assert (again.key_id, again.sealed) == ("new", sealed.sealed)


def test_without_a_key_nothing_is_sealed():
    with pytest.raises(SecretsNotConfigured):
        Envelope(keys_of(SecretsSettings())).seal("t", "n", b"secret")


def test_a_file_of_keys_is_read_again_when_it_changes_and_kept_while_it_is_broken(tmp_path):
    path = tmp_path / "keys"
    path.write_bytes(written(old=OLD))
    envelope = Envelope(keys_of(SecretsSettings(key_file=path)))
    sealed = envelope.seal("t", "n", b"secret")
    path.write_bytes(b"{")
    assert envelope.open("t", "n", sealed) == b"secret"
    path.write_bytes(written(new=NEW, old=OLD))
    assert envelope.current == "new"


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"a": 1}', b'{"a": "!"}', b'{"a": "c2hvcnQ="}'])
def test_keys_that_cannot_be_read_are_refused_without_being_shown(text):
    with pytest.raises(InvalidKeys) as caught:
        keyring_of(text)
    assert "c2hvcnQ" not in str(caught.value)
    assert os.linesep not in str(caught.value)
