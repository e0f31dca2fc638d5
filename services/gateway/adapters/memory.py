"""Keys, assistants and interactions kept in this process, for tests and trials."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from services.gateway.domain.assistants import Assistant
from services.gateway.domain.keys import ApiKey, ApiKeyNotFound, NewKey, StoredKey


class MemoryApiKeys:
    """ApiKeys in a dictionary."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[ApiKey, bytes]] = {}

    async def find(self, key_id: str) -> StoredKey | None:
        key, mac = self._keys.get(key_id, (None, b""))
        return StoredKey(key_id, key.tenant_id, mac, key.revoked_at is not None) if key else None

    async def create(self, tenant_id: str, name: str, key: NewKey) -> ApiKey:
        kept = ApiKey(key.key_id, tenant_id, name, datetime.now(UTC))
        self._keys[key.key_id] = (kept, key.mac)
        return kept

    async def page(self, tenant_id: str, after: tuple[datetime, str] | None, limit: int) -> Sequence[ApiKey]:
        keys = [key for key, _ in self._keys.values() if key.tenant_id == tenant_id]
        keys.sort(key=_position, reverse=True)
        return [key for key in keys if after is None or _position(key) < after][:limit]

    async def revoke(self, tenant_id: str, key_id: str) -> None:
        key, mac = self._keys.get(key_id, (None, b""))
        if key is None or key.tenant_id != tenant_id:
            raise ApiKeyNotFound("no such key", key_id=key_id)
        self._keys[key_id] = (replace(key, revoked_at=key.revoked_at or datetime.now(UTC)), mac)


class MemoryAssistants:
    """Assistants in a dictionary."""

    def __init__(self) -> None:
        self._assistants: dict[tuple[str, str], Assistant] = {}

    async def find(self, tenant_id: str, name: str) -> Assistant | None:
        return self._assistants.get((tenant_id, name))

    async def put(self, tenant_id: str, assistant: Assistant) -> None:
        self._assistants[tenant_id, assistant.name] = assistant

    async def page(self, tenant_id: str, after: str, limit: int) -> Sequence[Assistant]:
        names = sorted(name for tenant, name in self._assistants if tenant == tenant_id and name > after)
        return [self._assistants[tenant_id, name] for name in names[:limit]]


class MemoryInteractionLog:
    """InteractionLog in a list."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, bytes]] = []

    def record(self, tenant_id: str, conversation_id: str, interaction: bytes) -> asyncio.Future[None]:
        self.records.append((tenant_id, conversation_id, interaction))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def _position(key: ApiKey) -> tuple[datetime, str]:
    return key.created_at, key.key_id
