"""`tandem dataset` on a running platform: from documents to a data set that is shown, and from a file."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tandem_command import Tandem, last_json

pytestmark = pytest.mark.timeout(580)

BUILD_SECONDS = 420
COMPANY = Path(__file__).parents[2] / "examples/company"

Command = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def key(memory_platform: Tandem) -> str:
    return memory_platform.tenant("builder")


@pytest.fixture(scope="module")
def company(memory_platform: Tandem, key: str) -> Command:
    """A tenant that knows what Marlouve's team, tickets and conversations say."""

    def tandem(*arguments: str) -> dict[str, Any]:
        return memory_platform.json(*arguments, TANDEM_API_KEY=key)

    for name in ("team", "tickets", "conversations", "products"):
        tandem("source", "add", "files", str(COMPANY / name), "--name", name, "--readers", "everyone")
    tandem("wait", "--timeout", "300")
    return tandem


def built(company: Command, *arguments: str) -> dict[str, Any]:
    """Build, and wait longer than one command may: what looks for personal data is slow to load."""
    build = company("dataset", *arguments, "--no-wait")["build"]
    deadline = time.monotonic() + BUILD_SECONDS
    while build["state"] in {"queued", "running"}:
        assert time.monotonic() < deadline, build
        time.sleep(1)
        [build] = [each for each in company("dataset", "builds")["builds"] if each["build_id"] == build["build_id"]]
    assert build["state"] == "succeeded", build
    found: dict[str, Any] = company("dataset", "show", build["dataset"])["dataset"]
    return found


def test_documents_become_a_data_set_that_answers_cites_and_says_when_passages_do_not_tell(
    company: Command, tmp_path: Path
):
    made = built(
        company,
        *("build", "--kind", "sft", "--from-documents", "--source", "team", "--source", "tickets"),
        *("--source", "conversations", "--not-personal", "pro@marlouve.example"),
    )
    assert made["train_rows"] + made["validation_rows"] + made["test_rows"] >= 50
    assert made["fit"], made["reasons"]
    assert not made["stale"]
    digest = made["digest"][:10]
    rows = company("dataset", "rows", digest, "--limit", "200")["rows"]
    assert len(rows) == made["train_rows"]
    assert {row["source"] for row in rows} <= {"team", "tickets", "conversations"}
    assert {row["language"] for row in rows} >= {"en", "fr"}
    cited = [row for row in rows if "[" in row["completion"]]
    assert len(cited) > len(rows) / 2
    assert len(cited) < len(rows)
    assert all("ludivine.arsac@mail.example" not in json.dumps(row) for row in rows)

    page = tmp_path / "report.html"
    report = company("dataset", "report", digest, "--html", str(page))["report"]
    assert report["verdict"]["fit"]
    assert {step["name"] for step in report["steps"]} >= {
        "documents",
        "personal data",
        "duplicates",
        "golden items",
        "length",
    }
    assert page.read_text().count("<svg") == 3
    assert [each["digest"] for each in company("dataset", "list")["datasets"]] == [made["digest"]]
    assert company("dataset", "show", digest)["dataset"]["document_count"] > 5
    company("dataset", "delete", digest)
    assert company("dataset", "list")["datasets"] == []


def test_a_file_becomes_a_data_set_or_says_what_is_wrong(
    company: Command, key: str, memory_platform: Tandem, tmp_path: Path
):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n".join(json.dumps({"prompt": f"What is {each * 7919}?", "completion": "x"}) for each in range(9))
    )
    built = company("dataset", "upload", str(path), "--kind", "sft", "--keep-personal-data")
    assert not built["dataset"]["fit"]
    assert company("dataset", "builds")["builds"][0]["state"] == "succeeded"
    path.write_text('{"prompt": "What?"}')
    failed = memory_platform.run("dataset", "upload", str(path), "--kind", "kto", "--json", TANDEM_API_KEY=key)
    assert failed.returncode == 1
    error = last_json(failed.stdout)["error"]
    assert error["reason"] == "INVALID_DATASET_FILE"
    assert (error["facts"]["line"], error["facts"]["column"]) == ("1", "completion")
