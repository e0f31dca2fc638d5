"""Logs, spans and the metrics of every RPC and record; their names are constants here."""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

from services.common import faults

RPC_FINISHED = "rpc_finished"
RECORD_FAILED = "record_failed"

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)

RPC_SECONDS = Histogram(
    "tandem_rpc_duration_seconds", "From a call's arrival to its end.", ["rpc", "code"], buckets=SECONDS
)
RECORDS = Counter("tandem_records_total", "Records consumed.", ["topic", "outcome"])
RECORD_SECONDS = Histogram(
    "tandem_record_batch_duration_seconds", "Handling one batch of records.", ["topic"], buckets=SECONDS
)
TLS_EXPIRY = Gauge(
    "tandem_tls_certificate_expiry_timestamp_seconds", "When the certificate in use expires.", ["certificate"]
)
TLS_RELOADS = Counter(
    "tandem_tls_reloads_total", "Certificates read again after their files changed.", ["certificate", "outcome"]
)

tracer = trace.get_tracer("tandem")
log = structlog.get_logger()

_W3C = TraceContextTextMapPropagator()


def start_telemetry(service: str, log_level: str, traces: str) -> None:
    """Set up JSON logs on stdout and tracing for this process.

    `traces` is an OTLP gRPC URL, "file:FOLDER" for one file of JSON lines a service, or ""
    (ids are still made and passed on).
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            faults.rendered,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(log_level.upper())),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(faults.QuietFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    sys.excepthook = _crashed
    threading.excepthook = _thread_crashed
    exporter = _exporter_of(service, traces)
    provider = TracerProvider(
        sampler=ALWAYS_ON if exporter else ALWAYS_OFF,
        resource=Resource.create({SERVICE_NAME: service}),
    )
    if exporter:
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    trace.set_tracer_provider(provider)


@contextlib.contextmanager
def spanned(name: str, parent: Context | None = None, **options: Any) -> Iterator[Span]:
    """Make what is done here a span; of an error it says the class, for messages may hold anything."""
    options |= {"record_exception": False, "set_status_on_exception": False}
    with tracer.start_as_current_span(name, parent, **options) as span, failing(span):
        yield span


@contextlib.contextmanager
def failing(span: Span) -> Iterator[None]:
    """Mark a span as failed, with the class of what is raised here."""
    try:
        yield
    except Exception as error:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise


def inject(carrier: dict[str, str]) -> dict[str, str]:
    """Add the current trace context to `carrier` (W3C) and return it."""
    _W3C.inject(carrier)
    return carrier


def extract(carrier: Mapping[str, str]) -> Context:
    """Return the trace context that `carrier` brought."""
    return _W3C.extract(carrier)


def trace_id() -> str:
    """Return the current W3C trace id, 32 hex digits."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


def _crashed(_kind: type[BaseException], error: BaseException, _trace: object) -> None:
    log.critical("crashed", exc_info=error)


def _thread_crashed(args: threading.ExceptHookArgs) -> None:
    log.error("thread_crashed", exc_info=args.exc_value)


def _exporter_of(service: str, traces: str) -> SpanExporter | None:
    if not traces:
        return None
    if traces.startswith("file:"):
        return _FileExporter(Path(traces.removeprefix("file:")) / f"{service}.jsonl")
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow to import

    return OTLPSpanExporter(endpoint=traces)


class _FileExporter(SpanExporter):
    """Appends each span to a file as one line of JSON."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def export(self, spans: Iterable[ReadableSpan]) -> SpanExportResult:
        self._file.writelines(span.to_json(indent=None) + "\n" for span in spans)
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._file.close()
