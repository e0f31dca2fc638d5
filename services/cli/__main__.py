"""Runs the `tandem` command."""

import os
import sys

from services.cli.app import build_app
from services.cli.plan import local
from services.cli.session import Program


def main() -> None:
    """Run the command that the arguments say."""
    program = Program((sys.executable, "-m", "services.cli"), local, os.environ)
    build_app(program)(prog_name="tandem")


if __name__ == "__main__":
    main()
