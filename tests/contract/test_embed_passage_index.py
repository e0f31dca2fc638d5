"""Every passage index that `embed` writes to behaves alike: in memory, and in a real Milvus."""

import uuid
from dataclasses import replace

import numpy as np
import pytest

from services.common import index
from services.common.identity import system
from services.embed.adapters.memory import MemoryPassageIndex
from services.embed.adapters.milvus import CollectionKind, IndexUnavailable, MilvusPassageIndex
from services.embed.domain import Change, Chunk, Passage, StoredPassage

DIMENSIONS = 8
KIND = CollectionKind("contract", DIMENSIONS, ("en", "fr"))


@pytest.fixture(params=["memory", "milvus"])
async def passages(request):
    if request.param == "memory":
        yield MemoryPassageIndex()
        return
    client = index.open_milvus(request.getfixturevalue("milvus_uri"))
    yield MilvusPassageIndex(client, KIND)
    await client.close()


@pytest.fixture
def tenant():
    return f"t-{uuid.uuid4().hex}"


def embed(tenant):
    return system(tenant, "embed")


def passage(tenant, document="d", version=1, ordinal=0, **fields):
    change = Change(
        tenant,
        document,
        version,
        source_id="s",
        source_name="Source",
        content_digest="c" * 64,
        title="Title",
        uri="file:///a",
        readers=("everyone", 'user:"é"'),
        metadata={"year": 2024.0, "tags": ["a"]},
        changed_at=1_700_000_000_000,
    )
    chunk = Chunk(
        f"text {ordinal} é 漢",
        3,
        9,
        ("One", 'Two "quoted"'),
        2,
        "",
        0,
        ("override",),
        section_first=1,
        section_last=4,
        language="fr",
        kind="ticket",
        author="Zoë <z@example.org>",
    )
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[ordinal % DIMENSIONS] = 1
    made = Passage(f"{document}-{ordinal}", change, chunk, ordinal, vector)
    return replace(made, change=replace(change, **fields))


async def test_a_tenant_without_passages_has_none(passages, tenant):
    await passages.ping()
    assert await passages.stored(embed(tenant), ["d"]) == []
    assert await passages.passages(embed(tenant), ["d-0"]) == []
    await passages.delete(embed(tenant), ["d-0"])


async def test_what_is_written_is_read_back_at_once_and_whole(passages, tenant):
    written = passage(tenant)
    await passages.upsert(embed(tenant), [written])
    assert await passages.stored(embed(tenant), ["d"]) == [
        StoredPassage("d-0", "d", 1, 0, "c" * 64, is_suspicious=True)
    ]
    (read,) = await passages.passages(embed(tenant), ["d-0", "not-there"])
    assert np.array_equal(read.vector, written.vector)
    assert replace(read, vector=None) == replace(written, vector=None)


async def test_writing_again_replaces(passages, tenant):
    await passages.upsert(embed(tenant), [passage(tenant), passage(tenant, ordinal=1)])
    await passages.upsert(embed(tenant), [passage(tenant, version=2, readers=())])
    stored = await passages.stored(embed(tenant), ["d"])
    assert sorted((row.id, row.version) for row in stored) == [("d-0", 2), ("d-1", 1)]
    assert (await passages.passages(embed(tenant), ["d-0"]))[0].change.readers == ()


async def test_only_what_is_named_is_deleted(passages, tenant):
    await passages.upsert(embed(tenant), [passage(tenant, ordinal=n) for n in range(3)])
    await passages.delete(embed(tenant), ["d-0", "d-2", "not-there"])
    assert [row.id for row in await passages.stored(embed(tenant), ["d"])] == ["d-1"]
    await passages.delete(embed(tenant), [])
    assert [row.id for row in await passages.stored(embed(tenant), ["d"])] == ["d-1"]


async def test_several_documents_are_asked_for_at_once(passages, tenant):
    await passages.upsert(embed(tenant), [passage(tenant, document=name) for name in ("a", 'b"]', "c é")])
    stored = await passages.stored(embed(tenant), ["a", 'b"]', "c é", "missing"])
    assert sorted(row.document_id for row in stored) == ["a", 'b"]', "c é"]


async def test_tenants_do_not_see_each_other(passages, tenant):
    await passages.upsert(embed(tenant), [passage(tenant)])
    assert await passages.stored(embed(tenant + "x"), ["d"]) == []
    await passages.delete(embed(tenant + "x"), ["d-0"])
    assert len(await passages.stored(embed(tenant), ["d"])) == 1


