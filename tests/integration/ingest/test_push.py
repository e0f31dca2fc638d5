"""Applications push documents, again and again."""

import pytest
from tandem.ingest.v1 import ingest_service_pb2 as pb
from tandem.ingest.v1.events_pb2 import Chunking

from tests.integration.ingest.conftest import Client, eventually, failure_of


@pytest.fixture
def push(client):
    """Pushes documents into a new source of everyone's."""
    client(pb.CreateSourceRequest(name="apps", kind="push", push=pb.PushConfig(), readers=["everyone"]))

    def call(*documents, request_id=""):
        request = pb.PushDocumentsRequest(source="apps", documents=documents, request_id=request_id)
        return list(client(request).documents)

    return call


def document(external_id="a", content=b"text", **values):
    return pb.PushedDocument(external_id=external_id, content=content, **values)


def test_documents_come_back_in_the_order_of_the_request(push, index):
    rows = push(*(document(external_id) for external_id in "cab"), document("d", readers=["user:1"]))
    assert [row.external_id for row in rows] == ["c", "a", "b", "d"]
    readers = {change.external_id: list(change.readers) for change in index.wait(4)}
    assert readers == {"a": ["everyone"], "b": ["everyone"], "c": ["everyone"], "d": ["user:1"]}


def test_unchanged_content_is_not_published_again(push, index):
    push(document())
    assert push(document())[0].version == 1
    assert push(document(content=b"new"))[0].version == 2
    assert push(document(content=b"new", readers=["user:2"]))[0].version == 3
    changes = index.wait(3)
    assert changes[1].content_digest == changes[2].content_digest
    assert len(changes) == 3


def test_a_repeated_request_writes_nothing_over_a_newer_one(push):
    push(document(content=b"old"), request_id="1")
    newer = push(document(content=b"new"), request_id="2")
    assert push(document(content=b"old"), request_id="1") == newer


def test_deleted_documents_leave_and_may_come_back(push, client, index):
    push(document("a"), document("b"))
    request = pb.DeleteDocumentsRequest(source="apps", external_ids=["a", "unknown", "\0", ""])
    assert client(request).deleted == 1
    assert client(request).deleted == 0
    assert push(document("a"))[0].version == 3
    assert [change.deleted for change in index.wait(4)] == [False, False, True, False]


def test_without_readers_a_source_is_its_makers(client, index):
    client(pb.CreateSourceRequest(name="mine", kind="push", push=pb.PushConfig()))
    client(pb.PushDocumentsRequest(source="mine", documents=[document()]))
    assert list(index.wait(1)[0].readers) == ["key:1"]


def test_lists_page_through_everything_once(push, client):
    push(*(document(f"d{number:02}") for number in range(25)))
    for name in "xyz":
        client(pb.CreateSourceRequest(name=name, kind="push", push=pb.PushConfig()))
    assert _pages(client, pb.ListDocumentsRequest(page_size=10), "documents") == [10, 10, 5]
    assert _pages(client, pb.ListDocumentsRequest(page_size=25, source="apps"), "documents") == [25]
    assert _pages(client, pb.ListDocumentsRequest(page_size=100_000, source="x"), "documents") == [0]
    assert _pages(client, pb.ListSourcesRequest(page_size=3), "sources") == [3, 1]
    pending = pb.ListDocumentsRequest(state=pb.DOCUMENT_STATE_PENDING, page_size=500)
    assert len(client(pending).documents) == 25
    failed = pb.ListDocumentsRequest(state=pb.DOCUMENT_STATE_FAILED)
    assert not client(failed).documents


def _pages(client: Client, request, field):
    sizes, seen = [], []
    while True:
        answer = client(request)
        rows = getattr(answer, field)
        sizes.append(len(rows))
        seen += [getattr(row, "external_id", None) or row.name for row in rows]
        if not answer.next_page_token:
            assert seen == sorted(set(seen))
            return sizes
        request.page_token = answer.next_page_token


def test_ids_of_any_script_are_kept(push, client):
    ids = ["résumé", "文書", "🦜" * 1000, "a/b?c#d%00", "'; DROP TABLE documents; --", " ", "%", "_"]
    push(*map(document, ids))
    assert set(client.documents("apps")) == set(ids)
    eventually(lambda: client.source("apps").counts.pending == len(ids))


def test_a_source_s_documents_are_cut_as_it_says_and_again_when_that_changes(client, index):
    made = pb.CreateSourceRequest(name="apps", kind="push", push=pb.PushConfig(), chunking=Chunking(strategy="turns"))
    assert client(made).source.chunking.strategy == "turns"
    client(pb.PushDocumentsRequest(source="apps", documents=[document("a"), document("b")]))
    assert {change.chunking.strategy for change in index.wait(2)} == {"turns"}
    fixed = Chunking(strategy="fixed", chunk_tokens=128, overlap_tokens=0)
    change = pb.SetSourceChunkingRequest(source="apps", chunking=fixed)
    answer = client(change)
    assert (answer.changed, answer.source.chunking) == (2, fixed)
    again = index.wait(4)[2:]
    assert [(change.version, change.chunking) for change in again] == [(2, fixed), (2, fixed)]
    assert client(change).changed == 0
    by_kind = client(pb.SetSourceChunkingRequest(source="apps"))
    assert (by_kind.changed, by_kind.source.HasField("chunking")) == (2, False)
    assert not any(change.HasField("chunking") for change in index.wait(6)[4:])


@pytest.mark.parametrize(
    "wrong",
    [
        Chunking(strategy="magic"),
        Chunking(chunk_tokens=31),
        Chunking(chunk_tokens=-1),
        Chunking(chunk_tokens=8193),
        Chunking(overlap_tokens=-1),
        Chunking(chunk_tokens=64, overlap_tokens=64),
    ],
)
def test_a_way_to_cut_that_there_is_not_is_refused(client, wrong):
    made = pb.CreateSourceRequest(name="wrong", kind="push", push=pb.PushConfig(), chunking=wrong)
    assert failure_of(lambda: client(made))[1] == "INVALID_CHUNKING"
    client(pb.CreateSourceRequest(name="right", kind="push", push=pb.PushConfig()))
    changed = pb.SetSourceChunkingRequest(source="right", chunking=wrong)
    assert failure_of(lambda: client(changed))[1] == "INVALID_CHUNKING"


@pytest.mark.usefixtures("push")
def test_another_tenant_s_source_is_not_found_to_be_cut_otherwise(ingest):
    request = pb.SetSourceChunkingRequest(source="apps", chunking=Chunking(strategy="fixed"))
    assert failure_of(lambda: Client(ingest.address, "somebody-else")(request))[1] == "SOURCE_NOT_FOUND"
