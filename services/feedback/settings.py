"""Everything about the feedback service that differs between deployments."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServerSettings


class Settings(ServerSettings):
    """Read from FEEDBACK_…."""

    model_config = SettingsConfigDict(env_prefix="FEEDBACK_", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(description="PostgreSQL, as SQLAlchemy's URL with the asyncpg driver.")
    manifest_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL with ingest's manifest, likewise; empty where it is the same."
    )
    bus: str = Field(description="Kafka bootstrap address, such as 127.0.0.1:9092.")
    rest_seconds: float = Field(
        0.05, ge=0, description="Rest after each batch of interactions: under load many are stored together."
    )
    batch_records: int = Field(500, ge=1, description="Most interactions stored together.")
