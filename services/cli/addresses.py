"""Which ports the platform listens on: one small range that `--port-base` moves."""

import contextlib
import errno
import random
import socket
from dataclasses import dataclass

import psutil

from services.cli.errors import Failure

HOST = "127.0.0.1"
DEFAULT_PORT_BASE = 50050
SERVICES = ("gateway", "ingest", "embed", "retrieve", "generate", "feedback", "tune")
PARTS = ("broker", "milvus")
COUNT = 2 * len(SERVICES) + len(PARTS)

# Below the ports that systems give to outgoing connections.
FREE_RANGE = range(20_000, 32_000)
ATTEMPTS = 200


class PortsTaken(Failure):
    """Something else listens where the platform would."""

    reason = "PORTS_TAKEN"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses by name: gRPC from the base on, then /metrics in the same order, then the parts."""

    base: int

    def of(self, name: str) -> str:
        """Return where a service or a part listens."""
        if name in PARTS:
            return f"{HOST}:{self.base + 2 * len(SERVICES) + PARTS.index(name)}"
        return f"{HOST}:{self.base + SERVICES.index(name)}"

    def metrics_of(self, service: str) -> str:
        """Return where a service's /metrics are."""
        return f"{HOST}:{self.base + len(SERVICES) + SERVICES.index(service)}"

    def owners(self) -> dict[int, str]:
        """Return who in the platform wants each port."""
        names = (*SERVICES, *(f"{service} /metrics" for service in SERVICES), *PARTS)
        return dict(enumerate(names, self.base))


def free_addresses(random_source: random.Random) -> Addresses:
    """Return addresses on a range of free ports."""
    for _ in range(ATTEMPTS):
        addresses = Addresses(random_source.choice(FREE_RANGE))
        if not any(map(is_taken, addresses.owners())):
            return addresses
    raise PortsTaken(f"no {COUNT} free ports in a row were found")


def check_free(addresses: Addresses) -> None:
    """Check that every port can be listened on.

    Raises:
        PortsTaken: some cannot; the message names who holds them.
    """
    taken = {port: owner for port, owner in addresses.owners().items() if is_taken(port)}
    if taken:
        holders = _holders()
        lines = [
            f"port {port} ({owner}) is held by {holders.get(port, 'an unknown process')}"
            for port, owner in taken.items()
        ]
        raise PortsTaken("; ".join(lines) + ": choose others with --port-base or --free-ports", ports=list(taken))


def is_taken(port: int) -> bool:
    """Tell whether nobody else can listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            return error.errno in {errno.EADDRINUSE, errno.EACCES}
    return False


def _holders() -> dict[int, str]:
    """Return who listens on each port, as far as this user may know."""
    holders: dict[int, str] = {}
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.pid:
                holders.setdefault(connection.laddr.port, _describe(connection.pid))
    return holders


def _describe(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"
