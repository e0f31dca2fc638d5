"""`tandem compare` against a gateway that answers what it is told to, in each of four ways."""

import json
from collections import Counter
from itertools import pairwise

import grpc
import pytest
from tandem.feedback.v1 import events_pb2, feedback_service_pb2
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.tune.v1 import registry_service_pb2 as registry_pb

from services.cli.comparison.ways import BASE, BOTH, RAG, TUNED, WAYS
from services.cli.evaluation import running
from tests.unit.cli.comparison.conftest import DIGEST

# The gateway answers in four ways, also where a test does not say how.
pytestmark = pytest.mark.usefixtures("ways")


def figures(found, way):
    way = next(each for each in found["ways"] if each["name"] == way)
    return {measure: figure["value"] for measure, figure in way["figures"].items()}


def between(found, first, second):
    return next(each["measures"] for each in found["differences"] if (each["first"], each["second"]) == (first, second))


def asked_for(platform, path, *options):
    return platform.json("--questions", str(path), "--adapter", "support", *options)


def test_every_way_is_measured_on_the_same_questions(platform, ways, questions):
    ways.texts = {BASE: "six", RAG: "four five [1]", TUNED: "seven", BOTH: "four [1]"}
    found = asked_for(platform, questions)
    assert [each["name"] for each in found["ways"]] == list(WAYS)
    assert {way: figures(found, way)["F1"] for way in WAYS} == {BASE: 0, RAG: pytest.approx(2 / 3), TUNED: 0, BOTH: 1}
    assert figures(found, RAG)["citation precision"] == 1
    assert "citation precision" not in figures(found, BASE)
    assert (figures(found, RAG)["groundedness"], figures(found, TUNED)["groundedness"]) == (1, 0)
    assert between(found, RAG, BOTH)["F1"]["shown"]
    assert (found["verdict"]["use"], found["verdict"]["certainty"]) == (BOTH, "shown")
    assert found["adapter"] == {"name": "support", "digest": DIGEST}


def test_each_way_is_at_each_place_equally_often_after_one_question_is_tried_in_all(platform, ways, questions):
    asked_for(platform, questions, "--concurrency", "1")
    assert [way for _, way in ways.order[:4]] == list(WAYS)
    measured = [ways.order[start : start + 4] for start in range(4, len(ways.order), 4)]
    assert len(measured) == 40
    assert all(len({question for question, _ in each}) == 1 for each in measured)
    assert Counter(each[0][1] for each in measured) == dict.fromkeys(WAYS, 10)
    follows = Counter((one[1], other[1]) for each in measured for one, other in pairwise(each))
    assert set(follows.values()) == {10}
    assert len(follows) == 12


def test_all_ways_are_asked_with_the_same_decoding_in_conversations_of_their_own(platform, questions):
    asked_for(platform, questions, "--temperature", "0.5", "--seed", "7", "--max-tokens", "9", "--assistant", "desk")
    asked = platform.answers.asked
    assert len({request.sampling.SerializeToString() for request in asked}) == 1
    assert (asked[0].sampling.temperature, asked[0].sampling.seed, asked[0].sampling.max_tokens) == (0.5, 7, 9)
    assert {request.assistant for request in asked} == {"desk"}
    assert len({request.conversation_id for request in asked}) == len(asked)
    assert all(request.conversation_id.startswith("evaluation-") for request in asked)


def test_costs_are_by_token_or_by_the_hour_and_say_so(platform, questions):
    found = asked_for(platform, questions, "--price-prompt", "1", "--price-completion", "10")
    assert figures(found, RAG)["cost of 1,000"] == pytest.approx(400 / 1000 + 10 / 1000)
    assert figures(found, BASE)["cost of 1,000"] == pytest.approx(40 / 1000 + 10 / 1000)
    assert found["prices"].startswith("by token")
    assert "by machine hour" in asked_for(platform, questions, "--price-hour", "2")["prices"]
    assert asked_for(platform, questions)["prices"] is None


