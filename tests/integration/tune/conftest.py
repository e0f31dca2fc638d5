"""A running tune service on the session's database, with a tiny model to start from."""

import asyncio

import pytest

from tests.conftest import free_address
from tests.integration.tune.running import Process, neighbours_at, stub_of
from tests.manifest import migrate
from tests.tiny_cross_encoder import write_embedding_model


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return write_embedding_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def beside():
    """Where the services beside it listen."""
    return free_address()


@pytest.fixture(scope="session")
def tune(database_url, beside, base, tmp_path_factory):
    asyncio.run(migrate(database_url))
    process = Process(free_address(), beside, database_url, tmp_path_factory.mktemp("tune"), base)
    with process.running():
        asyncio.run(process.ready())
        yield process


@pytest.fixture
async def neighbours(beside):
    async with neighbours_at(beside) as neighbours:
        yield neighbours


@pytest.fixture
async def stub(tune, neighbours):
    assert neighbours.may_search.is_set()
    async with stub_of(tune) as stub:
        yield stub
