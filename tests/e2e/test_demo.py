"""The demo, with an engine that answers at once: it shows everything, and leaves nothing behind."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli import processes
from services.cli.home import Home
from services.cli.state import Phase
from tests.tandem_command import Tandem, demo_in

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def tandem(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Tandem]:
    with demo_in(tmp_path, pytestconfig.cache.mkdir("tandem-models"), "demo", seconds=280) as command:
        yield command


def test_the_demo_shows_everything_and_stops_what_it_started(tandem: Tandem, tmp_path: Path):
    documents = tmp_path / "house"
    documents.mkdir()
    (documents / "loans.md").write_text("# Loans\n\nThe deposit for a loan machine is 150 euros.\n")
    shown = tandem.run("demo", "--engine", "memory", "--documents", str(documents))
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "indexed: 1 document, 1 chunk" in shown.stdout
    assert "The deposit for a loan machine is 150 euros." in shown.stdout
    assert shown.stdout.count("$ tandem ask") == 5
    assert "rated up" in shown.stdout
    assert shown.stdout.rstrip().endswith("stopped")
    assert not tandem.home.credentials(), "the demo has a home of its own"


def test_an_interrupted_demo_stops_what_it_started(tandem: Tandem):
    own = Home(tandem.home.root / "demo")
    process = tandem.start("demo", "--engine", "memory")
    tandem.wait(lambda: bool(processes.marked(own.root)))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    state = own.state()
    assert state is not None
    assert state.phase is Phase.STOPPED


def test_a_demo_without_documents_says_so(tandem: Tandem):
    assert tandem.error("demo", "--documents", "/there/is/nothing")["reason"] == "NO_EXAMPLES"
