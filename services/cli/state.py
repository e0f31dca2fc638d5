"""What HOME/platform.json says of a platform: which processes it is made of, and how they are."""

import signal
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """How far a unit, or the whole platform, has come."""

    STARTING = "starting"
    HEALTHY = "healthy"
    NOT_READY = "not ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one with the same number by its Unix time of creation."""

    pid: int
    created_at: float


@dataclass(frozen=True, slots=True)
class UnitState:
    """One part or service; `process` is None while it has none."""

    name: str
    address: str
    metrics_address: str = ""
    phase: Phase = Phase.STARTING
    process: ProcessId | None = None
    restarts: int = 0
    last_exit: str = ""
    stop_signal: int = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class PlatformState:
    """The platform of one home; `supervisor` is None once it has stopped."""

    phase: Phase
    gateway: str
    supervisor: ProcessId | None
    units: tuple[UnitState, ...]
    tls: bool = False
