"""Adapters come out of the store as they were put in, or not at all."""

import base64
import hashlib
import shutil
from dataclasses import replace

import pytest

from services.common.lora.card import Card, Probe, bytes_of, card_of
from services.common.lora.errors import AdapterAltered, AdapterMissing, AdapterUntrusted, InvalidAdapter
from services.common.lora.routing import is_for_canary
from services.common.lora.signing import AdapterSigner, AdapterVerifier, InvalidKey
from services.common.lora.store import CARD, CONFIG, LINEAGE, SIGNATURE, WEIGHTS, AdapterStore, digest_of, tenant_folder

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()
PROBE = Probe((1, 2), (3,), (-0.5,), (-2.0,))
CARD_OF_ACME = Card("", "acme", "run", "tiny", 8, "sft", "d" * 64, "", 0, "2026-11-30T00:00:00+00:00", PROBE)


@pytest.fixture
def signer():
    return AdapterSigner(KEY)


@pytest.fixture
def verifier(signer):
    return AdapterVerifier([signer.public_key])


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / CONFIG).write_text('{"peft_type": "LORA"}')
    (folder / WEIGHTS).write_bytes(b"weights" * 100)
    (folder / LINEAGE).write_text('{"documents": ["d1"]}')
    (folder / "trainer_state.json").write_text("{}")
    return folder


@pytest.fixture
def store(tmp_path):
    return AdapterStore(str(tmp_path / "blobs"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
async def digest(store, adapter, signer):
    return await store.publish(adapter, CARD_OF_ACME, signer)


@pytest.fixture
def fetch(store, cache, verifier):
    return lambda digest, tenant_id="acme": store.fetch(tenant_id, digest, cache, verifier)


def kept(tmp_path, digest):
    return tmp_path / "blobs" / "adapters" / tenant_folder("acme") / digest.removeprefix("sha256:")


async def test_what_is_published_is_fetched_whole_with_its_card_and_nothing_else(
    store, adapter, signer, verifier, cache
):
    digest = await store.publish(adapter, CARD_OF_ACME, signer)
    folder, card = await store.fetch("acme", digest, cache, verifier)
    assert digest == digest_of(adapter) == digest_of(folder)
    assert card == replace(CARD_OF_ACME, digest=digest)
    assert sorted(path.name for path in folder.iterdir()) == sorted([CARD, CONFIG, LINEAGE, SIGNATURE, WEIGHTS])
    assert (await store.fetch("acme", digest, cache, verifier))[0] == folder
    assert [path.name for path in adapter.iterdir() if path.name.startswith(".")] == []


async def test_the_digest_is_that_of_the_files_one_after_the_other(adapter):
    whole = b"".join((adapter / name).read_bytes() for name in (CONFIG, WEIGHTS, LINEAGE))
    with pytest.raises(InvalidAdapter):
        digest_of(adapter.parent)
    assert digest_of(adapter) == f"sha256:{hashlib.sha256(whole).hexdigest()}"


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, LINEAGE, CARD, SIGNATURE])
async def test_an_altered_file_is_refused(digest, fetch, cache, tmp_path, name):
    path = kept(tmp_path, digest) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises((AdapterAltered, AdapterUntrusted)):
        await fetch(digest)
    assert not list(cache.glob(".*"))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, LINEAGE, CARD, SIGNATURE])
async def test_a_missing_file_is_refused(digest, fetch, tmp_path, name):
    (kept(tmp_path, digest) / name).unlink()
    with pytest.raises(AdapterAltered):
        await fetch(digest)


async def test_a_file_too_many_is_refused(digest, fetch, tmp_path):
    (kept(tmp_path, digest) / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(AdapterAltered):
        await fetch(digest)


async def test_a_cache_that_was_altered_is_filled_again(store, adapter, signer, verifier, cache):
    digest = await store.publish(adapter, CARD_OF_ACME, signer)
    folder, _ = await store.fetch("acme", digest, cache, verifier)
    (folder / WEIGHTS).write_bytes(b"other")
    folder, _ = await store.fetch("acme", digest, cache, verifier)
    assert digest_of(folder) == digest


async def test_who_is_not_trusted_is_refused_unless_nobody_need_be(store, adapter, signer, cache):
    digest = await store.publish(adapter, CARD_OF_ACME, signer)
    with pytest.raises(AdapterUntrusted):
        await store.fetch("acme", digest, cache, AdapterVerifier([AdapterSigner(OTHER).public_key]))
    both = AdapterVerifier([AdapterSigner(OTHER).public_key, signer.public_key])
    assert (await store.fetch("acme", digest, cache, both))[1].digest == digest
    assert (await store.fetch("acme", digest, cache, AdapterVerifier([])))[1].digest == digest


async def test_one_tenants_adapter_is_not_anothers_even_where_the_files_were_copied(digest, fetch, tmp_path):
    with pytest.raises(AdapterMissing):
        await fetch(digest, "globex")
    theirs = tmp_path / "blobs" / "adapters" / tenant_folder("globex")
    theirs.mkdir()
    shutil.copytree(kept(tmp_path, digest), theirs / kept(tmp_path, digest).name)
    with pytest.raises(AdapterAltered):
        await fetch(digest, "globex")


async def test_what_is_removed_is_missing(store, adapter, signer, verifier, cache):
    digest = await store.publish(adapter, CARD_OF_ACME, signer)
    await store.remove("acme", digest)
    await store.remove("acme", digest)
    with pytest.raises(AdapterMissing):
        await store.fetch("acme", digest, cache, verifier)
    digest = await store.publish(adapter, CARD_OF_ACME, signer)
    await store.remove_tenant("acme")
    with pytest.raises(AdapterMissing):
        await store.fetch("acme", digest, cache, verifier)


@pytest.mark.parametrize("digest", ["", "sha256:", "../../etc", "sha256:" + "A" * 64, "a" * 64])
async def test_what_is_no_digest_is_missing(store, verifier, cache, digest):
    with pytest.raises(AdapterMissing):
        await store.fetch("acme", digest, cache, verifier)


@pytest.mark.parametrize("content", [b"", b"{}", b"null", bytes_of(replace(CARD_OF_ACME, format=2))])
def test_what_is_no_card_of_this_format_is_refused(content):
    with pytest.raises(AdapterAltered):
        card_of(content)


@pytest.mark.parametrize("key", ["", "short", base64.b64encode(bytes(31)).decode(), "ä" * 44])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(InvalidKey):
        AdapterSigner(key)
    with pytest.raises(InvalidKey):
        AdapterVerifier([key])


def test_a_canary_has_its_share_of_conversations_always_the_same_and_others_the_next_time():
    names = [str(number) for number in range(4000)]
    first = [name for name in names if is_for_canary("one", name, 0.2)]
    assert 0.17 < len(first) / len(names) < 0.23
    assert first == [name for name in names if is_for_canary("one", name, 0.2)]
    assert set(first) <= {name for name in names if is_for_canary("one", name, 0.3)}
    assert set(first) != {name for name in names if is_for_canary("two", name, 0.2)}
    assert not any(is_for_canary("one", name, 0.0) for name in names)
    assert all(is_for_canary("one", name, 1.0) for name in names)
