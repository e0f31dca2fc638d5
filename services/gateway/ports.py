"""What the gateway needs kept, and written, for it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from services.common.errors import Unavailable
from services.gateway.domain.assistants import Assistant
from services.gateway.domain.keys import ApiKey, NewKey, StoredKey


class StoreUnavailable(Unavailable):
    """Keys and assistants cannot be read or written now."""

    reason = "STORE_UNAVAILABLE"


class ApiKeys(Protocol):
    """Keeps the tenants' keys. Every method raises StoreUnavailable when it cannot."""

    async def find(self, key_id: str) -> StoredKey | None:
        """Return what credentials of this id are checked against."""

    async def create(self, tenant_id: str, name: str, key: NewKey) -> ApiKey:
        """Keep a new key; the tenant is made if it is missing."""

    async def page(self, tenant_id: str, after: tuple[datetime, str] | None, limit: int) -> Sequence[ApiKey]:
        """Return at most `limit` of the tenant's keys made before that time (and id), newest first."""

    async def revoke(self, tenant_id: str, key_id: str) -> None:
        """Revoke a key; one that was revoked stays so.

        Raises:
            ApiKeyNotFound: the tenant has no such key.
        """


class Assistants(Protocol):
    """Keeps the tenants' assistants. Every method raises StoreUnavailable when it cannot."""

    async def find(self, tenant_id: str, name: str) -> Assistant | None:
        """Return the assistant of this name."""

    async def put(self, tenant_id: str, assistant: Assistant) -> None:
        """Create or replace an assistant by name."""

    async def page(self, tenant_id: str, after: str, limit: int) -> Sequence[Assistant]:
        """Return at most `limit` of the tenant's assistants whose names come after `after`, by name."""


class InteractionLog(Protocol):
    """Records what was asked and answered."""

    def record(self, tenant_id: str, conversation_id: str, interaction: bytes) -> asyncio.Future[None]:
        """Send a record on its way; the future is done when it cannot be lost any more.

        It ends with BusUnavailable when that cannot be had.
        """
