"""Every PassageIndex finds what it should, for whom it should, and nothing else."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from services.common import index
from services.common.analysis import passage_stems
from services.common.identity import Identity
from services.retrieve.adapters.memory import MemoryPassageIndex
from services.retrieve.adapters.milvus import MilvusPassageIndex
from services.retrieve.domain.fusion import fused
from services.retrieve.domain.hits import MOST_CHUNKS, Hit, Reader, Section
from services.retrieve.domain.passages import passages_of
from services.retrieve.ports import PassageIndex
from tests.unit.retrieve.rows import DIMENSIONS, LANGUAGES, MODEL, axis, row, search

TENANTS = itertools.count()
HOSTILE = [
    'quote " and \\ backslash',
    '"]) or true or ARRAY_CONTAINS_ANY(readers, ["',
    "' or 1 == 1 --",
    "%_*?{x}",
    "a/b~c.d",
    "\\u0041\\n",
    "العربية مع مسافات",
    "日本語のテキスト",
    "हिन्दी में पाठ",
    "e\u0301 NFD",
    "👩‍👩‍👧‍👦",
    "\u202eright to left",
    "\u2028line separator",
    "\ufeff",
    " ",
]


@dataclass(frozen=True)
class Store:
    """An index under test, and how its rows get in; each test has its own tenant."""

    index: PassageIndex
    tenant_id: str
    create: Callable[[str], Awaitable[None]]
    upsert: Callable[[str, list[dict]], Awaitable[None]]

    async def write(self, *rows: dict, tenant_id: str = "") -> None:
        collection = index.collection_of(tenant_id or self.tenant_id, MODEL)
        await self.create(collection)
        await self.upsert(collection, list(rows))

    async def found(self, text: str = "some words", **facts) -> list[str]:
        return [hit.chunk_id for hit in await self.hits(text, **facts)]

    async def hits(self, text: str = "some words", **facts) -> list[Hit]:
        """Search, and fuse both legs alike."""
        asked = search(text, **{"tenant_id": self.tenant_id} | facts)
        return fused((await self.index.search(asked)).hits, asked.stems, 0.5, 1000)


@pytest.fixture(params=["memory", "milvus"])
async def store(request):
    tenant_id = f"tenant-{next(TENANTS)}"
    if request.param == "memory":
        yield _memory_store(tenant_id)
        return
    client = index.open_milvus(request.getfixturevalue("milvus_uri"))
    yield _milvus_store(client, tenant_id)
    await client.close()


def _memory_store(tenant_id: str) -> Store:
    memory = MemoryPassageIndex()

    async def create(collection):
        memory.create(collection)

    async def upsert(collection, rows):
        memory.upsert(collection, rows)

    return Store(memory, tenant_id, create, upsert)


def _milvus_store(client, tenant_id: str) -> Store:
    async def create(collection):
        indexes = client.prepare_index_params()
        indexes.add_index(index.DENSE, index_type="AUTOINDEX", metric_type="COSINE")
        indexes.add_index(index.SPARSE, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=index.BM25)
        await client.create_collection(collection, schema=index.schema_of(DIMENSIONS), index_params=indexes, timeout=10)

    async def upsert(collection, rows):
        await client.upsert(collection, rows, timeout=10)

    return Store(MilvusPassageIndex(client), tenant_id, create, upsert)


async def test_what_matches_by_meaning_and_by_words_comes_first(store):
    await store.write(
        row("neither", "nothing alike", dense=axis(3)),
        row("words", "the warranty lasts two years", dense=axis(2)),
        row("both", "warranty of two years", dense=axis(0)),
        row("meaning", "guarantee", dense=(axis(0) + axis(1)) / 2**0.5),
    )
    hits = await store.hits("warranty years")
    assert hits[0].chunk_id == "both"
    assert {hit.chunk_id for hit in hits[1:3]} == {"words", "meaning"}
    found = {hit.chunk_id: hit for hit in hits}
    assert found["meaning"].similarity == pytest.approx(0.5**0.5, abs=1e-5)
    assert (found["words"].similarity, found["meaning"].bm25) == (pytest.approx(0, abs=1e-5), None)
    assert found["both"].bm25 > 0
    assert found["words"].bm25 > 0


async def test_what_only_words_have_found_has_its_similarity_too(store):
    near = (row(f"near{number:03}", "alike", ordinal=number) for number in range(60))
    await store.write(*near, row("word", "needle", dense=(axis(0) * 0.6 + axis(1) * 0.8)))
    found = {hit.chunk_id: hit for hit in await store.hits("needle")}
    assert len(found) == 51
    assert found["word"].similarity == pytest.approx(0.6, abs=1e-5)


async def test_a_hit_carries_everything_about_its_chunk(store):
    written = row("one", "Grüße aus Köln", readers=["everyone"], version=7, ordinal=3, page=2, start_offset=40)
    written |= {"end_offset": 54, "metadata": {"lang": "de", "n": 3, "list": [1, 2]}, "headings": ["Ü", "日本"]}
    await store.write(written)
    found = await store.index.search(search("Grüße", tenant_id=store.tenant_id))
    (hit,) = found.hits
    assert found.index_version == index.collection_of(store.tenant_id, MODEL)
    assert (hit.chunk_id, hit.document_id, hit.version, hit.ordinal) == ("one", "doc-one", 7, 3)
    assert (hit.text, hit.start_offset, hit.end_offset, hit.page) == ("Grüße aus Köln", 40, 54, 2)
    assert (hit.headings, hit.metadata) == (("Ü", "日本"), {"lang": "de", "n": 3, "list": [1, 2]})
    assert (hit.source_id, hit.source_name, hit.title) == ("src-1", "Wiki", "Title")
    assert (hit.uri, hit.changed_at_ms) == ("file:///wiki.md", 1_700_000_000_000)


async def test_only_who_may_read_a_chunk_finds_it(store):
    await store.write(
        row("public"),
        row("team", readers=["group:team", "user:ada"]),
        row("bob", readers=["user:bob"]),
        row("nobody", readers=[]),
    )
    assert set(await store.found()) == {"public"}
    assert set(await store.found(principals=("everyone", "group:team"))) == {"public", "team"}
    assert set(await store.found(principals=("user:bob", "user:ada"))) == {"team", "bob"}
    assert await store.found(principals=("user:bo", "user:", "")) == []


async def test_a_set_of_readers_finds_what_is_given_to_the_set(store):
    await store.write(row("set", readers=["set:s1"]), row("other", readers=["set:s2"]))
    assert await store.found(principals=("user:ada",), sets=("set:s1",)) == ["set"]


async def test_a_reader_with_thousands_of_principals_finds_what_the_last_of_them_may_read(store):
    groups = tuple(f"group:{number:05}-{'x' * 40}" for number in range(5000))
    await store.write(row("last", readers=[groups[-1]]), row("other", readers=["group:other"]))
    assert await store.found(principals=groups) == ["last"]


async def test_a_hit_carries_its_suspicions(store):
    await store.write(row("odd", suspicions=["role-markup", "tool-markup"]))
    (hit,) = (await store.index.search(search(tenant_id=store.tenant_id))).hits
    assert hit.suspicions == ("role-markup", "tool-markup")


async def test_without_principals_nothing_is_found(store):
    await store.write(row("public"), row("nobody", readers=[]))
    assert await store.found(principals=()) == []


async def test_a_tenant_finds_its_own_chunks_only(store):
    await store.write(row("mine"))
    await store.write(row("theirs"), tenant_id=f"{store.tenant_id}-other")
    assert await store.found() == ["mine"]
    assert await store.found(tenant_id=f"{store.tenant_id}-other") == ["theirs"]


async def test_tenants_whose_names_look_alike_in_milvus_stay_apart(store):
    await store.write(row("dash"), tenant_id=f"{store.tenant_id}-x")
    await store.write(row("dot"), tenant_id=f"{store.tenant_id}.x")
    assert await store.found(tenant_id=f"{store.tenant_id}-x") == ["dash"]
    assert await store.found(tenant_id=f"{store.tenant_id}.x") == ["dot"]


async def test_a_tenant_without_an_index_finds_nothing_until_it_has_one(store):
    before = await store.index.search(search(tenant_id=store.tenant_id))
    assert (before.index_version, list(before.hits)) == ("", [])
    await store.write(row("first"))
    assert await store.found() == ["first"]


async def test_an_index_without_rows_finds_nothing(store):
    collection = index.collection_of(store.tenant_id, MODEL)
    await store.create(collection)
    found = await store.index.search(search(tenant_id=store.tenant_id))
    assert (found.index_version, list(found.hits)) == (collection, [])


async def test_chunks_without_words_are_found_by_meaning(store):
    await store.write(row("signs", "!!!"))
    assert await store.found("???") == ["signs"]


async def test_sources_narrow_by_id_or_name(store):
    await store.write(
        row("wiki", source_id="s1", source_name="Wiki"),
        row("drive", source_id="s2", source_name="Drive"),
        row("crm", source_id="s3", source_name="CRM"),
    )
    assert set(await store.found(sources=("s1", "CRM"))) == {"wiki", "crm"}
    assert await store.found(sources=("Drive",)) == ["drive"]
    assert await store.found(sources=("s1, s2", "drive")) == []


async def test_kinds_and_authors_narrow(store):
    await store.write(
        row("mail", kind="mail", author="Ada"),
        row("chat", kind="chat", author="Ada"),
        row("slides", kind="slides", author='"Bob"'),
    )
    assert set(await store.found(kinds=("mail", "slides"))) == {"mail", "slides"}
    assert set(await store.found(authors=("Ada",))) == {"mail", "chat"}
    assert await store.found(kinds=("chat",), authors=("Ada",)) == ["chat"]
    assert await store.found(authors=('"Bob"',)) == ["slides"]
    assert await store.found(authors=("ada",)) == []


async def test_chunks_are_read_again_by_who_may_read_them(store):
    await store.write(row("one"), row("own", readers=["user:ada"]), row('odd"id'))
    reader = Reader(Identity(store.tenant_id, "user:x", ("everyone",)), ())
    found = await store.index.chunks(reader, MODEL, ("own", "one", 'odd"id', "none"))
    assert {hit.chunk_id for hit in found.hits} == {"one", 'odd"id'}
    assert found.index_version == index.collection_of(store.tenant_id, MODEL)
    stranger = Reader(Identity(f"{store.tenant_id}-other", "user:x", ("everyone",)), ())
    assert (await store.index.chunks(stranger, MODEL, ("one",))).hits == ()
    nobody = Reader(Identity(store.tenant_id, "user:x", ()), ())
    assert list((await store.index.chunks(nobody, MODEL, ("one",))).hits) == []


async def test_a_section_is_the_chunks_between_of_one_version_that_may_be_read(store):
    chunks = [row(f"c{number}", document_id="d", ordinal=number) for number in range(6)]
    chunks[3]["readers"] = ["user:ada"]
    old = row("old", document_id="d", version=0, ordinal=2)
    await store.write(*chunks, old, row("other", document_id="e", ordinal=2))
    reader = Reader(Identity(store.tenant_id, "user:x", ("everyone",)), ())
    hits = await store.index.sections(reader, MODEL, (Section("d", 1, 2, 4),))
    assert {hit.chunk_id for hit in hits} == {"c2", "c4"}
    assert list(await store.index.sections(reader, MODEL, ())) == []


async def test_a_document_is_its_chunks_that_may_be_read_if_it_is_of_a_wanted_source(store):
    chunks = [row(f"c{number}", document_id="d", ordinal=number) for number in (0, 1, MOST_CHUNKS)]
    chunks[1]["readers"] = ["user:ada"]
    await store.write(*chunks, row("other", document_id="e"))
    reader = Reader(Identity(store.tenant_id, "user:x", ("everyone",)), ())
    for sources, expected in ((), {"c0"}), (("Wiki",), {"c0"}), (("src-1", "no"), {"c0"}), (("Shop",), set()):
        found = await store.index.document(reader, MODEL, "d", sources)
        assert {hit.chunk_id for hit in found.hits} == expected, sources
    newcomer = Reader(Identity(f"{store.tenant_id}-new", "user:x", ("everyone",)), ())
    assert (await store.index.document(newcomer, MODEL, "d", ())).index_version == ""


async def test_time_includes_its_start_and_excludes_its_end(store):
    await store.write(*(row(str(time), changed_at=time) for time in (-1, 0, 1, 2, 3)))
    assert set(await store.found(changed_after_ms=1, changed_before_ms=3)) == {"1", "2"}
    assert set(await store.found(changed_after_ms=2)) == {"2", "3"}
    assert set(await store.found(changed_before_ms=0)) == {"-1"}
    assert await store.found(changed_after_ms=3, changed_before_ms=1) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"lang": "fr"}, {"fr"}),
        ({"stars": 3.0}, {"en", "whole"}),
        ({"stars": 3.5}, {"fr"}),
        ({"open": True}, {"en"}),
        ({"open": False}, {"fr"}),
        ({"lang": "en", "open": True}, {"en"}),
        ({"lang": "en", "open": False}, set()),
        ({"lang": "EN"}, set()),
        ({"missing": "x"}, set()),
        ({"stars": "3"}, set()),
        ({"stars": 1e300}, set()),
    ],
)
async def test_metadata_must_be_equal(store, wanted, expected):
    await store.write(
        row("en", metadata={"lang": "en", "stars": 3, "open": True}),
        row("fr", metadata={"lang": "fr", "stars": 3.5, "open": False}),
        row("whole", metadata={"stars": 3.0}),
        row("none"),
    )
    assert set(await store.found(metadata=wanted)) == expected


async def test_all_filters_hold_together(store):
    facts = {"source_id": "s1", "metadata": {"lang": "en"}, "changed_at": 5}
    await store.write(
        row("all", **facts),
        row("other source", **facts | {"source_id": "s2"}),
        row("other time", **facts | {"changed_at": 50}),
        row("other metadata", **facts | {"metadata": {"lang": "fr"}}),
        row("other reader", **facts | {"readers": ["user:bob"]}),
    )
    assert await store.found(sources=("s1",), changed_before_ms=10, metadata={"lang": "en"}) == ["all"]


async def test_hostile_strings_in_filters_match_themselves_only(store):
    rows = [
        row(f"h{number}", readers=[text], source_name=text, metadata={"v": text, text: "named"})
        for number, text in enumerate(HOSTILE)
    ]
    await store.write(*rows, row("plain", readers=["user:plain"]))
    for number, text in enumerate(HOSTILE):
        expected = [f"h{number}"]
        assert await store.found(principals=(text,)) == expected
        assert await store.found(principals=(text,), sources=(text,)) == expected
        assert await store.found(principals=(text,), metadata={"v": text}) == expected
        assert await store.found(principals=(text,), metadata={text: "named"}) == expected
        assert await store.found(principals=("user:plain",), metadata={text: "named"}) == []


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x01", "\x1b"])
async def test_a_principal_with_a_control_character_reads_nothing_of_others(store, character):
    await store.write(row("bob", readers=["user:bob"]), row("b", readers=["b"]))
    assert await store.found(principals=(f"user:{character}bob", f'a"]{character}, ["b')) == []


@pytest.mark.parametrize("text", [*HOSTILE, "AND OR NOT ( ) : ^ ~", "select * from x; drop", "x" * 8000, "é" * 8000])
async def test_any_query_text_is_answered(store, text):
    await store.write(row("one"))
    assert await store.found(text) == ["one"]


@pytest.mark.parametrize(
    ("text", "query"),
    [("Die Öffnungszeiten am Samstag", "offnungszeiten"), ("Garantie prolongée", "PROLONGEE"), ("보증 기간", "보증")],
)
async def test_words_are_found_in_any_case_and_accent(store, text, query):
    if isinstance(store.index, MemoryPassageIndex):
        pytest.skip("the memory index compares words as they are")
    await store.write(row("other", "other", dense=axis(1)), row("one", text, dense=axis(1)))
    assert (await store.found(query))[0] == "one"


async def test_as_many_chunks_come_as_passages_need(store):
    await store.write(*(row(f"c{number:03}", ordinal=number) for number in range(400)))
    # Of each leg: which of so many that are all alike it finds is its own affair.
    assert 50 <= len(await store.found(top_k=1)) <= 100
    assert 300 <= len(await store.found(top_k=100)) <= 400


async def test_of_two_versions_both_are_hits_and_the_newer_becomes_the_passage(store):
    await store.write(
        row("old", "return within 14 days", document_id="policy", version=1),
        row("new", "return within 30 days", document_id="policy", version=2),
    )
    found = await store.index.search(search("return within 14 days", tenant_id=store.tenant_id))
    assert {hit.version for hit in found.hits} == {1, 2}
    (passage,) = passages_of(found.hits, 8)
    assert passage.text == "return within 30 days"


async def test_searches_at_once_do_not_mix(store):
    await store.write(*(row(f"c{number}", readers=[f"user:{number}"]) for number in range(20)))
    answers = await asyncio.gather(*(store.found(principals=(f"user:{number}",)) for number in range(20)))
    assert answers == [[f"c{number}"] for number in range(20)]


async def test_words_are_found_in_other_forms_in_each_language(store):
    french = {"language": "fr", "words": " ".join(passage_stems(["Des éléphants qui mangeaient"], "fr", LANGUAGES))}
    english = {"language": "en", "words": " ".join(passage_stems(["They were running home"], "en", LANGUAGES))}
    far = -axis(0)
    await store.write(
        row("fr", "x", **french, dense=far), row("en", "y", **english, dense=far), row("z", "z", dense=far)
    )
    for question, expected in [
        ("manger", "fr"),
        ("qui mange avec les amis de mon père", "fr"),
        ("elephant", "fr"),
        ("who runs with the dogs every day", "en"),
    ]:
        assert (await store.found(question))[0] == expected, question


async def test_a_question_without_words_is_asked_by_meaning_alone(store):
    await store.write(row("near", "some words", dense=axis(0)), row("far", "other", dense=axis(1)))
    assert (await store.found("?!"))[0] == "near"
