"""The servicer reads requests and writes answers, on the memory adapters."""

import contextvars

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import REGISTRY
from tandem.retrieve.v1 import retrieve_service_pb2 as pb

from services.common import index
from services.common.access import EVERY_ROLE
from services.common.identity import Identity, IdentityMissing, set_caller
from services.retrieve.adapters.memory import MemoryPassageIndex, MemoryQueryEmbedder, MemoryReadership
from services.retrieve.domain.query import InvalidFilter
from tests.unit.retrieve.faces import faces_of
from tests.unit.retrieve.rows import row

EMBEDDER = MemoryQueryEmbedder(8)
ADA = Identity("acme", "user:ada", ("everyone", "user:ada"), EVERY_ROLE)
COLLECTION = index.collection_of("acme", "memory")


class Call:
    """What a servicer needs of gRPC's context."""

    def time_remaining(self):
        return None


class Passages(MemoryPassageIndex):
    """Rows beside a manifest that says the same of who may read them, until a test changes it."""

    def __init__(self):
        super().__init__()
        self.readership = MemoryReadership()

    def upsert(self, collection, rows):
        super().upsert(collection, rows)
        for one in rows:
            self.readership.readers["acme", one["document_id"]] = frozenset(one["readers"])


@pytest.fixture
def passages():
    memory = Passages()
    memory.create(COLLECTION)
    return memory


def servicer_of(memory):
    return faces_of(EMBEDDER, memory, memory.readership).retrieve


async def retrieve(memory, request, identity=ADA):
    set_caller(identity)
    return await servicer_of(memory).Retrieve(request, Call())


async def found(memory, **fields):
    answer = await retrieve(memory, pb.RetrieveRequest(query="words", **fields))
    return {passage.chunk_id: passage for passage in answer.passages}


def test_without_a_caller_nothing_is_searched(passages):
    servicer = servicer_of(passages)
    with pytest.raises(IdentityMissing):
        contextvars.Context().run(servicer.Retrieve(pb.RetrieveRequest(query="x"), Call()).send, None)


async def test_an_answer_names_the_collection_and_the_model(passages):
    answer = await retrieve(passages, pb.RetrieveRequest(query="words"))
    assert (answer.index_version, answer.model, len(answer.passages)) == (COLLECTION, "memory", 0)


async def test_a_passage_carries_its_facts(passages):
    facts = {"changed_at": 1_700_000_000_123, "metadata": {"n": 3, "tags": ["a", None], "deep": {"x": True}}}
    passages.upsert(COLLECTION, [row("one", page=4, **facts)])
    (passage,) = (await retrieve(passages, pb.RetrieveRequest(query="words"))).passages
    assert (passage.chunk_id, passage.document_id, passage.document_version) == ("one", "doc-one", 1)
    assert (passage.source_id, passage.source_name, passage.title) == ("src-1", "Wiki", "Title")
    assert (passage.uri, list(passage.headings), passage.page) == ("file:///wiki.md", ["Top", "Sub"], 4)
    assert (passage.text, passage.start_offset, passage.end_offset) == ("some words", 0, 10)
    assert passage.changed_at.ToMilliseconds() == 1_700_000_000_123
    assert passage.metadata["n"] == 3
    assert list(passage.metadata["tags"]) == ["a", None]
    assert passage.metadata["deep"]["x"] is True
    assert passage.score > 0


async def test_neighbours_come_as_one_passage_named_after_the_best(passages):
    neighbours = {"document_id": "d", "readers": ["user:ada"]}
    passages.upsert(
        COLLECTION,
        [
            row("first", "before ", **neighbours, dense=-EMBEDDER.vector_of("needle")),
            row("second", "needle", **neighbours, ordinal=1, start_offset=7, end_offset=13, headings=["Other"]),
        ],
    )
    (passage,) = (await retrieve(passages, pb.RetrieveRequest(query="needle"))).passages
    assert (passage.chunk_id, passage.text, list(passage.headings)) == ("second", "before needle", ["Top", "Sub"])
    assert (passage.start_offset, passage.end_offset) == (0, 13)


async def test_top_k_passages_come_at_most(passages):
    passages.upsert(COLLECTION, [row(f"c{number}") for number in range(200)])
    for asked, given in [(0, 8), (3, 3), (1000, 100)]:
        assert len((await retrieve(passages, pb.RetrieveRequest(query="words", top_k=asked))).passages) == given


