"""`tandem` with the three real parts and dummy services: what the tests of the supervisor run."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from services.cli import plan
from services.cli.app import build_app
from services.cli.home import Home
from services.cli.parts import Command
from services.cli.session import Program

SERVICES = {"ingest", "generate"}
HERE = Path(__file__).resolve().parent


def dummies(home: Home, choices: plan.Choices) -> plan.Plan:
    real = plan.local(home, choices)
    key = '{"key_id": "k1", "secret": "the secret"}'
    return replace(
        real,
        services=tuple(_dummy(unit) for unit in real.services if unit.name in SERVICES),
        front=_dummy(real.front),
        bootstrap=Command("bootstrap", (sys.executable, "-c", f"print('{key}')")),
    )


def _dummy(unit: plan.Unit) -> plan.Unit:
    argv = (sys.executable, str(HERE / "dummy_service.py"), unit.address, unit.metrics_address)
    return replace(unit, command=Command(unit.name, argv))


if __name__ == "__main__":
    build_app(Program((sys.executable, __file__), dummies, os.environ))()
