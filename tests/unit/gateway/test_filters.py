"""What an assistant and a request narrow a search to, together."""

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.retrieve.v1.retrieve_service_pb2 import RetrieveFilter

from services.gateway.domain.assistants import InvalidAssistant, Narrowing
from services.gateway.servicer.filters import filter_of, narrowed, narrowing_of


def filter_with(metadata=(), **fields):
    made = RetrieveFilter(**fields)
    made.metadata.update(dict(metadata))
    return made


def at(second):
    return datetime.fromtimestamp(second, UTC)


WHOLE = Narrowing(("page", "mail"), ("Ada",), (("draft", False), ("shelf", 2.0), ("team", "blue")), at(10), at(20))


def test_what_a_filter_says_comes_back_as_it_was():
    assert narrowing_of(filter_of(WHOLE)) == WHOLE
    assert filter_of(Narrowing()) is None
    assert narrowing_of(RetrieveFilter()) == Narrowing()


@pytest.mark.parametrize(
    ("requested", "common"),
    [
        (RetrieveFilter(), ["page", "mail"]),
        (RetrieveFilter(kinds=["mail", "chat"]), ["mail"]),
        (RetrieveFilter(kinds=["chat"]), None),
    ],
)
def test_kinds_are_those_of_both(requested, common):
    both = narrowed(WHOLE, requested)
    assert (list(both.kinds) if both else None) == common


@pytest.mark.parametrize(
    ("metadata", "found"), [({}, True), ({"team": "blue"}, True), ({"floor": 3}, True), ({"team": "red"}, False)]
)
def test_metadata_must_be_what_both_say(metadata, found):
    both = narrowed(WHOLE, filter_with(metadata))
    assert (both is not None) is found
    if both:
        assert {"draft", "shelf", "team", *metadata} == set(both.metadata)


@pytest.mark.parametrize(
    ("after", "before", "begins", "ends"), [(5, 30, 10, 20), (15, 16, 15, 16), (None, None, 10, 20)]
)
def test_of_two_times_the_narrower_holds(after, before, begins, ends):
    requested = RetrieveFilter()
    if after:
        requested.changed_after.CopyFrom(Timestamp(seconds=after))
        requested.changed_before.CopyFrom(Timestamp(seconds=before))
    both = narrowed(WHOLE, requested)
    assert (both.changed_after.seconds, both.changed_before.seconds) == (begins, ends)


def test_the_requests_own_filter_stays_as_it_was():
    requested = RetrieveFilter(sources=["wiki"])
    assert list(narrowed(WHOLE, requested).sources) == ["wiki"]
    assert not requested.kinds
    assert narrowed(Narrowing(), requested) == requested


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (RetrieveFilter(sources=["wiki"]), "filter.sources"),
        (filter_with({"a": None}), "filter.metadata"),
        (filter_with({"a": [1]}), "filter.metadata"),
        (RetrieveFilter(changed_after=Timestamp(seconds=2**62)), "filter.changed_after"),
    ],
)
def test_a_filter_that_can_never_work_is_refused(wanted, field):
    with pytest.raises(InvalidAssistant) as caught:
        narrowing_of(wanted)
    assert caught.value.facts == {"field": field}
