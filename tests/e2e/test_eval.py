"""`tandem eval` on a running platform: sets measured, compared, kept, scheduled and proposed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tandem_command import Tandem

pytestmark = pytest.mark.timeout(300)

FACTS = {
    "kettle": "The Tern kettle has a warranty of nine years.",
    "toaster": "The Wren toaster costs fifty-four euros.",
    "delivery": "Parcels to Belgium take three working days.",
}
QUESTIONS = {
    "How long is the warranty of the kettle?": "kettle",
    "What does the toaster cost?": "toaster",
    "How many days does a parcel to Belgium take?": "delivery",
}

Eval = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def company(memory_platform: Tandem, tmp_path_factory) -> tuple[Eval, Path]:
    """A tenant that knows the facts, and a BEIR folder that asks for them."""
    folder = tmp_path_factory.mktemp("facts")
    for name, fact in FACTS.items():
        (folder / f"{name}.md").write_text(f"# About the {name}\n\n{fact}\n")
    key = memory_platform.tenant("measured")

    def tandem(*arguments: str) -> dict[str, Any]:
        return memory_platform.json(*arguments, TANDEM_API_KEY=key)

    tandem("source", "add", "files", str(folder), "--name", "facts", "--readers", "everyone")
    tandem("wait", "--timeout", "120")
    return tandem, beir(tmp_path_factory.mktemp("set"))


def beir(folder: Path) -> Path:
    (folder / "qrels").mkdir()
    queries = [{"_id": f"q{number}", "text": text} for number, text in enumerate(QUESTIONS)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    lines = [f"q{number}\t{document}\t1" for number, document in enumerate(QUESTIONS.values())]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    return folder


def test_searches_are_measured_and_compared(company, tmp_path):
    tandem, questions = company
    page, out = tmp_path / "page.html", tmp_path / "out.json"
    found = tandem(
        *("eval", "retrieval", "--set", str(questions), "--filter-source", "facts"),
        *("--with", "tuning.dense_share=0.9", "--against", "live", "--html", str(page), "--out", str(out)),
    )
    assert [each["figures"]["all@10"]["value"] for each in found["configurations"]] == [1, 1]
    assert found["differences"]["nDCG@10"]["significant"] is False
    assert "<svg" in page.read_text()
    assert len(json.loads(out.read_text())["questions"]) == len(QUESTIONS)


def test_answers_are_measured(company, tmp_path):
    tandem, _ = company
    path = tmp_path / "set.csv"
    path.write_text("question,answers,documents\nHow long is the warranty of the kettle?,nine years,kettle.md\n")
    found = tandem("eval", "answers", "--set", str(path), "--max-tokens", "16")
    [configuration] = found["configurations"]
    assert (configuration["asked"], configuration["failed"]) == (1, 0)
    assert {"exact match", "F1", "contains"} <= configuration["figures"].keys()


def test_a_kept_set_is_measured_now_and_has_a_schedule(company):
    tandem, questions = company
    assert tandem("eval", "keep", "facts", "--set", str(questions))["set"]["questions"] == len(QUESTIONS)
    done = tandem("eval", "run", "facts", "--timeout", "60")["evaluation"]
    assert {figure["measure"]: figure["value"] for figure in done["figures"]}["all@10"] == 1
    assert tandem("eval", "schedule", "facts", "--every-hours", "24")["set"]["every_hours"] == 24
    assert [each["state"] for each in tandem("eval", "history", "facts")["evaluations"]] == ["done"]
    assert tandem("eval", "show", "facts")["withheld"] == 0
    tandem("eval", "remove", "facts")
    assert tandem("eval", "sets")["sets"] == []


def test_a_set_is_proposed_from_the_documents(company, tmp_path):
    tandem, _ = company
    out = tmp_path / "made.jsonl"
    assert tandem("eval", "make", "--out", str(out))["questions"] >= len(FACTS)
    found = tandem("eval", "retrieval", "--set", str(out))
    assert "nobody has reviewed yet" in found["notes"][0]
