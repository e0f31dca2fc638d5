"""Makes a key from the command line, such as a tenant's first: one line of JSON on stdout."""

import argparse
import asyncio
import sys

import orjson
import structlog

from services.common.database import open_database
from services.common.settings import PlatformSettings
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA, PostgresApiKeys
from services.gateway.domain.keys import KeyMaker, key_name_of, tenant_id_of
from services.gateway.settings import DatabaseSettings


async def main(tenant: str, name: str) -> None:
    """Make the tenant if it is missing, and a key in it; print the key."""
    tenant_id, key_name = tenant_id_of(tenant), key_name_of(name)
    key = KeyMaker(PlatformSettings().identity_key.get_secret_value().encode()).make()
    url = DatabaseSettings().database_url.get_secret_value()
    async with open_database(url, MIGRATIONS, SCHEMA) as sessions:
        await PostgresApiKeys(sessions).create(tenant_id, key_name, key)
    sys.stdout.write(orjson.dumps({"key_id": key.key_id, "secret": key.credential}).decode() + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.gateway.bootstrap", description=__doc__)
    parser.add_argument("--tenant", default="default", help="the tenant; made if it is missing")
    parser.add_argument("--name", required=True, help="the key's name, for people")
    return parser.parse_args()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    arguments = _arguments()
    asyncio.run(main(arguments.tenant, arguments.name))
