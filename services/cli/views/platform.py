"""How a platform looks: its start, its addresses, its state."""

import time
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from services.cli.state import Phase, PlatformState, UnitState
from services.cli.views.tables import new_table

STYLES = {
    Phase.HEALTHY: "green",
    Phase.STARTING: "yellow",
    Phase.RESTARTING: "bold red",
    Phase.NOT_READY: "bold red",
    Phase.STOPPING: "yellow",
    Phase.STOPPED: "dim",
}


def platform_data(state: PlatformState) -> dict[str, Any]:
    """Return the platform for programs."""
    return asdict(state)


def platform_table(state: PlatformState) -> RenderableType:
    """Return the addresses of a platform that is healthy."""
    drawn = new_table("", "gRPC or wire protocol", "metrics")
    scheme = "https" if state.tls else "http"
    for unit in state.units:
        metrics = f"{scheme}://{unit.metrics_address}/metrics" if unit.metrics_address else ""
        drawn.add_row(Text(unit.name, "bold"), unit.address, metrics)
    return Group(drawn, Text(f"The gateway is at {state.gateway}.", "bold"))


def status_table(state: PlatformState) -> RenderableType:
    """Return how every unit is."""
    drawn = new_table("", "state", "process", "since")
    drawn.add_column("address", no_wrap=True, min_width=15)
    drawn.add_column("restarts")
    for unit in state.units:
        drawn.add_row(*_status_row(unit))
    return drawn


def _status_row(unit: UnitState) -> tuple[str | Text, ...]:
    process = unit.process
    since = time.strftime("%b %d %H:%M", time.localtime(process.created_at)) if process else ""
    restarts = f"{unit.restarts} ({unit.last_exit})" if unit.restarts else "0"
    return (
        Text(unit.name, "bold"),
        Text(unit.phase.value, STYLES[unit.phase]),
        str(process.pid) if process else "",
        since,
        unit.address,
        restarts,
    )


def start_progress(state: PlatformState | None, seconds: float) -> RenderableType:
    """Return what has started and what has not yet."""
    grid = Table.grid(padding=(0, 1))
    for unit in state.units if state else ():
        mark = Text("✓", "green") if unit.phase is Phase.HEALTHY else Spinner("dots")
        note = f"{unit.restarts} restarts, {unit.last_exit}" if unit.restarts else ""
        grid.add_row(mark, unit.name, Text(unit.phase.value, STYLES[unit.phase]), Text(note, "dim"))
    return Group(Text(f"Starting the platform: {seconds:.0f} s", "bold"), grid)
