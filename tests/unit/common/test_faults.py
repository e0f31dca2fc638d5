"""What is said of an error is where it came from and what it is, whatever it held."""

import asyncio
import io
import logging
import os
import subprocess
import sys

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.exc import IntegrityError

from services.common import telemetry
from services.common.errors import NotFound
from services.common.faults import QuietFormatter, described, rendered, trace_of
from services.common.settings import PlatformSettings

TEXT = "the salary of Ada"


class RefusedByDriver(Exception):
    sqlstate = "23505"


def failing():
    try:
        int(TEXT)
    except ValueError as error:
        raise KeyError(TEXT) from error


@pytest.fixture
def error():
    with pytest.raises(KeyError) as raised:
        failing()
    return raised.value


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ValueError(TEXT), "ValueError"),
        (NotFound("there is no such source"), "NotFound: there is no such source"),
        (OSError(2, "No such file or directory", TEXT), "FileNotFoundError: No such file or directory"),
        (OSError(TEXT), "OSError"),
        (IntegrityError(TEXT, {"a": TEXT}, RefusedByDriver(TEXT)), "IntegrityError: SQLSTATE 23505"),
        (AioRpcError(StatusCode.INTERNAL, Metadata(), Metadata(), TEXT), "AioRpcError: INTERNAL"),
        (RefusedByDriver(TEXT), "RefusedByDriver: SQLSTATE 23505"),
        (NotFound("x" * 1000), ("NotFound: " + "x" * 1000)[:300]),
        (None, ""),
    ],
)
def test_an_error_is_described_without_what_it_held(fault, said):
    assert described(fault) == said


def test_a_trace_has_every_frame_and_cause_and_no_message(error):
    told = trace_of(error)
    assert told.index("ValueError") < told.index("KeyError")
    assert f"{__file__}:" in told
    assert "in failing" in told
    assert TEXT not in told


def test_a_trace_of_a_group_tells_of_its_members_and_one_of_itself_ends():
    group = ExceptionGroup(TEXT, [ValueError(TEXT), NotFound("nothing is there")])
    assert {"ExceptionGroup", "ValueError", "NotFound: nothing is there"} <= set(trace_of(group).splitlines())
    itself = ValueError(TEXT)
    itself.__context__ = itself
    assert trace_of(itself) == "ValueError"


@pytest.mark.parametrize("form", ["error", "tuple", "true"])
def test_an_event_has_an_errors_frames(error, form):
    if form == "true":
        try:
            raise error
        except KeyError:
            event = rendered(None, "", {"exc_info": True})
    else:
        event = rendered(None, "", {"exc_info": error if form == "error" else (type(error), error, None)})
    assert "in failing" in event["exception"]
    assert TEXT not in str(event)
    assert "exc_info" not in event


@pytest.fixture
def logged():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(QuietFormatter(logging.BASIC_FORMAT))
    loggers = [logging.getLogger(name) for name in ("a.library", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    yield stream
    for logger in loggers:
        logger.removeHandler(handler)


def test_a_librarys_log_tells_errors_as_we_do(logged, error):
    logging.getLogger("a.library").error("it failed: %s of %d", error, 3, exc_info=error)
    said = logged.getvalue()
    assert "it failed: KeyError of 3" in said
    assert "in failing" in said
    assert TEXT not in said


async def test_what_asyncio_says_of_a_forgotten_task_shows_no_message(logged):
    async def forgotten():
        raise ValueError(TEXT)

    task = asyncio.create_task(forgotten())
    await asyncio.wait({task})
    del task
    said = logged.getvalue()
    assert "Task exception was never retrieved" in said
    assert "ValueError" in said
    assert TEXT not in said


def test_a_span_says_the_class_of_an_error_alone(monkeypatch):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
    with pytest.raises(ValueError, match=TEXT), telemetry.spanned("work"):
        raise ValueError(TEXT)
    [span] = exporter.get_finished_spans()
    assert not span.events
    assert span.status.description == "ValueError"
    assert TEXT not in span.to_json()


@pytest.mark.parametrize(
    "fault",
    [
        f"raise ValueError('{TEXT}')",
        f"import threading; t = threading.Thread(target=lambda: int('{TEXT}')); t.start(); t.join()",
        f"log.error('x', exc_info=ValueError('{TEXT}'))",
    ],
    ids=["crash", "thread", "log"],
)
def test_a_process_says_of_an_error_its_class_alone(fault):
    program = f"from services.common.telemetry import *; start_telemetry('x', 'debug', ''); {fault}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60, env=os.environ
    )
    assert "ValueError" in done.stdout
    assert TEXT not in done.stdout + done.stderr


def test_a_setting_that_stops_the_start_is_named_and_not_shown(monkeypatch):
    monkeypatch.setenv("TANDEM_IDENTITY_KEY", "too short")
    with pytest.raises(ValueError, match="identity_key") as raised:
        PlatformSettings()
    assert "too short" not in str(raised.value)
