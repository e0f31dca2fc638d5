"""What may be said of an error in logs and traces: where it came from and what it is, never what it held.

Drivers, parsers and decoders put values into their messages: rows, filters, pieces of documents.
Only what was written to be shown is said as it is.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import grpc

from services.common.errors import ServiceError

MAX_CHARS = 300
MAX_CHAIN = 8


def described(error: BaseException | None) -> str:
    """Return what an error is: its class, with the words or the number that hold nobody's text."""
    if error is None:
        return ""
    said = _words(error)
    return f"{type(error).__name__}: {said}"[:MAX_CHARS] if said else type(error).__name__


def trace_of(error: BaseException) -> str:
    """Return the frames of an error and of those behind it, without their messages and without values."""
    return "\n".join(line for each in _chain(error) for line in _told(each))


def rendered(_logger: object, _method: str, event: Any) -> Any:
    """Replace `exc_info` of an event by its frames, as a structlog processor."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = trace_of(error)
    return event


class QuietFormatter(logging.Formatter):
    """Formats what libraries log; their errors are told as ours are."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one record; a message shows no error that it was given, and of asyncio's the first line alone."""
        quiet = logging.makeLogRecord(record.__dict__ | {"exc_text": None, "args": _without_errors(record.args)})
        if record.name == "asyncio":
            # The rest shows the task or the future that failed, with its error's message.
            quiet.msg, quiet.args = quiet.getMessage().partition("\n")[0], ()
        return super().format(quiet)

    def formatException(self, ei: Any) -> str:
        """Return an error's frames."""
        return trace_of(ei[1]) if ei[1] else ""


def _words(error: BaseException) -> str:
    if isinstance(error, ServiceError):
        return str(error)
    # SQLAlchemy's errors have a driver's behind them, and that a number of five letters.
    if isinstance(state := getattr(getattr(error, "orig", error), "sqlstate", None), str):
        return f"SQLSTATE {state}"
    if isinstance(error, OSError):
        return error.strerror or ""
    if isinstance(error, grpc.aio.AioRpcError):
        return str(error.code().name)
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it, the last first; of a group, its first members too."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) < MAX_CHAIN:
        each = waiting.pop(0)
        if each is None or each in found:
            continue
        found.append(each)
        waiting.append(each.__cause__ or (None if each.__suppress_context__ else each.__context__))
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
    yield from reversed(found)


def _told(error: BaseException) -> Iterator[str]:
    frames = traceback.extract_tb(error.__traceback__)
    yield from (f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    yield described(error)


def _without_errors(args: Any) -> Any:
    if isinstance(args, tuple):
        return tuple(described(each) if isinstance(each, BaseException) else each for each in args)
    return args
