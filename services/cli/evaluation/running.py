"""Asks many questions at once: each within its deadline, repeated only where the platform was away."""

import time
from collections.abc import Callable, Sequence
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
    reached: dict[int, Outcome] = {}
    pool = ThreadPoolExecutor(concurrency)
    try:
        futures = {pool.submit(_patiently, ask, question): place for place, question in enumerate(questions)}
        for future in as_completed(futures):
            reached[futures[future]] = future.result()
            advance()
    except KeyboardInterrupt:
        return Run(_ordered(reached), is_whole=False)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return Run(_ordered(reached), is_whole=True)


def _ordered(reached: dict[int, Outcome]) -> tuple[Outcome, ...]:
    return tuple(reached[place] for place in sorted(reached))


def _patiently(ask: Ask, question: Question) -> Outcome:
    """Ask, again where the platform was away; what cannot be answered is an outcome with its reason."""
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
