"""A search reads the tenant's live index, and the one beside it only for who may change that."""

import pytest
from tandem.retrieve.v1 import retrieve_service_pb2 as pb

from services.common import index
from services.common.access import EVERY_ROLE, Role, RoleRequired
from services.common.identity import Identity, set_caller
from services.common.index_config import IndexConfig
from services.common.indexes import IndexState, Made, TenantIndex
from services.retrieve.adapters.memory import (
    MemoryConfigurations,
    MemoryPassageIndex,
    MemoryQueryEmbedder,
    MemoryReadership,
)
from services.retrieve.choice import NoOtherIndex
from tests.unit.retrieve.faces import faces_of
from tests.unit.retrieve.rows import row

LIVE = Made(IndexConfig("memory", ("en", "fr"), 220, 30), "memory")
FRENCH = Made(IndexConfig("camembert", ("fr",), 220, 30), "french")
READY = TenantIndex(LIVE, IndexState.READY, FRENCH, mirrored=True)
KEPT = TenantIndex(FRENCH, IndexState.KEPT, LIVE, mirrored=True)
ADMIN = Identity("acme", "user:ada", ("everyone",), EVERY_ROLE)


class Call:
    """What a servicer needs of gRPC's context."""

    def time_remaining(self):
        return None


@pytest.fixture
def configurations():
    return MemoryConfigurations()


@pytest.fixture
def retrieve(configurations):
    passages, readership = MemoryPassageIndex(), MemoryReadership()
    for key in ("memory", "french"):
        collection = index.collection_of("acme", key)
        passages.create(collection)
        passages.upsert(collection, [row(key)])
        readership.readers["acme", f"doc-{key}"] = frozenset({"everyone"})
    faces = faces_of(MemoryQueryEmbedder(8), passages, readership, configurations=configurations)

    async def search(identity=ADMIN, **fields):
        set_caller(identity)
        answer = await faces.retrieve.Retrieve(pb.RetrieveRequest(query="words", **fields), Call())
        return [passage.chunk_id for passage in answer.passages], answer.model

    async def reread(*chunk_ids):
        set_caller(ADMIN)
        answer = await faces.retrieve.GetPassages(pb.GetPassagesRequest(chunk_ids=chunk_ids), Call())
        return [passage.chunk_id for passage in answer.passages]

    search.reread = reread
    return search


async def test_who_never_chose_reads_the_deployment_s_index(retrieve):
    assert await retrieve() == (["memory"], "memory")


@pytest.mark.parametrize(
    ("indexes", "live", "other"),
    [
        (READY, (["memory"], "memory"), (["french"], "camembert")),
        (KEPT, (["french"], "camembert"), (["memory"], "memory")),
    ],
)
async def test_the_live_index_is_read_by_its_own_model_and_the_other_one_where_it_is_asked_for(
    retrieve, configurations, indexes, live, other
):
    configurations.index = indexes
    assert await retrieve() == live
    assert await retrieve(other_index=True) == other
    assert await retrieve.reread("memory", "french") == live[0]


async def test_the_other_index_is_for_admins(retrieve, configurations):
    configurations.index = READY
    reader = Identity("acme", "user:bob", ("everyone",), EVERY_ROLE - {Role.ADMIN})
    assert await retrieve(reader) == (["memory"], "memory")
    with pytest.raises(RoleRequired):
        await retrieve(reader, other_index=True)


@pytest.mark.parametrize(
    "indexes", [TenantIndex(), TenantIndex(LIVE), TenantIndex(LIVE, IndexState.DROPPING, FRENCH, droppable=True)]
)
async def test_where_there_is_no_other_index_that_is_said(retrieve, configurations, indexes):
    configurations.index = indexes
    with pytest.raises(NoOtherIndex):
        await retrieve(other_index=True)
