"""Evaluates one configuration, or two, on a set, and shows and writes what came of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1.generate_service_pb2 import Sampling
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb

from services.cli.errors import Failure
from services.cli.evaluation import past
from services.cli.evaluation.asking import Asking, InvalidOption, Searching, search_request
from services.cli.evaluation.catalogue import Catalogue, NoDocuments, relevant_documents
from services.cli.evaluation.report import (
    Evaluated,
    Relevant,
    Report,
    Score,
    answers_score,
    as_json,
    compared,
    evaluated,
    notes_of,
    passages_score,
)
from services.cli.evaluation.running import Ask, Run, ask_all
from services.cli.gateway import Gateway, int32
from services.cli.session import Session
from services.cli.views.evaluation import report_table
from services.common.errors import ServiceError
from services.common.evaluation.questions import Duplicates, Question, QuestionSet, read_set

LIVE = "live"
# Of a document several passages may be found: more are asked for, so that there are enough documents.
PASSAGES_A_DOCUMENT = 3
MAX_PASSAGES = 100


class NoSet(Failure):
    """Neither a set nor past ratings are named, or both."""

    reason = "NO_SET"


class NoBaseAssistant(Failure):
    """The tenant has no assistant that answers without retrieval."""

    reason = "NO_BASE_ASSISTANT"


@dataclass(frozen=True, slots=True)
class Terms:
    """Which questions are asked, and what is done with what comes."""

    path: Path | None
    split: str
    limit: int
    from_ratings: bool
    duplicates: Duplicates
    allow_unknown: bool
    sources: Sequence[str]
    concurrency: int
    seconds: float
    out: Path | None
    html: Path | None


def evaluate_retrieval(session: Session, terms: Terms, k: int, first: Sequence[str], second: Sequence[str]) -> None:
    """Search for every question as `first` says, and as `second` says if it says anything."""
    gateway, sources = session.gateway, terms.sources
    ways: dict[str, Ask] = {}
    for options in (first, second) if second else (first,):
        given = [option for option in options if option != LIVE]
        request = search_request(gateway, given, sources, min(k * PASSAGES_A_DOCUMENT, MAX_PASSAGES))
        _add(ways, ", ".join(given) or LIVE, Searching(gateway, request, terms.seconds))
    asked = questions_of(session, terms)
    judged = QuestionSet(asked.name, tuple(each for each in asked.questions if each.documents and each.answerable))
    if not judged.questions:
        raise NoDocuments("no question of the set names a document that answers it")
    _evaluate(session, terms, judged, ways, lambda relevant: passages_score(relevant, k))


def evaluate_answers(
    session: Session, terms: Terms, request: pb.AskRequest, assistants: Sequence[str], language: str
) -> None:
    """Ask every question of one assistant, or of two."""
    ways: dict[str, Ask] = {}
    for assistant in assistants:
        own = pb.AskRequest(assistant=assistant)
        own.MergeFrom(request)
        _add(ways, assistant or "default", Asking(session.gateway, own, terms.seconds))
    asked = questions_of(session, terms)
    _evaluate(session, terms, asked, ways, lambda relevant: answers_score(relevant, language))


def ask_request(top_k: int, max_tokens: int, sources: Sequence[str]) -> pb.AskRequest:
    """Return what every question of an evaluation is asked with; answers are the model's likeliest, every time."""
    request = pb.AskRequest(top_k=int32(top_k), sampling=Sampling(max_tokens=int32(max_tokens), temperature=0.0))
    if sources:
        request.filter.sources.extend(sources)
    return request


def base_assistant(gateway: Gateway) -> str:
    """Return the assistant that answers without retrieval.

    Raises:
        NoBaseAssistant: there is none.
    """
    pages = gateway.pages(gateway.assistants.ListAssistants, pb.ListAssistantsRequest())
    for assistant in (each for page in pages for each in page.assistants):
        if assistant.without_retrieval:
            return str(assistant.name)
    raise NoBaseAssistant(
        "no assistant answers without retrieval: `tandem assistant put base --no-retrieval` makes one"
    )


