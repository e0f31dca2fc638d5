"""`tandem eval retrieval` against a gateway that finds what it is told to."""

import json
from pathlib import Path

import grpc
import pytest

from services.cli.evaluation import running


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(running, "FIRST_PAUSE_SECONDS", 0.0)


@pytest.fixture
def questions(tmp_path) -> Path:
    path = tmp_path / "set.csv"
    path.write_text("id,question,documents\n1,first?,a\n2,second?,b.md|guides/c.md\n")
    return path


def test_figures_come_with_intervals_and_times(platform, questions):
    platform.answers.found = {"first?": ["x", "a"], "second?": ["b", "c"]}
    found = platform.json("retrieval", "--set", str(questions))
    [configuration] = found["configurations"]
    figures = configuration["figures"]
    assert figures["MRR@10"]["value"] == 0.75
    assert figures["all@10"]["value"] == 1
    assert figures["MRR@10"]["low"] == 0.5
    assert figures["MRR@10"]["high"] == 1
    assert configuration["seconds"]["p50"] > 0
    assert (found["set"], found["whole"], found["notes"]) == ("set", True, [])


def test_several_passages_of_a_document_are_one_document(platform, questions):
    platform.answers.found = {"first?": ["a", "a"], "second?": ["b", "b", "b", "c"]}
    found = platform.json("retrieval", "--set", str(questions), "--top-k", "2")
    assert found["configurations"][0]["figures"]["all@2"]["value"] == 1
    assert platform.answers.searches[0].top_k == 6


def test_two_searches_are_compared_on_the_same_questions(platform, questions):
    platform.answers.search = lambda request: ["a", "b", "c"] if request.steps == 2 else ["c", "b", "a"]
    found = platform.json(
        "retrieval",
        "--set",
        str(questions),
        "--with",
        "steps=2",
        "--with",
        "tuning.rerank_off=true",
        "--against",
        "live",
    )
    assert [each["name"] for each in found["configurations"]] == ["steps=2, tuning.rerank_off=true", "live"]
    difference = found["differences"]["MRR@10"]
    assert difference["value"] == pytest.approx((1 + 1 / 2) / 2 - (1 / 3 + 1) / 2)
    assert difference["significant"] is False
    tried = [request for request in platform.answers.searches if request.HasField("tuning")]
    assert len(tried) == 2
    assert tried[0].tuning.rerank_off


def test_a_version_of_the_tenants_tuning_may_be_tried(platform, questions):
    platform.json("retrieval", "--set", str(questions), "--with", "tuning=3")
    tuning = platform.answers.searches[0].tuning
    assert (tuning.version, tuning.dense_share, tuning.max_steps) == (3, 0.25, 2)


@pytest.mark.parametrize(
    "option", ["stops=1", "steps", "steps=many", "query=x", "steps.x=1", "tuning.reranker=[1]", "=1", "filter=x"]
)
def test_an_option_that_no_search_has_is_refused(platform, questions, option):
    assert platform.error("retrieval", "--set", str(questions), "--with", option)["reason"] == "INVALID_OPTION"


def test_a_search_is_not_compared_with_itself(platform, questions):
    assert platform.error("retrieval", "--set", str(questions), "--against", "live")["reason"] == "INVALID_OPTION"


