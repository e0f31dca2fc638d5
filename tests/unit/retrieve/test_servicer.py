"""The servicer reads requests and writes answers, on the memory adapters."""

import asyncio
import contextvars

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import REGISTRY
from tandem.retrieve.v1 import retrieve_service_pb2 as pb

from services.common import index
from services.common.access import EVERY_ROLE
from services.common.identity import Identity, IdentityMissing, set_caller
from services.retrieve.adapters.memory import (
    MemoryPassageIndex,
    MemoryQueryEmbedder,
    MemoryReadership,
    MemoryReranker,
)
from services.retrieve.domain.query import InvalidChunkIds, InvalidDocumentIds, InvalidFilter, InvalidSteps
from services.retrieve.ports import EmbedderUnavailable
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


LONG = "the quick brown fox jumps over the lazy dog and then it sleeps all day long"


async def test_what_stands_in_two_documents_is_shown_once_with_both_places(passages):
    passages.upsert(
        COLLECTION,
        [
            row("one", LONG, dense=EMBEDDER.vector_of("words")),
            row("two", LONG, source_id="src-2", source_name="Drive", uri="file:///copy", readers=["user:ada"]),
            row("secret", LONG, readers=["user:ada"]),
        ],
    )
    passages.readership.readers["acme", "doc-secret"] = frozenset({"user:bob"})
    (passage,) = (await found(passages)).values()
    (place,) = passage.sources
    assert (passage.document_id, passage.restricted) == ("doc-one", False)
    assert (place.document_id, place.source_id, place.source_name) == ("doc-two", "src-2", "Drive")
    assert (place.chunk_id, place.uri, place.title, place.restricted) == ("two", "file:///copy", "Title", True)


async def test_a_passage_says_how_near_it_is_and_what_it_is(passages):
    facts = {"language": "fr", "kind": "mail", "author": "Ada"}
    passages.upsert(COLLECTION, [row("one", "words and more", dense=EMBEDDER.vector_of("words"), **facts)])
    (passage,) = (await found(passages)).values()
    assert (passage.language, passage.kind, passage.author) == ("fr", "mail", "Ada")
    assert passage.dense_similarity == pytest.approx(1, abs=1e-5)
    assert passage.words_share == 1
    assert not passage.HasField("rerank_score")


async def test_kinds_and_authors_are_read_from_the_request(passages):
    passages.upsert(COLLECTION, [row("mail", kind="mail", author="Ada"), row("chat", kind="chat", author="Bob")])
    assert set(await found(passages, filter=pb.RetrieveFilter(kinds=["mail"]))) == {"mail"}
    assert set(await found(passages, filter=pb.RetrieveFilter(authors=["Bob"]))) == {"chat"}
    with pytest.raises(InvalidFilter):
        await found(passages, filter=pb.RetrieveFilter(kinds=["a\nb"]))


async def test_a_widened_passage_has_its_section_without_what_may_not_be_read(passages):
    chunks = [
        row(
            f"c{number}",
            f"part {number} ",
            document_id="d",
            ordinal=number,
            start_offset=number * 7,
            end_offset=number * 7 + 7,
            section_first=0,
            section_last=3,
            dense=EMBEDDER.vector_of(f"part {number}"),
        )
        for number in range(4)
    ]
    filler = [row(f"f{number}", f"filler words {number}", dense=EMBEDDER.vector_of("words")) for number in range(3)]
    passages.upsert(COLLECTION, [*chunks, *filler])
    wanted = pb.RetrieveRequest(query="part 2", top_k=1)
    (plain,) = (await retrieve(passages, wanted)).passages
    wanted.widen = True
    (wide,) = (await retrieve(passages, wanted)).passages
    assert (plain.text, plain.start_offset, plain.end_offset) == ("part 2 ", 14, 21)
    assert (wide.text, wide.start_offset, wide.end_offset) == ("part 0 part 1 part 2 part 3 ", 0, 28)
    assert wide.chunk_id == "c2"
    passages.readership.readers["acme", "d"] = frozenset()
    assert "part" not in str((await retrieve(passages, wanted)).passages)


async def test_a_question_that_compares_is_searched_for_each_and_says_so(passages):
    passages.upsert(
        COLLECTION,
        [
            row("reef", "An island in the east.", title="Long Reef", words="island east"),
            row("vasa", "An island in the west.", title="Vasa Island", words="island west"),
        ],
    )
    request = pb.RetrieveRequest(query="Are Vasa Island and Long Reef in the same country?")
    answer = await retrieve(passages, request)
    assert list(answer.searches) == [request.query, "Vasa Island", "Long Reef"]
    request.steps = 1
    assert list((await retrieve(passages, request)).searches) == [request.query]
    request.steps = -1
    with pytest.raises(InvalidSteps):
        await retrieve(passages, request)


