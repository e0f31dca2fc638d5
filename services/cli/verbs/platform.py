"""up, down, status, logs: the platform on this machine."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from services.cli import authority, daemon, logs, probes, processes, recovery
from services.cli.addresses import DEFAULT_PORT_BASE
from services.cli.daemon import Options
from services.cli.errors import Failure
from services.cli.home import SUPERVISOR, Home
from services.cli.session import Session
from services.cli.state import Phase, PlatformState, UnitState
from services.cli.supervisor import Supervisor
from services.cli.views import platform as views
from services.common.transport import Transport

FOLLOW_SECONDS = 0.2


class Engine(StrEnum):
    """What writes the answers."""

    VLLM = "vllm"
    MEMORY = "memory"


class NotRunning(Failure):
    """The home has no platform that runs, or one that is not well."""

    reason = "NOT_RUNNING"


class NoSuchLog(Failure):
    """There is no log of that name."""

    reason = "NO_SUCH_LOG"


EngineOption = Annotated[Engine, typer.Option(help="What writes the answers; memory: one fixed sentence, no model.")]
PortBase = Annotated[int, typer.Option(min=1024, max=65000, help="The first of the 14 ports in a row.")]
FreePorts = Annotated[bool, typer.Option("--free-ports", help="Take any free ports instead.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return once all is healthy, and run on.")]
Cache = Annotated[
    Path | None, typer.Option(envvar="TANDEM_CACHE", help="Folder of converted models; in the home by default.")
]
Tls = Annotated[bool, typer.Option("--tls", help="Speak TLS, by an authority made in the home.")]
StartTimeout = Annotated[float, typer.Option(help="Seconds until everything must be healthy.")]


def up(
    session: Session,
    engine: EngineOption = Engine.VLLM,
    port_base: PortBase = DEFAULT_PORT_BASE,
    free_ports: FreePorts = False,
    detach: Detach = False,
    cache: Cache = None,
    start_timeout: StartTimeout = 600.0,
    tls: Tls = False,
) -> None:
    """Start the platform: event log, Milvus, PostgreSQL and all services; Ctrl-C stops it."""
    options = Options(engine.value, 0 if free_ports else port_base, cache, start_timeout, tls)
    if detach:
        start_and_show(session, options)
    else:
        daemon.run_here(session.home, session.program, options, lambda each: _show(session, each))


def start_and_show(session: Session, options: Options) -> None:
    """Start a platform that outlives this process, and show its addresses."""
    with _progress(session, session.home.state):
        state = daemon.start_detached(session.home, session.program, options)
    session.output.show(views.platform_data(state), lambda: views.platform_table(state))


def supervise(
    session: Session,
    engine: EngineOption = Engine.VLLM,
    port_base: PortBase = DEFAULT_PORT_BASE,
    free_ports: FreePorts = False,
    cache: Cache = None,
    start_timeout: StartTimeout = 600.0,
    tls: Tls = False,
) -> None:
    """Run the platform without a word; what `up --detach` leaves behind."""
    options = Options(engine.value, 0 if free_ports else port_base, cache, start_timeout, tls)
    daemon.run_here(session.home, session.program, options, _show_nothing)


async def _show_nothing(_supervisor: Supervisor) -> None:
    """Leave everything to the logs."""


async def _show(session: Session, supervisor: Supervisor) -> None:
    """Show the progress of the start, then the addresses, then the logs."""
    with _progress(session, supervisor.state):
        await supervisor.ready.wait()
    state = supervisor.state()
    session.output.show(views.platform_data(state), lambda: views.platform_table(state))
    session.output.say("Ctrl-C stops the platform. The logs follow.", "dim")
    tails = {name: logs.last_lines(path, 0) for name, path in _log_files(session.home).items()}
    while True:
        _print_lines(session, logs.poll(tails))
        await asyncio.sleep(FOLLOW_SECONDS)


def _progress(session: Session, read: Callable[[], PlatformState | None]) -> contextlib.AbstractContextManager[object]:
    if session.output.as_json or not session.output.console.is_terminal:
        return contextlib.nullcontext()
    started = time.monotonic()

    def draw() -> Any:
        return views.start_progress(read(), time.monotonic() - started)

    return Live(get_renderable=draw, console=session.output.console, transient=True, refresh_per_second=8)


def down(session: Session) -> None:
    """Stop the platform, and whatever a killed one has left."""
    stopped, left = stop(session.home)
    message = "stopped" if stopped else f"stopped {left} processes that were left" if left else "nothing was running"
    session.output.show({"stopped": stopped, "left_processes": left}, lambda: message)


def stop(home: Home) -> tuple[bool, int]:
    """Stop what runs in a home: whether a supervisor did, and how many processes a dead one had left."""
    if not home.root.exists():
        return False, 0
    stopped = recovery.stop_supervisor(home)
    with home.locked():
        return stopped, recovery.recover(home)


def status(session: Session) -> None:
    """Tell how every part and service is; exit code 1 unless all are healthy."""
    state = session.home.state()
    if state is None or processes.find(state.supervisor) is None:
        raise NotRunning(f"no platform runs in {session.home.root}: start one with `tandem up`")
    state = asyncio.run(_probed(state, session.home))
    session.output.show(views.platform_data(state), lambda: views.status_table(state))
    if any(unit.phase is not Phase.HEALTHY for unit in state.units):
        raise typer.Exit(1)


async def _probed(state: PlatformState, home: Home) -> PlatformState:
    transport = authority.transport_of(home, tls=state.tls)
    units = await asyncio.gather(*(_probed_unit(unit, transport) for unit in state.units))
    return replace(state, units=tuple(units))


async def _probed_unit(unit: UnitState, transport: Transport) -> UnitState:
    """Return the unit as it is now; a service that lives may yet not be ready."""
    is_service = bool(unit.metrics_address)
    if unit.phase is not Phase.HEALTHY or not is_service or await probes.serves_grpc(unit.address, transport)():
        return unit
    return replace(unit, phase=Phase.NOT_READY)


def show_logs(
    session: Session,
    service: Annotated[str, typer.Argument(help="A service, a part, or supervisor; all when left out.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Begin with so many of each.")] = 100,
) -> None:
    """Print the logs of one service, or of all."""
    files = _log_files(session.home)
    if service:
        files = {name: path for name, path in files.items() if name == service}
    if not files:
        known = ", ".join(_log_files(session.home)) or "none yet"
        raise NoSuchLog(f"there is no log of {service or 'anything'}; there are: {known}", service=service)
    tails = {name: logs.last_lines(path, lines) for name, path in files.items()}
    _print_lines(session, logs.poll(tails))
    while follow:
        time.sleep(FOLLOW_SECONDS)
        _print_lines(session, logs.poll(tails))


def _log_files(home: Home) -> dict[str, Path]:
    paths = {path.stem: path for path in sorted(home.logs.glob("*.log"))}
    return {SUPERVISOR: paths.pop(SUPERVISOR), **paths} if SUPERVISOR in paths else paths


def _print_lines(session: Session, lines: Iterable[dict[str, Any]]) -> None:
    for fields in lines:
        session.output.show(fields, lambda fields=fields: logs.pretty(fields))  # type: ignore[misc]
