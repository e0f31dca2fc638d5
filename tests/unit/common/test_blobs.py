"""Blobs come back whole, once each, and only from where they were put."""

import asyncio
import hashlib

import pytest

from services.common.blobs import BlobMissing, Blobs, digest_of


@pytest.fixture(params=["folder", "memory"])
def blobs(request, tmp_path):
    return Blobs(str(tmp_path / "blobs") if request.param == "folder" else f"memory://{tmp_path.name}")


@pytest.mark.parametrize("content", [b"", b"\x00", "über".encode(), b"x" * 3_000_000], ids=len)
async def test_a_blob_comes_back(blobs, content):
    key = await blobs.put("acme", content)
    assert await blobs.get(key) == content


async def test_a_key_names_tenant_and_digest(blobs):
    key = await blobs.put("acme", b"content")
    assert key.startswith("acme/")
    assert key.endswith(hashlib.sha256(b"content").hexdigest())
    assert digest_of(b"content") == hashlib.sha256(b"content").hexdigest()


async def test_the_same_content_is_one_blob_a_tenant(blobs):
    assert await blobs.put("acme", b"same") == await blobs.put("acme", b"same")
    assert await blobs.put("acme", b"same") != await blobs.put("rival", b"same")


async def test_a_blob_that_is_not_there_is_named_missing(blobs):
    with pytest.raises(BlobMissing) as raised:
        await blobs.get("acme/00/0000")
    assert raised.value.facts == {"key": "acme/00/0000"}


async def test_writers_at_once_leave_one_whole_blob_and_nothing_else(tmp_path):
    blobs, content = Blobs(str(tmp_path)), b"x" * 1_000_000
    keys = await asyncio.gather(*(blobs.put("acme", content) for _ in range(16)))
    assert len(set(keys)) == 1
    assert await blobs.get(keys[0]) == content
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 1
