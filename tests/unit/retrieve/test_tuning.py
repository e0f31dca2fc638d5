"""A tenant's tuning is put, listed, gone back to and obeyed; nobody else's is."""

import asyncio

import pytest
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb

from services.common import index
from services.common.access import EVERY_ROLE
from services.common.identity import Identity, set_caller
from services.common.pages import InvalidPage
from services.retrieve.adapters.memory import (
    MemoryPassageIndex,
    MemoryQueryEmbedder,
    MemoryReadership,
    MemoryReranker,
)
from services.retrieve.domain.learning import InvalidJudgements
from services.retrieve.domain.tuning import InvalidTuning, TuningChanged, TuningNotFound
from tests.unit.retrieve.faces import faces_of
from tests.unit.retrieve.rows import row

ADA = Identity("acme", "user:ada", ("everyone",), EVERY_ROLE)
EVE = Identity("rival", "user:eve", ("everyone",), EVERY_ROLE)
EMBEDDER = MemoryQueryEmbedder(8)
DIGEST = "a" * 64


class Call:
    """What a servicer needs of gRPC's context."""

    def time_remaining(self):
        return None


@pytest.fixture
def memory():
    return MemoryPassageIndex()


@pytest.fixture
def faces(memory):
    readership = MemoryReadership()
    for number in range(60):
        readership.readers["acme", f"doc-{number}"] = frozenset({"everyone"})
    set_caller(ADA)
    return faces_of(EMBEDDER, memory, readership, reranker=MemoryReranker())


async def put(faces, expected=0, **fields):
    request = tuning_pb.PutTuningRequest(tuning=tuning_pb.Tuning(**fields), expected_version=expected)
    return (await faces.tuning.PutTuning(request, Call())).tuning


async def get(faces, version=0):
    return (await faces.tuning.GetTuning(tuning_pb.GetTuningRequest(version=version), Call())).tuning


async def test_a_tenant_that_put_nothing_has_version_0_with_the_defaults(faces):
    tuning = await get(faces)
    assert (tuning.version, tuning.max_steps, tuning.rerank_depth) == (0, 3, 30)
    assert not tuning.HasField("dense_share")
    assert not tuning.HasField("put_at")


async def test_what_is_put_is_live_and_kept_under_its_version(faces):
    weights = [tuning_pb.SourceWeight(source="Wiki", weight=2)]
    assert (await put(faces, source_weights=weights, dense_share=0.0, reranker=DIGEST)).version == 1
    assert (await put(faces, 1, recency_half_life_days=30)).version == 2
    live, first = await get(faces), await get(faces, 1)
    assert (live.version, live.recency_half_life_days, len(live.source_weights)) == (2, 30, 0)
    assert (first.source_weights[0].weight, first.HasField("dense_share"), first.reranker) == (2, True, DIGEST)
    assert first.HasField("put_at")


@pytest.mark.parametrize("expected", [1, -1, 2**63 - 1])
async def test_who_has_not_seen_the_live_version_changes_nothing(faces, expected):
    with pytest.raises(TuningChanged):
        await put(faces, expected)
    assert (await get(faces)).version == 0


async def test_of_two_at_once_one_is_refused(faces):
    outcomes = await asyncio.gather(put(faces, max_steps=1), put(faces, max_steps=2), return_exceptions=True)
    assert sorted(isinstance(one, TuningChanged) for one in outcomes) == [False, True]


@pytest.mark.parametrize(
    "fields",
    [{"dense_share": float("nan")}, {"max_steps": -1}, {"rerank_depth": 2**31 - 1}, {"reranker": "../x"}],
)
async def test_what_nothing_can_be_ranked_by_is_refused(faces, fields):
    with pytest.raises(InvalidTuning):
        await put(faces, **fields)


async def test_versions_are_listed_newest_first_page_by_page(faces):
    for version in range(5):
        await put(faces, version)
    request, found = tuning_pb.ListTuningsRequest(page_size=2), []
    while True:
        page = await faces.tuning.ListTunings(request, Call())
        found += [one.version for one in page.tunings]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found == [5, 4, 3, 2, 1]
    for token in ("x", "LTE=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="):
        with pytest.raises(InvalidPage):
            await faces.tuning.ListTunings(tuning_pb.ListTuningsRequest(page_token=token), Call())


async def test_another_tenants_versions_are_not_there(faces):
    await put(faces)
    set_caller(EVE)
    assert (await get(faces)).version == 0
    with pytest.raises(TuningNotFound):
        await get(faces, 1)
    assert not (await faces.tuning.ListTunings(tuning_pb.ListTuningsRequest(), Call())).tunings
    with pytest.raises(TuningNotFound):
        await get(faces, -1)


async def test_searches_obey_the_live_tuning_or_the_one_that_is_tried(faces, memory):
    collection = index.collection_of("acme", "memory")
    memory.create(collection)
    near = EMBEDDER.vector_of("red kettle")
    memory.upsert(collection, [row("0", "green", dense=near), row("1", "red kettle", dense=-near, source_name="Drive")])
    await put(faces, dense_share=1.0, rerank_off=True)
    request = pb.RetrieveRequest(query="red kettle")
    live = await faces.retrieve.Retrieve(request, Call())
    assert [one.chunk_id for one in live.passages] == ["0", "1"]
    assert (live.dense_share, live.tuning_version, live.reranked) == (1, 1, 0)
    request.tuning.CopyFrom(tuning_pb.Tuning(dense_share=0.0))
    tried = await faces.retrieve.Retrieve(request, Call())
    assert [one.chunk_id for one in tried.passages] == ["1", "0"]
    assert (tried.dense_share, tried.tuning_version, tried.reranked) == (0, 0, 2)
    request.tuning.reranker = DIGEST
    with pytest.raises(InvalidTuning):
        await faces.retrieve.Retrieve(request, Call())


async def test_a_share_is_learnt_from_judged_questions_and_changes_nothing(faces, memory):
    collection = index.collection_of("acme", "memory")
    memory.create(collection)
    memory.upsert(
        collection,
        [row(str(number), f"kettle number n{number}", dense=EMBEDDER.vector_of(f"{number}")) for number in range(60)],
    )
    judgements = [
        tuning_pb.Judgement(query=f"where is kettle n{number} now", document_ids=[f"doc-{number}"])
        for number in range(50)
    ]
    learnt = await faces.tuning.LearnDenseShare(tuning_pb.LearnDenseShareRequest(judgements=judgements), Call())
    assert learnt.used == 50
    assert learnt.HasField("dense_share")
    assert learnt.dense_share < 0.5
    assert learnt.learnt_quality > learnt.quality
    assert (await get(faces)).version == 0
    with pytest.raises(InvalidJudgements):
        await faces.tuning.LearnDenseShare(tuning_pb.LearnDenseShareRequest(), Call())


async def test_of_a_person_nothing_is_kept_to_erase(faces):
    person = erasure_pb.EraseRequest(person=erasure_pb.Person(principals=["user:ada"]))
    answer = await faces.erasure.Erase(person, Call())
    assert (answer.done, len(answer.removed)) == (True, 0)
