"""What a deployment decides about ingest."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServerSettings


class Settings(ServerSettings):
    """Read from INGEST_…."""

    model_config = SettingsConfigDict(env_prefix="INGEST_", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(description="PostgreSQL, such as postgresql+asyncpg://user:secret@host/tandem.")
    bus: str = Field(description="Bootstrap address of the event log.")
    blobs: str = Field(description="Where contents are kept: a folder, or any URL that fsspec knows.")
    embed_address: str = Field(description="host:port of the embed service, which empties what tenants have left.")
    max_document_bytes: int = Field(50 * 1024 * 1024, gt=0, description="Larger documents are never read.")
    republish_seconds: float = Field(
        30.0, gt=0, description="How long the index may owe an answer before its change is published again."
    )
    file_refused: tuple[Path, ...] = Field(
        (), description="Folders that no source may read from: the platform's own, with its keys. A JSON list."
    )
    file_roots: tuple[Path, ...] = Field(
        (Path("/"),),
        description='Folders on this host that "files" sources may lie in, as a JSON list. '
        "Narrow it where tenants do not trust each other.",
    )
