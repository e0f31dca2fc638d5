"""How a row of the manifest moves from state to state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain import (
    UNREADABLE,
    Document,
    DocumentState,
    Draft,
    Failure,
    Indexed,
    Removed,
    Report,
    first,
    replay,
    retire,
    revise,
    settle,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DRAFT = Draft("a.md", "a.md", "file:///a.md", "text/markdown", 3, NOW, ("everyone",), {}, "f1", "t/d1", "d1")
UNREAD = replace(DRAFT, blob_key="", content_digest="", failure=Failure(UNREADABLE, "no"))
BROKEN = Failure("BROKEN", "it is")


def new(draft=DRAFT):
    return first(Document("id", "t", "s", draft, 0, DocumentState.PENDING, NOW))


def report(row, answer, **values):
    facts = {"tenant_id": row.tenant_id, "version": row.version, **values}
    return Report(facts["tenant_id"], row.document_id, facts["version"], answer, NOW)


def indexed(chunks=3):
    row = new()
    return settle(row, report(row, Indexed(chunks)), NOW)


def test_a_new_document_waits_for_the_index():
    row = new()
    assert (row.version, row.state, row.awaiting, row.published_at) == (1, DocumentState.PENDING, True, NOW)


def test_a_new_document_that_cannot_be_read_is_no_concern_of_the_index():
    row = new(UNREAD)
    assert (row.version, row.state, row.awaiting) == (1, DocumentState.FAILED, False)


@pytest.mark.parametrize(
    "change",
    [
        {"content_digest": "d2"},
        {"external_id": "b.md"},
        {"readers": ("user:1",)},
        {"metadata": {"k": 1}},
        {"title": "T"},
        {"uri": "u"},
        {"media_type": "m"},
    ],
)
def test_whatever_readers_can_see_makes_a_version(change):
    row = revise(indexed(), replace(DRAFT, **change), NOW)
    assert (row.version, row.state, row.awaiting, row.chunk_count) == (2, DocumentState.PENDING, True, 3)


def test_a_new_fingerprint_alone_makes_none():
    row = revise(indexed(), replace(DRAFT, fingerprint="f2"), NOW)
    assert (row.version, row.state, row.draft.fingerprint) == (1, DocumentState.INDEXED, "f2")


def test_a_document_that_cannot_be_read_any_more_is_withdrawn():
    row = revise(indexed(), UNREAD, NOW)
    assert (row.version, row.state, row.awaiting, row.withdrawn) == (2, DocumentState.FAILED, True, True)
    assert revise(row, replace(UNREAD, fingerprint="f3"), NOW).version == 2
    gone = settle(row, report(row, Removed()), NOW)
    assert (gone.state, gone.awaiting, gone.chunk_count) == (DocumentState.FAILED, False, 0)


def test_a_failure_after_a_good_version_withdraws_that_version():
    row = revise(indexed(), replace(DRAFT, content_digest="d2"), NOW)
    failed = settle(row, report(row, BROKEN), NOW)
    assert (failed.version, failed.state, failed.withdrawn, failed.awaiting) == (3, DocumentState.FAILED, True, True)
    assert failed.draft.failure == BROKEN


def test_a_failure_of_the_first_version_leaves_nothing_to_withdraw():
    row = new()
    failed = settle(row, report(row, BROKEN), NOW)
    assert (failed.version, failed.awaiting) == (1, False)
    assert revise(failed, DRAFT, NOW).version == 1


def test_a_failed_document_is_replayed_as_a_new_version():
    row = new()
    again = replay(settle(row, report(row, BROKEN), NOW), NOW)
    assert (again.version, again.state, again.draft.failure) == (2, DocumentState.PENDING, None)
    assert replay(new(UNREAD), NOW).version == 1
    assert replay(indexed(), NOW).version == 1


def test_a_deletion_is_recorded_once_and_ends_with_its_answer():
    row = retire(indexed(), NOW)
    assert (row.version, row.state, row.withdrawn) == (2, DocumentState.DELETING, True)
    assert retire(row, NOW) is row
    assert settle(row, report(row, Indexed(1)), NOW) is row
    assert settle(row, report(row, BROKEN), NOW) is row
    assert settle(row, report(row, Removed()), NOW) is None


def test_a_document_that_comes_back_is_pending_with_the_same_id():
    row = revise(retire(indexed(), NOW), DRAFT, NOW)
    assert (row.document_id, row.version, row.state) == ("id", 3, DocumentState.PENDING)


@pytest.mark.parametrize("values", [{"version": 0}, {"version": 2}, {"tenant_id": "other"}])
def test_a_report_about_something_else_changes_nothing(values):
    row = new()
    assert settle(row, report(row, Indexed(1), **values), NOW) is row


def test_a_report_that_nobody_waits_for_changes_nothing():
    row = indexed()
    assert settle(row, report(row, BROKEN), NOW) is row


ANSWERS = {"indexed": Indexed(2), "failed": BROKEN, "removed": Removed(), "late": Indexed(9)}
STEPS = st.sampled_from(["edit", "touch", "unread", "retire", "replay", *ANSWERS])


def after(row, step, number):
    now = NOW + timedelta(seconds=number)
    if step in ANSWERS:
        return settle(row, report(row, ANSWERS[step], version=row.version - (step == "late")), now)
    moves = {
        "edit": lambda: revise(row, replace(DRAFT, content_digest=f"d{number}"), now),
        "touch": lambda: revise(row, replace(row.draft, fingerprint=f"f{number}"), now),
        "unread": lambda: revise(row, UNREAD, now),
        "retire": lambda: retire(row, now),
        "replay": lambda: replay(row, now),
    }
    return moves[step]()


@given(st.lists(STEPS, max_size=25))
def test_versions_never_fall_and_no_row_is_left_waiting_for_nothing(steps):
    row = new()
    for number, step in enumerate(steps):
        before, row = row, after(row, step, number)
        if row is None:
            assert before.state == DocumentState.DELETING
            return
        assert row.version - before.version in {0, 1}
        assert row.awaiting >= (row.state in {DocumentState.PENDING, DocumentState.DELETING})
        assert row.awaiting <= (row.published_at is not None)
        assert row.awaiting <= (row.state != DocumentState.INDEXED)
        withdrawn = row.state == DocumentState.FAILED and not row.awaiting
        assert not (withdrawn and row.chunk_count)
