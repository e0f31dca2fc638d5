"""compare: base, RAG, tuned, and RAG + tuned, on the same questions."""

from pathlib import Path
from typing import Annotated

import typer
from tandem.generate.v1.generate_service_pb2 import Sampling

from services.cli.errors import Failure
from services.cli.session import Session
from services.cli.verbs.evaluation import AllowUnknown, DuplicatesOption, Html, Limit, Out, Sources, Split
from services.common.evaluation.questions import Duplicates

MAX_SEED = 2**63 - 1


class NoJudgeKey(Failure):
    """The environment variable that should hold the judge's key is not there."""

    reason = "NO_JUDGE_KEY"


def compare(
    session: Session,
    questions: Annotated[
        Path | None, typer.Option("--questions", help="A BEIR folder, or a file of CSV or JSONL; .gz too.")
    ] = None,
    kept: Annotated[str, typer.Option("--set", help="A set that is kept with the tenant, by its name.")] = "",
    from_ratings: Annotated[
        bool, typer.Option("--from-ratings", help="Questions whose answers people found good.")
    ] = False,
    assistant: Annotated[str, typer.Option(help="Whose instructions, sources and length count.")] = "",
    adapter: Annotated[str, typer.Option(help="What is tuned, by alias or name; the assistant's by default.")] = "",
    split: Split = "test",
    limit: Limit = 0,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Passages wanted; 0 means the assistant's.")] = 0,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes each token's likeliest.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Length of an answer at most; 0 means the assistant's.")] = 0,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Makes drawing repeatable, above temperature 0; 0 means none.")
    ] = 0,
    language: Annotated[str, typer.Option(help="Whose articles do not count: en, fr; both by default.")] = "",
    judge: Annotated[str, typer.Option(help="A judge's address, such as https://host/v1: it reads all answers.")] = "",
    judge_model: Annotated[str, typer.Option(help="The judge's model.")] = "",
    judge_key_env: Annotated[str, typer.Option(help="The environment variable that holds the judge's key.")] = "",
    price_prompt: Annotated[float, typer.Option(help="Price of a million tokens read.")] = 0.0,
    price_completion: Annotated[float, typer.Option(help="Price of a million tokens written.")] = 0.0,
    price_hour: Annotated[float, typer.Option(help="Price of the machine's hour, instead of prices by token.")] = 0.0,
    freshness: Annotated[
        bool, typer.Option("--freshness", help="Change a fact of a scratch source, and see which ways follow.")
    ] = False,
    freshness_timeout: Annotated[float, typer.Option(help="Seconds that a way is waited for at most.")] = 60.0,
    duplicates: DuplicatesOption = Duplicates.REFUSE,
    allow_unknown: AllowUnknown = False,
    filter_source: Sources = None,
    concurrency: Annotated[int, typer.Option(min=1, max=32, help="Questions that are asked at once.")] = 2,
    timeout: Annotated[float, typer.Option(help="Seconds for each answer.")] = 120.0,
    out: Out = None,
    html: Html = None,
) -> None:
    """Answer questions by base, RAG, tuned, and RAG + tuned, and say which to use for this data, and why."""
    from services.cli.comparison import judge as judges  # noqa: PLC0415 - httpx and numpy are slow to import
    from services.cli.comparison import prices, work  # noqa: PLC0415
    from services.cli.evaluation.work import Terms, ask_request  # noqa: PLC0415

    terms = Terms(
        questions,
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
    request = ask_request(top_k, max_tokens, filter_source or ())
    request.sampling.MergeFrom(Sampling(temperature=temperature, seed=seed))
    plan = work.Plan(
        assistant=assistant,
        adapter=adapter,
        kept=kept,
        request=request,
        language=language,
        judge=judges.Named(judge, judge_model, _key(session, judge_key_env), timeout) if judge else None,
        prices=prices.prices_of(price_prompt, price_completion, price_hour, concurrency),
        freshness_seconds=freshness_timeout if freshness else 0.0,
    )
    work.compare(session, terms, plan)


def _key(session: Session, variable: str) -> str:
    """Return the judge's key; "" where it needs none."""
    if not variable:
        return ""
    key = session.program.environment.get(variable, "").strip()
    if not key:
        raise NoJudgeKey(f"the environment has no {variable}", variable=variable)
    return key
