"""A changed document's way into the index, with nothing replaced."""

import grpc
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from tandem.embed.v1 import embed_service_pb2, embed_service_pb2_grpc
from tandem.ingest.v1 import events_pb2 as ingest_pb2

from services.common import index
from services.common.access import EVERY_ROLE
from services.common.bus import DOCUMENTS_CHANGED, Record, key_of
from services.common.identity import METADATA_KEY, Identity, IdentitySigner

pytestmark = pytest.mark.timeout(180)

PARAGRAPHS = [
    f"Paragraph {number} says that item {number} costs {number * 7} euros and ships within {number + 1} working days. "
    + f"It comes with a warranty of {number + 2} years, which covers the case, the motor and the battery. " * 4
    for number in range(6)
]


def handbook(paragraphs: list[str]) -> bytes:
    return ("# Handbook\n\n" + "\n\n".join(f"## Item {n}\n\n{text}" for n, text in enumerate(paragraphs))).encode()


async def test_a_document_becomes_rows_and_is_acknowledged(platform):
    await platform.publish("a", 1, handbook(PARAGRAPHS), title="Prices", readers=["user:ada"], metadata={"year": 2024})

    event = await platform.outcome("a", 1)
    rows = platform.rows("a")

    assert event.WhichOneof("result") == "indexed"
    assert event.indexed.chunk_count == event.indexed.embedded_count == len(rows) == 6
    assert [row[index.READERS] for row in rows] == [["user:ada"]] * 6
    assert rows[2][index.HEADINGS] == ["Handbook", "Item 2"]
    assert rows[0][index.METADATA] == {"year": 2024}
    assert all(abs(np.linalg.norm(row[index.DENSE]) - 1) < 1e-3 for row in rows)


async def test_of_a_new_version_only_the_new_chunks_are_embedded(platform):
    await platform.publish("a", 1, handbook(PARAGRAPHS))
    await platform.outcome("a", 1)
    before = {row[index.ID] for row in platform.rows("a")}
    changed = [*PARAGRAPHS[:3], "Item 3 is no longer sold.", *PARAGRAPHS[4:]]

    await platform.publish("a", 2, handbook(changed))
    event = await platform.outcome("a", 2)
    rows = platform.rows("a")

    assert (event.indexed.chunk_count, event.indexed.embedded_count) == (6, 1)
    assert {row[index.VERSION] for row in rows} == {2}
    after = {row[index.ID] for row in rows}
    assert len({*map(index.chunk_key_of, before)} & {*map(index.chunk_key_of, after)}) == 5
    # No row was written over.
    assert not before & after
    assert "no longer sold" in rows[3][index.TEXT]


async def test_a_change_of_readers_embeds_nothing_and_takes_effect(platform):
    content = handbook(PARAGRAPHS)
    await platform.publish("a", 1, content, readers=["user:ada", "user:bob"])
    await platform.outcome("a", 1)

    await platform.publish("a", 2, content, readers=["user:bob"], blob_key="gone")
    event = await platform.outcome("a", 2)

    assert (event.indexed.chunk_count, event.indexed.embedded_count) == (6, 0)
    assert [row[index.READERS] for row in platform.rows("a")] == [["user:bob"]] * 6
    assert {row[index.VERSION] for row in platform.rows("a")} == {2}


async def test_a_deleted_document_leaves_nothing(platform):
    await platform.publish("a", 1, handbook(PARAGRAPHS))
    await platform.outcome("a", 1)

    await platform.publish("a", 2, deleted=True)
    event = await platform.outcome("a", 2)

    assert event.WhichOneof("result") == "deleted"
    assert platform.rows("a") == []


async def test_a_record_that_comes_again_changes_nothing_and_is_acknowledged_again(platform):
    content = handbook(PARAGRAPHS)
    await platform.publish("a", 1, content)
    await platform.outcome("a", 1)
    before = platform.rows("a")

    await platform.publish("a", 1, content)
    event = await platform.outcome("a", 1)

    assert (event.indexed.chunk_count, event.indexed.embedded_count) == (6, 0)
    assert platform.rows("a") == before


async def test_poisonous_records_block_nothing(platform):
    poison = Record(DOCUMENTS_CHANGED, key_of(platform.tenant, "x"), b"\xff\xff no protobuf")
    records = [poison]
    records.append(await platform.record("broken", 1, b"%PDF-1.4 cut off", external_id="broken.pdf"))
    records.append(await platform.record("empty", 1, b" \n", external_id="empty.md"))
    records.append(await platform.record("lost", 1, b"", blob_key="nowhere"))
    records.append(await platform.record("good", 1, b"# Good\n\nThis one is readable."))

    await platform.producer.send(records)
    good = await platform.outcome("good", 1)

    assert good.indexed.chunk_count == 1
    letters = await platform.dead_letters(4)
    assert {letter.reason for letter in letters} == {
        "INVALID_RECORD",
        "MALFORMED_DOCUMENT",
        "EMPTY_DOCUMENT",
        "BLOB_MISSING",
    }
    assert {letter.value for letter in letters} == {record.value for record in records[:-1]}


