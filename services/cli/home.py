"""The folder that holds everything of one platform: secrets, state, logs and data."""

import base64
import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from services.cli.errors import Failure
from services.cli.state import PlatformState

MAX_LOG_BYTES = 10 * 1024 * 1024
SUPERVISOR = "supervisor"

_STATE = TypeAdapter(PlatformState)


class AlreadyRunning(Failure):
    """Another supervisor holds this home."""

    reason = "ALREADY_RUNNING"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The platform's first key."""

    tenant: str
    key_id: str
    secret: str


_CREDENTIALS = TypeAdapter(Credentials)


class Home:
    """Reads and writes one home; what is secret only its owner can read."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self.data = self.root / "data"
        self.logs = self.root / "logs"
        self.cache = self.root / "cache"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.data, self.logs, self.cache):
            folder.mkdir(parents=True, exist_ok=True)

    def forget_stale_key(self) -> None:
        """Forget the first key when the database that knew it is gone."""
        if not (self.data / "postgres").exists():
            self._credentials.unlink(missing_ok=True)

    def erase_data(self) -> None:
        """Forget every document, answer and key; secrets, logs and the cache stay."""
        shutil.rmtree(self.data, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for this process.

        Raises:
            AlreadyRunning: another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._already_running() from None
            yield

    def _already_running(self) -> AlreadyRunning:
        state = self.state()
        pid = state.supervisor.pid if state and state.supervisor else 0
        who = f"process {pid}" if pid else "another process"
        return AlreadyRunning(
            f"the platform in {self.root} is run by {who}: stop it with `tandem down`", home=str(self.root), pid=pid
        )

    def identity_key(self) -> str:
        """Return the key that signs identities, made once."""
        path = self.root / "identity.key"
        if not path.exists():
            _write_secret(path, secrets.token_urlsafe(48).encode())
        return path.read_text()

    def secrets_key_file(self) -> Path:
        """Return the file of the keys that encrypt secrets, made once with one key."""
        path = self.root / "secrets.key"
        if not path.exists():
            key = base64.b64encode(secrets.token_bytes(32)).decode()
            _write_secret(path, orjson.dumps({secrets.token_hex(4): key}))
        return path

    def adapter_key(self) -> str:
        """Return the key that signs adapters, 32 bytes in base64, made once."""
        path = self.root / "adapters.key"
        if not path.exists():
            _write_secret(path, base64.b64encode(secrets.token_bytes(32)))
        return path.read_text()

    @property
    def _credentials(self) -> Path:
        return self.root / "credentials.json"

    def credentials(self) -> Credentials | None:
        """Return the first key, or None before there is one."""
        try:
            return _CREDENTIALS.validate_json(self._credentials.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def keep_credentials(self, credentials: Credentials) -> None:
        _write_secret(self._credentials, orjson.dumps(credentials))

    def state(self) -> PlatformState | None:
        """Return what the last supervisor wrote, or None when there is nothing to read."""
        try:
            return _STATE.validate_json((self.root / "platform.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def keep_state(self, state: PlatformState) -> None:
        write_whole(self.root / "platform.json", orjson.dumps(state, option=orjson.OPT_INDENT_2), 0o644)

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def rotate_log(self, name: str) -> None:
        """Set aside what a large log holds; one old one is kept. Whoever writes the log goes on in it."""
        path = self.log_of(name)
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)


def _write_secret(path: Path, content: bytes) -> None:
    write_whole(path, content, 0o600)


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that no reader sees half of it, and nobody else reads it before its mode is set."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    aside.replace(path)
