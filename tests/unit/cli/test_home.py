"""The home: secrets, state and lock."""

import pytest

from services.cli.home import MAX_LOG_BYTES, AlreadyRunning, Credentials, Home
from services.cli.processes import identify
from services.cli.state import Phase, PlatformState, UnitState
from services.common.secrets import keyring_of


@pytest.fixture
def home(tmp_path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def test_the_identity_key_is_made_once_and_is_long_enough(home):
    key = home.identity_key()
    assert len(key) >= 32
    assert Home(home.root).identity_key() == key
    assert (home.root / "identity.key").stat().st_mode & 0o777 == 0o600


def test_the_key_for_secrets_is_made_once_and_only_its_owner_reads_it(home):
    path = home.secrets_key_file()
    made = path.read_bytes()
    assert len(keyring_of(made).keys) == 1
    assert Home(home.root).secrets_key_file().read_bytes() == made
    assert path.stat().st_mode & 0o777 == 0o600


def test_state_is_read_back_as_it_was_written(home):
    unit = UnitState("ingest", "127.0.0.1:1", "127.0.0.1:2", Phase.RESTARTING, identify(1), 3, "exited with 1")
    state = PlatformState(Phase.STARTING, "127.0.0.1:1", identify(1), (unit,))
    home.keep_state(state)
    assert home.state() == state


@pytest.mark.parametrize("content", ["", "{", "[]", '{"phase": "dancing"}', "\0\0"])
def test_a_state_that_cannot_be_read_is_no_state(home, content):
    (home.root / "platform.json").write_text(content)
    assert home.state() is None


def test_the_first_key_is_kept_secret_and_forgotten_with_its_database(home):
    credentials = Credentials("default", "k", "s")
    home.keep_credentials(credentials)
    assert (home.root / "credentials.json").stat().st_mode & 0o777 == 0o600
    (home.data / "postgres").mkdir()
    home.forget_stale_key()
    assert home.credentials() == credentials
    (home.data / "postgres").rmdir()
    home.forget_stale_key()
    assert home.credentials() is None


def test_a_home_has_one_holder(home):
    with home.locked(), pytest.raises(AlreadyRunning), Home(home.root).locked():
        pass
    with home.locked():
        assert home.root.exists()


def test_a_large_log_is_set_aside_and_a_small_one_goes_on(home):
    home.log_of("small").write_text("line\n")
    home.log_of("large").write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    with home.log_of("large").open("ab") as writer:
        for name in ("small", "large", "missing"):
            home.rotate_log(name)
        writer.write(b"on\n")
    assert {path.name for path in home.logs.iterdir()} == {"large.log", "large.log.1", "small.log"}
    assert (home.log_of("large").read_text(), home.log_of("small").read_text()) == ("on\n", "line\n")


def test_a_home_with_a_tilde_or_a_link_is_one_home(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert Home(tmp_path / "link").root == Home(tmp_path / "home").root