async def test_what_cannot_be_indexed_says_why_and_what_it_replaced_is_gone(platform):
    await platform.publish("a", 1, handbook(PARAGRAPHS))
    await platform.outcome("a", 1)

    await platform.publish("a", 2, b"%PDF-1.4 cut off", external_id="a.pdf")
    event = await platform.outcome("a", 2)

    assert event.failed.reason == "MALFORMED_DOCUMENT"
    assert platform.rows("a") == []


async def test_the_trace_of_a_change_goes_on_in_its_acknowledgement(platform):
    with TracerProvider().get_tracer("test").start_as_current_span("change") as span:
        await platform.publish("a", 1, b"# Traced\n\nThis is followed.")
        trace_id = trace.format_trace_id(span.get_span_context().trace_id)

    _, headers = await platform.told_of("a", 1)

    assert headers["traceparent"].split("-")[1] == trace_id


async def test_many_documents_arrive_each_exactly_once(platform):
    records = [await platform.record(f"d{n}", 1, f"# Note {n}\n\nThe code is {n * 31}.".encode()) for n in range(120)]
    await platform.producer.send(records)

    for number in range(120):
        platform.told.seek_to_beginning()
        assert (await platform.outcome(f"d{number}", 1)).indexed.chunk_count == 1
        if number % 40 == 0:
            assert len(platform.rows(f"d{number}")) == 1
    name = index.collection_of(platform.tenant, "minilm")
    stored = platform.milvus.query(name, filter='id != ""', output_fields=["document_id"], timeout=10)
    assert sorted(row["document_id"] for row in stored) == sorted(f"d{n}" for n in range(120))


async def test_a_text_finds_its_own_document_by_its_vector(platform):
    await platform.publish("a", 1, b"# Returns\n\nYou may send shoes back within thirty days.")
    await platform.publish("b", 1, b"# Oven\n\nPreheat the oven to two hundred degrees.")
    await platform.outcome("a", 1)
    platform.told.seek_to_beginning()
    await platform.outcome("b", 1)
    signer = IdentitySigner(b"k" * 32)
    token = signer.sign(Identity(platform.tenant, "key:1", ("everyone",), EVERY_ROLE))

    async with grpc.aio.insecure_channel(platform.embed.address) as channel:
        stub = embed_service_pb2_grpc.EmbedServiceStub(channel)
        request = embed_service_pb2.EmbedRequest(texts=["how long can I return footwear"])
        answer = await stub.Embed(request, metadata=((METADATA_KEY, token),), timeout=20)

    vector = np.frombuffer(answer.vectors[0].values, dtype="<f4").tolist()
    name = index.collection_of(platform.tenant, answer.model)
    hits = platform.milvus.search(
        name, data=[vector], anns_field="dense", limit=1, output_fields=["document_id"], timeout=10
    )
    assert hits[0][0]["entity"]["document_id"] == "a"


async def test_a_document_is_kept_with_its_kind_language_author_and_stems(platform):
    mail = (
        "From: Zoé <zoe@example.org>\nTo: Ada\nSubject: Les éléphants\nDate: Mon, 3 May 2021 10:00:00 +0000\n"
        "Content-Type: text/plain; charset=utf-8\n\n"
        "Bonjour, les éléphants mangeaient toutes les feuilles du jardin pendant la nuit.\n"
    )
    await platform.publish("a", 1, mail.encode(), external_id="a.eml")
    await platform.outcome("a", 1)
    (row,) = platform.rows("a")
    assert (row["kind"], row["language"], row["author"]) == ("mail", "fr", "Zoé <zoe@example.org>")
    assert {"eleph", "mang"} <= set(str(row["words"]).split())
    assert (row["section_first"], row["section_last"]) == (0, 0)


async def test_a_source_that_wants_its_documents_cut_otherwise_has_them_cut_again(platform):
    text = b"# One\n\nfirst thing\n\n# Two\n\nsecond thing"
    await platform.publish("a", 1, text)
    assert (await platform.outcome("a", 1)).indexed.chunk_count == 2
    await platform.publish("a", 2, text, chunking=ingest_pb2.Chunking(strategy="fixed"))
    assert (await platform.outcome("a", 2)).indexed.chunk_count == 1
    (row,) = platform.rows("a")
    assert row["text"] == text.decode()


async def test_an_unsigned_call_is_refused(platform):
    async with grpc.aio.insecure_channel(platform.embed.address) as channel:
        stub = embed_service_pb2_grpc.EmbedServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Embed(embed_service_pb2.EmbedRequest(texts=["hello"]), timeout=20)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