def questions_of(session: Session, terms: Terms) -> QuestionSet:
    """Return the set that is asked.

    Raises:
        Failure: there is none, or it cannot be used.
    """
    if (terms.path is None) is not terms.from_ratings:
        raise NoSet("name a set with --set, or take past ratings with --from-ratings")
    if terms.path is None:
        return past.from_ratings(session.gateway).limited(terms.limit)
    return read(terms.path, terms.split, terms.duplicates).limited(terms.limit)


def read(path: Path, split: str, duplicates: Duplicates) -> QuestionSet:
    """Return the set in a folder or a file.

    Raises:
        Failure: it cannot be used, and why.
    """
    try:
        return read_set(path, split, duplicates)
    except ServiceError as error:
        raise Failure(str(error), error.reason, **error.facts) from error


def catalogue_of(gateway: Gateway, sources: Sequence[str]) -> Catalogue:
    """Return the documents of some sources, or of all."""
    requests = [ingest_pb.ListDocumentsRequest(source=source) for source in sources or ("",)]
    pages = (page for request in requests for page in gateway.pages(gateway.sources.ListDocuments, request))
    return Catalogue(document for page in pages for document in page.documents)


def _add(ways: dict[str, Ask], name: str, ask: Ask) -> None:
    if name in ways:
        raise InvalidOption(f"{name} would be compared with itself")
    ways[name] = ask


def _evaluate(
    session: Session, terms: Terms, asked: QuestionSet, ways: dict[str, Ask], score_of: Callable[[Relevant], Score]
) -> None:
    catalogue = catalogue_of(session.gateway, terms.sources) if _names_documents(asked.questions) else Catalogue(())
    relevant, unknown = relevant_documents(asked.questions, catalogue, allow_unknown=terms.allow_unknown)
    runs = _run(session, asked.questions, ways, terms.concurrency)
    results = [evaluated(name, run, score_of(relevant)) for name, run in runs.items()]
    notes = notes_of(asked.questions, runs, unknown)
    kind = "retrieval" if isinstance(next(iter(ways.values())), Searching) else "answers"
    report = Report(kind, asked.name, tuple(results), compared(results), notes, relevant, catalogue.titles)
    _show(session, terms, report)
    if not report.is_whole:
        raise KeyboardInterrupt
    _fail_without_answers(results)


def _names_documents(questions: Iterable[Question]) -> bool:
    return any(question.documents and question.answerable for question in questions)


def _run(session: Session, questions: Sequence[Question], ways: dict[str, Ask], concurrency: int) -> dict[str, Run]:
    """Ask everything; after an interrupt no other configuration begins, and what is under way is cancelled."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    runs: dict[str, Run] = {}
    hidden = session.output.as_json
    with Progress(*columns, console=session.output.errors, transient=True, disable=hidden) as progress:
        for label, (name, ask) in zip("AB", ways.items(), strict=False):
            task = progress.add_task(label, total=len(questions))
            runs[name] = ask_all(questions, ask, concurrency, lambda task=task: progress.advance(task))  # type: ignore[misc]
            if not runs[name].is_whole:
                session.gateway.close()
                break
    return runs


def _show(session: Session, terms: Terms, report: Report) -> None:
    data = as_json(report)
    if terms.out:
        terms.out.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    if terms.html:
        from services.cli.evaluation.page import page_of  # noqa: PLC0415 - its plots are slow to import

        terms.html.write_text(page_of(report))
    session.output.show(_without_questions(data), lambda: report_table(report))


def _without_questions(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "questions"}


def _fail_without_answers(results: Sequence[Evaluated]) -> None:
    """Raise where a configuration answered nothing at all."""
    for each in results:
        if each.run.outcomes and not each.run.answered:
            raise Failure(f"every question failed with {each.name}", each.run.failed[0].error)
