"""The parts of the default set-up start and answer."""

import asyncpg
from pymilvus import MilvusClient

from services.common.bus import DOCUMENTS_CHANGED, open_producer, traced


async def test_the_broker_takes_a_record(bus):
    async with open_producer(bus) as producer:
        await producer.send([traced(DOCUMENTS_CHANGED, b"k", b"v")])
        await producer.ping()


async def test_postgres_answers_over_its_socket(database_url):
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


def test_milvus_lists_collections(milvus_uri):
    client = MilvusClient(milvus_uri)
    try:
        assert isinstance(client.list_collections(timeout=10), list)
    finally:
        client.close()
