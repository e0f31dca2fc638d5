"""eval …: how good searches and answers are, on questions whose answers are known."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.evaluation import proposing
from services.cli.session import Session
from services.cli.views.tables import counted
from services.common.evaluation.questions import Duplicates

SetPath = Annotated[Path | None, typer.Option("--set", help="A BEIR folder, or a file of CSV or JSONL; .gz too.")]
Split = Annotated[str, typer.Option(help="Of a BEIR folder: qrels/SPLIT.tsv.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=0, help="Only the first so many questions; 0 means all.")]
FromRatings = Annotated[bool, typer.Option("--from-ratings", help="Questions whose answers people found good.")]
DuplicatesOption = Annotated[Duplicates, typer.Option(help="What becomes of a question that is asked twice.")]
AllowUnknown = Annotated[
    bool, typer.Option("--allow-unknown", help="Documents of the set that are not known here count as not found.")
]
Sources = Annotated[list[str] | None, typer.Option("--filter-source", help="Only this source; may be given again.")]
Concurrency = Annotated[int, typer.Option(min=1, max=32, help="Questions that are asked at once.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write everything to this file, as JSON.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with plots and the worst questions.")]


def evaluate_retrieval(
    session: Session,
    path: SetPath = None,
    split: Split = "test",
    limit: Limit = 0,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=100, help="Documents that count.")] = 10,
    options: Annotated[
        list[str] | None, typer.Option("--with", help="A field of the search, such as steps=1; may be given again.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="The same of a second search to compare with; `live` changes nothing."),
    ] = None,
    from_ratings: FromRatings = False,
    duplicates: DuplicatesOption = Duplicates.REFUSE,
    allow_unknown: AllowUnknown = False,
    filter_source: Sources = None,
    concurrency: Concurrency = 4,
    timeout: Annotated[float, typer.Option(help="Seconds for each search.")] = 30.0,
    out: Out = None,
    html: Html = None,
) -> None:
    """Search for the questions of a set: nDCG, recall, MRR, and whether all was found."""
    from services.cli.evaluation import work  # noqa: PLC0415 - numpy and ir-measures are slow to import

    terms = work.Terms(
        path,
        split,
        limit,
        from_ratings,
        duplicates,
        allow_unknown,
        filter_source or (),
        concurrency,
        timeout,
        out,
        html,
    )
    work.evaluate_retrieval(session, terms, top_k, options or (), against or ())


def evaluate_answers(
    session: Session,
    path: SetPath = None,
    split: Split = "test",
    limit: Limit = 0,
    assistant: Annotated[str, typer.Option(help="Who answers.")] = "",
    against: Annotated[str, typer.Option(help="A second assistant to compare with.")] = "",
    base: Annotated[
        bool, typer.Option("--base", help="Compare with the assistant that answers without retrieval.")
    ] = False,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Passages wanted; 0 means the assistant's.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Length of an answer at most; 0 means the default.")] = 0,
    language: Annotated[str, typer.Option(help="Whose articles do not count: en, fr; both by default.")] = "",
    from_ratings: FromRatings = False,
    duplicates: DuplicatesOption = Duplicates.REFUSE,
    allow_unknown: AllowUnknown = False,
    filter_source: Sources = None,
    concurrency: Concurrency = 2,
    timeout: Annotated[float, typer.Option(help="Seconds for each answer.")] = 120.0,
    out: Out = None,
    html: Html = None,
) -> None:
    """Ask the questions of a set: exact match, F1, citations, groundedness, and when it abstains."""
    from services.cli.evaluation import work  # noqa: PLC0415 - numpy and ir-measures are slow to import

    terms = work.Terms(
        path,
        split,
        limit,
        from_ratings,
        duplicates,
        allow_unknown,
        filter_source or (),
        concurrency,
        timeout,
        out,
        html,
    )
    if base and not against:
        against = work.base_assistant(session.gateway)
    request = work.ask_request(top_k, max_tokens, filter_source or ())
    work.evaluate_answers(session, terms, request, [assistant, against] if against else [assistant], language)


def make_set(
    session: Session,
    out: Annotated[Path, typer.Option("--out", help="The file to write, of JSONL.")] = Path("questions.jsonl"),
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Questions at most.")] = 50,
    filter_source: Sources = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Propose a set for you to edit: what people asked, and questions made of the documents' headings."""
    written = proposing.propose(session.gateway, count, filter_source or ())
    proposing.write(out, written, force=force)
    made = {"file": str(out), "questions": len(written), "asked": sum(each.was_asked for each in written)}
    session.output.show(
        made,
        lambda: (
            f"{counted(len(written), 'question')} in {out}, {made['asked']} of them asked by people: review each,"
            " give it answers, and set review to keep or drop"
        ),
    )
