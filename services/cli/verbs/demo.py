"""demo: the whole platform at work on an example company, from start to stop."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1.generate_service_pb2 import Sampling

from services.cli.errors import Failure
from services.cli.session import Session
from services.cli.stage import platform_of_its_own, step, until_stored
from services.cli.verbs import answers, platform, records, sources
from services.cli.verbs.answers import Thumb

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "company"
# With how many passages each is answered: a very small model loses its way among many.
QUESTIONS = {
    "What is the deposit for a loan machine?": 2,
    "How many working days does a repair take?": 1,
    "What is the warranty of the Galet?": 3,
    "How much does the Galet hand grinder cost?": 2,
    "Quel est le délai de rétractation ?": 3,
}
SEARCH = "Combien coûte la livraison en Belgique ?"
COMMENT = "Just what I wanted to know."
ANSWER_SECONDS = 120.0
# The default model is very small: it begins well, and then rambles.
ANSWER_TOKENS = 64
INDEX_SECONDS = 300.0


class NoExamples(Failure):
    """The documents of the demo are not there."""

    reason = "NO_EXAMPLES"


def demo(
    session: Session,
    documents: Annotated[Path, typer.Option(help="The folder to ingest and to ask about.")] = EXAMPLES,
    engine: platform.EngineOption = platform.Engine.VLLM,
) -> None:
    """Start a platform of its own, ingest the examples, ask, rate, show what was stored, and stop it all."""
    if not documents.is_dir():
        raise NoExamples(f"there is no folder {documents}: give one with --documents")
    with platform_of_its_own(session, "demo", engine) as own:
        _show_all(own, documents)


def _show_all(session: Session, documents: Path) -> None:
    name = sources.name_of(documents)
    step(session, "source", "add", "files", str(documents))
    sources.add_files(session, documents)
    step(session, "wait")
    sources.wait(session, timeout=INDEX_SECONDS)
    step(session, "search", SEARCH, "--top-k", "2")
    answers.search(session, SEARCH, 2)
    first, *_ = [_ask(session, question, top_k) for question, top_k in QUESTIONS.items()]
    step(session, "rate", first, "up", "--comment", COMMENT)
    answers.rate(session, first, Thumb.UP, COMMENT)
    until_stored(partial(records.stored_interactions, session), len(QUESTIONS))
    step(session, "interactions")
    records.interactions(session)
    step(session, "ratings")
    records.ratings(session)
    step(session, "source", "status", name)
    sources.status(session, name)


def _ask(session: Session, question: str, top_k: int) -> str:
    step(session, "ask", question, "--top-k", str(top_k), "--max-tokens", str(ANSWER_TOKENS))
    request = pb.AskRequest(question=question, top_k=top_k, sampling=Sampling(max_tokens=ANSWER_TOKENS))
    return answers.stream_answer(session, request, ANSWER_SECONDS)