def test_documents_that_are_not_known_are_named_or_count_as_not_found(platform, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,documents\nfirst?,a|elsewhere\n")
    error = platform.error("retrieval", "--set", str(path))
    assert error["reason"] == "UNKNOWN_DOCUMENTS"
    assert "'elsewhere'" in error["message"]
    platform.answers.found = {"first?": ["a"]}
    found = platform.json("retrieval", "--set", str(path), "--allow-unknown")
    assert found["configurations"][0]["figures"]["recall@10"]["value"] == 0.5
    assert found["notes"] == ["1 document of the set not known here: counted as not found"]


def test_a_set_of_another_tenant_is_refused_even_so(platform, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,documents\nfirst?,elsewhere\n")
    assert platform.error("retrieval", "--set", str(path), "--allow-unknown")["reason"] == "UNKNOWN_DOCUMENTS"


def test_a_set_without_documents_cannot_be_judged(platform, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,answers\nfirst?,x\n")
    assert platform.error("retrieval", "--set", str(path))["reason"] == "NO_DOCUMENTS_IN_SET"


def test_what_is_wrong_with_a_set_is_told_with_its_place(platform, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,documents\n,a\n")
    error = platform.error("retrieval", "--set", str(path))
    assert (error["reason"], error["facts"]["line"]) == ("INVALID_QUESTION_SET", "2")


def test_a_set_is_named_once(platform, questions):
    assert platform.error("retrieval")["reason"] == "NO_SET"
    assert platform.error("retrieval", "--set", str(questions), "--from-ratings")["reason"] == "NO_SET"


def test_a_platform_that_was_away_for_a_moment_is_asked_again(platform, questions):
    platform.answers.found = {"first?": ["a"], "second?": ["b", "c"]}
    platform.answers.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    found = platform.json("retrieval", "--set", str(questions), "--concurrency", "1")
    assert found["configurations"][0]["failed"] == 0
    assert len(platform.answers.searches) == 4


def test_a_question_that_fails_counts_nowhere_and_is_told(platform, questions):
    platform.answers.found = {"first?": ["a"], "second?": ["b", "c"]}
    platform.answers.failures = [grpc.StatusCode.RESOURCE_EXHAUSTED]
    found = platform.json("retrieval", "--set", str(questions), "--concurrency", "1")
    assert found["configurations"][0]["figures"]["nDCG@10"] == {"value": 1, "low": 1, "high": 1, "count": 1}
    assert found["notes"] == ["live: 1 question failed and count nowhere (RESOURCE_EXHAUSTED)"]
    assert len(platform.answers.searches) == 2


def test_nothing_but_failures_is_a_failure(platform, questions):
    platform.answers.failures = [grpc.StatusCode.INTERNAL] * 2
    done = platform("retrieval", "--set", str(questions), "--json")
    assert done.exit_code == 1
    assert json.loads(done.output.splitlines()[-1])["error"]["reason"] == "INTERNAL"


def test_what_every_question_would_meet_ends_it_at_once(platform, questions):
    platform.answers.failures = [grpc.StatusCode.PERMISSION_DENIED] * 9
    error = platform.error("retrieval", "--set", str(questions), "--concurrency", "1")
    assert error["reason"] == "PERMISSION_DENIED"


def test_an_interrupt_leaves_what_there_is_and_says_so(platform, questions, tmp_path, monkeypatch):
    platform.answers.found = {"first?": ["a"]}
    complete = running.as_completed

    def interrupted(futures):
        yield next(iter(complete(futures)))
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "as_completed", interrupted)
    out = tmp_path / "out.json"
    done = platform(
        "retrieval", "--set", str(questions), "--concurrency", "1", "--out", str(out), "--against", "steps=1"
    )
    assert done.exit_code == 130
    assert "interrupted after 1 of 2 questions" in done.output
    written = json.loads(out.read_text())
    assert written["whole"] is False
    assert [each["name"] for each in written["configurations"]] == ["live"]


def test_only_the_sources_named_are_searched_and_known(platform, questions):
    platform.json("retrieval", "--set", str(questions), "--filter-source", "wiki")
    assert list(platform.answers.searches[0].filter.sources) == ["wiki"]
    assert set(platform.documents.sources) == {"wiki"}


def test_people_see_a_table(platform, questions):
    platform.answers.found = {"first?": ["a"]}
    done = platform("retrieval", "--set", str(questions), "--against", "steps=1")
    assert "nDCG@10" in done.output
    assert "A minus B" in done.output


def test_a_beir_folder_is_limited_to_its_first_questions(platform, tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t1\n")
    queries = [{"_id": "1", "text": "first?"}, {"_id": "2", "text": "second?"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    found = platform.json("retrieval", "--set", str(tmp_path), "--split", "dev", "--limit", "1")
    assert found["configurations"][0]["asked"] == 1
