"""A running feedback service on the session's broker and database."""

import asyncio

import pytest

from services.common.answer_ids import AnswerIds
from tests.conftest import free_address
from tests.integration.feedback.running import KEY, Process, stub_of
from tests.manifest import migrate


@pytest.fixture(scope="session")
def answer_ids():
    return AnswerIds(KEY.encode())


@pytest.fixture(scope="session")
def feedback(database_url, bus, tmp_path_factory):
    """A running service on the session's broker and database."""
    asyncio.run(migrate(database_url))
    log = tmp_path_factory.mktemp("feedback") / "log"
    with Process(free_address(), free_address(), database_url, bus, log).running() as process:
        asyncio.run(process.ready())
        yield process


@pytest.fixture
async def stub(feedback):
    async with stub_of(feedback) as stub:
        yield stub
