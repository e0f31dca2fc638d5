"""What ingest refuses, and what it takes without falling over."""

import os

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from tandem.ingest.v1 import ingest_service_pb2 as pb

from tests.integration.ingest.conftest import Client, eventually, failure_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND")

ON_A_SOURCE = [
    pb.GetSourceRequest,
    pb.PauseSourceRequest,
    pb.ResumeSourceRequest,
    pb.SyncSourceRequest,
    pb.DeleteSourceRequest,
    pb.ReplayFailedDocumentsRequest,
    pb.ListDocumentsRequest,
    lambda source: pb.DeleteDocumentsRequest(source=source, external_ids=["a"]),
    lambda source: pb.PushDocumentsRequest(source=source, documents=[document()]),
]


def document(external_id="a", content=b"text", **values):
    return pb.PushedDocument(external_id=external_id, content=content, **values)


def push_source(client, name="apps", **values):
    return client(pb.CreateSourceRequest(name=name, kind="push", push=pb.PushConfig(), **values)).source


@pytest.mark.parametrize("request_of", ON_A_SOURCE)
def test_a_foreign_tenant_finds_nothing(client, ingest, request_of):
    source = push_source(client)
    stranger = Client(ingest.address, client.tenant_id + "-other")
    for name in (source.source_id, source.name):
        assert failure_of(lambda name=name: stranger(request_of(source=name))) == NOT_FOUND
    assert not stranger(pb.ListSourcesRequest()).sources
    assert not stranger.documents()
    assert client.source("apps").state == pb.SOURCE_STATE_ACTIVE


@pytest.mark.parametrize("request_of", ON_A_SOURCE)
def test_a_call_without_identity_is_refused(client, request_of):
    code, reason = failure_of(lambda: client.without_identity(request_of(source="x")))
    assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_MISSING")


@pytest.mark.parametrize("name", ["nobody", "", "a\0b", "é" * 5000])
@pytest.mark.parametrize("request_of", ON_A_SOURCE[:6])
def test_a_source_that_is_not_there_is_not_found(client, request_of, name):
    assert failure_of(lambda: client(request_of(source=name))) == NOT_FOUND


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"kind": "notion"}, "UNKNOWN_SOURCE_KIND"),
        ({"kind": ""}, "UNKNOWN_SOURCE_KIND"),
        ({"name": ""}, "INVALID_SOURCE_CONFIG"),
        ({"name": "a b"}, "INVALID_SOURCE_CONFIG"),
        ({"name": "a\n"}, "INVALID_SOURCE_CONFIG"),
        ({"name": "x" * 101}, "INVALID_SOURCE_CONFIG"),
        ({"request_id": "x" * 65}, "INVALID_SOURCE_CONFIG"),
        ({"readers": ["x" * 257]}, "INVALID_SOURCE_CONFIG"),
        ({"readers": [""]}, "INVALID_SOURCE_CONFIG"),
        ({"readers": [str(number) for number in range(100_001)]}, "INVALID_SOURCE_CONFIG"),
        ({"push": pb.PushConfig()}, "INVALID_SOURCE_CONFIG"),
        ({"files": pb.FilesConfig(path="relative/path")}, "INVALID_SOURCE_CONFIG"),
        ({"files": pb.FilesConfig(path="")}, "INVALID_SOURCE_CONFIG"),
        ({"files": pb.FilesConfig(path="/a\0b")}, "INVALID_SOURCE_CONFIG"),
        ({"files": pb.FilesConfig(path="/", include=["!"])}, "INVALID_SOURCE_CONFIG"),
        ({"files": pb.FilesConfig(path="/", exclude=[""])}, "INVALID_SOURCE_CONFIG"),
        ({"files": pb.FilesConfig(path="/no/such/folder")}, "PATH_NOT_FOUND"),
        ({"files": pb.FilesConfig(path="/" + "x" * 5000)}, "PATH_NOT_FOUND"),
        ({"files": pb.FilesConfig(path="/dev/null")}, "PATH_NOT_FOUND"),
    ],
)
def test_a_source_that_cannot_be_is_refused(client, values, reason):
    request = pb.CreateSourceRequest(**{"name": "n", "kind": "files", "files": pb.FilesConfig(path="/"), **values})
    assert failure_of(lambda: client(request)) == (INVALID, reason)
    assert not client(pb.ListSourcesRequest()).sources


