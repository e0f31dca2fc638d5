"""Compares the four ways on a set of questions, and shows and writes what came of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.tune.v1 import evaluation_service_pb2 as tune_pb

from services.cli.comparison import documents, freshness
from services.cli.comparison.freshness import Freshness, Patience
from services.cli.comparison.judge import Judge, Named, opened
from services.cli.comparison.judging import Judged, judged
from services.cli.comparison.prices import Prices
from services.cli.comparison.result import Comparison, deciding, shared, spent, standing_of, worth
from services.cli.comparison.verdict import Verdict, verdict
from services.cli.comparison.ways import BOTH, RAG, TUNED, Contestants, contestants, digests, tried, ways_of
from services.cli.errors import Failure
from services.cli.evaluation import past, work
from services.cli.evaluation.asking import Asking
from services.cli.evaluation.catalogue import Catalogue, relevant_documents
from services.cli.evaluation.report import Report, answers_score, notes_of
from services.cli.evaluation.running import Run, ask_in_turn
from services.cli.session import Session
from services.cli.views.comparison import comparison_view
from services.cli.views.tables import counted
from services.common.errors import ServiceError
from services.common.evaluation.questions import Question, QuestionSet, parse_set


class NoQuestions(Failure):
    """No questions are named, or they are named twice."""

    reason = "NO_QUESTIONS"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared, beside the questions: `kept` names a kept set; `request` is the same for every way."""

    assistant: str
    adapter: str
    kept: str
    request: pb.AskRequest
    language: str
    judge: Named | None
    prices: Prices | None
    # The most seconds that each way is waited for when a fact changes; 0: no probe.
    freshness_seconds: float


@dataclass(frozen=True, slots=True)
class _Asked:
    """The set that is asked, which documents answer it, and what is to be said of it."""

    whole: QuestionSet
    relevant: Mapping[str, Mapping[str, int]]
    titles: Mapping[str, str]
    unknown: int
    withheld: int
    from_ratings: bool


def compare(session: Session, terms: work.Terms, plan: Plan) -> None:
    """Ask every question in all four ways, and say which of them to use.

    Raises:
        Failure: there is nothing to compare, or nothing came of it.
        KeyboardInterrupt: it was interrupted; what there was is shown and written.
    """
    who = contestants(session.gateway, plan.assistant, plan.adapter)
    asked = _questions(session, terms, plan.kept)
    ways = ways_of(session.gateway, who, plan.request, terms.seconds)
    with ExitStack() as stack:
        trust = session.trust.allow_plaintext
        judge = stack.enter_context(opened(plan.judge, allow_plaintext=trust)) if plan.judge else None
        digest = tried(ways, asked.whole.questions[0], who)
        fresh = _fresh(session, plan, who, Patience(plan.freshness_seconds, terms.seconds))
        fresh = replace(fresh, learnt=freshness.learnt(session.gateway, digest))
        runs = _run(session, asked.whole.questions, ways, terms.concurrency)
        _fail_without_answers(runs)
        kept = shared(runs)
        is_whole = all(run.is_whole for run in runs.values())
        judgements = _judged(session, judge, kept, terms.concurrency) if judge and is_whole else None
    score = answers_score(asked.relevant, plan.language)
    quality, spending = worth(kept, score, judgements), spent(kept, plan.prices)
    notes = tuple(_notes(asked, runs, judgements))
    report = Report("comparison", asked.whole.name, quality, {}, notes, asked.relevant, asked.titles)
    reached = max(len(run.outcomes) for run in runs.values())
    standing, costs = standing_of(quality), standing_of(spending)
    found = Comparison(
        who.assistant, who.adapter, digest, reached, report, spending, standing, costs, plan.prices, judgements, fresh
    )
    _show(session, terms, found, verdict(standing, costs, deciding(standing), found.questions, fresh))
    if not report.is_whole or (judgements and not judgements.is_whole):
        raise KeyboardInterrupt


def _questions(session: Session, terms: work.Terms, kept: str) -> _Asked:
    """Return the set with its documents as the platform calls them.

    Raises:
        Failure: there is none, or it cannot be used.
    """
    if [terms.path is not None, terms.from_ratings, bool(kept)].count(True) != 1:
        raise NoQuestions("name questions with --questions, or a kept set with --set, or take --from-ratings")
    whole, withheld = _kept(session, kept) if kept else (_read(session, terms), 0)
    whole = whole.limited(terms.limit)
    named = any(question.documents and question.answerable for question in whole.questions)
    catalogue = work.catalogue_of(session.gateway, terms.sources) if named else Catalogue(())
    relevant, unknown = relevant_documents(whole.questions, catalogue, allow_unknown=terms.allow_unknown)
    return _Asked(whole, relevant, catalogue.titles, unknown, withheld, terms.from_ratings)


