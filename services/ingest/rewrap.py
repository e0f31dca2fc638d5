"""`python -m services.ingest.rewrap`: every secret comes under the deployment's current key.

The ciphertexts stay as they are; it is done in batches, each committed, and may be run again. It prints
one line of JSON.
"""

import asyncio
import sys
from dataclasses import dataclass, replace

import orjson

from services.common.database import Sessions, open_database
from services.common.errors import ServiceError
from services.common.secrets import Envelope, SecretsSettings, keys_of
from services.ingest.adapters import secrets
from services.ingest.adapters.postgres import transaction
from services.ingest.adapters.tables import MIGRATIONS, SCHEMA
from services.ingest.settings import Settings

BATCH = 100


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How many secrets came under the current key, of how many there are."""

    key_id: str
    rewrapped: int
    secrets: int


async def rewrap(sessions: Sessions, envelope: Envelope) -> Rewrapped:
    """Bring every secret under the current key.

    Raises:
        SecretsNotConfigured, SecretKeyUnknown, SecretDamaged: see Envelope; the batches before stay done.
    """
    key_id, after, done = envelope.current, ("", ""), 0
    while True:
        async with transaction(sessions) as session:
            batch = await secrets.lock_under_others(session, key_id, after, BATCH)
            for kept in batch:
                sealed = envelope.rewrap(kept.tenant_id, kept.name, kept.sealed)
                await secrets.rewrapped(session, replace(kept, sealed=sealed))
        if not batch:
            break
        done, after = done + len(batch), (batch[-1].tenant_id, batch[-1].name)
    async with transaction(sessions) as session:
        return Rewrapped(key_id, done, await secrets.count(session))


async def main() -> int:
    """Return the exit code."""
    settings, envelope = Settings(), Envelope(keys_of(SecretsSettings()))
    async with open_database(settings.database_url.get_secret_value(), MIGRATIONS, SCHEMA) as sessions:
        try:
            done = await rewrap(sessions, envelope)
        except ServiceError as error:
            failure = {"reason": error.reason, "message": str(error), "facts": error.facts}
            sys.stdout.buffer.write(orjson.dumps({"error": failure}) + b"\n")
            return 1
    sys.stdout.buffer.write(orjson.dumps(done) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
