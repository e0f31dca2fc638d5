"""Reads `documents.indexed`: the manifest learns what the index has done."""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from opentelemetry.trace import SpanKind

from services.common.bus import Record
from services.common.telemetry import RECORD_FAILED, extract, spanned
from services.ingest import metrics
from services.ingest.adapters.messages import MalformedReport, report_of
from services.ingest.domain import Document, Failure, Indexed, Report, Source
from services.ingest.manifest import Manifest
from services.ingest.progress import Progress

log = structlog.get_logger()


class IndexedConsumer:
    """Settles the rows that the index answered about; what cannot be read is logged and left."""

    def __init__(self, manifest: Manifest, progress: Progress, now: Callable[[], datetime]) -> None:
        self._manifest = manifest
        self._progress = progress
        self._now = now

    async def handle(self, records: Sequence[Record]) -> None:
        """Settle a batch in one transaction."""
        reports = [report for report in map(_read, records) if report]
        settled = await self._manifest.settle(reports)
        indexed = {report.document_id: report for report in reports if isinstance(report.answer, Indexed)}
        answered = {report.document_id: report.at for report in reports if not isinstance(report.answer, Failure)}
        for row, source in settled:
            if row.narrowed_at:
                metrics.REVOCATION.labels("index").observe(
                    (answered[row.document_id] - row.narrowed_at).total_seconds()
                )
            if row.published_at:
                self._progress.answered(row.published_at, self._now())
            if row.document_id in indexed:
                _observe(row, source, indexed[row.document_id].at)


def _read(record: Record) -> Report | None:
    with spanned("ingest.settle", extract(dict(record.headers)), kind=SpanKind.CONSUMER):
        try:
            return report_of(record.value)
        except MalformedReport as error:
            log.warning(
                RECORD_FAILED,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=str(error),
            )
    return None


def _observe(row: Document, source: Source, at: datetime) -> None:
    metrics.FRESHNESS.labels("recorded").observe((at - row.recorded_at).total_seconds())
    if row.draft.changed_at > source.created_at:
        metrics.FRESHNESS.labels("changed").observe((at - row.draft.changed_at).total_seconds())
