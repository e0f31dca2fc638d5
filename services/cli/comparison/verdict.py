"""Which way to use for this data, and why: by rule from figures and intervals, never surer than those are.

A difference counts as shown where its p-value holds for all pairs of ways together (Bonferroni: times 6,
below 0.05). Of the ways that are not shown to be below the best, the first of PREFERRED is used.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from services.cli.comparison.freshness import Freshness
from services.cli.comparison.result import COST, FIRST_TOKEN, TOTAL, Standing
from services.cli.comparison.ways import BASE, BOTH, PAIRS, RAG, SEARCHING, TUNED, WAYS
from services.cli.views.tables import counted
from services.common.evaluation.bootstrap import LEVEL, Difference, Estimate

LEAST_QUESTIONS = 30
# Of equals: what needs no tuning run before what does, and then what follows documents before what cannot.
PREFERRED = (BASE, RAG, BOTH, TUNED)
# Beside what decides: where another way is shown to be better in one of these, that is said.
BESIDE = ("contains", "judge", "abstention F1")
# A sample of which four of five find a difference: standard normal quantiles of a two-sided level and a power.
_QUANTILES = 2.638 + 0.842
_HALF_INTERVAL = 1.96

_PREFERENCE = {
    BASE: "it needs neither an index nor a tuning run",
    RAG: "it needs no tuning run, follows documents by itself, and cites",
    BOTH: "it follows documents by itself, and cites",
}


class Certainty(StrEnum):
    """How far the figures go."""

    # It is shown to be better than every other way.
    SHOWN = "shown"
    # No other is shown to be better, and it is the first of PREFERRED.
    NOT_TOLD_APART = "not told apart"
    # Nothing should be concluded.
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which of WAYS to use, "" for none, how sure that is, and one paragraph that says why."""

    use: str
    certainty: Certainty
    paragraph: str


def verdict(standing: Standing, costs: Standing, measure: str, questions: int, freshness: Freshness) -> Verdict:
    """Return what follows from the figures of `questions` questions; `measure` decides, "" where none can."""
    if not measure:
        return _said("", Certainty.UNDECIDED, [_no_measure(standing), *_fresh(freshness)])
    if questions < LEAST_QUESTIONS:
        return _said("", Certainty.UNDECIDED, [_too_few(standing, measure, questions), *_fresh(freshness)])
    best = _best(standing, measure)
    if standing.figures[best][measure].high <= 0:
        return _said("", Certainty.UNDECIDED, [f"No way answers anything right by {measure}.", *_fresh(freshness)])
    level = [way for way in PREFERRED if way == best or not _is_shown(standing.between(way, best, measure))]
    use = level[0]
    certainty = Certainty.SHOWN if len(level) == 1 else Certainty.NOT_TOLD_APART
    because = _better(standing, measure, use) if len(level) == 1 else _level(standing, measure, level, best)
    sentences = [f"On these {questions} questions use {use}: {because}"]
    sentences += [*_added(standing, measure), *_beside(standing, measure, use), *_spent(costs, use), *_fresh(freshness)]
    return _said(use, certainty, sentences)


def is_shown(difference: Difference) -> bool:
    """Return whether a difference would be found by chance in less than one of twenty comparisons of four ways."""
    return difference.p_value * len(PAIRS) < 1 - LEVEL


def _said(use: str, certainty: Certainty, sentences: list[str]) -> Verdict:
    return Verdict(use, certainty, " ".join(sentence for sentence in sentences if sentence))


def _is_shown(difference: Difference | None) -> bool:
    return difference is not None and is_shown(difference)


def _best(standing: Standing, measure: str) -> str:
    """Return the way with the highest figure; of equal ones the preferred."""
    return max(PREFERRED, key=lambda way: standing.figures[way][measure].value)


def _too_few(standing: Standing, measure: str, questions: int) -> str:
    best = _best(standing, measure)
    return (
        f"{counted(questions, 'question')} {'is' if questions == 1 else 'are'} too few to say which way to use: ask"
        f" {LEAST_QUESTIONS} or more. So far {best} has the highest {measure}, {_figure(standing, best, measure)}."
    )


def _better(standing: Standing, measure: str, use: str) -> str:
    others = [way for way in WAYS if way != use]
    nearest = max(others, key=lambda way: standing.figures[way][measure].value)
    gain = standing.between(nearest, use, measure)
    by = f", {_gain(gain)} over {nearest}, the nearest" if gain else ""
    return f"its {measure}, {_figure(standing, use, measure)}, is shown to be above that of every other way{by}."


def _level(standing: Standing, measure: str, level: list[str], best: str) -> str:
    """Return why the preferred of several is used, and how much better the best may yet be."""
    use, others = level[0], level[1:]
    text = f"{_listed(others)} {'is' if len(others) == 1 else 'are'} not shown to be better, and {_PREFERENCE[use]}."
    below = [way for way in WAYS if way not in level]
    if below:
        text += f" Shown to be below the best: {_listed(below)}."
    if best == use:
        return f"it has the highest {measure}, {_figure(standing, use, measure)}; {text}"
    gain = standing.between(use, best, measure)
    if gain is None:
        return text
    return (
        f"{text} That is not to say that they are equal: {best} has {measure} {_figure(standing, best, measure)}"
        f" against {_figure(standing, use, measure)}, {_gain(gain)}.{_questions_wanted(gain)}"
    )


def _questions_wanted(gain: Difference) -> str:
    """Return how many questions would show a difference as large as the one seen, four times of five."""
    spread = (gain.high - gain.low) / (2 * _HALF_INTERVAL)
    if gain.value <= 0 or spread <= 0:
        return ""
    wanted = math.ceil(gain.count * (_QUANTILES * spread / gain.value) ** 2)
    if wanted <= gain.count:
        return ""
    return f" About {_rounded(wanted)} questions would show a difference as large as that, if it is real."


