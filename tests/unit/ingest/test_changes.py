"""What a listing and the manifest disagree about."""

from datetime import UTC, datetime

import pytest

from services.ingest.changes import Gone, Known, compare, refuse_unmounted
from services.ingest.errors import PathGone
from services.ingest.ports import Entry, Listing

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def entry(external_id, fingerprint="f", size=1):
    return Entry(external_id, external_id, external_id, "", "", size, NOW, fingerprint)


def listing(*entries, root="r", unlisted=()):
    return Listing(root, {item.external_id: item for item in entries}, tuple(unlisted))


def known(*rows):
    return {row.external_id: row for row in rows}


def row(external_id, fingerprint="f", digest="d", *, gone=False):
    return Known(external_id, 1, fingerprint, digest, gone=gone)


def test_only_what_differs_is_looked_at():
    found = compare(
        listing(entry("same"), entry("edited", "g"), entry("new"), entry("unsure", "")),
        known(row("same"), row("edited"), row("unsure", ""), row("gone")),
        limit_bytes=10,
    )
    assert {item.external_id for item in found.suspects} == {"edited", "new", "unsure"}
    assert [item.external_id for item in found.gone] == ["gone"]
    assert found.unchanged == 1


def test_what_failed_before_is_looked_at_again():
    found = compare(
        listing(entry("unread"), entry("large", size=11)), known(row("unread", digest=""), row("large")), 10
    )
    assert {item.external_id for item in found.suspects} == {"unread", "large"}


def test_a_document_being_deleted_is_neither_gone_again_nor_unchanged():
    found = compare(listing(entry("back")), known(row("back", gone=True), row("away", gone=True)), 10)
    assert ([item.external_id for item in found.suspects], found.gone) == (["back"], ())


def test_of_a_folder_that_cannot_be_listed_nothing_is_gone():
    found = compare(listing(unlisted=["secret/"]), known(row("secret/a"), row("secrets/b")), 10)
    assert [item.external_id for item in found.gone] == ["secrets/b"]


@pytest.mark.parametrize(
    ("there", "rows", "root", "believed"),
    [
        (listing(), [row("a")], "other", False),
        (listing(), [row("a")], "r", True),
        (listing(), [row("a", gone=True)], "other", True),
        (listing(), [], "other", True),
        (listing(), [row("a")], "", True),
        (listing(entry("b")), [row("a")], "other", True),
    ],
)
def test_an_empty_folder_is_believed_only_when_it_is_the_same_folder(there, rows, root, believed):
    if believed:
        assert refuse_unmounted(there, rows, root) is None
    else:
        with pytest.raises(PathGone):
            refuse_unmounted(there, rows, root)


def test_each_gone_document_is_found_again_once():
    gone = Gone([row("a", digest="x"), row("b", digest="x"), row("c", digest="")])
    claimed = {gone.claim("x").external_id, gone.claim("x").external_id}
    assert claimed == {"a", "b"}
    assert gone.claim("x") is None
    assert gone.claim("") is None
    assert [item.external_id for item in gone] == ["c"]
