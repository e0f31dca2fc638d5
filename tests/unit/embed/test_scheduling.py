"""Whatever comes: tenants wait for few groups, documents keep their order, commits have no gap."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.bus import DOCUMENTS_CHANGED, Record
from services.embed.scheduling import Arrival, Limits, Schedule

SMALL = Limits(records=1000, bytes=10_000, group_documents=4, group_bytes=100, groups=3, groups_a_tenant=2)


def arrival(tenant, document, offset, **fields):
    value, partition = fields.get("value", b""), fields.get("partition", 0)
    record = Record(DOCUMENTS_CHANGED, b"k", value, {}, partition, offset)
    return Arrival(tenant, document, fields.get("version", offset + 1), fields.get("size", 1), record)


def filled(*arrivals, limits=SMALL):
    schedule = Schedule(limits)
    for one in arrivals:
        schedule.add(one)
    return schedule


def backlog(tenant, count, start=0):
    return [arrival(tenant, f"{tenant}{number}", start + number) for number in range(count)]


def offsets(group):
    return [record.offset for record in group.records]


def committed(schedule):
    return schedule.committable().get((DOCUMENTS_CHANGED, 0))


def test_a_quiet_tenants_change_is_in_the_next_group_however_much_others_have_waiting():
    schedule = filled(*backlog("a", 100), *backlog("b", 100, 100))
    working = [schedule.take() for _ in range(3)]
    schedule.add(arrival("quiet", "q", 200))
    assert schedule.take() is None
    schedule.done(working[0])
    assert schedule.take().tenant_id == "quiet"


def test_one_tenant_leaves_room_for_another():
    schedule = filled(*backlog("a", 100))
    assert [schedule.take().tenant_id for _ in range(2)] == ["a", "a"]
    assert schedule.take() is None
    schedule.add(arrival("quiet", "q", 100))
    assert schedule.take().tenant_id == "quiet"


def test_a_group_ends_before_its_contents_are_large_and_a_large_document_is_a_group():
    schedule = filled(arrival("a", "x", 0, size=60), arrival("a", "y", 1, size=60), arrival("a", "z", 2, size=500))
    groups = []
    while group := schedule.take():
        groups.append(offsets(group))
        schedule.done(group)
    assert groups == [[0], [1], [2]]


def test_of_records_that_wait_only_the_newest_is_worked_on_and_all_are_committed():
    schedule = filled(arrival("a", "x", 0, version=1), arrival("a", "x", 1, version=3), arrival("a", "x", 2, version=2))
    group = schedule.take()
    assert offsets(group) == [1]
    assert group.record_count == 3
    schedule.done(group)
    assert committed(schedule) == 3


def test_a_document_in_work_is_not_worked_on_a_second_time():
    schedule = filled(arrival("a", "x", 0))
    first = schedule.take()
    schedule.add(arrival("a", "x", 1))
    assert schedule.take() is None
    schedule.done(first)
    assert offsets(schedule.take()) == [1]


def test_what_is_done_behind_a_gap_is_committed_when_the_gap_is_closed():
    schedule = filled(*backlog("a", 4), *backlog("b", 4, 4))
    slow, fast = schedule.take(), schedule.take()
    schedule.done(fast)
    assert committed(schedule) is None
    schedule.done(slow)
    assert committed(schedule) == 8
    assert committed(schedule) is None


def test_a_tenant_whose_group_came_back_rests_and_then_is_first_worked_on_alone():
    schedule = filled(*backlog("a", 12))
    schedule.put_back(schedule.take())
    assert schedule.take() is None
    schedule.wake("a")
    again = schedule.take()
    assert offsets(again) == [0, 1, 2, 3]
    assert schedule.take() is None
    schedule.done(again)
    assert [offsets(schedule.take()) for _ in range(2)] == [[4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize(("earlier", "later", "kept"), [(1, 2, 1), (2, 1, 0)])
def test_a_group_that_came_back_gives_way_to_what_came_meanwhile_where_that_is_newer(earlier, later, kept):
    schedule = filled(arrival("a", "x", 0, version=earlier))
    group = schedule.take()
    schedule.add(arrival("a", "x", 1, version=later))
    schedule.put_back(group)
    schedule.wake("a")
    again = schedule.take()
    assert offsets(again) == [kept]
    assert schedule.take() is None
    schedule.done(again)
    assert committed(schedule) == 2


def test_reading_waits_where_records_or_bytes_are_enough():
    schedule = filled(*backlog("a", 999))
    assert schedule.has_room
    schedule.add(arrival("b", "x", 999))
    assert not schedule.has_room
    schedule.done(schedule.take())
    assert schedule.has_room
    schedule.add(arrival("b", "y", 1000, value=b"x" * 10_000))
    assert not schedule.has_room


def test_reading_waits_where_too_much_is_behind_one_that_is_not_done():
    schedule = filled(arrival("slow", "s", 0), limits=Limits(uncommitted=3))
    schedule.take()
    for offset in (1, 2):
        assert schedule.has_room
        schedule.add(arrival("b", "x", offset))
        schedule.done(schedule.take())
    assert (schedule.records, schedule.has_room) == (0, False)


def test_a_log_that_begins_anew_is_worked_on_from_its_beginning():
    schedule = filled(*backlog("a", 4, start=500))
    old = schedule.take()
    schedule.add(arrival("b", "y", 0))
    schedule.done(old)
    assert committed(schedule) is None
    schedule.done(schedule.take())
    assert committed(schedule) == 1


def test_what_was_in_work_when_all_was_forgotten_commits_nothing_of_what_is_read_again():
    schedule = filled(arrival("a", "x", 0))
    old = schedule.take()
    schedule.forget()
    schedule.add(arrival("a", "x", 0))
    assert schedule.take() is None, "it is still in work"
    schedule.done(old)
    assert committed(schedule) is None
    schedule.done(schedule.take())
    assert committed(schedule) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 3)),
        st.tuples(st.just("take")),
        st.tuples(st.sampled_from(["done", "back"]), st.integers(0, 5)),
        st.tuples(st.just("wake"), st.sampled_from("abc")),
    ),
    max_size=80,
)


class World:
    """A schedule, and what a simple observer knows of it."""

    def __init__(self):
        self.schedule = Schedule(SMALL)
        self.next = defaultdict(int)
        self.working = []
        self.done = defaultdict(set)
        self.committed = defaultdict(int)
        self.newest_done = defaultdict(lambda: -1)

    def step(self, kind, *arguments):
        getattr(self, kind)(*arguments)
        for (_, partition), offset in self.schedule.committable().items():
            assert offset > self.committed[partition]
            assert set(range(offset)) <= self.done[partition], "something before it is not done"
            self.committed[partition] = offset

    def add(self, tenant, document):
        # A document's records are in one partition.
        partition, name = document % 2, f"{tenant}{document}"
        offset = self.next[partition]
        self.next[partition] += 1
        self.schedule.add(arrival(tenant, name, offset, partition=partition))

    def take(self):
        group = self.schedule.take()
        if group is None:
            return
        keys = {document.newest.key for document in group.documents}
        assert not keys & {document.newest.key for other in self.working for document in other.documents}
        assert {document.newest.tenant_id for document in group.documents} == {group.tenant_id}
        self.working.append(group)
        assert len(self.working) <= SMALL.groups
        assert sum(other.tenant_id == group.tenant_id for other in self.working) <= SMALL.groups_a_tenant

    def _pop(self, number):
        return self.working.pop(number % len(self.working)) if self.working else None

    def done_(self, group):
        for document in group.documents:
            newest = document.newest
            assert newest.version > self.newest_done[newest.document_id], "an older one came after a newer one"
            self.newest_done[newest.document_id] = newest.version
            for (_, partition), offset in document.offsets:
                self.done[partition].add(offset)
        self.schedule.done(group)

    def back(self, number):
        if group := self._pop(number):
            self.schedule.put_back(group)

    def wake(self, tenant):
        self.schedule.wake(tenant)

    def finish(self):
        for _ in range(1000):
            for tenant in "abc":
                self.schedule.wake(tenant)
            self.step("take")
            if not self.working:
                break
            self.step("end", 0)

    def end(self, number):
        if group := self._pop(number):
            self.done_(group)


@given(STEPS)
def test_in_any_order_of_events_nothing_is_lost_reordered_or_committed_too_early(steps):
    world = World()
    for kind, *arguments in steps:
        world.step("end" if kind == "done" else kind, *arguments)
    world.finish()
    assert dict(world.committed) == dict(world.next)
    assert (world.schedule.records, world.schedule.bytes, world.schedule.in_work) == (0, 0, 0)


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=60), st.integers(0, 59))
def test_a_change_waits_for_no_more_groups_than_there_are_tenants(tenants, position):
    """With one worker, so that turns are groups: before a tenant's first change each other tenant has one turn."""
    limits = Limits(group_documents=2, groups=1)
    schedule = filled(*(arrival(t, f"{t}{n}", n) for n, t in enumerate(tenants)), limits=limits)
    position %= len(tenants)
    before = 0
    while group := schedule.take():
        schedule.done(group)
        if group.tenant_id == tenants[position]:
            break
        before += 1
    assert before < len(set(tenants))
