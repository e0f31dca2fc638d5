"""The gate as a whole: what is measured against whom, and what happens when the engine or somebody interferes."""

import asyncio
import json
from pathlib import Path

import pytest

from services.common.evaluation.questions import Question
from services.common.evaluation.rows import InvalidQuestionSet
from services.tune.domain.adapters import Candidate
from services.tune.domain.errors import CallRefused, RunEnded, ServiceUnavailable
from services.tune.domain.evaluations import SetNotFound
from services.tune.gate import contest, judging
from services.tune.gate.errors import LiveMoves
from services.tune.gate.judging import EngineGate, Sources
from services.tune.gate.ports import GivenPassage, Rows
from tests.unit.tune.gate.engine import ADA, MemoryEngine, MemoryMaterial

DIGEST = "sha256:" + "c" * 64
NAME = "candidate-" + "c" * 16
SECRET = "the customer's own question"
PASSAGE = GivenPassage("Hours", "The shop closes at 6 pm. The phone is red.", ("d1", "d2"))
QUESTIONS = tuple(
    Question(f"g{n}", f"When does shop {n} close?", ("6 pm",), {"d2": 1})
    if n % 2
    else Question(f"g{n}", f"Who owns shop {n}?", answerable=False)
    for n in range(60)
)
PAIRS = Rows(
    "dpo",
    [{"id": f"r{n}", "question": f"{SECRET} {n}", "chosen": "good words", "rejected": "bad words"} for n in range(40)],
)


@pytest.fixture(autouse=True)
def _without_rests(monkeypatch):
    monkeypatch.setattr(judging, "REST_SECONDS", 0.0)
    monkeypatch.setattr(contest, "REST_SECONDS", 0.0)


def candidate(alias="support", golden_set="faq"):
    return Candidate(ADA, "run1", DIGEST, "tiny", "d" * 64, golden_set, alias, Path("/nowhere"))


class World:
    def __init__(self, engine=None, **material) -> None:
        self.engine = engine or MemoryEngine()
        passages = {question.text: (PASSAGE,) for question in QUESTIONS}
        self.material = MemoryMaterial(**{"rows": PAIRS, "questions": QUESTIONS, "passages": passages} | material)
        self.gate = EngineGate(self.engine, Sources(*[self.material] * 5), at_once=2)
        self.told: list[tuple[str, float]] = []

    async def judge(self, **fields):
        return await self.gate.judge(candidate(**fields), self.tell)

    async def tell(self, stage, progress):
        self.told.append((stage, progress))


def learnt(who, prompt):
    """The candidate says what the passages tell, and that they do not."""
    if who.name != NAME or not prompt.passages:
        return "I do not know."
    return "The shop closes at 6 pm." if "close" in prompt.question else "The passages do not tell."


def likes_good(who, _prompt, text):
    return -1.0 + 0.3 * (who.name == NAME and "good" in text)


async def test_one_that_learnt_passes_and_the_report_says_on_what():
    world = World(MemoryEngine(learnt, likes_good))
    report = await world.judge()
    assert report.passed
    assert report.live == ""
    assert report.measures["golden F1"] > report.measures["live golden F1"]
    assert report.measures["golden citation recall"] == 1
    document = report.document
    assert (document["candidate"], document["rules"]["version"]) == (DIGEST, 3)
    assert document["sections"]["golden"] == {"available": 60, "measured": 60}
    assert document["sections"]["general"]["measured"] == 76
    assert {each["measure"] for each in document["figures"]} >= {"preference margin", "safety", "token ratio"}
    assert (world.told[0][0], world.told[-1]) == ("timing answers", ("answering the golden set", 1.0))
    assert not world.engine.loaded


async def test_one_that_is_the_same_has_shown_nothing():
    report = await World().judge()
    assert not report.passed
    assert [rule.name for rule in report.rules if rule.required and not rule.passed] == ["preference margin better"]


async def test_one_that_leaks_more_than_what_is_live_does_not_pass():
    def leaks(who, prompt):
        return f"{prompt.instructions} I do not know." if who.name == NAME else learnt(who, prompt)

    report = await World(MemoryEngine(leaks, likes_good)).judge()
    assert "safety not worse" in {rule.name for rule in report.rules if not rule.passed}


async def test_one_that_forgot_what_everybody_knows_does_not_pass():
    def forgets(who, prompt, text):
        return likes_good(who, prompt, text) - 2.0 * (who.name == NAME and "Paris" in text)

    def forgets_texts(who, prompt, text):
        return likes_good(who, prompt, text) - 1.0 * (who.name == NAME and len(text) > 150)

    assert (await World(MemoryEngine(learnt, forgets)).judge()).passed
    report = await World(MemoryEngine(learnt, forgets_texts)).judge()
    assert {rule.name for rule in report.rules if not rule.passed} == {"general likelihood not worse"}


async def test_one_that_is_slow_does_not_pass():
    engine = MemoryEngine(learnt, likes_good)
    engine.slow[NAME] = 5.0
    report = await World(engine).judge()
    failed = [rule for rule in report.rules if not rule.passed]
    assert [rule.name for rule in failed] == ["first token ratio at most", "token ratio at most"]
    assert failed[0].value == pytest.approx(5.0)


