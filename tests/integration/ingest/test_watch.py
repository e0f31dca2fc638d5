"""A watched folder is followed, and survives losing its folder."""

import shutil

import pytest

from tests.integration.ingest.conftest import eventually


@pytest.fixture
def watched(client, folder):
    (folder / "a.md").write_text("alpha")
    client.files(folder, watch=True)
    eventually(lambda: client.source().HasField("last_sync_at"))
    return folder


def test_a_saved_a_moved_and_a_deleted_file_are_seen(client, index, watched):
    before = client.documents()["a.md"]
    (watched / "b.md").write_text("beta")
    eventually(lambda: "b.md" in client.documents())
    (watched / "a.md").write_text("alpha 2")
    # Seen in between, the file was empty for a moment, which is a version too.
    eventually(lambda: client.documents()["a.md"].version >= 2)
    (watched / "a.md").rename(watched / "c.md")
    moved = eventually(lambda: client.documents().get("c.md"))
    assert moved.document_id == before.document_id
    (watched / "b.md").unlink()
    index.answer_until(lambda: "b.md" not in client.documents())


def test_a_file_replaced_as_editors_do_is_an_edit(client, watched):
    (watched / ".a.md.swp").write_text("hidden")
    (watched / "a.md.tmp").write_text("alpha 2")
    (watched / "a.md.tmp").replace(watched / "a.md")
    eventually(lambda: client.documents()["a.md"].version == 2)
    assert set(client.documents()) == {"a.md"}


def test_folders_that_come_and_go_bring_and_take_their_files(client, index, watched, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.md").write_text("x")
    outside.rename(watched / "inside")
    eventually(lambda: "inside/x.md" in client.documents())
    (watched / "inside" / "y.md").write_text("y")
    eventually(lambda: "inside/y.md" in client.documents())
    (watched / "inside").rename(outside)
    index.answer_until(lambda: set(client.documents()) == {"a.md"})


def test_a_folder_that_vanishes_is_reported_and_keeps_its_documents(client, watched, tmp_path):
    watched.rename(tmp_path / "away")
    eventually(lambda: client.source().last_sync_error)
    assert client.source().counts.pending == 1
    (tmp_path / "away").rename(watched)
    (watched / "b.md").write_text("beta")
    eventually(lambda: "b.md" in client.documents())
    eventually(lambda: not client.source().last_sync_error)


def test_an_empty_folder_in_its_place_deletes_nothing(client, watched, tmp_path):
    watched.rename(tmp_path / "unmounted")
    watched.mkdir()
    eventually(lambda: "not the folder it was" in client.source().last_sync_error)
    assert client.source().counts.pending == 1
    assert client.source().counts.deleting == 0


def test_a_folder_that_was_emptied_is_emptied(client, index, watched):
    shutil.copy(watched / "a.md", watched / "b.md")
    eventually(lambda: "b.md" in client.documents())
    for path in watched.iterdir():
        path.unlink()
    index.answer_until(lambda: not client.documents())


def test_one_file_is_watched_through_its_replacements(client, tmp_path):
    path = tmp_path / "one.md"
    path.write_text("1")
    client.files(path, watch=True)
    eventually(lambda: client.source().HasField("last_sync_at"))
    for text in ("2", "3"):
        aside = tmp_path / "aside"
        aside.write_text(text)
        aside.replace(path)
        eventually(lambda text=text: client.documents()["one.md"].version == int(text))
