"""The paragraph that says which way to use: what it claims, and what it does not."""

import random
from datetime import UTC, datetime

import pytest

from services.cli.comparison.freshness import Followed, Freshness, Learnt
from services.cli.comparison.result import COST, FIRST_TOKEN, TOTAL, deciding, standing_of
from services.cli.comparison.verdict import Certainty, verdict
from services.cli.comparison.ways import BASE, BOTH, RAG, TUNED, WAYS
from services.cli.evaluation.report import Evaluated
from services.cli.evaluation.running import Run
from services.common.evaluation.results import figures

COUNT = 200
UNKNOWN = Freshness()


def standing(measures, count=COUNT):
    """Return how ways stand whose questions have these means, with noise that all of a question share."""
    shared = [random.Random(place).gauss(0, 0.1) for place in range(count)]

    def parts(way, mean, spread):
        own = random.Random(way)
        return {str(place): (mean + shared[place] + own.gauss(0, spread), 1.0) for place in range(count)}

    evaluated = []
    for way in WAYS:
        found = {
            name: parts(way, means[way], means.get("spread", 0.05)) for name, means in measures.items() if way in means
        }
        evaluated.append(Evaluated(way, Run((), is_whole=True), found, figures(found)))
    return standing_of(evaluated)


def costs(**measures):
    return standing({name: {**means, "spread": 0.001} for name, means in measures.items()})


NO_COSTS = standing({})


def said(measures, *, costs=NO_COSTS, freshness=UNKNOWN, count=COUNT):
    found = standing(measures, count)
    return verdict(found, costs, deciding(found), count, freshness)


def f1(base, rag, tuned, both, spread=0.05):
    return {BASE: base, RAG: rag, TUNED: tuned, BOTH: both, "spread": spread}


def test_the_way_that_is_shown_to_be_best_is_used_with_its_lead_over_the_next():
    found = said({"F1": f1(0.2, 0.5, 0.3, 0.6)})
    assert (found.use, found.certainty) == (BOTH, Certainty.SHOWN)
    assert "use RAG + tuned: its F1" in found.paragraph
    assert "over RAG, the nearest" in found.paragraph


def test_of_ways_that_cannot_be_told_apart_the_one_with_the_least_upkeep_is_used_and_the_rest_stays_possible():
    found = said({"F1": f1(0.2, 0.5, 0.3, 0.51, spread=0.3)})
    assert (found.use, found.certainty) == (RAG, Certainty.NOT_TOLD_APART)
    assert "not shown to be better" in found.paragraph
    assert "needs no tuning run" in found.paragraph
    assert "Shown to be below the best: base and tuned." in found.paragraph


def test_a_difference_that_is_not_shown_tells_how_many_questions_would_show_it():
    found = said({"F1": f1(0.2, 0.4, 0.3, 0.46, spread=0.3)})
    assert found.use == RAG
    assert "That is not to say that they are equal" in found.paragraph
    assert "questions would show a difference as large as that, if it is real" in found.paragraph


def test_where_nothing_helps_that_is_said():
    found = said({"F1": f1(0.5, 0.5, 0.5, 0.5)})
    assert (found.use, found.certainty) == (BASE, Certainty.NOT_TOLD_APART)
    assert "Base cites nothing" in found.paragraph


def test_of_two_equal_tuned_ways_the_one_that_follows_documents_is_used():
    assert said({"F1": f1(0.2, 0.3, 0.6, 0.6)}).use == BOTH


def test_tuning_alone_is_used_where_passages_are_shown_to_harm_with_what_that_means():
    found = said({"F1": f1(0.2, 0.3, 0.7, 0.6)})
    assert (found.use, found.certainty) == (TUNED, Certainty.SHOWN)
    assert "Tuned cites nothing" in found.paragraph
    assert "knows what it learnt until it is tuned again" in found.paragraph


def test_what_chance_may_have_made_among_six_pairs_is_not_claimed():
    found = standing({"F1": f1(0.2, 0.5, 0.3, 0.55, spread=0.17)})
    gain = found.between(RAG, BOTH, "F1")
    assert 0.05 / 6 < gain.p_value < 0.05
    told = verdict(found, NO_COSTS, "F1", COUNT, UNKNOWN)
    assert (told.use, told.certainty) == (RAG, Certainty.NOT_TOLD_APART)
    assert "on top of retrieval" in told.paragraph
    assert "(not shown) on top of retrieval" in told.paragraph


