"""Asks many questions at once, in one way or several: within a deadline, again only where the platform was away."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

import grpc

from services.cli.errors import failure_of
from services.cli.evaluation.outcomes import Outcome
from services.common.evaluation.questions import Question

ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.5
# What is wrong with one question here is wrong with every one.
FATAL = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
)

# Asks one question, within its deadline.
Ask = Callable[[Question], Outcome]


@dataclass(frozen=True, slots=True)
class Run:
    """The outcomes of the questions that were reached, in the set's order."""

    outcomes: tuple[Outcome, ...]
    is_whole: bool

    @property
    def answered(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if not outcome.error)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.error)


def ask_all(questions: Sequence[Question], ask: Ask, concurrency: int, advance: Callable[[], None]) -> Run:
    """Return what came of `questions`, asked `concurrency` at once; an interrupt ends it with what there is.

    Raises:
        grpc.RpcError: one that every question would meet.
    """
    return ask_in_turn(questions, {"": ask}, concurrency, advance)[""]


def ask_in_turn(
    questions: Sequence[Question], ways: Mapping[str, Ask], concurrency: int, advance: Callable[[], None]
) -> dict[str, Run]:
    """Return what came of `questions` in each of several ways, a question at a time in all of them.

    So all ways meet the same load, and what one leaves in the caches, the next finds as often as the others
    do (see `turns`). An interrupt ends it with the questions that were asked in every way.

    Raises:
        grpc.RpcError: one that every question would meet.
    """
    reached: dict[int, Mapping[str, Outcome]] = {}
    is_whole = False
    pool = ThreadPoolExecutor(concurrency)
    try:
        futures = {pool.submit(_each_way, ways, place, asked): place for place, asked in enumerate(questions)}
        for future in as_completed(futures):
            reached[futures[future]] = future.result()
            advance()
        is_whole = True
    except KeyboardInterrupt:
        pass
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {name: Run(tuple(reached[place][name] for place in sorted(reached)), is_whole) for name in ways}


def turns(count: int, place: int) -> list[int]:
    """Return in which order the question at `place` is asked in `count` ways.

    Over `count` questions each way is at each place once, and, where `count` is even, follows each other way
    once (Williams 1949, Experimental designs balanced for the estimation of residual effects of treatments).
    """
    steps = [(number + 1) // 2 if number % 2 else count - number // 2 for number in range(count)]
    return [(place + step) % count for step in steps]


def _each_way(ways: Mapping[str, Ask], place: int, question: Question) -> dict[str, Outcome]:
    names = list(ways)
    return {names[turn]: patiently(ways[names[turn]], question) for turn in turns(len(names), place)}


def patiently(ask: Ask, question: Question) -> Outcome:
    """Ask, again where the platform was away; what cannot be answered is an outcome with its reason.

    Raises:
        grpc.RpcError: one that every question would meet.
    """
    for attempt in range(1, ATTEMPTS + 1):
        started = time.perf_counter()
        try:
            return replace(ask(question), seconds=time.perf_counter() - started)
        except grpc.RpcError as error:
            if error.code() in FATAL:
                raise
            if error.code() is not grpc.StatusCode.UNAVAILABLE or attempt == ATTEMPTS:
                return Outcome(question, error=failure_of(error, "").reason, seconds=time.perf_counter() - started)
        time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("the last attempt returns")
