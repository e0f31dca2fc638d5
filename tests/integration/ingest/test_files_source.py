"""A folder becomes documents, and stays the same as them."""

import pytest
from tandem.ingest.v1 import ingest_service_pb2 as pb

from tests.integration.ingest.conftest import eventually


@pytest.fixture
def synced(client, folder):
    """A folder of two files, recorded."""
    (folder / "a.md").write_text("# A\nalpha")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text("beta")
    client.files(folder)
    eventually(lambda: client.source().HasField("last_sync_at"))
    return folder


def test_a_new_source_syncs_by_itself_and_tells_the_index(client, index, synced, tenant):
    changes = {change.external_id: change for change in index.wait(2)}
    documents = client.documents()
    assert set(changes) == set(documents) == {"a.md", "sub/b.txt"}
    change, document = changes["a.md"], documents["a.md"]
    assert (change.document_id, change.version, change.tenant_id) == (document.document_id, 1, tenant)
    assert (change.title, change.media_type, change.source_name) == ("a.md", "text/markdown", "docs")
    assert change.uri == (synced / "a.md").as_uri()
    assert change.readers == ["key:1"]
    assert document.state == pb.DOCUMENT_STATE_PENDING
    assert document.changed_at.seconds == int((synced / "a.md").stat().st_mtime)


@pytest.mark.usefixtures("synced")
def test_what_the_index_answers_is_shown(client, index):
    a, b = sorted(index.wait(2), key=lambda change: change.external_id)
    index.answer(a, chunks=5)
    index.answer(b, failed="ENCRYPTED_DOCUMENT")
    source = eventually(lambda: (found := client.source()).counts.pending == 0 and found)
    assert (source.counts.indexed, source.counts.failed, source.counts.chunks) == (1, 1, 5)
    failures = client(pb.GetSourceRequest(source="docs")).failures
    assert [(row.external_id, row.failure_reason) for row in failures] == [("sub/b.txt", "ENCRYPTED_DOCUMENT")]
    assert client.documents()["a.md"].HasField("indexed_at")


def test_a_sync_without_changes_publishes_nothing(client, index, synced):
    index.wait(2)
    assert client.sync() == {"unchanged": 2}
    (synced / "a.md").touch()
    assert client.sync() == {"unchanged": 2}
    index.poll()
    assert len(index.seen) == 2


def test_an_edit_raises_the_version_and_keeps_the_id(client, index, synced):
    before = client.documents()["a.md"]
    (synced / "a.md").write_text("# A\nchanged")
    assert client.sync() == {"changed": 1, "unchanged": 1}
    change = index.wait(3)[-1]
    assert (change.document_id, change.version) == (before.document_id, 2)


def test_a_move_keeps_the_id_and_the_content(client, index, synced):
    before = client.documents()["a.md"]
    (synced / "a.md").rename(synced / "sub" / "renamed.md")
    assert client.sync() == {"moved": 1, "unchanged": 1}
    change = index.wait(3)[-1]
    first = next(seen for seen in index.seen if seen.external_id == "a.md")
    assert (change.document_id, change.version, change.external_id) == (before.document_id, 2, "sub/renamed.md")
    assert (change.content_digest, change.blob_key) == (first.content_digest, first.blob_key)
    assert set(client.documents()) == {"sub/renamed.md", "sub/b.txt"}


def test_a_moved_folder_moves_all_its_documents(client, synced):
    before = client.documents()["sub/b.txt"].document_id
    (synced / "sub").rename(synced / "other")
    assert client.sync() == {"moved": 1, "unchanged": 1}
    assert client.documents()["other/b.txt"].document_id == before


def test_a_deleted_file_leaves_the_index_and_then_the_manifest(client, index, synced):
    (synced / "a.md").unlink()
    assert client.sync() == {"deleted": 1, "unchanged": 1}
    change = index.wait(3)[-1]
    assert (change.deleted, change.version, change.blob_key) == (True, 2, "")
    assert client.documents()["a.md"].state == pb.DOCUMENT_STATE_DELETING
    index.answer(change)
    eventually(lambda: "a.md" not in client.documents())


def test_a_file_that_comes_back_before_its_deletion_is_answered_stays(client, index, synced):
    (synced / "a.md").unlink()
    client.sync()
    deletion = index.wait(3)[-1]
    (synced / "a.md").write_text("# A\nalpha")
    assert client.sync() == {"added": 1, "unchanged": 1}
    upsert = index.wait(4)[-1]
    index.answer(deletion)
    index.answer(upsert)
    eventually(lambda: client.documents()["a.md"].state == pb.DOCUMENT_STATE_INDEXED)
    assert client.documents()["a.md"].version == 3


