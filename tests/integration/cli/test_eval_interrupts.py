"""Ctrl-C while questions are being searched for: what there is, and an end at once."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.unit.cli.evaluation.conftest import platform  # noqa: F401 - a fixture

pytestmark = pytest.mark.timeout(120)
SLOW_SECONDS = 40.0


def test_an_interrupt_ends_what_is_under_way_and_shows_what_there_is(platform, tmp_path):  # noqa: F811 - the fixture
    path, out = tmp_path / "set.csv", tmp_path / "out.json"
    path.write_text("id,question,documents\n1,quick?,a\n2,slow?,b\n3,never?,c\n")
    reached = tmp_path / "reached"

    def search(request):
        if request.query == "slow?":
            reached.touch()
            deadline = time.monotonic() + SLOW_SECONDS
            while time.monotonic() < deadline and not reached.with_suffix(".over").exists():
                time.sleep(0.05)
        return ["a"]

    platform.answers.search = search
    environment = {**os.environ, "TANDEM_ADDRESS": platform.address, "TANDEM_API_KEY": "a key"}
    command = (sys.executable, "-m", "services.cli", "eval", "retrieval", "--set", str(path), "--concurrency", "1")
    process = subprocess.Popen(
        (*command, "--timeout", str(SLOW_SECONDS), "--out", str(out)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + SLOW_SECONDS
        while not reached.exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=SLOW_SECONDS)
        assert time.monotonic() - started < SLOW_SECONDS / 2
    finally:
        reached.with_suffix(".over").touch()
        process.kill()
    assert process.returncode == 130
    assert "interrupted after 1 of 3 questions" in shown
    assert json.loads(out.read_text())["whole"] is False