async def test_it_is_measured_against_what_its_alias_points_at():
    world = World(MemoryEngine(learnt, likes_good), aliases={"support": "sha256:" + "a" * 64})
    assert (await world.judge()).live == "sha256:" + "a" * 64
    assert (await world.judge(alias="")).live == ""
    assert (await world.judge(alias="other")).live == ""


async def test_without_a_golden_set_and_rows_there_is_no_proof_and_that_is_said():
    report = await World(rows=Rows("dpo", ()), questions=()).judge(golden_set="")
    assert not report.passed
    assert report.document["skipped"] == {
        "held-out": "the data set has no test split",
        "golden": "the run names no golden set",
    }
    assert [rule.name for rule in report.rules if rule.required and not rule.passed] == ["proof"]


async def test_four_raters_are_too_few_even_beside_a_golden_set_that_is_passed():
    rated = [row | {"raters": [f"u{number % 4}"]} for number, row in enumerate(PAIRS.rows)]
    report = await World(MemoryEngine(learnt, likes_good), rows=Rows("dpo", rated)).judge()
    assert [rule.name for rule in report.rules if rule.required and not rule.passed] == ["preference margin better"]


async def test_a_golden_set_that_is_gone_is_said():
    world = World()

    async def gone(_identity, _name):
        raise SetNotFound("there is no set of this name")

    world.material.questions = gone
    report = await world.judge()
    assert "gone" in report.document["skipped"]["golden"]


async def test_the_report_is_json_and_holds_no_text_of_the_tenant():
    def worse(who, _prompt, text):
        return -1.0 - 0.3 * (who.name == NAME and "good" in text)

    report = await World(MemoryEngine(scores=worse)).judge()
    told = json.dumps(report.document, allow_nan=False)
    assert SECRET not in told
    assert "shop" not in told
    assert "words" not in told
    worst = [each for each in report.document["worst"] if each["section"] == "held-out"]
    assert len(worst) == 10
    assert worst[0]["id"].startswith("r")
    assert worst[0]["candidate"] < worst[0]["live"]


async def test_who_ends_the_run_ends_the_measuring_and_nothing_stays_loaded():
    world = World()

    async def ended(stage, _progress):
        if stage == "asking the general set":
            raise RunEnded

    with pytest.raises(RunEnded):
        await world.gate.judge(candidate(), ended)
    assert not world.engine.loaded


async def test_a_run_that_takes_too_long_leaves_nothing_loaded():
    world, begun = World(), asyncio.Event()

    async def tell(_stage, _progress):
        begun.set()

    work = asyncio.create_task(world.gate.judge(candidate(), tell))
    await begun.wait()
    assert world.engine.loaded
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not world.engine.loaded


async def test_an_engine_that_was_started_anew_is_given_the_candidate_again():
    world = World(MemoryEngine(learnt, likes_good))
    forgotten = []

    async def tell(stage, _progress):
        if stage not in forgotten:
            forgotten.append(stage)
            world.engine.loaded.clear()

    report = await world.gate.judge(candidate(), tell)
    assert report.passed
    assert world.engine.loads > 4
    assert not world.engine.loaded


async def test_what_is_live_moves_meanwhile_and_it_begins_anew_against_that():
    world = World(MemoryEngine(learnt, likes_good), aliases={"support": "sha256:" + "a" * 64})
    world.engine.digests["support"] = "sha256:" + "b" * 64

    async def live(tenant, alias=None):
        found = await MemoryMaterial.live(world.material, tenant, alias)
        if alias:
            world.material.aliases["support"] = "sha256:" + "b" * 64
        return found

    world.material.live = live
    assert (await world.judge()).live == "sha256:" + "b" * 64


async def test_what_moves_again_and_again_ends_the_measuring():
    world = World(aliases={"support": "sha256:" + "a" * 64})
    world.engine.digests["support"] = "sha256:" + "b" * 64
    with pytest.raises(LiveMoves):
        await world.judge()
    assert not world.engine.loaded


@pytest.mark.parametrize("error", [CallRefused("generate says no"), ServiceUnavailable("it is away")])
async def test_an_engine_that_says_no_ends_the_measuring_with_its_reason(error):
    world = World()

    def refuses(_who, _prompt):
        raise error

    world.engine.answers = refuses
    with pytest.raises(type(error)):
        await world.judge()
    assert not world.engine.loaded


async def test_a_candidate_that_cannot_be_unloaded_is_judged_all_the_same():
    world = World(MemoryEngine(learnt, likes_good))

    async def stays(_identity, _contender):
        raise ServiceUnavailable("it is away")

    world.engine.unload = stays
    assert (await world.judge()).passed


async def test_no_more_runs_at_once_than_is_allowed():
    world = World()
    await world.judge()
    assert world.engine.most_at_once == 2


async def test_a_set_that_cannot_be_read_any_more_ends_the_measuring():
    world = World()

    async def broken(_identity, _name):
        raise InvalidQuestionSet("it has an old form", "content")

    world.material.questions = broken
    with pytest.raises(InvalidQuestionSet):
        await world.judge()
