"""A running tune service on the session's database, with a tiny model to start from."""

import asyncio

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from services.common.lora.checks import BaseModel
from services.generate.adapters.memory import MemoryEngine, MemoryErasedPeople
from tests.conftest import free_address
from tests.integration.generate.conftest import generate_service
from tests.integration.generate.tiny_model import NAME, write_model
from tests.integration.tune.running import KEY, Addresses, Models, Process, neighbours_at, stub_of
from tests.manifest import migrate
from tests.tiny_cross_encoder import write_embedding_model


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return write_embedding_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def language_model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def beside():
    """Where the services beside it listen."""
    return free_address()


@pytest.fixture(scope="session")
def engine_address():
    """Where the gate asks."""
    return free_address()


class EverybodyReads:
    """A Readership of documents that everybody may read."""

    async def readable(self, _identity, document_ids):
        return dict.fromkeys(document_ids, True)

    async def existing(self, _identity, document_ids):
        return set(document_ids)


@pytest.fixture
async def engine(engine_address, tmp_path):
    """An engine for the gate, which serves the model that adapters are trained for."""
    base, key, permissions = BaseModel(NAME, {}, 16), KEY.encode(), (EverybodyReads(), MemoryErasedPeople())
    async with generate_service(
        MemoryEngine(), tmp_path / "engine", base=base, key=key, address=engine_address, permissions=permissions
    ):
        yield


@pytest.fixture(scope="session")
def models(base, language_model):
    return Models(base, language_model)


@pytest.fixture(scope="session")
def addresses(beside, engine_address, bus):
    return Addresses(beside, engine_address, bus)


@pytest.fixture(scope="session")
def stores_url(database_url):
    """A database that no running service works on: its workers would take up what a test has put there."""
    name = "stores"

    async def make():
        connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(make())
    return make_url(database_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def tune(database_url, addresses, models, tmp_path_factory):
    asyncio.run(migrate(database_url))
    process = Process(free_address(), addresses, database_url, tmp_path_factory.mktemp("tune"), models)
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
