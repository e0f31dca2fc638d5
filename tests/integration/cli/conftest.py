"""The real parts and dummy services, under the supervisor's own command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tandem_command import Tandem, home_in

PROGRAM = (str(Path(__file__).resolve().parent / "dummy_platform.py"),)


@pytest.fixture
def tandem(tmp_path: Path) -> Iterator[Tandem]:
    """A home without a platform."""
    with home_in(tmp_path, PROGRAM) as command:
        yield command


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tandem]:
    """A platform that a module's tests share, and leave healthy."""
    with home_in(tmp_path_factory.mktemp("shared"), PROGRAM) as command:
        command.up()
        yield command
