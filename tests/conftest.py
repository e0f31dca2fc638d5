"""The real parts, started once a session on free ports, and stopped by their process ids."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest

from services.cli import parts, postgres
from services.cli.addresses import FREE_RANGE, is_taken
from tests.manifest import Manifest, open_manifest

START_SECONDS = 30
CRASH_SECONDS = 0.2

# A machine that is busy elsewhere for a moment is no fault of an example's, and every run tries the same ones.
hypothesis.settings.register_profile(
    "tandem", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tandem")


def pytest_configure() -> None:
    # What a shell runs in the background ignores interrupts, and so would every process that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def free_address() -> str:
    """An address that nobody listens on, and that no outgoing connection is given meanwhile."""
    ports = random.SystemRandom().sample(FREE_RANGE, 100)
    return f"127.0.0.1:{next(port for port in ports if not is_taken(port))}"


@contextlib.contextmanager
def running(command: parts.Command, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command.argv, env={**os.environ, **command.environment}, stdout=output, stderr=output, cwd=log.parent
        )
    try:
        yield process
    finally:
        process.send_signal(command.stop_signal)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def kept_running(command: parts.Command, log: Path, address: str) -> Iterator[None]:
    """Run a server as the platform does: started again should it crash. Whatever asked it sees it away for a moment."""
    stop, crashes = threading.Event(), list[int]()

    def keep() -> None:
        while not stop.is_set():
            with running(command, log) as process:
                while process.poll() is None and not stop.wait(CRASH_SECONDS):
                    pass
                if process.returncode is not None:
                    crashes.append(process.returncode)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(address):
            assert not crashes, f"exited with {crashes}"
            assert time.monotonic() < deadline, f"nobody listens on {address}"
            time.sleep(0.05)
        yield
    finally:
        stop.set()
        thread.join()
    if crashes:
        sys.stderr.write(f"{command.name} crashed, with {crashes}: {log.read_text(errors='replace')[-2000:]}\n")


def wait_for_port(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(address):
        assert process.poll() is None, f"exited with {process.returncode}"
        assert time.monotonic() < deadline, f"nobody listens on {address}"
        time.sleep(0.05)


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


@pytest.fixture(scope="session")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a real broker."""
    address = free_address()
    with running(parts.broker(address), tmp_path_factory.mktemp("broker") / "log") as process:
        wait_for_port(address, process)
        yield address


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real Milvus."""
    address, folder = free_address(), tmp_path_factory.mktemp("milvus")
    with kept_running(parts.milvus(folder / "milvus.db", address), folder / "log", address):
        yield f"http://{address}"


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SQLAlchemy's URL of a real PostgreSQL."""
    folder = tmp_path_factory.mktemp("postgres")
    with running(parts.postgres(folder / "data"), folder / "log") as process:
        # In a thread, for a test that asks for this may already be in a loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _until_it_answers(postgres.url_of(folder / "data"), process)).result()
        yield postgres.url_of(folder / "data")


@pytest.fixture
async def manifest(database_url: str) -> AsyncIterator[Manifest]:
    """Ingest's manifest on the real PostgreSQL."""
    async with open_manifest(database_url) as manifest:
        yield manifest


async def _until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    import asyncpg

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"exited with {process.returncode}"
        try:
            connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)
        else:
            await connection.close()
            return
    raise TimeoutError(url)
