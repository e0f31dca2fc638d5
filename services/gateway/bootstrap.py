"""Makes a key from the command line, such as a tenant's first: one line of JSON on stdout."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
import structlog

from services.common.access import Role
from services.common.database import open_database
from services.common.identity import system
from services.common.settings import PlatformSettings
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA, PostgresApiKeys
from services.gateway.domain.keys import KeyMaker, KeyTerms, checked_terms, tenant_id_of
from services.gateway.settings import DatabaseSettings


async def main(tenant: str, terms: KeyTerms) -> None:
    """Make the tenant if it is missing, and a key in it; print the key."""
    identity, checked = system(tenant_id_of(tenant), "bootstrap"), checked_terms(terms, datetime.now(UTC))
    key = KeyMaker(PlatformSettings().identity_key.get_secret_value().encode()).make()
    url = DatabaseSettings().database_url.get_secret_value()
    async with open_database(url, MIGRATIONS, SCHEMA) as sessions:
        await PostgresApiKeys(sessions).create(identity, checked, key)
    sys.stdout.write(orjson.dumps({"key_id": key.key_id, "secret": key.credential}).decode() + "\n")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.gateway.bootstrap", description=__doc__)
    parser.add_argument("--tenant", default="default", help="the tenant; made if it is missing")
    parser.add_argument("--name", required=True, help="the key's name, for people")
    parser.add_argument("--role", action="append", type=Role, choices=list(Role), help="what it may do; admin if none")
    parser.add_argument("--acts-for-users", action="store_true", help="its calls may carry an end user")
    return parser.parse_args(argv)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    arguments = _arguments(sys.argv[1:])
    roles = frozenset(arguments.role or {Role.ADMIN})
    asyncio.run(main(arguments.tenant, KeyTerms(arguments.name, roles, acts_for_users=arguments.acts_for_users)))
