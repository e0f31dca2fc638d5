"""What words and an entailment model together say of an answer."""

import asyncio
import math

import pytest

from services.common.grounding.abstention import NEVER, Thresholds
from services.common.grounding.citations import Given, Reason
from services.gateway.adapters.memory import MemoryEntailment
from services.gateway.checking import Checks, Judge
from services.gateway.domain.assistants import Assistant, CitationPolicy

PASSAGE = Given("Returns are accepted within 30 days. Sale items are not refundable.")
SAID = "Returns are accepted within 30 days."
PARAPHRASED = "You may send returns back to us within 30 days."


def judged(scores, seconds=5.0):
    return Checks(Judge(MemoryEntailment(scores), seconds, 0.5))


async def reasons(checks, answer):
    checked = await checks.check(answer, [PASSAGE], "")
    return [verdict.reason for verdict in checked.verdicts], checked.failure


async def test_without_a_model_words_decide():
    assert await reasons(Checks(), f"{SAID} {PARAPHRASED}") == ([None, Reason.NO_SUPPORT], "")


async def test_a_model_finds_what_words_do_not_and_refuses_what_does_not_follow():
    checks = judged({(SAID, SAID): 0.1, (SAID, PARAPHRASED): 0.9})
    assert await reasons(checks, f"{SAID} {PARAPHRASED}") == ([Reason.NOT_ENTAILED, None], "")


async def test_what_a_model_says_is_the_support():
    (verdict,) = (await judged({(SAID, SAID): 0.75}).check(SAID, [PASSAGE], "")).verdicts
    assert verdict.span.support == 0.75


async def test_another_number_is_not_put_to_the_model():
    answer = "Returns are accepted within 31 days."
    assert await reasons(judged({(SAID, answer): 1.0}), answer) == ([Reason.NUMBER_DIFFERS], "")


async def test_where_the_model_fails_words_stand_and_it_is_told():
    assert await reasons(judged({}), SAID) == ([None], "ENTAILMENT_FAILED")


async def test_where_the_model_is_late_words_stand_and_it_is_told():
    class Slow:
        async def scores(self, pairs):
            await asyncio.sleep(60)

    assert await reasons(Checks(Judge(Slow(), 0.01, 0.5)), SAID) == ([None], "ENTAILMENT_FAILED")


@pytest.mark.parametrize(
    ("assistant", "thresholds", "cites"),
    [
        (Assistant("a"), Thresholds(0.5, 0.6), True),
        (Assistant("a", without_abstention=True), NEVER, True),
        (Assistant("a", without_retrieval=True), NEVER, True),
        (Assistant("a", citation_policy=CitationPolicy.REQUIRE), Thresholds(0.5, math.inf), True),
        (Assistant("a", citation_policy=CitationPolicy.OFF), Thresholds(0.5, 0.6), False),
    ],
)
def test_an_assistant_decides_how_strict_the_checks_are(assistant, thresholds, cites):
    checks = Checks(thresholds=Thresholds(0.5, 0.6)).of(assistant)
    assert (checks.thresholds, checks.cites) == (thresholds, cites)


async def test_an_assistant_that_cites_nothing_has_nothing_checked():
    checks = Checks().of(Assistant("a", citation_policy=CitationPolicy.OFF))
    assert await reasons(checks, SAID) == ([], "")