async def test_the_filter_is_read_from_the_request(passages):
    passages.upsert(
        COLLECTION,
        [
            row("match", metadata={"lang": "fr", "n": 2, "ok": False}, changed_at=1500),
            row("late", metadata={"lang": "fr", "n": 2, "ok": False}, changed_at=2000),
            row("true", metadata={"lang": "fr", "n": 2, "ok": True}, changed_at=1500),
        ],
    )
    wanted = pb.RetrieveFilter(
        sources=["Wiki"], changed_after=Timestamp(seconds=1, nanos=500_000_000), changed_before=Timestamp(seconds=2)
    )
    wanted.metadata.update({"lang": "fr", "n": 2, "ok": False})
    answer = await retrieve(passages, pb.RetrieveRequest(query="words", filter=wanted))
    assert [passage.chunk_id for passage in answer.passages] == ["match"]


async def test_a_bound_between_two_milliseconds_excludes_the_earlier(passages):
    passages.upsert(COLLECTION, [row("earlier", changed_at=1000), row("later", changed_at=1001)])
    bound = Timestamp(seconds=1, nanos=1)
    after = await retrieve(passages, pb.RetrieveRequest(query="words", filter=pb.RetrieveFilter(changed_after=bound)))
    before = await retrieve(passages, pb.RetrieveRequest(query="words", filter=pb.RetrieveFilter(changed_before=bound)))
    assert [one.chunk_id for one in after.passages] == ["later"]
    assert [one.chunk_id for one in before.passages] == ["earlier"]


@pytest.mark.parametrize("value", [None, ["list"], {"deep": "struct"}])
async def test_metadata_of_a_kind_that_cannot_be_compared_is_refused(passages, value):
    wanted = pb.RetrieveFilter()
    wanted.metadata.update({"field": value})
    with pytest.raises(InvalidFilter):
        await retrieve(passages, pb.RetrieveRequest(query="words", filter=wanted))


@pytest.mark.parametrize(
    "time",
    [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-1), Timestamp(nanos=2_000_000_000)],
)
async def test_a_time_outside_of_the_calendar_is_refused(passages, time):
    for wanted in (pb.RetrieveFilter(changed_after=time), pb.RetrieveFilter(changed_before=time)):
        with pytest.raises(InvalidFilter):
            await retrieve(passages, pb.RetrieveRequest(query="words", filter=wanted))


async def test_the_tenant_comes_from_the_identity_alone(passages):
    passages.upsert(COLLECTION, [row("one")])
    answer = await retrieve(
        passages, pb.RetrieveRequest(query="words"), Identity("rival", "user:x", ("everyone",), EVERY_ROLE)
    )
    assert (answer.index_version, len(answer.passages)) == ("", 0)


async def test_a_revocation_counts_before_the_index_has_it(passages):
    passages.upsert(COLLECTION, [row("kept", readers=["user:ada"]), row("revoked", readers=["user:ada"])])
    passages.readership.readers["acme", "doc-revoked"] = frozenset({"user:bob"})
    before = withheld()
    assert set(await found(passages)) == {"kept"}
    assert withheld() - before == 1


async def test_what_the_manifest_does_not_have_is_not_shown(passages):
    passages.upsert(COLLECTION, [row("gone")])
    passages.readership.readers.clear()
    assert not await found(passages)


async def test_a_withheld_hit_leaves_no_word_in_its_neighbours_passage(passages):
    passages.upsert(COLLECTION, [row(name, document_id=name, dense=EMBEDDER.vector_of("words")) for name in "ab"])
    passages.readership.readers["acme", "a"] = frozenset()
    (passage,) = (await found(passages, top_k=1)).values()
    assert passage.document_id == "b"


async def test_a_passage_says_whether_everybody_may_read_it(passages):
    passages.upsert(COLLECTION, [row("public"), row("own", readers=["user:ada"])])
    assert {name: one.restricted for name, one in (await found(passages)).items()} == {"public": False, "own": True}


async def test_members_of_a_set_find_what_the_index_gives_to_the_set(passages):
    passages.upsert(COLLECTION, [row("large", readers=["set:s1"])])
    passages.readership.readers["acme", "doc-large"] = frozenset({"user:ada", "user:bob"})
    assert not await found(passages)
    passages.readership.members["acme", "s1"] = frozenset({"user:ada", "user:bob"})
    assert set(await found(passages)) == {"large"}


async def test_a_passage_carries_the_suspicions_of_all_its_hits(passages):
    one = {"document_id": "d", "dense": EMBEDDER.vector_of("words")}
    passages.upsert(
        COLLECTION,
        [
            row("first", suspicions=["role-markup"], **one),
            row("second", ordinal=1, start_offset=10, end_offset=20, suspicions=["tool-markup", "role-markup"], **one),
        ],
    )
    (passage,) = (await found(passages)).values()
    assert list(passage.suspicions) == ["role-markup", "tool-markup"]


def withheld():
    return REGISTRY.get_sample_value("tandem_retrieve_hits_withheld_total")