def _rounded(number: int) -> str:
    """Return a number with two digits that count."""
    digits = max(0, len(str(number)) - 2)
    return f"{math.ceil(number / 10**digits) * 10**digits:,}"


def _added(standing: Standing, measure: str) -> Iterator[str]:
    """Yield what retrieval and what tuning add, each without and with the other."""
    for what, without, with_, other in (
        ("Retrieval", (BASE, RAG), (TUNED, BOTH), "tuning"),
        ("Tuning", (BASE, TUNED), (RAG, BOTH), "retrieval"),
    ):
        alone, beside = standing.between(*without, measure), standing.between(*with_, measure)
        if alone and beside:
            yield f"{what} adds {_effect(alone)} alone, and {_effect(beside)} on top of {other}."


def _beside(standing: Standing, measure: str, use: str) -> Iterator[str]:
    """Yield where another way is shown to be better than the one to use in something else."""
    for name in (each for each in BESIDE if each != measure):
        found = [(way, standing.between(use, way, name)) for way in WAYS if way != use]
        better = [way for way, gain in found if gain is not None and gain.value > 0 and is_shown(gain)]
        if better:
            yield f"By {name} it is the other way round: {_listed(better)} {_are(better)} shown to be above {use}."
    if use not in SEARCHING:
        yield f"{use.capitalize()} cites nothing, so that nobody can check what it says."
    elif gain := standing.between(RAG, BOTH, "groundedness"):
        loser = BOTH if gain.value < 0 else RAG
        if loser == use and is_shown(gain):
            yield f"Its sentences are less often supported by passages, {_gain(gain)} from RAG to RAG + tuned."


def _spent(costs: Standing, use: str) -> Iterator[str]:
    """Yield what the way to use takes, beside the other way that searches, or that does not."""
    mine = costs.figures.get(use, {})
    beside = {BASE: TUNED, TUNED: BASE, RAG: BOTH, BOTH: RAG}[use]
    if TOTAL in mine and FIRST_TOKEN in mine:
        gain = costs.between(beside, use, TOTAL)
        than = f", {_gain(gain, 2)} against {beside}" if gain else ""
        yield (
            f"An answer of it takes {mine[TOTAL].value:.2f} s, its first token {mine[FIRST_TOKEN].value:.2f} s{than}."
        )
    if COST in mine:
        others = ", ".join(f"{way} {_amount(costs.figures[way][COST])}" for way in WAYS if way != use)
        yield f"A thousand cost {_amount(mine[COST])} ({others})."


def _fresh(freshness: Freshness) -> Iterator[str]:
    """Yield what becomes of each way when a fact changes, as far as that was measured."""
    if freshness.followed:
        yield from _followed(freshness)
    else:
        yield (
            "When a fact changes, ways that search follow once it is indexed, and what was tuned knows what it learnt"
            " until it is tuned again; how fast that is here was not measured"
            f"{f', for {freshness.why_not}' if freshness.why_not else ''}."
        )
    yield from _aged(freshness)


def _followed(freshness: Freshness) -> Iterator[str]:
    told = {way: each.told_seconds for way, each in freshness.followed.items() if each.told_seconds is not None}
    never = [way for way, each in freshness.followed.items() if way not in told and not each.error]
    parts = [f"by {_listed([f'{way} after {seconds:.1f} s' for way, seconds in told.items()])}"] if told else []
    parts += [f"by {_listed(never)} never"] if never else []
    if parts:
        yield f"A fact that changed was told anew {', and '.join(parts)}."
    for way, each in freshness.followed.items():
        if way in never and each.shown_seconds is not None:
            yield f"{way} was given the passage that says so after {each.shown_seconds:.1f} s, and did not say it."
        elif way not in told and each.error:
            yield f"{way} did not answer when the fact had changed ({each.error})."


def _aged(freshness: Freshness) -> Iterator[str]:
    learnt = freshness.learnt
    if learnt.made_at:
        yield f"The adapter was made on {learnt.made_at:%Y-%m-%d}."
    if learnt.documents is None:
        yield "What the adapter learnt from is not known."
    elif not learnt.documents:
        yield "The adapter names no document that it learnt from."
    else:
        gone = learnt.deleted_documents or 0
        yield f"Of the {counted(learnt.documents, 'document')} that the adapter learnt from, {gone} are deleted since."
    if learnt.erased_people:
        yield f"{counted(learnt.erased_people, 'person')} that it learnt from was erased: tune it again."


def _no_measure(standing: Standing) -> str:
    text = (
        "No question has a right answer to hold the four ways against, and no judge was asked, so that nothing can be"
        " said of which answers better: give the set answers, or name a judge."
    )
    gain = standing.between(RAG, BOTH, "groundedness")
    if gain is None:
        return text
    how = "is shown to change" if is_shown(gain) else "is not shown to change"
    return f"{text} Tuning {how} how often passages support what RAG says: {_gain(gain)} in groundedness."


def _effect(gain: Difference) -> str:
    return f"{_gain(gain)}{'' if is_shown(gain) else ' (not shown)'}"


def _gain(gain: Difference, digits: int = 3) -> str:
    return f"{gain.value:+.{digits}f} [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]"


def _figure(standing: Standing, way: str, measure: str) -> str:
    figure = standing.figures[way][measure]
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _amount(figure: Estimate) -> str:
    return f"{figure.value:.3g}"


def _are(ways: list[str]) -> str:
    return "is" if len(ways) == 1 else "are"


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
