"""Records of changes are read whole, what a source wants of the cutting with them."""

import pytest
from tandem.ingest.v1 import events_pb2 as ingest_pb2

from services.common.bus import DOCUMENTS_CHANGED, Record
from services.embed.domain import Chunking
from services.embed.records import change_of


def read(**fields):
    message = ingest_pb2.DocumentChanged(tenant_id="t", document_id="d", version=1, content_digest="c" * 64, **fields)
    return change_of(Record(DOCUMENTS_CHANGED, b"t/d", message.SerializeToString(), {}, 2, 7))


def test_a_source_that_wants_nothing_leaves_the_cutting_and_the_digest_as_they_are():
    change = read()
    assert (change.chunking, change.content_digest) == (Chunking(), "c" * 64)


@pytest.mark.parametrize(
    ("message", "chunking"),
    [
        (ingest_pb2.Chunking(strategy="turns"), Chunking("turns")),
        (ingest_pb2.Chunking(chunk_tokens=128, overlap_tokens=0), Chunking("", 128, 0)),
    ],
)
def test_what_a_source_wants_is_read_and_makes_the_content_another(message, chunking):
    change = read(chunking=message)
    assert change.chunking == chunking
    assert change.content_digest != "c" * 64


def test_metadata_that_decides_the_reading_makes_the_content_another():
    plain, described = ingest_pb2.DocumentChanged(), ingest_pb2.DocumentChanged()
    plain.metadata.update({"team": "red"})
    described.metadata.update({"kind": "ticket"})
    assert read(metadata=plain.metadata).content_digest == "c" * 64
    assert read(metadata=described.metadata).content_digest != "c" * 64
