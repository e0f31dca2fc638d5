"""What a deployment decides about `embed`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.common.index_config import Languages
from services.common.settings import ServerSettings


class Settings(ServerSettings):
    """Read from EMBED_…."""

    model_config = SettingsConfigDict(
        env_prefix="EMBED_", frozen=True, hide_input_in_errors=True, protected_namespaces=()
    )

    bus: str = Field(description="The event log's bootstrap address, host:port.")
    blobs: str = Field(description="Where contents lie: a folder or an fsspec URL.")
    milvus_uri: str = Field(description="The vector database, such as http://127.0.0.1:19530.")
    milvus_token: SecretStr = Field(SecretStr(""), description="user:password of the vector database, where it asks.")
    database_url: SecretStr = Field(
        description="PostgreSQL with ingest's placements, as SQLAlchemy's URL with the asyncpg driver."
    )

    model: str = Field(description="The embedding model: a sentence-transformers folder, or a name on the hub.")
    model_name: str = Field(
        "", description="The model's stable name, part of every collection's; empty means its folder's name."
    )
    models: Mapping[str, str] = Field(
        default_factory=dict,
        description="Other embedding models that tenants may choose for their indexes, by the name that they are known "
        "by: folders or names on the hub, as a JSON object. Each takes memory from when an index first needs it.",
    )
    backend: Literal["openvino", "torch"] = Field("openvino", description="What runs the model.")
    cache: str = Field(description="Folder for the model as the backend wants it; made once, then read.")
    threads: int = Field(0, ge=0, description="Threads that embed; 0 means a thread a core.")

    languages: Languages = Field(
        ("en", "fr"), description="Languages of the documents, ISO 639-1: words are stemmed by their document's."
    )
    chunk_tokens: int = Field(
        220, ge=64, description="Most tokens of a chunk, with its title, headings and the model's special tokens."
    )
    chunk_overlap_tokens: int = Field(30, ge=0, description="Tokens of prose that a chunk repeats of the one before.")

    batch_tokens: int = Field(1536, ge=1, description="Most tokens of a batch of document texts; a query waits for it.")
    query_batch: int = Field(16, ge=1, description="Most query texts embedded together.")
    query_queue: int = Field(256, ge=1, description="Query texts that may wait; more are refused.")

    batch_records: int = Field(500, ge=1, description="Most records taken from the event log at once.")
    ahead_records: int = Field(20_000, ge=1, description="Records read ahead of the work; then reading waits.")
    ahead_bytes: int = Field(64 * 1024 * 1024, ge=1, description="Size of the records read ahead of the work.")
    max_document_bytes: int = Field(64 * 1024 * 1024, ge=1, description="Larger documents are refused.")
    max_text_characters: int = Field(4_000_000, ge=1, description="Documents with more text are refused.")
    parse_seconds: float = Field(60.0, gt=0, description="Time that parsing one document may take.")
    parse_memory_bytes: int = Field(2 * 1024**3, ge=2**28, description="Address space that the parser may use.")
