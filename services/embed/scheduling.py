"""Which records are worked on next: fair between tenants, in order for each document, committed without a gap.

Nothing here waits or talks to anything; `feeding` does.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from services.common.bus import Record
from services.embed.rotation import Rotation

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read ahead, and how much of it is worked on at once.

    A group ends at `group_documents`, or before a document with which its contents were larger than
    `group_bytes`. At most `groups` are in work, and at most `groups_a_tenant` of one tenant: while
    one is embedded, the next is parsed and the one before is written. `uncommitted` records may be
    read past the oldest that is not done.
    """

    records: int = 20_000
    bytes: int = 64 * 1024**2
    group_documents: int = 32
    group_bytes: int = 8 * 1024**2
    groups: int = 6
    groups_a_tenant: int = 3
    uncommitted: int = 200_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record that was read, and what its turn depends on; one that cannot be read is a document of its own."""

    tenant_id: str
    document_id: str
    version: int
    content_bytes: int
    record: Record

    @property
    def key(self) -> tuple[str, str]:
        """What tells documents apart."""
        return self.tenant_id, self.document_id

    @property
    def size(self) -> int:
        """The bytes that it holds while it waits."""
        return len(self.record.key) + len(self.record.value)


@dataclass(slots=True)
class Document:
    """The newest record of a document that waits, and the offsets of those that it replaced."""

    newest: Arrival
    offsets: list[tuple[Partition, int]] = field(default_factory=list)

    @classmethod
    def of(cls, arrival: Arrival) -> Self:
        """Return the document of one record."""
        return cls(arrival, [(_partition_of(arrival.record), arrival.record.offset)])

    def merge(self, later: "Document") -> None:
        """Keep the newer of two, and the offsets of both."""
        self.offsets += later.offsets
        if later.newest.version >= self.newest.version:
            self.newest = later.newest


@dataclass(frozen=True, slots=True)
class Group:
    """Documents of one tenant that are worked on together."""

    tenant_id: str
    documents: tuple[Document, ...]
    epoch: int

    @property
    def record_count(self) -> int:
        """How many records its documents stand for."""
        return sum(len(document.offsets) for document in self.documents)

    @property
    def records(self) -> list[Record]:
        """The newest record of each document."""
        return [document.newest.record for document in self.documents]


class Schedule:
    """What was read and is not done.

    A tenant with few groups in work goes before one with more, and of those the one that waited
    longest; so a change of a quiet tenant waits for one group at most, whatever others have waiting.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._offsets: dict[Partition, _Offsets] = defaultdict(_Offsets)
        self._waiting: dict[tuple[str, str], Document] = {}
        self._turns: Rotation[Document] = Rotation()
        self._busy: set[tuple[str, str]] = set()
        self._working: dict[str, int] = {}
        self._resting: set[str] = set()
        self._doubted: set[str] = set()
        self._records = 0
        self._bytes = 0
        self._epoch = 0

    @property
    def records(self) -> int:
        """How many records wait."""
        return self._records

    @property
    def bytes(self) -> int:
        """The size of what waits."""
        return self._bytes

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        uncommitted = sum(offsets.count for offsets in self._offsets.values())
        return (
            self._records < self._limits.records
            and self._bytes < self._limits.bytes
            and uncommitted < self._limits.uncommitted
        )

    @property
    def in_work(self) -> int:
        """How many groups were taken and not given back."""
        return sum(self._working.values())

    def add(self, arrival: Arrival) -> None:
        """Take in the next record of its partition; one before the last means that the log begins anew."""
        offsets = self._offsets[_partition_of(arrival.record)]
        if not offsets.is_next(arrival.record.offset):
            self.forget()
            offsets = self._offsets[_partition_of(arrival.record)]
        offsets.read(arrival.record.offset)
        self._wait(Document.of(arrival))

    def take(self) -> Group | None:
        """Return the next group to work on; None where nothing waits that may be worked on now."""
        tenants = [tenant for tenant in self._turns.owners() if self._may_work(tenant)]
        if not tenants or self.in_work >= self._limits.groups:
            return None
        tenant = min(tenants, key=self._groups_of)
        group = Group(tenant, tuple(self._turns.take_of(tenant, self._fits)), self._epoch)
        self._working[tenant] = self._groups_of(tenant) + 1
        for document in group.documents:
            self._busy.add(document.newest.key)
            self._bytes -= document.newest.size
            self._records -= len(document.offsets)
            del self._waiting[document.newest.key]
        return group

    def done(self, group: Group) -> None:
        """The group's documents were brought to an end."""
        self._doubted.discard(group.tenant_id)
        for document in group.documents if group.epoch == self._epoch else ():
            for partition, offset in document.offsets:
                self._offsets[partition].finish(offset)
        self._release(group)

    def put_back(self, group: Group) -> None:
        """The group's documents were not brought to an end: they are first again when their tenant is woken.

        Until one of its groups is done, the tenant has no two in work.
        """
        self._resting.add(group.tenant_id)
        self._doubted.add(group.tenant_id)
        for document in reversed(group.documents) if group.epoch == self._epoch else ():
            self._wait_again(document)
        self._release(group)

    def wake(self, tenant_id: str) -> None:
        """Let a tenant that rests be worked for again."""
        self._resting.discard(tenant_id)

    def committable(self) -> Mapping[Partition, int]:
        """Return the offsets to commit, where they moved: everything before them is done."""
        moved = {partition: offsets.advance() for partition, offsets in self._offsets.items()}
        return {partition: offset for partition, offset in moved.items() if offset is not None}

    def forget(self) -> None:
        """Forget what waits, and where the log was; what is in work is worked on, and counts no more."""
        self._offsets.clear()
        self._waiting.clear()
        self._turns.clear()
        self._records = self._bytes = 0
        self._epoch += 1

    def _may_work(self, tenant: str) -> bool:
        most = 1 if tenant in self._doubted else self._limits.groups_a_tenant
        return tenant not in self._resting and self._groups_of(tenant) < most

    def _groups_of(self, tenant: str) -> int:
        return self._working.get(tenant, 0)

    def _fits(self, taken: list[Document], document: Document) -> bool:
        size = sum(one.newest.content_bytes for one in (*taken, document))
        return not taken or (len(taken) < self._limits.group_documents and size <= self._limits.group_bytes)

    def _wait(self, document: Document) -> None:
        """Let a document wait that was read just now, behind its tenant's others."""
        known = self._waiting.get(document.newest.key)
        self._records += len(document.offsets)
        if known:
            self._bytes -= known.newest.size
            known.merge(document)
        else:
            known = self._waiting[document.newest.key] = document
            if document.newest.key not in self._busy:
                self._turns.add(document.newest.tenant_id, document)
        self._bytes += known.newest.size

    def _wait_again(self, document: Document) -> None:
        """Let a document wait that was in work, before its tenant's others, with what came of it meanwhile."""
        self._busy.discard(document.newest.key)
        self._records += len(document.offsets)
        later = self._waiting.get(document.newest.key)
        if later:
            self._bytes -= later.newest.size
            document.merge(later)
        self._waiting[document.newest.key] = document
        self._turns.put_back(document.newest.tenant_id, document)
        self._bytes += document.newest.size

    def _release(self, group: Group) -> None:
        self._working[group.tenant_id] -= 1
        if not self._working[group.tenant_id]:
            del self._working[group.tenant_id]
        for document in group.documents:
            key = document.newest.key
            if key in self._busy:
                self._busy.discard(key)
                if key in self._waiting:
                    self._turns.add(group.tenant_id, self._waiting[key])


class _Offsets:
    """What was read of one partition, and what of it is done; there may be gaps between offsets."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._unfinished: set[int] = set()
        self._last = -1

    @property
    def count(self) -> int:
        """How many records were read and cannot be committed."""
        return len(self._open)

    def is_next(self, offset: int) -> bool:
        return offset > self._last

    def read(self, offset: int) -> None:
        self._last = offset
        self._open.append(offset)
        self._unfinished.add(offset)

    def finish(self, offset: int) -> None:
        self._unfinished.discard(offset)

    def advance(self) -> int | None:
        """Return the offset after the last before which all is done; None where it did not move."""
        position = None
        while self._open and self._open[0] not in self._unfinished:
            position = self._open.popleft() + 1
        return position


def _partition_of(record: Record) -> Partition:
    return record.topic, record.partition
