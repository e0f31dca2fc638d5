"""Records in, acknowledgements and dead letters out; nothing makes the consumer fail for ever."""

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs
from tandem.embed.v1 import events_pb2
from tandem.ingest.v1 import events_pb2 as ingest_pb2

from services.common.bus import DOCUMENTS_CHANGED, DOCUMENTS_DEAD, DOCUMENTS_INDEXED, Record
from services.embed.consumer import DocumentConsumer
from services.embed.domain import Beside, Deleted, Failed, Indexed, Result

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class ScriptedIndexer:
    """Answers as it is told to, by document."""

    def __init__(self, **script):
        self.script = script
        self.batches = []
        self.withdrawn = []

    async def index(self, changes):
        self.batches.append([(change.document_id, change.version) for change in changes])
        return [self._one(change) for change in changes]

    async def withdraw(self, change):
        self.withdrawn.append(change.document_id)

    def _one(self, change):
        answer = self.script.get(change.document_id, Indexed(change.version, 2, 1))
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Result) else Result(answer)


class Sent(list):
    async def send(self, records):
        self.extend(records)


def record(document="d", version=1, **fields):
    message = ingest_pb2.DocumentChanged(tenant_id="t", document_id=document, version=version, **fields)
    return Record(DOCUMENTS_CHANGED, b"t/" + document.encode(), message.SerializeToString(), {}, 2, 7)


async def handled(records, indexer=None):
    sent = Sent()
    await DocumentConsumer(indexer or ScriptedIndexer(), sent, lambda: NOW).handle(records)
    told = [events_pb2.DocumentIndexed.FromString(r.value) for r in sent if r.topic == DOCUMENTS_INDEXED]
    dead = [events_pb2.DeadLetter.FromString(r.value) for r in sent if r.topic == DOCUMENTS_DEAD]
    return told, dead


async def test_each_document_is_acknowledged_with_its_outcome():
    indexer = ScriptedIndexer(gone=Deleted(4), bad=Failed(5, "ENCRYPTED_DOCUMENT", "locked"))
    told, dead = await handled([record("d", 3), record("gone", 4), record("bad", 5)], indexer)
    assert [(one.document_id, one.version, one.WhichOneof("result")) for one in told] == [
        ("d", 3, "indexed"),
        ("gone", 4, "deleted"),
        ("bad", 5, "failed"),
    ]
    assert (told[0].indexed.chunk_count, told[0].indexed.embedded_count) == (2, 1)
    assert told[0].finished_at.ToDatetime(UTC) == NOW
    assert [(letter.reason, letter.partition, letter.offset, letter.key) for letter in dead] == [
        ("ENCRYPTED_DOCUMENT", 2, 7, b"t/bad")
    ]


async def test_only_the_newest_record_of_a_document_is_worked_on():
    indexer = ScriptedIndexer()
    told, _ = await handled([record("a", 1), record("b", 1), record("a", 3), record("a", 2)], indexer)
    assert indexer.batches == [[("a", 3), ("b", 1)]]
    assert [(one.document_id, one.version) for one in told] == [("a", 3), ("b", 1)]


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xff\xff",
        b"",
        ingest_pb2.DocumentChanged(tenant_id="t", document_id="d").SerializeToString(),
        ingest_pb2.DocumentChanged(document_id="d", version=1).SerializeToString(),
    ],
)
async def test_a_record_that_cannot_be_read_becomes_a_dead_letter(value):
    told, dead = await handled([Record(DOCUMENTS_CHANGED, b"k", value, {}, 0, 1), record("good")])
    assert [one.document_id for one in told] == ["good"]
    assert [(letter.reason, letter.value) for letter in dead] == [("INVALID_RECORD", value)]


async def test_metadata_that_is_no_json_becomes_a_dead_letter():
    broken = record("d")
    message = ingest_pb2.DocumentChanged.FromString(broken.value)
    message.metadata["x"] = float("nan")
    _, dead = await handled([Record(DOCUMENTS_CHANGED, b"k", message.SerializeToString(), {}, 0, 1)])
    assert [letter.reason for letter in dead] == ["INVALID_RECORD"]


async def test_a_document_that_breaks_the_indexer_fails_alone():
    indexer = ScriptedIndexer(poison=RuntimeError("what nobody foresaw"))
    with capture_logs() as logs:
        told, dead = await handled([record("a"), record("poison"), record("b")], indexer)
    assert [(one.document_id, one.WhichOneof("result")) for one in told] == [
        ("a", "indexed"),
        ("poison", "failed"),
        ("b", "indexed"),
    ]
    assert told[1].failed.reason == "INTERNAL"
    assert "nobody" not in told[1].failed.message
    assert indexer.withdrawn == ["poison"]
    assert [line["event"] for line in logs][:2] == ["batch_failed", "record_failed"]
    assert [letter.reason for letter in dead] == ["INTERNAL"]


async def test_nothing_is_told_of_a_version_whose_successor_is_on_its_way():
    told, dead = await handled([record("d")], ScriptedIndexer(d=None))
    assert (told, dead) == ([], [])


async def test_the_trace_goes_on():
    sent = Sent()
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    changed = record()
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    await DocumentConsumer(ScriptedIndexer(), sent, lambda: NOW).handle(
        [Record(changed.topic, changed.key, changed.value, headers, 0, 0)]
    )
    assert sent[0].headers["traceparent"].split("-")[1] == trace_id


@pytest.mark.parametrize(
    ("outcome", "kind", "reason"),
    [(Indexed(3, 7), "indexed", ""), (Failed(3, "INVALID_VECTOR", "none"), "failed", "INVALID_VECTOR")],
)
async def test_what_the_other_index_has_is_told_beside_what_the_live_one_has(outcome, kind, reason):
    result = Result(Indexed(3, 2), Beside("other-key", outcome))
    (told,), dead = await handled([record("d", 3)], ScriptedIndexer(d=result))
    assert (told.WhichOneof("result"), told.indexed.chunk_count) == ("indexed", 2)
    assert (told.other.key, told.other.WhichOneof("result"), told.other.failed.reason) == ("other-key", kind, reason)
    # What fails in the other index alone is no dead letter: the document is found.
    assert dead == []
