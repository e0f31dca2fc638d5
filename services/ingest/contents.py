"""Puts contents where the rest of the platform finds them."""

from services.common.blobs import Blobs
from services.ingest.errors import ContentsUnavailable


class Contents:
    """The blob store, as ingest writes it."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def put(self, tenant_id: str, content: bytes) -> tuple[str, str]:
        """Store a content and return its key and its digest.

        Raises:
            ContentsUnavailable: the store did not take it.
        """
        try:
            key = await self._blobs.put(tenant_id, content)
        except OSError as error:
            raise ContentsUnavailable("the content cannot be stored") from error
        return key, key.rpartition("/")[2]
