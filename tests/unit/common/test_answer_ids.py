"""An answer id is read only by the tenant for whom this platform minted it."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.answer_ids import AnswerIds, InvalidAnswerId

IDS = AnswerIds(b"k" * 32)
interaction_ids = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=64)


@given(st.text(), interaction_ids)
def test_an_id_comes_back_for_its_tenant(tenant_id, interaction_id):
    assert IDS.read(tenant_id, IDS.mint(tenant_id, interaction_id)) == interaction_id


@given(interaction_ids)
def test_an_id_fits_into_a_url(interaction_id):
    assert set(IDS.mint("acme", interaction_id)) <= set(string.ascii_letters + string.digits + "-_")


@given(interaction_ids)
def test_an_id_is_no_option_of_a_command(interaction_id):
    assert IDS.mint("acme", interaction_id)[0].isalpha()


@given(st.text(), st.text(), interaction_ids)
def test_another_tenant_cannot_read_an_id(mine, theirs, interaction_id):
    if mine != theirs:
        with pytest.raises(InvalidAnswerId):
            IDS.read(theirs, IDS.mint(mine, interaction_id))


def test_another_key_cannot_read_an_id():
    with pytest.raises(InvalidAnswerId):
        AnswerIds(b"x" * 32).read("acme", IDS.mint("acme", "1"))


@given(st.text())
def test_made_up_ids_are_refused(answer_id):
    with pytest.raises(InvalidAnswerId):
        IDS.read("acme", answer_id)


@given(interaction_ids, st.integers(0), st.integers(1, 255))
def test_an_altered_id_is_refused(interaction_id, position, change):
    token = bytearray(base64.urlsafe_b64decode(IDS.mint("acme", interaction_id) + "=="))
    token[position % len(token)] ^= change
    with pytest.raises(InvalidAnswerId):
        IDS.read("acme", base64.urlsafe_b64encode(token).decode())


@pytest.mark.parametrize("answer_id", ["", "=", "====", "é", "\ud800", "a b", "A" * 100_000])
def test_hostile_ids_are_refused(answer_id):
    with pytest.raises(InvalidAnswerId):
        IDS.read("acme", answer_id)


def test_the_signature_alone_is_no_id():
    signature = IDS._mac("acme", b"")
    with pytest.raises(InvalidAnswerId):
        IDS.read("acme", base64.urlsafe_b64encode(signature).decode())
