"""Runs the `tandem` command in processes of its own, and makes sure that nothing outlives a test."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from services.cli import postgres, processes
from services.cli.home import Home
from services.cli.state import Phase, PlatformState

SECONDS = 60.0


@dataclass
class Tandem:
    """A command like `tandem`, on one home; `seconds` is the most that any wait may take."""

    home: Home
    program: tuple[str, ...] = ("-m", "services.cli")
    seconds: float = SECONDS

    def json(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """What a verb prints for programs; of a stream, its last line."""
        done = self.run(*arguments, "--json", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return last_json(done.stdout)

    def error(self, *arguments: str) -> dict[str, Any]:
        """The error that a verb ends with."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 1, done.stdout + done.stderr
        error = last_json(done.stdout)["error"]
        assert isinstance(error, dict)
        return error

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._argv(*arguments),
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=self.seconds,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._argv(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def up(self, *options: str, **environment: str) -> PlatformState:
        self.json("up", "--detach", "--free-ports", *options, **environment)
        return self.state()

    def tenant(self, name: str) -> str:
        """Make a tenant with its first key, and return that credential."""
        command = (sys.executable, "-m", "services.gateway.bootstrap", "--tenant", name, "--name", "first key")
        environment = {
            "TANDEM_IDENTITY_KEY": self.home.identity_key(),
            "GATEWAY_DATABASE_URL": postgres.url_of(self.home.data / "postgres"),
        }
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=self.seconds
        )
        secret = last_json(done.stdout)["secret"]
        assert isinstance(secret, str)
        return secret

    def state(self) -> PlatformState:
        state = self.home.state()
        assert state is not None
        return state

    def unit(self, name: str) -> Any:
        return next(unit for unit in self.state().units if unit.name == name)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.seconds
        while not condition():
            assert time.monotonic() < deadline, self.home.state()
            time.sleep(0.05)

    def wait_until_healthy(self) -> None:
        """Wait until the platform has started, and each of its units serves: one that was killed serves again."""
        self.wait(lambda: (state := self.home.state()) is not None and _is_whole(state))

    def living(self) -> list[psutil.Process]:
        """Every process of the home: what bears its mark, and what PostgreSQL started."""
        state = self.home.state()
        mains = [processes.find(unit.process) for unit in state.units] if state else []
        families = [each for main in mains if main for each in processes.family(main)]
        return [*families, *processes.marked(self.home.root)]

    def _argv(self, *arguments: str) -> list[str]:
        return [sys.executable, *self.program, *arguments, "--home", str(self.home.root)]


def _is_whole(state: PlatformState) -> bool:
    # The platform's own phase tells of its start, and stays.
    return state.phase is Phase.HEALTHY and all(unit.phase is Phase.HEALTHY for unit in state.units)


@contextlib.contextmanager
def home_in(folder: Path, program: tuple[str, ...] = Tandem.program, seconds: float = SECONDS) -> Iterator[Tandem]:
    """Give a command on an empty home; whatever it started is gone afterwards."""
    command = Tandem(Home(folder / "home"), program, seconds)
    try:
        yield command
    finally:
        _leave_nothing(command)


@contextlib.contextmanager
def demo_in(folder: Path, models: Path, name: str, seconds: float) -> Iterator[Tandem]:
    """Give a command whose demo `name` finds the converted models of earlier runs; it too leaves nothing running."""
    with home_in(folder, seconds=seconds) as command:
        command.home.root.mkdir()
        command.home.cache.symlink_to(models)
        yield command
        assert not processes.marked(command.home.root / name)


def _leave_nothing(command: Tandem) -> None:
    state = command.home.state()
    supervisor = processes.find(state.supervisor) if state else None
    if supervisor:
        processes.stop({supervisor: signal.SIGTERM}, command.seconds)
    left = command.living()
    processes.kill(left)
    assert not left, left


def kill_9(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def last_json(text: str) -> dict[str, Any]:
    value = json.loads(text.splitlines()[-1])
    assert isinstance(value, dict)
    return value
