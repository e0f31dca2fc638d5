"""Runs a platform: in this process, or in one that outlives it."""

import asyncio
import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import structlog

from services.cli import recovery
from services.cli.addresses import Addresses, check_free, free_addresses
from services.cli.errors import Failure
from services.cli.home import SUPERVISOR, Home
from services.cli.plan import Choices
from services.cli.session import Program
from services.cli.spawner import Spawner
from services.cli.state import Phase, PlatformState
from services.cli.supervisor import Supervisor
from services.common.server import stop_on_signal

POLL_SECONDS = 0.1

Show = Callable[[Supervisor], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to start a platform; `port_base` 0 means any free ports."""

    engine: str
    port_base: int
    cache: Path | None
    start_seconds: float
    tls: bool = False

    def argv(self) -> tuple[str, ...]:
        """Return the options as the command line has them."""
        cache = ("--cache", str(self.cache.resolve())) if self.cache else ()
        ports = ("--port-base", str(self.port_base)) if self.port_base else ("--free-ports",)
        tls = ("--tls",) if self.tls else ()
        return ("--engine", self.engine, *ports, "--start-timeout", str(self.start_seconds), *cache, *tls)


def run_here(home: Home, program: Program, options: Options, show: Show) -> None:
    """Run a platform in this process until SIGINT, SIGTERM or SIGHUP; `show` runs beside it.

    Raises:
        AlreadyRunning: another process runs the home.
        PortsTaken: another program listens on a port that is needed.
        UnitDoesNotStart: something is not healthy in time.
    """
    home.prepare()
    with home.locked(), home.log_of(SUPERVISOR).open("a") as log_file:
        recovered = recovery.recover(home)
        home.forget_stale_key()
        log = structlog.wrap_logger(structlog.WriteLogger(log_file), processors=_processors())
        log.info("home_locked", recovered_processes=recovered)
        choices = Choices(_addresses(options), options.engine, options.cache, program.environment, options.tls)
        plan = program.blueprint(home, choices)
        supervisor = Supervisor(plan, home, Spawner(home, program.environment), log)
        asyncio.run(_run(supervisor, options.start_seconds, show))


async def _run(supervisor: Supervisor, start_seconds: float, show: Show) -> None:
    stop = stop_on_signal()
    # A closed terminal must not leave a platform without its supervisor.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop.set)
    showing = asyncio.create_task(show(supervisor))
    try:
        await supervisor.run(stop, start_seconds)
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing


def _addresses(options: Options) -> Addresses:
    if not options.port_base:
        return free_addresses(random.SystemRandom())
    addresses = Addresses(options.port_base)
    check_free(addresses)
    return addresses


def _processors() -> list[Any]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ]


def start_detached(home: Home, program: Program, options: Options) -> PlatformState:
    """Start a supervisor that outlives this process, and return once all is healthy.

    Raises:
        Failure: whatever stopped the supervisor.
    """
    home.prepare()
    with home.log_of(SUPERVISOR).open("a+b") as output:
        daemon = subprocess.Popen(  # noqa: S603 - the argv is our own
            [*program.argv, "supervise", "--home", str(home.root), "--json", *options.argv()],
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            state = _until_healthy(home, daemon)
        except KeyboardInterrupt:
            daemon.terminate()
            daemon.wait()
            raise
        if state is None:
            raise _last_failure(output)
        return state


def _until_healthy(home: Home, daemon: subprocess.Popen[bytes]) -> PlatformState | None:
    """Return the state of a healthy platform, or None when its supervisor has ended."""
    while daemon.poll() is None:
        state = home.state()
        if state and state.supervisor and state.supervisor.pid == daemon.pid and state.phase is Phase.HEALTHY:
            return state
        time.sleep(POLL_SECONDS)
    return None


def _last_failure(log: BinaryIO) -> Failure:
    """Return what a supervisor wrote as it ended."""
    log.seek(0)
    last = log.read().splitlines()[-1:]
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        error = orjson.loads(last[0])["error"]
        return Failure(error["message"], error["reason"], **error["facts"])
    return Failure(f"the supervisor ended; its log is {log.name}", "SUPERVISOR_ENDED")
