"""What the files connector sees of a folder, and what it does not."""

import os
import tempfile
import threading
from pathlib import Path

import pytest

from services.ingest.adapters import files
from services.ingest.adapters.files import FilesConnector
from services.ingest.domain import FilesConfig
from services.ingest.errors import InvalidSourceConfig, PathGone, PathNotFound
from services.ingest.ports import TooLarge, Unreadable, Vanished

NOBODY = 65534


def connector(path, *allowed, **config):
    return FilesConnector(FilesConfig(str(path), **config), allowed or (Path("/"),))


async def names(path, only=None, **config):
    return set((await connector(path, **config).scan(only)).entries)


async def only_entry(path):
    (entry,) = (await connector(path).scan()).entries.values()
    return entry


async def test_a_scan_is_recursive_and_leaves_hidden_files_out(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("a.md", "x/y/b.txt", ".hidden/c.md", "x/.d.md", "e.bin"):
        (tmp_path / name).write_text("text")
    assert await names(tmp_path) == {"a.md", "x/y/b.txt"}
    assert await names(tmp_path, exclude=("x/",)) == {"a.md"}
    assert await names(tmp_path, ["x/", "a.md", "gone.md", "e.bin"]) == {"a.md", "x/y/b.txt"}


async def test_links_are_not_followed_out_of_the_folder(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    (inside / "a.md").write_text("a")
    (inside / "link.md").symlink_to(outside / "secret.md")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "self.md").symlink_to("self.md")
    (inside / "near.md").symlink_to("a.md")
    assert await names(inside) == {"a.md", "near.md"}


async def test_pipes_and_folders_with_a_documents_name_are_no_documents(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "folder.md").mkdir()
    assert await names(tmp_path) == set()


async def test_a_file_that_became_a_pipe_or_a_link_is_not_read(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("a")
    entry = await only_entry(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Vanished):
        await connector(tmp_path).read(entry, 10)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(Unreadable):
        await connector(tmp_path).read(entry, 10_000)


async def test_a_file_that_vanished_has_no_content(tmp_path):
    (tmp_path / "a.md").write_text("a")
    entry = await only_entry(tmp_path)
    (tmp_path / "a.md").unlink()
    with pytest.raises(Vanished):
        await connector(tmp_path).read(entry, 10)


async def test_a_file_that_grew_over_the_limit_is_too_large(tmp_path):
    (tmp_path / "a.md").write_text("a")
    entry = await only_entry(tmp_path)
    (tmp_path / "a.md").write_text("a" * 11)
    with pytest.raises(TooLarge):
        await connector(tmp_path).read(entry, 10)


async def test_a_file_that_is_being_written_is_read_again(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("0")
    entry = await only_entry(tmp_path)
    done = threading.Event()

    def write():
        for number in range(100):
            path.write_text(f"{number}")
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    content, seen = await connector(tmp_path).read(entry, 10)
    thread.join()
    assert done.is_set()
    last, after = await connector(tmp_path).read(entry, 10)
    assert last == b"99"
    assert content == last or seen.fingerprint != after.fingerprint or not seen.fingerprint


async def test_the_fingerprint_moves_with_permissions_and_with_restored_times(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("one")
    os.utime(path, (1, 1))
    before = (await only_entry(tmp_path)).fingerprint
    path.write_text("two")
    os.utime(path, (1, 1))
    assert (await only_entry(tmp_path)).fingerprint != before


async def test_a_file_written_this_instant_has_no_fingerprint_yet(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("one")
    future = path.stat().st_mtime + 100
    os.utime(path, (future, future))
    _, entry = await connector(tmp_path).read(await only_entry(tmp_path), 10)
    assert entry.fingerprint == ""


@pytest.mark.parametrize("seconds", [-(10**9), 0, 10**11])
async def test_any_time_of_change_is_taken(tmp_path, seconds):
    (tmp_path / "a.md").write_text("a")
    os.utime(tmp_path / "a.md", (seconds, seconds))
    assert (await only_entry(tmp_path)).changed_at.year >= 1970


async def test_one_file_is_a_source_whatever_its_ending(tmp_path):
    (tmp_path / "notes.log").write_text("text")
    (tmp_path / "other.md").write_text("text")
    assert await names(tmp_path / "notes.log") == {"notes.log"}


async def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PathNotFound):
        await connector(tmp_path / "no").check()
    with pytest.raises(PathGone):
        await connector(tmp_path / "no").scan()
    with pytest.raises(InvalidSourceConfig):
        connector("no/such")


async def test_sources_lie_only_where_they_may(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    await connector(tmp_path / "in", tmp_path / "in").check()
    for path in (tmp_path, tmp_path / "in" / "out", tmp_path / "in" / ".."):
        with pytest.raises(PathNotFound):
            await connector(path, tmp_path / "in").check()


@pytest.fixture
def as_nobody():
    """Be a user without rights, in a folder that such a user can enter."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "a.md").write_text("a")
        (folder / "sub").mkdir()
        (folder / "sub" / "b.md").write_text("b")
        (folder / "a.md").chmod(0)
        (folder / "sub").chmod(0)
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(0)


async def test_what_may_not_be_read_is_listed_and_unreadable(as_nobody):
    found = await connector(as_nobody).scan()
    assert (set(found.entries), found.unlisted) == ({"a.md"}, ("sub/",))
    with pytest.raises(Unreadable):
        await connector(as_nobody).read(found.entries["a.md"], 10)


async def test_a_hint_may_be_a_file_a_folder_or_anything(tmp_path):
    (tmp_path / "sub.v1").mkdir()
    (tmp_path / "a.md").write_text("a")
    connected = connector(tmp_path)
    root = connected._root()
    hints = connected._hints(root, {tmp_path / name for name in ("a.md", "gone.md", "sub.v1", ".hid/x.md", "a.bin")})
    assert hints == {"a.md", "gone.md", "gone.md/", "sub.v1/", "a.bin", "a.bin/"}
    assert connected._hints(root, {tmp_path}) is None
    assert connected._hints(root, {tmp_path / f"caf{files.UNDECODABLE}.md"}) is None


async def test_nothing_of_a_refused_folder_is_read_by_whatever_way(tmp_path):
    secret = tmp_path / "home"
    secret.mkdir()
    (secret / "identity.key").write_text("the key")
    (tmp_path / "link.txt").symlink_to(secret / "identity.key")
    (tmp_path / "fine.txt").write_text("fine")
    for path in (secret, secret / "identity.key"):
        with pytest.raises(PathNotFound):
            await FilesConnector(FilesConfig(str(path)), (Path("/"),), (secret,)).check()
    listing = await FilesConnector(FilesConfig(str(tmp_path)), (Path("/"),), (secret,)).scan()
    assert set(listing.entries) == {"fine.txt"}
