"""What is heard of aliases on the topic `adapters`, and what is told of them on `adapters.reported`."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.generate.v1.events_pb2 import (
    ADAPTER_READINESS_FAILED,
    ADAPTER_READINESS_READY,
    ADAPTER_READINESS_UNLOADED,
    AdapterReported,
)
from tandem.tune.v1 import events_pb2 as pb

from services.common.bus import ADAPTERS, ADAPTERS_REPORTED, BusUnavailable, Producer, Record, key_of, traced
from services.common.bus_security import UNSECURED, BusSecurity
from services.common.faults import described
from services.common.following import Following, follow
from services.common.telemetry import RECORDS
from services.generate.domain.aliases import AdapterRef, Alias, Canary
from services.generate.ports import Readiness, Report

AGAIN_SECONDS = 30.0
RETRY_SECONDS = 1.0

_READINESS = {
    Readiness.READY: ADAPTER_READINESS_READY,
    Readiness.FAILED: ADAPTER_READINESS_FAILED,
    Readiness.UNLOADED: ADAPTER_READINESS_UNLOADED,
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of aliases, and when all were heard of; of `tenants` alone, where there are any."""

    want: Callable[[Alias], None]
    heard_all: Callable[[], None]
    tenants: Collection[str] = ()


class AliasTopic:
    """Reads aliases' states from `adapters`, for ever."""

    def __init__(self, bootstrap: str, listener: Listener, security: BusSecurity = UNSECURED) -> None:
        self._following = Following(bootstrap, ADAPTERS, self._handle, listener.heard_all, security)
        self._listener = listener

    async def run(self) -> None:
        """Follow the topic."""
        await follow(self._following)

    def _handle(self, records: Sequence[Record]) -> None:
        for record in records:
            try:
                alias = alias_of(record.value)
            except (DecodeError, ValueError) as error:
                RECORDS.labels(ADAPTERS, "refused").inc()
                log.warning("alias_not_understood", key=record.key.decode("utf-8", "replace"), error=described(error))
                continue
            if not self._listener.tenants or alias.tenant_id in self._listener.tenants:
                self._listener.want(alias)


def alias_of(value: bytes) -> Alias:
    """Return the alias in a record.

    Raises:
        DecodeError, ValueError: it is none.
    """
    state = pb.AliasState.FromString(value)
    if not state.tenant_id or not state.alias or not 0 <= state.canary_share <= 1:
        raise ValueError("the record has no tenant, no alias, or a share that is none")
    if state.deleted:
        return Alias(state.tenant_id, state.alias, state.revision, deleted=True)
    canary = None
    if state.HasField("canary"):
        canary = Canary(state.canary_id, state.canary_share, _ref(state.canary))
    live = _ref(state.live) if state.HasField("live") else None
    return Alias(state.tenant_id, state.alias, state.revision, live, canary)


def _ref(ref: pb.AdapterRef) -> AdapterRef:
    return AdapterRef(ref.digest, ref.cleared, ref.owner)


class BusReports:
    """Reports on `adapters.reported`; `run` must run beside the server."""

    def __init__(
        self, bootstrap: str, replica_id: str, now: Callable[[], datetime], security: BusSecurity = UNSECURED
    ) -> None:
        self._producer = Producer(bootstrap, security=security)
        self._replica_id = replica_id
        self._now = now
        self._current: dict[tuple[str, str, str], Report] = {}
        # Who an adapter was last ready for; its leaving is told as that alias's.
        self._last: dict[tuple[str, str], Report] = {}
        self._waiting: list[Record] = []
        self._said = asyncio.Event()

    def say(self, report: Report) -> None:
        key = (report.alias.tenant_id, report.alias.name, report.digest)
        before = self._current.get(key)
        if before and _said_of(before) == _said_of(report):
            return
        self._current[key] = report
        if report.readiness is Readiness.READY:
            self._last[report.alias.tenant_id, report.digest] = report
        self._send(report)

    def wanted(self, alias: Alias) -> None:
        for key in [key for key in self._current if key[:2] == alias.key]:
            del self._current[key]

    def unloaded(self, tenant_id: str, digest: str) -> None:
        last = self._last.pop((tenant_id, digest), None)
        for key in [key for key in self._current if (key[0], key[2]) == (tenant_id, digest)]:
            del self._current[key]
        if last:
            self._send(Report(last.alias, digest, Readiness.UNLOADED))

    async def run(self) -> None:
        """Send what is said, for ever, and what is still true every half minute."""
        try:
            while True:
                await self._flushed()
                try:
                    async with asyncio.timeout(AGAIN_SECONDS):
                        await self._said.wait()
                except TimeoutError:
                    for report in self._current.values():
                        self._send(report)
        finally:
            with contextlib.suppress(Exception):
                await self._producer.stop()

    async def _flushed(self) -> None:
        self._said.clear()
        while self._waiting:
            batch = self._waiting.copy()
            try:
                await self._producer.send(batch)
            except BusUnavailable as error:
                log.warning("reports_wait", error=described(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            del self._waiting[: len(batch)]

    def _send(self, report: Report) -> None:
        self._waiting.append(self._record(report))
        self._said.set()

    def _record(self, report: Report) -> Record:
        reported_at = Timestamp()
        reported_at.FromDatetime(self._now())
        value = AdapterReported(
            tenant_id=report.alias.tenant_id,
            alias=report.alias.name,
            revision=report.alias.revision,
            digest=report.digest,
            replica_id=self._replica_id,
            readiness=_READINESS[report.readiness],
            reason=report.reason,
            load_ms=round(report.load_seconds * 1000),
            reported_at=reported_at,
        )
        return traced(ADAPTERS_REPORTED, key_of(report.alias.tenant_id, report.digest), value.SerializeToString())


def _said_of(report: Report) -> tuple[int, Readiness, str]:
    return report.alias.revision, report.readiness, report.reason
