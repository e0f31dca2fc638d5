"""demo: the whole platform at work on an example company, from start to stop."""

import contextlib
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1.generate_service_pb2 import Sampling

from services.cli.daemon import Options
from services.cli.errors import Failure
from services.cli.home import Home
from services.cli.session import Session
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
START_SECONDS = 600.0
INDEX_SECONDS = 300.0
STORED_SECONDS = 10.0
POLL_SECONDS = 0.1


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
    # A home of its own: the demo begins with nothing, and must not forget what anybody keeps.
    home = Home(session.home.root / "demo")
    own = Session(session.program, home, session.output)
    options = Options(engine.value, 0, session.home.cache, START_SECONDS)
    with _stopped_after(own), contextlib.closing(own):
        home.erase_data()
        _step(own, "up", "--detach")
        platform.start_and_show(own, options)
        _show_all(own, documents)


@contextlib.contextmanager
def _stopped_after(session: Session) -> Iterator[None]:
    """Stop the demo's platform whatever happens, and one that an earlier demo may have left."""
    caught = (signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, signal.default_int_handler) for each in caught}
    platform.stop(session.home)
    try:
        yield
    finally:
        _step(session, "down")
        platform.down(session)
        for each, handler in before.items():
            signal.signal(each, handler)


def _show_all(session: Session, documents: Path) -> None:
    name = sources.name_of(documents)
    _step(session, "source", "add", "files", str(documents))
    sources.add_files(session, documents)
    _step(session, "wait")
    sources.wait(session, timeout=INDEX_SECONDS)
    _step(session, "search", SEARCH, "--top-k", "2")
    answers.search(session, SEARCH, 2)
    first, *_ = [_ask(session, question, top_k) for question, top_k in QUESTIONS.items()]
    _step(session, "rate", first, "up", "--comment", COMMENT)
    answers.rate(session, first, Thumb.UP, COMMENT)
    _until_stored(session, len(QUESTIONS))
    shown: dict[str, Callable[[], None]] = {
        "interactions": lambda: records.interactions(session),
        "ratings": lambda: records.ratings(session),
        f"source status {name}": lambda: sources.status(session, name),
    }
    for command, show in shown.items():
        _step(session, *command.split())
        show()


def _until_stored(session: Session, interactions: int) -> None:
    """Wait until all that was asked has come through the event log; a moment, as a rule."""
    deadline = time.monotonic() + STORED_SECONDS
    while len(records.stored_interactions(session, interactions)) < interactions and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _ask(session: Session, question: str, top_k: int) -> str:
    _step(session, "ask", question, "--top-k", str(top_k), "--max-tokens", str(ANSWER_TOKENS))
    request = pb.AskRequest(question=question, top_k=top_k, sampling=Sampling(max_tokens=ANSWER_TOKENS))
    return answers.stream_answer(session, request, ANSWER_SECONDS)


def _step(session: Session, *arguments: str) -> None:
    """Show the command that does what comes next."""
    session.output.say(f"\n$ tandem {shlex.join(arguments)}", "bold magenta")
