"""A service without business, run with ADDRESS METRICS_ADDRESS: health, logs, and a child of its own."""

import asyncio
import os
import sys

from services.common.identity import Identity
from services.common.server import Service, serve
from services.common.telemetry import start_telemetry


async def anybody(_metadata):
    return Identity("t", "s", ())


async def main(address: str, metrics_address: str) -> None:
    if "DUMMY_BREAKS" in os.environ:
        sys.exit("this dummy does not want to start")
    start_telemetry("dummy", "info", "")
    # As vLLM's engine does: a process that outlives a main process killed by -9, in a session of its own.
    await asyncio.create_subprocess_exec("sleep", "1000", start_new_session=True)
    await serve(Service(address, metrics_address, anybody, lambda _server: None, ()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
