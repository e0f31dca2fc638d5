"""Brings this replica to what aliases point at: fetches, checks, loads, proves, and only then moves the traffic."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from services.common.errors import ServiceError
from services.common.faults import described
from services.common.lora.errors import AdapterMissing
from services.generate import metrics
from services.generate.aliases import Aliases, Held, Kept, Key
from services.generate.domain.aliases import AdapterRef, Alias
from services.generate.domain.errors import EngineDead, NotConverged
from services.generate.ports import Readiness, Registered, Report, Reports
from services.generate.proving import Prover
from services.generate.shelf import AdapterShelf, Loaded, Weights

FIRST_PAUSE_SECONDS = 0.5
# Adapters that are fetched and checked at once.
AT_ONCE = 4

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: how long an adapter may take to come, the longest pause between two tries, and until we serve."""

    fetch_seconds: float = 300.0
    longest_pause: float = 30.0
    ready_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """What makes an adapter ready: `fetch` gives its files by tenant and digest, or raises what is wrong with them."""

    fetch: Callable[[str, str], Awaitable[Registered]]
    shelf: AdapterShelf
    prover: Prover


class Converger:
    """Makes what answers under each alias what its newest state says; what fails is tried again, for ever.

    One task for each alias that is not there yet; the others cost nothing.
    """

    def __init__(self, aliases: Aliases, workshop: Workshop, reports: Reports, patience: Patience) -> None:
        self._aliases = aliases
        self._workshop = workshop
        self._shelf = workshop.shelf
        self._reports = reports
        self._patience = patience
        self._group: asyncio.TaskGroup | None = None
        self._proved: dict[tuple[str, str], Weights] = {}
        self._took: dict[tuple[str, str], float] = {}
        self._making: dict[tuple[str, str], asyncio.Lock] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._at_work: dict[Key, asyncio.Event] = {}
        self._untried: set[Key] = set()
        self._heard_all = False
        self._began = time.monotonic()
        aliases.expect()

    def want(self, alias: Alias) -> None:
        """Take an alias's state from the registry; an older one than is known changes nothing."""
        if not self._aliases.want(alias):
            return
        self._reports.wanted(alias)
        self._untried.add(alias.key)
        # What is loaded already moves at once, whatever else is being fetched.
        settled = self._settled(alias.key)
        if changed := self._at_work.get(alias.key):
            changed.set()
        elif self._group and not settled:
            self._begin(self._group, alias.key)

    def heard_all(self) -> None:
        """Say that every alias that there is has been heard of."""
        self._heard_all = True
        self._aliases.complete()

    async def converged(self) -> None:
        """Raise NotConverged until every alias has been tried once, or has had its time."""
        waits = not self._heard_all or bool(self._untried)
        if waits and time.monotonic() < self._began + self._patience.ready_seconds:
            raise NotConverged("aliases are still being followed", untried=len(self._untried))

    def forget(self, tenant_id: str) -> int:
        """Take a tenant's aliases and their adapters out of use, and return how many adapters there were."""
        self._aliases.forget(tenant_id)
        return self._sweep()

    async def run(self) -> None:
        """Converge for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for kept in self._aliases.all():
                if not self._settled(kept.wanted.key):
                    self._begin(group, kept.wanted.key)
            await asyncio.Event().wait()

    def _begin(self, group: asyncio.TaskGroup, key: Key) -> None:
        self._at_work[key] = asyncio.Event()
        group.create_task(self._converge(key, self._at_work[key]))

    async def _converge(self, key: Key, changed: asyncio.Event) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while not self._settled(key):
                changed.clear()
                await self._try(key)
                self._untried.discard(key)
                if self._settled(key):
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await changed.wait()
                pause = FIRST_PAUSE_SECONDS if changed.is_set() else min(pause * 2, self._patience.longest_pause)
        finally:
            del self._at_work[key]

    async def _try(self, key: Key) -> None:
        """Try once to make each adapter ready that the alias lacks."""
        kept = self._aliases.kept(key)
        if kept is None:
            return
        wanted = kept.wanted
        for ref in wanted.refs():
            if self._ready(wanted.tenant_id, ref) is None:
                await self._attempt(wanted, ref)
                self._settle(key)

    async def _attempt(self, wanted: Alias, ref: AdapterRef) -> None:
        began = time.monotonic()
        try:
            await self._make(wanted.tenant_id, ref.digest)
        except EngineDead:
            # The process ends with it, by another task.
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, what answers goes on; it is told and tried again
            reason = error.reason if isinstance(error, ServiceError) else "INTERNAL"
            metrics.SWAPS.labels(reason).inc()
            log.warning("adapter_fails", alias=wanted.name, digest=ref.digest, reason=reason, error=described(error))
            self._reports.say(Report(wanted, ref.digest, Readiness.FAILED, reason))
            return
        took = time.monotonic() - began
        metrics.SWAPS.labels("ok").inc()
        metrics.LOAD_SECONDS.observe(took)
        log.info("adapter_proved", alias=wanted.name, digest=ref.digest, milliseconds=round(took * 1000))
        self._took[wanted.tenant_id, ref.digest] = took

    async def _make(self, tenant_id: str, digest: str) -> None:
        """Have an adapter fetched, loaded and proved, once however many aliases want it.

        Raises:
            AdapterMissing, AdapterAltered, AdapterUntrusted, InvalidAdapter: it is not to be had, or not to be run.
            TooManyAdapters, ProbeFailed, EngineDead: the engine does not answer with it.
        """
        key = (tenant_id, digest)
        async with self._making.setdefault(key, asyncio.Lock()), self._turns:
            weights = self._proved.get(key)
            if weights is not None and self._shelf.revive(weights):
                return
            registered = await self._fetched(tenant_id, digest)
            weights = await self._shelf.take_in(tenant_id, registered.adapter)
            try:
                await self._workshop.prover.prove(weights.engine_adapter, registered.probe)
            except BaseException:
                self._shelf.retire(weights)
                raise
            self._proved[key] = weights

    async def _fetched(self, tenant_id: str, digest: str) -> Registered:
        try:
            async with asyncio.timeout(self._patience.fetch_seconds):
                return await self._workshop.fetch(tenant_id, digest)
        except TimeoutError as error:
            raise AdapterMissing("the blob store took too long") from error

    def _settled(self, key: Key) -> bool:
        """Use what is ready, and tell whether the alias is as it should be."""
        kept = self._aliases.kept(key)
        done = kept is None or self._settle(key)
        if done:
            self._untried.discard(key)
        return done

    def _settle(self, key: Key) -> bool:
        kept = self._aliases.kept(key)
        if kept is None:
            # Erased meanwhile.
            self._sweep()
            return True
        wanted, tenant_id = kept.wanted, kept.wanted.tenant_id
        live = self._held(tenant_id, wanted.live) if wanted.live else Held()
        canary = self._held(tenant_id, wanted.canary.ref) if wanted.canary else None
        # A canary that is not wanted, or not loaded yet, gives its conversations back to who is live.
        before, kept.live, kept.canary = (kept.live, kept.canary), live or kept.live, canary
        if wanted.deleted:
            kept.live = None
        self._tell(kept, before)
        self._sweep()
        return wanted.deleted or (live is not None and (canary is not None) == (wanted.canary is not None))

    def _held(self, tenant_id: str, ref: AdapterRef) -> Held | None:
        weights = self._ready(tenant_id, ref)
        return Held(ref, Loaded(weights, ref.owner, ref.cleared)) if weights else None

    def _ready(self, tenant_id: str, ref: AdapterRef) -> Weights | None:
        weights = self._proved.get((tenant_id, ref.digest))
        return weights if weights is not None and self._shelf.revive(weights) else None

    def _tell(self, kept: Kept, before: tuple[Held | None, Held | None]) -> None:
        for was, held in zip(before, (kept.live, kept.canary), strict=True):
            if held and held.ref and held.ref in kept.wanted.refs():
                seconds = self._took.pop((kept.wanted.tenant_id, held.ref.digest), 0.0)
                self._reports.say(Report(kept.wanted, held.ref.digest, Readiness.READY, load_seconds=seconds))
                if was != held:
                    log.info("alias_moved", alias=kept.wanted.name, revision=kept.wanted.revision, to=held.ref.digest)

    def _sweep(self) -> int:
        """Retire what no alias needs or uses any more, and return how many adapters that were."""
        needed = self._needed()
        dropped = [key for key, weights in self._proved.items() if key not in needed and not weights.retired]
        for key in dropped:
            weights = self._proved[key]
            self._shelf.retire(weights)
            if self._group:
                self._group.create_task(self._see_off(key, weights))
        return len(dropped)

    def _needed(self) -> set[tuple[str, str]]:
        needed: set[tuple[str, str]] = set()
        for kept in self._aliases.all():
            if kept.wanted.deleted:
                continue
            used = [held.ref for held in (kept.live, kept.canary) if held and held.ref]
            needed |= {(kept.wanted.tenant_id, ref.digest) for ref in (*kept.wanted.refs(), *used)}
        return needed

    async def _see_off(self, key: tuple[str, str], weights: Weights) -> None:
        """Tell when an adapter has left with its last stream."""
        await weights.gone.wait()
        if self._proved.get(key) is weights:
            del self._proved[key]
            if not self._making[key].locked():
                del self._making[key]
        self._reports.unloaded(*key)
