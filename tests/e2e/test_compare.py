"""`tandem compare` and overrides of `tandem ask` on a running platform."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.cli.comparison.freshness import SOURCE_PREFIX
from services.cli.comparison.ways import BASE, BOTH, RAG, TUNED, WAYS
from tests.fake_judge import FakeJudge, serving
from tests.tandem_command import Tandem
from tests.unit.generate.adapters import config, write

pytestmark = pytest.mark.timeout(400)

FACTS = {
    "kettle": "The Tern kettle has a warranty of nine years.",
    "toaster": "The Wren toaster costs fifty-four euros.",
    "delivery": "Parcels to Belgium take three working days.",
}
QUESTIONS = """question,answers,documents,answerable
How long is the warranty of the kettle?,nine years,kettle.md,
What does the toaster cost?,fifty-four euros,toaster.md,
Who founded the company in Peru?,,,no
"""


@dataclass(frozen=True)
class Tenant:
    """The command as a tenant's own key, or another's."""

    platform: Tandem
    key: str

    def __call__(self, *arguments: str) -> dict[str, Any]:
        return self.platform.json(*arguments, TANDEM_API_KEY=self.key)

    def error(self, *arguments: str, key: str = "") -> str:
        done = self.platform.run(*arguments, "--json", TANDEM_API_KEY=key or self.key)
        assert done.returncode == 1, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])["error"]["reason"]


@pytest.fixture(scope="module")
def company(memory_platform: Tandem, tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    """A tenant that knows the facts, and has an adapter in the engine."""
    folder = tmp_path_factory.mktemp("facts")
    for name, fact in FACTS.items():
        (folder / f"{name}.md").write_text(f"# About the {name}\n\n{fact}\n")
    adapter = write(tmp_path_factory.mktemp("adapters") / "tuned", config(base_model_name_or_path="memory"))
    tandem = Tenant(memory_platform, memory_platform.tenant("compared"))
    tandem("source", "add", "files", str(folder), "--name", "facts", "--readers", "everyone")
    tandem("adapters", "load", "tuned", str(adapter))
    tandem("wait", "--timeout", "120")
    return tandem


@pytest.fixture
def judge() -> Iterator[FakeJudge]:
    with serving() as found:
        yield found


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "set.csv"
    path.write_text(QUESTIONS)
    return path


def test_the_four_ways_are_compared_judged_and_probed(company, judge, questions, tmp_path, memory_platform):
    out, page = tmp_path / "out.json", tmp_path / "page.html"
    found = company(
        *("compare", "--questions", str(questions), "--adapter", "tuned", "--max-tokens", "8"),
        *("--judge", judge.url, "--judge-model", "m", "--price-hour", "2", "--freshness", "--freshness-timeout", "60"),
        *("--out", str(out), "--html", str(page)),
    )
    assert [(way["name"], way["failed"]) for way in found["ways"]] == [(name, 0) for name in WAYS]
    assert found["compared"] == 3
    assert all({"F1", "judge", "whole answer, s", "cost of 1,000"} <= way["figures"].keys() for way in found["ways"])
    assert found["adapter"]["digest"].startswith("sha256:")
    assert found["verdict"]["certainty"] == "undecided"
    followed = found["freshness"]["followed"]
    assert {way: followed[way]["shown_seconds"] is not None for way in WAYS} == {
        BASE: False,
        RAG: True,
        TUNED: False,
        BOTH: True,
    }
    assert len(json.loads(out.read_text())["questions"]) == 3
    assert "<svg" in page.read_text()
    memory_platform.wait(lambda: not left_over(company))


def left_over(company: Tenant) -> list[str]:
    return [each["name"] for each in company("source", "list")["sources"] if each["name"].startswith(SOURCE_PREFIX)]


def test_what_was_compared_is_recorded_and_teaches_nobody(company, questions, memory_platform):
    company("compare", "--questions", str(questions), "--adapter", "tuned", "--max-tokens", "8", "--limit", "1")

    def recorded() -> list[dict[str, Any]]:
        found = company("interactions")["interactions"]
        return [each for each in found if each["conversation_id"].startswith("evaluation-")]

    memory_platform.wait(lambda: len(recorded()) >= 8)
    assert all(each["overridden"] for each in recorded())


def test_a_trainer_asks_with_another_adapter_and_a_reader_may_not(company):
    company("ask", "How long is the warranty?", "--adapter", "tuned", "--no-retrieval")
    key = company("key", "create", "--name", "reads", "--role", "reader")["secret"]
    assert company.error("ask", "How long?", "--base-model", key=key) == "ROLE_REQUIRED"
    assert company.error("ask", "How long?", "--no-retrieval", key=key) == "ROLE_REQUIRED"


def test_an_adapter_that_is_not_there_is_told_of(company, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question\nHow long is the warranty?\n")
    assert company.error("compare", "--questions", str(path), "--adapter", "nothing") == "ADAPTER_NOT_FOUND"