def _read(session: Session, terms: work.Terms) -> QuestionSet:
    if terms.path is None:
        return past.from_ratings(session.gateway)
    return work.read(terms.path, terms.split, terms.duplicates)


def _kept(session: Session, name: str) -> tuple[QuestionSet, int]:
    """Return a set that is kept with the tenant, and how many of its questions are withheld from the caller."""
    found = session.gateway.call(session.gateway.evaluations.GetSet, tune_pb.GetSetRequest(name=name))
    try:
        return parse_set(name, name, found.content.decode().splitlines()), found.withheld
    except ServiceError as error:
        raise Failure(str(error), error.reason, **error.facts) from error


def _fresh(session: Session, plan: Plan, who: Contestants, patience: Patience) -> Freshness:
    if not patience.seconds:
        return Freshness()
    if why := freshness.why_not(session.gateway, who.assistant):
        return Freshness(why_not=why)
    session.output.say("changing a fact, to see which ways follow")
    return Freshness(followed=freshness.probed(session.gateway, who, plan.request, patience))


def _run(
    session: Session, questions: Sequence[Question], ways: Mapping[str, Asking], concurrency: int
) -> dict[str, Run]:
    """Ask everything; after an interrupt what is under way is cancelled."""
    with _progress(session, "asking", len(questions)) as advance:
        runs = ask_in_turn(questions, ways, concurrency, advance)
    if not all(run.is_whole for run in runs.values()):
        session.gateway.close()
    return runs


def _judged(session: Session, judge: Judge, runs: Mapping[str, Run], concurrency: int) -> Judged:
    by_way = {name: {outcome.question.id: outcome for outcome in run.answered} for name, run in runs.items()}
    answers = [{name: by_id[key] for name, by_id in by_way.items()} for key in by_way[RAG]]
    with _progress(session, "judging", len(answers) * (len(runs) - 1)) as advance:
        return judged(judge, answers, concurrency, advance)


@contextmanager
def _progress(session: Session, what: str, total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=session.output.errors, transient=True, disable=session.output.as_json) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _notes(asked: _Asked, runs: Mapping[str, Run], judgements: Judged | None) -> Iterator[str]:
    """Yield what a reader of the figures has to know."""
    yield from notes_of(asked.whole.questions, runs, asked.unknown)
    if asked.withheld:
        yield f"{counted(asked.withheld, 'question')} of the set withheld from you: you may not read their documents"
    if asked.from_ratings:
        yield "the adapter may have learnt from these ratings: questions that were held out are fairer"
    without = sum(not question.answers and question.answerable for question in asked.whole.questions)
    if without:
        yield f"{counted(without, 'question')} without a right answer: F1, exact match and contains leave them out"
    if any(run.failed for run in runs.values()):
        yield "a question that failed in one way counts in none"
    found = digests((runs[TUNED], runs[BOTH]))
    if len(found) > 1:
        yield f"{len(found)} adapters answered under one name: it was moved meanwhile"
    if judgements and judgements.failed:
        yield f"the judge gave no verdict on {judgements.failed} of {counted(judgements.pairs, 'pair')}"


def _fail_without_answers(runs: Mapping[str, Run]) -> None:
    """Raise where nothing was answered in every way."""
    for name, run in runs.items():
        if run.outcomes and not run.answered:
            raise Failure(f"every question failed with {name}", run.failed[0].error)
    answered = [{outcome.question.id for outcome in run.answered} for run in runs.values()]
    if not set.intersection(*answered):
        raise Failure("no question was answered in every way", "NOTHING_COMPARED")


def _show(session: Session, terms: work.Terms, found: Comparison, said: Verdict) -> None:
    data = documents.as_json(found, said)
    if terms.out:
        terms.out.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    if terms.html:
        _write_page(terms.html, found, said)
    brief = {key: value for key, value in data.items() if key != "questions"}
    session.output.show(brief, lambda: comparison_view(found, said))


def _write_page(path: Path, found: Comparison, said: Verdict) -> None:
    from services.cli.comparison.page import page_of  # noqa: PLC0415 - its plots are slow to import

    path.write_text(page_of(found, said))
