"""The loop from documents and ratings to a promoted adapter, small: every command of docs/tuning.md's loop works."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tandem_command import Tandem, demo_in

pytestmark = pytest.mark.timeout(1500)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tandem(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Tandem]:
    with demo_in(tmp_path, pytestconfig.cache.mkdir("tandem-models"), "tune-demo", seconds=1480) as command:
        yield command


def written() -> list[list[str]]:
    """The commands of the document's first example, in words."""
    [block, *_] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/tuning.md").read_text(), re.DOTALL)
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines()]


def is_one(words: list[str], run: list[str]) -> bool:
    """Whether a command that was run has a written one's words in their order; capitals stand for anything."""
    left = iter(run)
    return all(any(word == each or word.isupper() for each in left) for word in words)


def test_the_loop_runs_as_it_is_written(tandem: Tandem, tmp_path: Path):
    done = tandem.run("tune", "demo", "--size", "small", "--out", str(tmp_path / "compare.json"))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    run = [shlex.split(line)[2:] for line in done.stdout.splitlines() if line.startswith("$ tandem ")]
    place = 0
    for words in written():
        found = next((at for at in range(place, len(run)) if is_one(words, run[at])), None)
        assert found is not None, f"{shlex.join(words)} is not among {run[place:]}"
        place = found
    compared = json.loads((tmp_path / "compare.json").read_text())
    assert {way["name"] for way in compared["ways"]} == {"base", "RAG", "tuned", "RAG + tuned"}
    assert compared["adapter"]["digest"].startswith("sha256:")
    assert not any(way["failed"] for way in compared["ways"])
