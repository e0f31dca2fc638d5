"""Starts processes that belong to a home: own session, own log file, and a mark that they pass on."""

import asyncio
import subprocess
from collections.abc import Mapping

import psutil

from services.cli import processes
from services.cli.errors import Failure
from services.cli.home import Home
from services.cli.parts import Command

RUN_SECONDS = 60


class Spawner:
    """Starts the commands of one home; `environment` is what all of them inherit."""

    def __init__(self, home: Home, environment: Mapping[str, str]) -> None:
        self._home = home
        self._environment = environment

    async def start(self, command: Command) -> asyncio.subprocess.Process:
        """Start a command that outlives this call.

        Raises:
            OSError: there is no such program.
        """
        with self._home.log_of(command.name).open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *command.argv,
                env=self._environment_of(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._home.root,
                # Ctrl-C in a terminal is for the supervisor alone; it stops the rest in order.
                start_new_session=True,
            )

    def run(self, command: Command) -> str:
        """Run a command to its end, and return what it printed.

        Raises:
            Failure: it took too long, or exited with an error.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the argv is the plan's
                command.argv,
                env=self._environment_of(command),
                cwd=self._home.root,
                capture_output=True,
                text=True,
                timeout=RUN_SECONDS,
                check=True,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{command.name} took more than {RUN_SECONDS} seconds") from error
        except subprocess.CalledProcessError as error:
            raise Failure(f"{command.name} failed: {error.stderr.strip()[-500:]}") from error
        return done.stdout

    def left_of(self, command: Command) -> list[psutil.Process]:
        """Return the living processes that a command started, and itself."""
        return processes.marked(self._home.root, command.name)

    def _environment_of(self, command: Command) -> dict[str, str]:
        mark = processes.mark_of(self._home.root, command.name)
        return {**self._environment, **command.environment, processes.MARK: mark}