async def test_more_passages_than_one_request_takes_all_arrive(passages, tenant):
    many = [passage(tenant, ordinal=n) for n in range(1201)]
    await passages.upsert(embed(tenant), many)
    stored = await passages.stored(embed(tenant), ["d"])
    assert {row.ordinal for row in stored} == set(range(1201))
    assert len(await passages.passages(embed(tenant), [row.id for row in stored])) == 1201
    await passages.delete(embed(tenant), [row.id for row in stored])
    assert await passages.stored(embed(tenant), ["d"]) == []


async def test_the_largest_values_are_taken(passages, tenant):
    largest = passage(
        tenant,
        title="é" * 5000,
        uri="x" * 9000,
        source_name="漢" * 500,
        readers=tuple(f"user:{n:05}{'x' * 246}" for n in range(index.MAX_READERS)),
    )
    large = replace(largest, chunk=replace(largest.chunk, text="漢" * 21_845))
    await passages.upsert(embed(tenant), [large])
    (read,) = await passages.passages(embed(tenant), ["d-0"])
    assert len(read.change.readers) == index.MAX_READERS
    assert read.chunk.text == large.chunk.text


async def test_two_replicas_may_make_a_tenants_collection_at_once(milvus_uri, tenant):
    import asyncio

    clients = [index.open_milvus(milvus_uri) for _ in range(2)]
    replicas = [MilvusPassageIndex(client, KIND) for client in clients]
    await asyncio.gather(
        *(replica.upsert(embed(tenant), [passage(tenant, ordinal=number)]) for number, replica in enumerate(replicas))
    )
    assert len(await replicas[0].stored(embed(tenant), ["d"])) == 2
    for client in clients:
        await client.close()


async def test_a_collection_that_was_released_or_dropped_is_there_again_at_the_second_try(milvus_uri, tenant):
    client = index.open_milvus(milvus_uri)
    passages = MilvusPassageIndex(client, KIND)
    await passages.upsert(embed(tenant), [passage(tenant)])
    name = index.collection_of(tenant, "contract")

    await client.release_collection(name, timeout=10)
    assert len(await _second_try(passages.stored, embed(tenant), ["d"])) == 1
    await client.drop_collection(name, timeout=10)
    await _second_try(passages.upsert, embed(tenant), [passage(tenant)])
    assert len(await passages.stored(embed(tenant), ["d"])) == 1
    await client.close()


async def _second_try(call, *arguments):
    try:
        return await call(*arguments)
    except IndexUnavailable:
        return await call(*arguments)


@pytest.mark.parametrize("end", ["first passage", "erasure"])
async def test_what_an_older_schema_left_goes(milvus_uri, tenant, end):
    client = index.open_milvus(milvus_uri)
    (*_, former) = index.former_collections_of(tenant, KIND.config)
    await client.create_collection(former, dimension=DIMENSIONS, timeout=10)
    passages = MilvusPassageIndex(client, KIND)
    if end == "first passage":
        await passages.upsert(embed(tenant), [passage(tenant)])
        assert len(await passages.stored(embed(tenant), ["d"])) == 1
    else:
        assert await passages.drop(embed(tenant)) == 0
    assert not await client.has_collection(former, timeout=10)
    await client.close()


async def test_each_passage_is_written_with_the_stems_of_its_language(milvus_uri, tenant):
    client = index.open_milvus(milvus_uri)
    passages = MilvusPassageIndex(client, KIND)
    french = passage(tenant, title="Éléphants")
    untold = passage(tenant, ordinal=1, title="")
    french = replace(french, chunk=replace(french.chunk, text="Ils mangeaient.", headings=("Savane",)))
    untold = replace(untold, chunk=replace(untold.chunk, text="running mangeaient", headings=(), language=""))
    await passages.upsert(embed(tenant), [french, untold])
    rows = await client.query(
        index.collection_of(tenant, KIND.config), ids=["d-0", "d-1"], output_fields=[index.WORDS], timeout=10
    )
    words = {row[index.ID]: row[index.WORDS].split() for row in rows}
    assert words["d-0"] == ["eleph", "savan", "il", "mang"]
    assert {"run", "mang"} <= set(words["d-1"])
    await client.close()
