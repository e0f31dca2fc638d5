"""Everything about the tune service that differs between deployments."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServerSettings


class Settings(ServerSettings):
    """Read from TUNE_…."""

    model_config = SettingsConfigDict(env_prefix="TUNE_", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(description="PostgreSQL, as SQLAlchemy's URL with the asyncpg driver.")
    manifest_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL with ingest's manifest, likewise; empty where it is the same."
    )
    blobs: SecretStr = Field(description="Where rerankers go: a folder or any fsspec URL, retrieve's too.")
    retrieve_address: str = Field(description="host:port of the retrieve service.")
    feedback_address: str = Field(description="host:port of the feedback service.")
    cache: Path = Field(description="Folder for what a run works on; emptied of each when it ends.")
    bases: Mapping[str, str] = Field(
        min_length=1,
        description="What rerankers may be trained from, the default first: a JSON object of names, each with a "
        "sentence-transformers name or a folder.",
    )
    runs_at_once: int = Field(1, ge=1, le=16, description="Runs that one replica works on at a time.")
    run_seconds: float = Field(6 * 3600, gt=0, description="Most time that a run may take.")
    threads: int = Field(0, ge=0, description="Threads that training computes with; 0 leaves it to the library.")
    search_seconds: float = Field(10, gt=0, description="Most time that one of a run's searches may take.")
    evaluation_seconds: float = Field(3600, gt=0, description="Most time that the evaluation of a kept set may take.")
