"""Processes: found by who they are, not by their number; strangers are never touched."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from services.cli import processes

SLEEPS = "import time; time.sleep(60)"
# A parent that dies at once, leaving a child in a session of its own.
ORPHANS = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], start_new_session=True)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEPS}"


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", SLEEPS])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_found_again(sleeper):
    found = processes.find(processes.identify(sleeper.pid))
    assert found is not None
    assert found.pid == sleeper.pid


def test_a_stranger_with_the_same_number_is_not_the_process(sleeper):
    identity = processes.identify(sleeper.pid)
    assert identity is not None
    assert processes.find(replace(identity, created_at=identity.created_at - 60)) is None


def test_what_is_gone_is_not_found(sleeper):
    identity = processes.identify(sleeper.pid)
    sleeper.kill()
    # Not waited for: a zombie.
    psutil.Process(sleeper.pid).wait(5)
    assert processes.find(identity) is None
    assert processes.find(None) is None


def test_orphans_are_found_by_their_mark_and_other_homes_are_not(tmp_path: Path):
    mark = processes.mark_of(tmp_path, "generate")
    subprocess.run([sys.executable, "-c", ORPHANS], env={**os.environ, processes.MARK: mark}, check=True)
    found = processes.marked(tmp_path, "generate")
    try:
        assert len(found) == 1
        assert processes.marked(tmp_path) == found
        assert processes.marked(tmp_path, "gen") == []
        assert processes.marked(tmp_path.parent) == []
        assert processes.marked(Path(str(tmp_path) + "2")) == []
    finally:
        processes.kill(found)
    assert processes.marked(tmp_path) == []


def test_who_ignores_the_signal_is_killed_after_the_grace():
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    processes.stop({psutil.Process(process.pid): signal.SIGTERM}, 0.2)
    assert process.wait(5) == -signal.SIGKILL
    process.stdout.close()


def test_the_family_is_the_process_with_all_its_descendants():
    nested = f"import subprocess, sys; print('up', flush=True); subprocess.run([sys.executable, '-c', {SLEEPS!r}])"
    parent = subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    me = psutil.Process(parent.pid)
    while not me.children():
        pass
    family = processes.family(me)
    assert len(family) == 2
    processes.kill(family)
    parent.wait()
    assert not any(map(processes.is_alive, family))
    parent.stdout.close()
