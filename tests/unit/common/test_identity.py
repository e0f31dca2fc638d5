"""Identities are taken only as this platform signed them, and only for a minute."""

import contextvars

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tandem.common.v1 import identity_pb2

from services.common.access import Role
from services.common.identity import Identity, IdentityMissing, IdentitySigner, caller, set_caller

KEY = b"a key that both services share, 32+"
ADA = Identity("acme", "user:ada", ("everyone", "user:ada", "group:équipe 日本"))
identities = st.builds(
    Identity,
    st.text(min_size=1),
    st.text(),
    st.lists(st.text(), max_size=50).map(tuple),
    st.frozensets(st.sampled_from(Role)),
    st.text(),
)


@given(identities)
def test_an_identity_comes_back_as_it_was_signed(identity):
    signer = IdentitySigner(KEY)
    assert signer.verify(signer.sign(identity)) == identity


@given(st.binary(max_size=200))
def test_random_bytes_are_no_identity(token):
    with pytest.raises(IdentityMissing):
        IdentitySigner(KEY).verify(token)


@given(st.integers(0), st.integers(1, 255))
def test_one_changed_byte_voids_an_identity(position, change):
    token = bytearray(IdentitySigner(KEY).sign(ADA))
    token[position % len(token)] ^= change
    with pytest.raises(IdentityMissing):
        IdentitySigner(KEY).verify(bytes(token))


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33])
def test_a_cut_identity_is_refused(length):
    with pytest.raises(IdentityMissing):
        IdentitySigner(KEY).verify(IdentitySigner(KEY).sign(ADA)[:length])


def test_another_key_s_identity_is_refused():
    with pytest.raises(IdentityMissing):
        IdentitySigner(KEY).verify(IdentitySigner(b"x" * 32).sign(ADA))


def test_an_identity_ends_after_a_minute():
    token = IdentitySigner(KEY, now=lambda: 1000.0).sign(ADA)
    assert IdentitySigner(KEY, now=lambda: 1059.9).verify(token) == ADA
    with pytest.raises(IdentityMissing):
        IdentitySigner(KEY, now=lambda: 1060.1).verify(token)


def test_an_identity_without_a_tenant_is_refused():
    signer = IdentitySigner(KEY)
    with pytest.raises(IdentityMissing):
        signer.verify(signer.sign(Identity("", "user:ada", ())))


def test_signed_bytes_that_are_no_identity_are_refused():
    signer = IdentitySigner(KEY)
    body = b"\xff\xff\xff"
    with pytest.raises(IdentityMissing):
        signer.verify(signer._mac(body) + body)


def test_fields_of_a_later_version_do_not_void_an_identity():
    signer = IdentitySigner(KEY, now=lambda: 0.0)
    body = identity_pb2.Identity(tenant_id="acme", subject="s", expires_at=10).SerializeToString() + b"\xa2\x06\x01x"
    assert signer.verify(signer._mac(body) + body) == Identity("acme", "s", ())


def test_nobody_calls_until_an_identity_is_set():
    with pytest.raises(IdentityMissing):
        contextvars.Context().run(caller)


def test_the_caller_of_one_call_is_not_the_caller_of_another():
    first, second = contextvars.Context(), contextvars.Context()
    first.run(set_caller, ADA)
    assert first.run(caller) == ADA
    with pytest.raises(IdentityMissing):
        second.run(caller)
