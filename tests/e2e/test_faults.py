"""Every process is killed in turn while 500 files are ingested; at the end each file is indexed exactly once."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymilvus import MilvusClient

from services.cli.state import Phase
from tests.tandem_command import Tandem, home_in, kill_9

FILES = 500
VICTIMS = ("ingest", "embed", "retrieve", "generate", "feedback", "tune", "gateway", "broker", "milvus", "postgres")
pytestmark = pytest.mark.timeout(300 + 2 * FILES)


@pytest.fixture
def tandem(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Tandem]:
    cache = pytestconfig.cache.mkdir("tandem-models")
    with home_in(tmp_path, seconds=200 + 2 * FILES) as command:
        command.up("--engine", "memory", "--cache", str(cache))
        yield command


def write(folder: Path, number: int) -> None:
    """Write a file whose text is its own; every third has several chunks."""
    parts = range(4 if number % 3 == 0 else 1)
    text = "".join(f"\n## Part {part}\n\n{prices(number, part)}\n" for part in parts)
    (folder / f"file-{number:04}.md").write_text(f"# File {number}\n{text}")


def prices(number: int, part: int) -> str:
    return " ".join(f"Item {number} of part {part} costs {number + word} euros." for word in range(25))


def counts(tandem: Tandem, source: str) -> dict[str, int]:
    found = tandem.json("source", "status", source)["source"]["counts"]
    assert isinstance(found, dict)
    return found


def chunks_in_milvus(tandem: Tandem, source: str) -> Counter[str]:
    """How many chunks each file of a source has, counted where they are searched."""
    source_id = tandem.json("source", "status", source)["source"]["source_id"]
    client = MilvusClient(uri=f"http://{tandem.unit('milvus').address}")
    [collection] = client.list_collections(timeout=30)
    client.load_collection(collection, timeout=30)
    rows = client.query(
        collection,
        filter=f'source_id == "{source_id}"',
        output_fields=["uri", "ordinal", "document_id"],
        limit=16_000,
        consistency_level="Strong",
        timeout=60,
    )
    client.close()
    assert len({(row["document_id"], row["ordinal"]) for row in rows}) == len(rows), "a chunk is there twice"
    assert len({row["document_id"] for row in rows}) == len({row["uri"] for row in rows}), "a file is there twice"
    return Counter(row["uri"] for row in rows)


def kill(tandem: Tandem, victim: str) -> None:
    """Kill a unit's process, and return once the supervisor has it healthy again."""
    before = tandem.unit(victim)
    kill_9(before.process.pid)
    tandem.wait(lambda: tandem.unit(victim).restarts > before.restarts)
    tandem.wait(lambda: all(unit.phase is Phase.HEALTHY for unit in tandem.state().units))


def test_every_file_is_indexed_exactly_once_whatever_is_killed_meanwhile(tandem: Tandem, tmp_path: Path):
    folder = tmp_path / "files"
    folder.mkdir()
    tandem.json("source", "add", "files", str(folder), "--name", "faulted")
    numbers = iter(range(FILES))
    for victim in VICTIMS:
        for number in itertools.islice(numbers, FILES // len(VICTIMS) + 1):
            write(folder, number)
        time.sleep(0.3)
        kill(tandem, victim)
    tandem.json("source", "sync", "faulted")
    tandem.json("wait", "--source", "faulted", "--timeout", str(120 + FILES))

    tandem.json("source", "add", "files", str(folder), "--name", "clean", "--no-watch")
    tandem.json("wait", "--source", "clean", "--timeout", str(120 + FILES))
    for source in ("faulted", "clean"):
        found = counts(tandem, source)
        assert (found["pending"], found["indexed"], found["failed"]) == (0, FILES, 0)
    clean = chunks_in_milvus(tandem, "clean")
    assert len(clean) == FILES
    assert chunks_in_milvus(tandem, "faulted") == clean