def test_a_judge_decides_where_no_answers_are_known(platform, ways, judge, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question\n" + "".join(f"number {each}?\n" for each in range(40)))
    ways.texts = {BASE: "worst", RAG: "good", TUNED: "bad", BOTH: "best"}
    order = ["It is Berlin.", "worst", "bad", "good", "best", "It is Paris."]
    judge.decide = lambda asked: max("AB", key=lambda side: order.index(asked[side]))
    platform.environment = {"JUDGE_KEY": "secret"}
    found = asked_for(platform, path, "--judge", judge.url, "--judge-model", "m", "--judge-key-env", "JUDGE_KEY")
    assert {way: figures(found, way)["judge"] for way in WAYS} == {BASE: 0, RAG: 0.5, TUNED: 0, BOTH: 1}
    assert found["deciding"] == "judge"
    assert found["judge"] == {"pairs": 120, "failed": 0, "wavered": 0, "whole": True}
    assert found["verdict"]["use"] == BOTH
    assert judge.keys == {"Bearer secret"}


def test_a_judges_failures_are_told(platform, ways, judge, questions):
    ways.texts = {BASE: "six", RAG: "four", TUNED: "seven", BOTH: "eight"}
    plain = judge.decide
    judge.decide = lambda asked: "?" if "eight" in (asked["A"], asked["B"]) else plain(asked)
    found = asked_for(platform, questions, "--judge", judge.url, "--judge-model", "m")
    assert found["judge"]["failed"] == 40
    assert "the judge gave no verdict on 40 of 120 pairs" in found["notes"]
    assert "judge" not in figures(found, BOTH)


def test_without_answers_and_without_a_judge_nothing_is_said_of_which_is_better(platform, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question\n" + "".join(f"number {each}?\n" for each in range(40)))
    found = asked_for(platform, path)
    assert (found["verdict"]["use"], found["deciding"]) == ("", "")
    assert any("without a right answer" in note for note in found["notes"])


def test_a_question_that_fails_in_one_way_counts_in_none(platform, ways, questions):
    def failing(question):
        if question == "number 3?":
            raise RuntimeError("as told")
        return "four"

    ways.texts[TUNED] = failing
    found = asked_for(platform, questions)
    assert (found["asked"], found["compared"]) == (40, 39)
    assert [each["failed"] for each in found["ways"]] == [0, 0, 1, 0]
    assert "a question that failed in one way counts in none" in found["notes"]


def test_two_adapters_under_one_name_are_told_of(platform, ways, questions):
    answered = Counter()

    def moved(question):
        answered[question] += 1
        ways.digests[BOTH] = DIGEST if sum(answered.values()) < 20 else "sha256:" + "b" * 64
        return "four"

    ways.texts[BOTH] = moved
    assert any("2 adapters answered under one name" in note for note in asked_for(platform, questions)["notes"])


def test_an_interrupt_leaves_the_questions_that_were_asked_in_every_way(platform, questions, tmp_path, monkeypatch):
    complete = running.as_completed

    def interrupted(futures):
        yield next(iter(complete(futures)))
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "as_completed", interrupted)
    out = tmp_path / "out.json"
    named = ("--questions", str(questions), "--adapter", "support")
    done = platform(*named, "--concurrency", "1", "--out", str(out))
    assert done.exit_code == 130
    written = json.loads(out.read_text())
    assert (written["whole"], written["compared"]) == (False, 1)
    assert written["questions"][0]["ways"].keys() == set(WAYS)
    assert written["verdict"]["certainty"] == "undecided"


def test_the_assistants_own_adapter_is_compared_where_none_is_named(platform, questions):
    platform.assistants.one = pb.Assistant(name="default", adapter="own")
    assert platform.json("--questions", str(questions))["adapter"]["name"] == "own"


def test_a_kept_set_is_asked(platform):
    rows = [
        {"id": str(each), "question": f"number {each}?", "answers": ["four"], "documents": ["id-a"]}
        for each in range(2)
    ]
    platform.sets.content = "\n".join(map(json.dumps, rows)).encode()
    found = platform.json("--set", "faq", "--adapter", "support")
    assert (found["set"], found["compared"]) == ("faq", 2)
    assert "1 question of the set withheld from you: you may not read their documents" in found["notes"]
    assert found["verdict"]["certainty"] == "undecided"


def test_what_the_registry_knows_of_the_adapter_is_told(platform, questions):
    kept = registry_pb.Adapter(digest=DIGEST, document_count=12, deleted_documents=3, erased_people=1)
    kept.created_at.FromJsonString("2026-03-01T00:00:00Z")
    platform.registry.registered[DIGEST] = kept
    learnt = asked_for(platform, questions)["freshness"]["learnt"]
    assert learnt == {
        "documents": 12,
        "deleted_documents": 3,
        "erased_people": 1,
        "made_at": "2026-03-01T00:00:00+00:00",
    }


def test_past_ratings_are_asked_with_a_word_of_what_the_adapter_may_have_learnt(platform):
    cited = [events_pb2.InteractionPassage(document_id="id-a", cited=True)]
    told = events_pb2.Interaction(interaction_id="1", question="number 1?", passages=cited)
    rating = feedback_service_pb2.Rating(thumb=events_pb2.THUMB_UP, correction="four")
    platform.ratings.rated = [feedback_service_pb2.ExportRatingsResponse(rating=rating, interaction=told)]
    found = platform.json("--from-ratings", "--adapter", "support")
    assert (found["set"], figures(found, BOTH)["exact match"]) == ("past ratings", 1)
    assert any("may have learnt from these ratings" in note for note in found["notes"])


def test_json_and_page_hold_every_answer_and_the_terminal_the_figures(platform, ways, questions, tmp_path):
    ways.texts = {BASE: "six <b>bold</b>", RAG: "five", TUNED: "four \x1b[31m", BOTH: "five"}
    out, page = tmp_path / "out.json", tmp_path / "page.html"
    shown = platform("--questions", str(questions), "--adapter", "support", "--out", str(out), "--html", str(page))
    assert shown.exit_code == 0, shown.output
    assert "RAG + tuned minus RAG" in shown.output
    assert "On these 40 questions use tuned" in " ".join(shown.output.split())
    kept = json.loads(out.read_text())
    assert len(kept["questions"]) == 40
    assert kept["questions"][0]["ways"][BASE]["answer"] == "six <b>bold</b>"
    assert kept["questions"][0]["ways"][RAG]["usage"]["prompt_tokens"] == 400
    text = page.read_text()
    assert "&lt;b&gt;bold" in text
    assert "<b>bold" not in text
    assert "\x1b" not in text + shown.output
    assert text.count("<svg") == 4
    assert "Where tuned is most below another way" in text


def test_bad_input_is_refused_with_its_reason(platform, questions, judge):
    def reason(*options):
        return platform.error(*options)["reason"]

    named = ("--questions", str(questions))
    assert reason(*named) == "NO_ADAPTER"
    assert reason("--adapter", "a") == "NO_QUESTIONS"
    assert reason(*named, "--set", "faq", "--adapter", "a") == "NO_QUESTIONS"
    assert reason(*named, "--adapter", "a", "--price-hour", "-1") == "INVALID_PRICE"
    assert reason(*named, "--adapter", "a", "--judge", judge.url) == "INVALID_JUDGE"
    assert reason(*named, "--adapter", "a", "--judge", judge.url, "--judge-key-env", "NOTHING") == "NO_JUDGE_KEY"
    assert platform.answers.asked == []
    judge.decide = lambda _: "tie"
    assert reason(*named, "--adapter", "a", "--judge", judge.url, "--judge-model", "m") == "JUDGE_FAILED"
    assert platform.answers.asked == []


def test_an_assistant_that_does_not_search_cannot_be_compared(platform, questions):
    platform.assistants.one = pb.Assistant(name="bare", without_retrieval=True)
    assert platform.error("--questions", str(questions), "--adapter", "a")["reason"] == "ASSISTANT_WITHOUT_RETRIEVAL"


def test_an_alias_of_the_base_model_and_a_platform_without_overrides_are_refused(platform, ways, questions):
    ways.digests = dict.fromkeys(WAYS, "")
    assert platform.error("--questions", str(questions), "--adapter", "a")["reason"] == "NO_ADAPTER"
    ways.digests = dict.fromkeys(WAYS, DIGEST)
    assert platform.error("--questions", str(questions), "--adapter", "a")["reason"] == "NOT_OVERRIDDEN"
    assert len(ways.order) == 8


def test_what_is_wrong_with_every_question_is_told_after_the_first(platform, questions):
    def refuse(_):
        raise RuntimeError

    platform.answers.answer = refuse
    error = platform.error("--questions", str(questions), "--adapter", "a")
    assert (error["reason"], error["message"]) == ("UNKNOWN", "the first question failed with base")
    assert len(platform.answers.asked) == 4


def code_of(document):
    return document.rstrip(".\n").split()[-1]


class TestFreshness:
    """A fact changes: the gateway shows what was pushed last."""

    @pytest.fixture
    def live(self, platform, ways):
        def searched(_):
            ways.passage = (platform.documents.pushed or ["The code is 0."])[-1]
            return f"It is {code_of(ways.passage)}."

        ways.texts = {BASE: "I do not know", RAG: searched, TUNED: "It is 1.", BOTH: searched}
        return ways

    def test_what_searches_follows_and_what_does_not_never_knew(self, platform, live, questions):
        found = asked_for(platform, questions, "--freshness", "--limit", "1")["freshness"]
        told = {way: each["told_seconds"] is not None for way, each in found["followed"].items()}
        assert told == {BASE: False, RAG: True, TUNED: False, BOTH: True}
        assert {way: each["knew"] for way, each in found["followed"].items()} == told
        assert not any(each["is_stale"] for each in found["followed"].values())

    def test_the_source_is_the_callers_own_and_is_removed(self, platform, live, questions):
        asked_for(platform, questions, "--freshness", "--limit", "1")
        [made] = platform.documents.made
        assert (made.kind, list(made.readers)) == ("push", [])
        assert platform.documents.deleted == ["scratch"]
        probes = [request for request in platform.answers.asked if "Orvel" in request.question]
        assert {tuple(request.filter.sources) for request in probes} == {("scratch",)}

    def test_a_way_that_is_shown_the_new_fact_and_tells_the_old_one_is_stale(self, platform, live, questions):
        def stuck(_):
            first, *_, live.passage = (platform.documents.pushed or ["The code is 0."]) * 2
            return f"It is {code_of(first)}."

        live.texts[BOTH] = stuck
        found = asked_for(platform, questions, "--freshness", "--limit", "1")["freshness"]["followed"][BOTH]
        assert (found["knew"], found["is_stale"], found["told_seconds"]) == (True, True, None)
        assert found["shown_seconds"] is not None

    def test_what_never_comes_is_waited_for_as_long_as_was_said(self, platform, live, questions):
        live.texts[RAG] = "nothing"
        live.texts[BOTH] = "nothing"
        found = asked_for(platform, questions, "--freshness", "--limit", "1", "--freshness-timeout", "0.3")
        assert found["freshness"]["followed"][RAG] == {
            "knew": False,
            "told_seconds": None,
            "shown_seconds": None,
            "is_stale": False,
            "error": "",
        }
        assert platform.documents.deleted == ["scratch"]

    def test_a_way_that_does_not_answer_the_probe_stops_nothing(self, platform, live, questions):
        def broken(question):
            if "Orvel" in question:
                raise RuntimeError("as told")
            return "four"

        live.texts[RAG] = broken
        found = asked_for(platform, questions, "--freshness", "--limit", "1", "--freshness-timeout", "0.3")
        assert found["freshness"]["followed"][RAG]["error"] == "UNKNOWN"
        assert found["freshness"]["followed"][BOTH]["error"] == ""
        assert found["compared"] == 1

    def test_the_source_is_removed_also_where_the_probe_cannot_go_on(self, platform, live, questions):
        platform.documents.push_refusal = grpc.StatusCode.PERMISSION_DENIED
        assert platform("--questions", str(questions), "--adapter", "a", "--freshness").exit_code == 1
        assert platform.documents.deleted == ["scratch"]
        assert len(live.order) == 4

    def test_who_may_add_no_source_is_told_before_anything_is_measured(self, platform, live, questions):
        platform.documents.refusal = grpc.StatusCode.PERMISSION_DENIED
        assert platform("--questions", str(questions), "--adapter", "a", "--freshness").exit_code == 1
        assert len(live.order) == 4

    def test_an_assistant_that_reads_some_sources_alone_is_not_probed(self, platform, live, questions):
        platform.assistants.one = pb.Assistant(name="default", sources=["wiki"])
        live.texts = dict.fromkeys(WAYS, "four")
        found = asked_for(platform, questions, "--freshness", "--limit", "1")["freshness"]
        assert "some documents alone" in found["why_not"]
        assert platform.documents.made == []