async def test_a_further_search_that_fails_or_is_late_is_left_out(passages):
    passages.upsert(COLLECTION, [row("one")])
    request = pb.RetrieveRequest(query="Who is older, Mia Lund or Bo Ek?")

    class Failing(MemoryQueryEmbedder):
        async def embed(self, text, call, model=""):
            if text == "Bo Ek":
                raise EmbedderUnavailable("away")
            if text == "Mia Lund" and late:
                await asyncio.sleep(60)
            return await super().embed(text, call)

    set_caller(ADA)
    for late, searches in [(False, [request.query, "Mia Lund"]), (True, [request.query])]:
        servicer = faces_of(Failing(8), passages, passages.readership).retrieve
        answer = await servicer.Retrieve(request, Hurried() if late else Call())
        assert list(answer.searches) == searches
        assert len(answer.passages) == 1


class Hurried:
    """A call that has a tenth of a second left."""

    def time_remaining(self):
        return 0.1


async def test_a_rerankers_order_is_shown_with_its_scores(passages):
    passages.upsert(
        COLLECTION, [row("far", "red kettle"), row("near", "green", dense=EMBEDDER.vector_of("red kettle"))]
    )
    set_caller(ADA)
    servicer = faces_of(EMBEDDER, passages, passages.readership, reranker=MemoryReranker()).retrieve
    answer = await servicer.Retrieve(pb.RetrieveRequest(query="red kettle"), Call())
    assert [one.chunk_id for one in answer.passages] == ["far", "near"]
    assert [one.rerank_score for one in answer.passages] == [1.0, 0.0]
    assert answer.reranked == 2


async def test_passages_are_read_again_in_the_order_asked_by_who_may_still_read_them(passages):
    passages.upsert(
        COLLECTION,
        [row("a", "first", document_id="d"), row("b", "second", document_id="d", ordinal=1), row("gone")],
    )
    passages.readership.readers["acme", "doc-gone"] = frozenset({"user:bob"})
    answer = await read(passages, "b", "gone", "none", "a", "b")
    assert [(one.chunk_id, one.text) for one in answer.passages] == [("b", "second"), ("a", "first")]
    assert answer.index_version == COLLECTION
    assert not (await read(passages, "a", identity=Identity("rival", "user:x", ("everyone",), EVERY_ROLE))).passages


@pytest.mark.parametrize("ids", [[], ["x"] * 101, [""], ["x" * 65], ["a\nb"]])
async def test_ids_that_no_chunk_can_have_are_refused(passages, ids):
    with pytest.raises(InvalidChunkIds):
        await read(passages, *ids)


async def read(memory, *chunk_ids, identity=ADA):
    set_caller(identity)
    return await servicer_of(memory).GetPassages(pb.GetPassagesRequest(chunk_ids=chunk_ids), Call())


async def test_documents_are_read_whole_by_who_may_read_them_and_of_the_wanted_sources(passages):
    passages.upsert(
        COLLECTION,
        [
            row("b", "second", document_id="d", ordinal=1, source_name="Wiki"),
            row("a", "first", document_id="d", source_name="Wiki"),
            row("old", "as it was", document_id="d", version=0),
            row("other", document_id="e", source_id="src-2", source_name="Shop"),
            row("gone"),
            row("secret", document_id="s", readers=["user:bob"]),
        ],
    )
    passages.readership.readers["acme", "doc-gone"] = frozenset({"user:bob"})
    answer = await read_whole(passages, "e", "d", "doc-gone", "s", "none")
    assert [one.chunk_id for one in answer.passages] == ["other", "a", "b"]
    assert [one.chunk_id for one in (await read_whole(passages, "e", "d", sources=["Wiki"])).passages] == ["a", "b"]
    assert not (await read_whole(passages, "d", identity=Identity("rival", "user:x", ("everyone",)))).passages


@pytest.mark.parametrize("ids", [[], ["x"] * 21, [""], ["x" * 65], ["a\nb"]])
async def test_ids_that_no_document_can_have_are_refused(passages, ids):
    with pytest.raises(InvalidDocumentIds):
        await read_whole(passages, *ids)


async def read_whole(memory, *document_ids, sources=(), identity=ADA):
    set_caller(identity)
    request = pb.GetDocumentsRequest(document_ids=document_ids, sources=sources)
    return await servicer_of(memory).GetDocuments(request, Call())
