"""What README shows works as it is written there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tandem_command import Tandem

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]


def test_the_first_call_from_python_prints_an_answer(tandem: Tandem, tmp_path: Path):
    [snippet] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / ".tandem").symlink_to(tandem.home.root)
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "gen")))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "answer id: " in done.stdout


def test_every_verb_of_readme_is_one_of_the_command():
    verbs = set(re.findall(r"^\$ tandem ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert verbs >= {"up", "source", "wait", "ask", "rate", "status", "down"}
    for verb in verbs:
        done = subprocess.run([sys.executable, "-m", "services.cli", verb, "--help"], capture_output=True, check=False)
        assert done.returncode == 0, verb