def test_a_kind_without_its_config_is_refused(client):
    request = pb.CreateSourceRequest(name="n", kind="push")
    assert failure_of(lambda: client(request)) == (INVALID, "INVALID_SOURCE_CONFIG")


def test_a_name_is_given_once_in_a_tenant(client, ingest):
    push_source(client)
    assert failure_of(lambda: push_source(client)) == (grpc.StatusCode.ALREADY_EXISTS, "SOURCE_EXISTS")
    push_source(Client(ingest.address, client.tenant_id + "-other"))


def test_a_repeated_request_gives_the_source_already_made(client):
    made = push_source(client, request_id="r1")
    assert push_source(client, request_id="r1").source_id == made.source_id
    assert len(client(pb.ListSourcesRequest()).sources) == 1


def test_a_repeated_request_is_answered_though_the_folder_has_gone(client, folder):
    files = pb.FilesConfig(path=str(folder))
    request = pb.CreateSourceRequest(name="docs", kind="files", files=files, request_id="r1")
    made = client(request).source
    folder.rmdir()
    assert client(request).source.source_id == made.source_id
    eventually(lambda: failure_of(client.sync) == (grpc.StatusCode.FAILED_PRECONDITION, "PATH_NOT_FOUND"))


def test_the_name_of_a_deleted_source_is_free_at_once(client):
    made = push_source(client)
    client(pb.PushDocumentsRequest(source="apps", documents=[document()]))
    client(pb.DeleteSourceRequest(source="apps"))
    again = push_source(client)
    assert again.source_id != made.source_id
    assert client.source("apps").source_id == again.source_id
    assert client.source(made.source_id).state == pb.SOURCE_STATE_DELETING


def test_a_source_being_deleted_takes_nothing_more(client):
    push_source(client)
    client(pb.PushDocumentsRequest(source="apps", documents=[document()]))
    client(pb.DeleteSourceRequest(source="apps"))
    push = pb.PushDocumentsRequest(source="apps", documents=[document("b")])
    assert failure_of(lambda: client(push)) == NOT_FOUND
    assert failure_of(lambda: client(pb.ResumeSourceRequest(source="apps"))) == NOT_FOUND


def test_what_can_only_be_pushed_cannot_be_synced(client, folder):
    push_source(client)
    client.files(folder)
    precondition = grpc.StatusCode.FAILED_PRECONDITION
    assert failure_of(lambda: client.sync("apps")) == (precondition, "SOURCE_NOT_SYNCABLE")
    push = pb.PushDocumentsRequest(source="docs", documents=[document()])
    assert failure_of(lambda: client(push)) == (precondition, "NOT_A_PUSH_SOURCE")
    delete = pb.DeleteDocumentsRequest(source="docs", external_ids=["a"])
    assert failure_of(lambda: client(delete)) == (precondition, "NOT_A_PUSH_SOURCE")
    client(pb.PauseSourceRequest(source="docs"))
    assert failure_of(client.sync) == (precondition, "SOURCE_NOT_SYNCABLE")


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        ([], "INVALID_DOCUMENT"),
        ([document("")], "INVALID_DOCUMENT"),
        ([document("x" * 1001)], "INVALID_DOCUMENT"),
        ([document("a\0")], "INVALID_DOCUMENT"),
        ([document(content=b"")], "INVALID_DOCUMENT"),
        ([document(), document()], "INVALID_DOCUMENT"),
        ([document(title="x" * 1001)], "INVALID_DOCUMENT"),
        ([document(uri="x" * 8001)], "INVALID_DOCUMENT"),
        ([document(uri="\0")], "INVALID_DOCUMENT"),
        ([document(readers=["x" * 257])], "INVALID_DOCUMENT"),
        ([document(readers=["r"] * 100_001)], "INVALID_DOCUMENT"),
        ([document(readers=["set:5f0c"])], "INVALID_DOCUMENT"),
        ([document(metadata={"k": "\0"})], "INVALID_DOCUMENT"),
        ([document(metadata={"k": float("nan")})], "INVALID_DOCUMENT"),
        ([document(metadata={"k": "x" * 60_001})], "INVALID_DOCUMENT"),
        ([document(changed_at={"seconds": 1 << 60})], "INVALID_DOCUMENT"),
        ([document(content=b"x" * 100_001)], "DOCUMENT_TOO_LARGE"),
        ([document(str(number), b"x" * 90_000) for number in range(400)], "DOCUMENT_TOO_LARGE"),
        ([document(str(number)) for number in range(501)], "TOO_MANY_DOCUMENTS"),
    ],
)
def test_one_bad_document_refuses_the_whole_push(client, documents, reason):
    push_source(client)
    good = [] if len(documents) != 1 else [document("good")]
    request = pb.PushDocumentsRequest(source="apps", documents=[*good, *documents])
    assert failure_of(lambda: client(request)) == (INVALID, reason)
    assert not client.documents()


