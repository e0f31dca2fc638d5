"""Settings of the retrieve service, read from RETRIEVE_…."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.common.index_config import Languages
from services.common.settings import ServerSettings


class Settings(ServerSettings):
    """Where the index, the manifest and the embedder are, and how much time is spent."""

    model_config = SettingsConfigDict(env_prefix="RETRIEVE_", frozen=True, hide_input_in_errors=True)

    milvus_uri: str = Field(description="Where Milvus listens, such as http://127.0.0.1:19530.")
    milvus_token: SecretStr = Field(
        SecretStr(""), description="Milvus' user:password, or empty where it asks for none."
    )
    database_url: SecretStr = Field(
        description="PostgreSQL with ingest's manifest and the tunings, as SQLAlchemy's URL with the asyncpg driver."
    )
    languages: Languages = Field(("en", "fr"), description="Languages of the documents, as embed has them.")
    model_languages: Languages = Field(("en",), description="Languages that the embedding model reads.")
    rerank_seconds: float = Field(
        1.0, gt=0, description="Most time for reranking; never more than half of what is left of a call."
    )
    embed_address: str = Field(description="host:port of the embed service.")