@pytest.mark.parametrize("count", [1, 29])
def test_of_few_questions_nothing_is_concluded(count):
    found = said({"F1": f1(0.2, 0.5, 0.3, 0.9)}, count=count)
    assert (found.use, found.certainty) == ("", Certainty.UNDECIDED)
    assert "too few" in found.paragraph


def test_where_nothing_is_right_no_way_is_named():
    nothing = standing_of(
        [
            Evaluated(way, Run((), is_whole=True), parts, figures(parts))
            for way in WAYS
            for parts in [{"F1": {str(place): (0.0, 1.0) for place in range(40)}}]
        ]
    )
    told = verdict(nothing, NO_COSTS, "F1", 40, UNKNOWN)
    assert (told.use, told.certainty) == ("", Certainty.UNDECIDED)
    assert "No way answers anything right by F1." in told.paragraph


def test_without_answers_and_without_a_judge_nothing_is_concluded_but_of_support():
    grounded = {RAG: 0.5, BOTH: 0.8, BASE: 0.0, TUNED: 0.0}
    found = said({"groundedness": grounded})
    assert (found.use, found.certainty) == ("", Certainty.UNDECIDED)
    assert "give the set answers, or name a judge" in found.paragraph
    assert "Tuning is shown to change how often passages support what RAG says" in found.paragraph


def test_a_judge_decides_where_no_answers_are_known():
    assert said({"judge": f1(0.1, 0.5, 0.2, 0.7)}).use == BOTH


def test_a_way_that_is_better_in_words_alone_is_told_of():
    found = said({"F1": f1(0.2, 0.5, 0.3, 0.6), "contains": f1(0.2, 0.7, 0.2, 0.5)})
    assert found.use == BOTH
    assert "By contains it is the other way round: RAG is shown to be above RAG + tuned." in found.paragraph


def test_a_way_whose_sentences_are_less_supported_is_told_of():
    grounded = {RAG: 0.9, BOTH: 0.5, BASE: 0.0, TUNED: 0.0}
    found = said({"F1": f1(0.2, 0.5, 0.3, 0.6), "groundedness": grounded})
    assert "less often supported by passages" in found.paragraph


def test_what_it_takes_stands_beside_the_other_way_that_searches():
    taken = costs(
        **{
            TOTAL: dict(zip(WAYS, (1.0, 2.0, 1.2, 2.5), strict=True)),
            FIRST_TOKEN: dict(zip(WAYS, (0.5, 0.6, 0.5, 0.7), strict=True)),
            COST: dict(zip(WAYS, (1.0, 4.0, 2.0, 5.0), strict=True)),
        }
    )
    paragraph = said({"F1": f1(0.2, 0.5, 0.3, 0.6)}, costs=taken).paragraph
    assert "An answer of it takes 2.5" in paragraph
    assert "against RAG" in paragraph
    assert "A thousand cost" in paragraph


def test_what_followed_a_changed_fact_and_what_never_did_is_told():
    followed = {
        BASE: Followed(knew=False, told_seconds=None, error="DEADLINE_EXCEEDED"),
        RAG: Followed(knew=True, told_seconds=1.25, shown_seconds=1.25),
        TUNED: Followed(knew=False, told_seconds=None),
        BOTH: Followed(knew=True, told_seconds=None, shown_seconds=2.0, is_stale=True),
    }
    paragraph = said({"F1": f1(0.2, 0.5, 0.3, 0.6)}, freshness=Freshness(followed=followed)).paragraph
    assert "A fact that changed was told anew by RAG after 1.2 s, and by tuned and RAG + tuned never." in paragraph
    assert "base did not answer when the fact had changed (DEADLINE_EXCEEDED)." in paragraph
    assert "RAG + tuned was given the passage that says so after 2.0 s, and did not say it." in paragraph


def test_the_age_of_what_was_learnt_is_told():
    learnt = Learnt(12, 3, 1, datetime(2026, 3, 1, tzinfo=UTC))
    paragraph = said({"F1": f1(0.2, 0.5, 0.3, 0.6)}, freshness=Freshness(learnt)).paragraph
    assert "The adapter was made on 2026-03-01." in paragraph
    assert "Of the 12 documents that the adapter learnt from, 3 are deleted since." in paragraph
    assert "tune it again" in paragraph


def test_why_nothing_was_probed_is_told():
    paragraph = said({"F1": f1(0.2, 0.5, 0.3, 0.6)}, freshness=Freshness(why_not="it rained")).paragraph
    assert "was not measured, for it rained." in paragraph