@pytest.mark.parametrize("request_of", [pb.ListSourcesRequest, pb.ListDocumentsRequest])
@pytest.mark.parametrize(
    "page", [{"page_size": -1}, {"page_token": "%%%"}, {"page_token": "YQ=="}, {"page_token": "é"}]
)
def test_a_page_that_cannot_be_is_refused(client, request_of, page):
    assert failure_of(lambda: client(request_of(**page))) == (INVALID, "INVALID_PAGE")


def test_files_that_cannot_be_documents_are_shown_as_failed(client, folder):
    (folder / "empty.md").touch()
    (folder / "large.md").write_bytes(b"x" * 100_001)
    (folder / "good.md").write_text("good")
    client.files(folder)
    eventually(lambda: client.source().HasField("last_sync_at"))
    failures = client(pb.GetSourceRequest(source="docs")).failures
    assert {row.external_id: row.failure_reason for row in failures} == {
        "empty.md": "EMPTY_DOCUMENT",
        "large.md": "DOCUMENT_TOO_LARGE",
    }
    assert client.sync() == {"failed": 2, "unchanged": 1}
    assert client(pb.ReplayFailedDocumentsRequest(source="docs")).replayed == 0
    (folder / "empty.md").write_text("not any more")
    assert client(pb.ReplayFailedDocumentsRequest(source="docs")).replayed == 1


def test_a_200_mb_file_is_never_read(client, folder):
    with (folder / "huge.pdf").open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    client.files(folder)
    row = eventually(lambda: client.documents().get("huge.pdf"))
    assert (row.failure_reason, row.size_bytes) == ("DOCUMENT_TOO_LARGE", 200 * 1024 * 1024)


def test_a_folder_of_no_files_is_a_source_of_no_documents(client, folder):
    client.files(folder)
    source = eventually(lambda: (found := client.source()).HasField("last_sync_at") and found)
    assert source.counts == pb.SourceCounts()
    assert source.last_sync_error == ""


def test_names_that_are_no_utf8_are_taken(client, index, folder):
    name = os.fsdecode(b"caf\xe9\n.txt")
    (folder / name).write_text("text")
    (folder / ("x" * 200 + "é.md")).write_text("more")
    client.files(folder)
    assert {change.external_id for change in index.wait(2)} == {"caf\\xe9\n.txt", "x" * 200 + "é.md"}
    assert client.sync() == {"unchanged": 2}
    (folder / name).unlink()
    assert client.sync() == {"deleted": 1, "unchanged": 1}


def test_a_deep_path_is_taken(client, folder):
    deep = folder.joinpath(*["d" * 200] * 12)
    deep.mkdir(parents=True)
    (deep / "a.md").write_text("deep")
    client.files(folder)
    eventually(lambda: len(client.documents()) == 1)
    assert client.sync() == {"unchanged": 1}


def test_metadata_that_is_json_is_kept(client, index):
    push_source(client)
    metadata = Struct()
    metadata.update({"a": [1, 2.5, None, {"b": True}], "é": "\u2028"})
    client(pb.PushDocumentsRequest(source="apps", documents=[document(metadata=metadata)]))
    assert index.wait(1)[0].metadata == metadata
