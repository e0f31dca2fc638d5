"""Where demos play: a platform with a home of its own, which is stopped whatever happens."""

import contextlib
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from services.cli.daemon import Options
from services.cli.home import Home
from services.cli.session import Session
from services.cli.verbs import platform

START_SECONDS = 600.0
STORED_SECONDS = 30.0
POLL_SECONDS = 0.1


@contextlib.contextmanager
def platform_of_its_own(session: Session, name: str, engine: platform.Engine) -> Iterator[Session]:
    """Start a platform that knows nothing, and stop it at the end; one that an earlier demo left is stopped first."""
    # A home of its own: a demo begins with nothing, and must not forget what anybody keeps.
    home = Home(session.home.root / name)
    own = Session(session.program, home, session.output)
    options = Options(engine.value, 0, session.home.cache, START_SECONDS)
    with _stopped_after(own), contextlib.closing(own):
        home.erase_data()
        step(own, "up", "--detach")
        platform.start_and_show(own, options)
        yield own


def step(session: Session, *arguments: str) -> None:
    """Show the command that does what comes next."""
    session.output.say(f"\n$ tandem {shlex.join(arguments)}", "bold magenta")


def until_stored(stored: Callable[[int], Sequence[object]], count: int) -> None:
    """Wait until so many of what was asked or rated have come through the event log; a moment, as a rule."""
    deadline = time.monotonic() + STORED_SECONDS
    while len(stored(count)) < count and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _stopped_after(session: Session) -> Iterator[None]:
    caught = (signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, signal.default_int_handler) for each in caught}
    platform.stop(session.home)
    try:
        yield
    finally:
        step(session, "down")
        platform.down(session)
        for each, handler in before.items():
            signal.signal(each, handler)
