"""Runs the `tandem` command."""

import os
import sys
from collections.abc import Sequence

import orjson
import typer

from services.cli.app import build_app
from services.cli.errors import Failure
from services.cli.plan import local
from services.cli.session import Program

# The exit code of a command line that is wrong, as everywhere.
USAGE = 2
# Whatever is wrong with a command line; Typer shows only this kind of it.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command that the arguments say."""
    app = build_app(Program((sys.executable, "-m", "services.cli"), local, os.environ))
    if "--json" in sys.argv[1:]:
        sys.exit(run_for_programs(app, sys.argv[1:]))
    app(prog_name="tandem")


def run_for_programs(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; a command line that is wrong is told as JSON too."""
    try:
        return int(app(arguments, prog_name="tandem", standalone_mode=False) or 0)
    except UsageError as error:
        failure = Failure(str(error), "USAGE")
        sys.stdout.write(orjson.dumps(failure.as_json()).decode() + "\n")
        return USAGE


if __name__ == "__main__":
    main()