def test_an_answer_about_an_older_version_changes_nothing(client, index, synced):
    old = next(change for change in index.wait(2) if change.external_id == "a.md")
    (synced / "a.md").write_text("new")
    client.sync()
    new = index.wait(3)[-1]
    index.answer(old, chunks=99)
    index.answer(new, chunks=1)
    document = eventually(lambda: (found := client.documents()["a.md"]).state == pb.DOCUMENT_STATE_INDEXED and found)
    assert document.chunk_count == 1


@pytest.mark.usefixtures("synced")
def test_a_deleted_source_goes_when_its_last_document_has_left_the_index(client, index):
    index.answer(*index.wait(2))
    client(pb.DeleteSourceRequest(source="docs"))
    client(pb.DeleteSourceRequest(source="docs"))
    assert client.source().state == pb.SOURCE_STATE_DELETING
    assert client.source().counts.deleting == 2
    deletions = index.wait(4)[2:]
    assert [change.deleted for change in deletions] == [True, True]
    index.answer(*deletions)
    eventually(lambda: not client(pb.ListSourcesRequest()).sources)


def test_a_paused_source_is_left_alone_until_it_is_resumed(client, synced):
    client(pb.PauseSourceRequest(source="docs"))
    assert client(pb.PauseSourceRequest(source="docs")).source.state == pb.SOURCE_STATE_PAUSED
    (synced / "c.md").write_text("gamma")
    client(pb.ResumeSourceRequest(source="docs"))
    assert client(pb.ResumeSourceRequest(source="docs")).source.state == pb.SOURCE_STATE_ACTIVE
    eventually(lambda: "c.md" in client.documents())


@pytest.mark.usefixtures("synced")
def test_failed_documents_are_replayed(client, index):
    index.answer(*index.wait(2), failed="BROKEN")
    eventually(lambda: client.source().counts.failed == 2)
    assert client(pb.ReplayFailedDocumentsRequest(source="docs")).replayed == 2
    again = index.wait(4)[2:]
    assert {change.version for change in again} == {2}
    index.answer(*again)
    eventually(lambda: client.source().counts.indexed == 2)
    assert client(pb.ReplayFailedDocumentsRequest(source="docs")).replayed == 0


def test_a_replay_stores_the_content_again(client, ingest, index, synced):
    change = next(change for change in index.wait(2) if change.external_id == "a.md")
    blob = ingest.blobs / change.blob_key
    blob.unlink()
    index.answer(change, failed="CONTENT_MISSING")
    eventually(lambda: client.source().counts.failed == 1)
    assert client(pb.ReplayFailedDocumentsRequest(source="docs")).replayed == 1
    assert blob.read_text() == (synced / "a.md").read_text()
    assert index.wait(3)[-1].document_id == change.document_id


def test_a_version_that_fails_takes_the_one_before_it_out_of_the_index(client, index, synced):
    index.answer(*index.wait(2))
    eventually(lambda: client.source().counts.indexed == 2)
    (synced / "a.md").write_text("worse")
    client.sync()
    index.answer(index.wait(3)[-1], failed="BROKEN")
    removal = index.wait(4)[-1]
    assert (removal.deleted, removal.version) == (True, 3)
    index.answer(removal)
    row = eventually(lambda: (found := client.documents()["a.md"]).chunk_count == 0 and found)
    assert (row.state, row.failure_reason) == (pb.DOCUMENT_STATE_FAILED, "BROKEN")


def test_a_file_that_grows_over_the_limit_leaves_the_index(client, index, synced):
    index.answer(*index.wait(2))
    (synced / "a.md").write_bytes(b"x" * 100_001)
    assert client.sync() == {"failed": 1, "unchanged": 1}
    assert client.sync() == {"failed": 1, "unchanged": 1}
    removal = index.wait(3)[-1]
    assert (removal.deleted, removal.version) == (True, 2)
    index.answer(removal)
    (synced / "a.md").write_text("small again")
    assert client.sync() == {"changed": 1, "unchanged": 1}
    assert index.wait(4)[-1].version == 3


def test_five_hundred_files_are_all_recorded_once(client, index, folder):
    for number in range(500):
        (folder / f"{number}.md").write_text(f"document {number}")
    client.files(folder)
    eventually(lambda: client.source().HasField("last_sync_at"))
    assert client.source().counts.pending == 500
    assert len({change.document_id for change in index.wait(500)}) == 500
    assert len(index.seen) == 500
