"""Output: JSON's own types for programs, nothing that drives a terminal for people."""

from tandem.gateway.v1 import gateway_service_pb2
from tandem.ingest.v1 import ingest_service_pb2

from services.cli.output import plain, visible


def test_integers_stay_integers_and_enums_have_short_names():
    source = ingest_service_pb2.Source(name="crm", state=ingest_service_pb2.SOURCE_STATE_ACTIVE)
    source.counts.indexed = 2**40
    source.created_at.FromJsonString("2026-01-02T03:04:05Z")
    shown = plain(source)
    assert shown["counts"]["indexed"] == 2**40
    assert shown["state"] == "active"
    assert shown["created_at"] == "2026-01-02T03:04:05Z"
    assert shown["readers"] == []
    assert "last_sync_at" not in shown
    assert "files" not in shown


def test_an_enum_value_of_a_later_version_is_its_number():
    assert plain(ingest_service_pb2.Source(state=77))["state"] == "77"
    assert plain(ingest_service_pb2.Source())["state"] == ""


def test_messages_in_messages_become_objects():
    event = gateway_service_pb2.AskResponse()
    event.retrieval_done.passages.add(title="t").metadata.update({"a": "b"})
    passage = plain(event)["retrieval_done"]["passages"][0]
    assert (passage["title"], passage["metadata"]) == ("t", {"a": "b"})


def test_control_characters_are_not_shown():
    assert visible("a\x1b[31mb\x07\r\nc\td\x9b") == "a[31mb\nc\td"
    assert visible("né 日本 ‍👩‍💻") == "né 日本 ‍👩‍💻"
