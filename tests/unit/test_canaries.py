"""A canary is found however it was written, and nowhere else."""

import base64
import json
from urllib.parse import quote

import pytest

from tests.canaries import Canaries

VALUE = Canaries().new("text")
WRITTEN = {
    "plain": f"before {VALUE} after".encode(),
    "cut": f"before {VALUE[:16]}…".encode(),
    "lower": VALUE.lower().encode(),
    "json": json.dumps({"é": f'"{VALUE}"'}).encode(),
    "repr": repr(f"{VALUE}\n".encode()).encode(),
    "url": quote(f"https://host/ {VALUE}?").encode(),
    "hex": f"\xff{VALUE}".encode().hex().encode(),
    "upper hex": f"{VALUE}".encode().hex().upper().encode(),
    **{f"base64 {n}": base64.b64encode(b"x" * n + VALUE.encode() + b"yy") for n in range(7)},
    **{f"base64url {n}": base64.urlsafe_b64encode(b"\xff" * n + VALUE.encode()) for n in range(7)},
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_value_is_found_in_every_form(form):
    canaries = Canaries({"text": VALUE})
    assert canaries.leaks({"log": WRITTEN[form]})
    assert not canaries.leaks({"log": WRITTEN[form]}, but=["text"])


def test_what_is_not_there_is_not_found():
    canaries = Canaries()
    canaries.new("another")
    assert not canaries.leaks(WRITTEN)
