"""Everything about the tune service that differs between deployments."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from services.common.lora.signing import AdapterSigner
from services.common.settings import ServerSettings


class Settings(ServerSettings):
    """Read from TUNE_…."""

    model_config = SettingsConfigDict(env_prefix="TUNE_", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(description="PostgreSQL, as SQLAlchemy's URL with the asyncpg driver.")
    manifest_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL with ingest's manifest, likewise; empty where it is the same."
    )
    bus: str = Field(description="The event log's bootstrap address, host:port.")
    blobs: SecretStr = Field(
        description="Where data sets, rerankers and adapters are: a folder or any fsspec URL, retrieve's and "
        "generate's too."
    )
    signing_key: SecretStr = Field(
        description="Signs adapters: an Ed25519 private key, 32 bytes in base64. Engines are given the public one."
    )
    adapter_roots: tuple[str, ...] = Field(
        ("",),
        description="What the URI of an adapter to import must begin with, as a JSON list; {tenant} stands for the "
        "caller's tenant. Narrow it where tenants do not trust each other.",
    )
    adapter_protocols: tuple[str, ...] = Field(
        ("file", "s3", "gs", "gcs", "az", "abfs"), description="Kinds of URL that adapters are imported from."
    )
    retrieve_address: str = Field(description="host:port of the retrieve service.")
    generate_address: str = Field(
        description="host:port of the generate service that the gate asks: the one that serves, or one for this alone."
    )
    feedback_address: str = Field(description="host:port of the feedback service.")
    cache: Path = Field(description="Folder for what a run works on; emptied of each when it ends.")
    bases: Mapping[str, str] = Field(
        min_length=1,
        description="What rerankers may be trained from, the default first: a JSON object of names, each with a "
        "sentence-transformers name or a folder.",
    )
    models: Mapping[str, str] = Field(
        {},
        description="What adapters may be trained for, the default first: a JSON object of names, each with a folder, "
        "a .gguf file or a name on the Hugging Face hub, as GENERATE_MODEL has it.",
    )
    model_cache: Path = Field(
        Path("models"), description="Folder for a .gguf file's conversion; generate's, so that it is made once."
    )
    context_tokens: int = Field(2048, ge=256, description="Tokens of prompt and answer, as GENERATE_MAX_MODEL_LEN.")
    instructions: str = Field("", description="Instructions for who brings none, as GENERATE_INSTRUCTIONS.")
    max_lora_rank: int = Field(
        16, ge=1, description="The highest rank that an adapter may have, as GENERATE_MAX_LORA_RANK."
    )
    train_command: tuple[str, ...] = Field(
        (),
        description="What starts a module to train an adapter, as a JSON list, such as "
        '["accelerate", "launch", "--num_processes=4"]; empty is one process of this interpreter.',
    )
    runs_at_once: int = Field(1, ge=1, le=16, description="Runs that one replica works on at a time.")
    run_seconds: float = Field(6 * 3600, gt=0, description="Most time that a run may take, with all its attempts.")
    builds_at_once: int = Field(1, ge=1, le=16, description="Data sets that one replica builds at a time.")
    build_seconds: float = Field(2 * 3600, gt=0, description="Most time that the building of a data set may take.")
    name_models: Mapping[str, str] = Field(
        {"fr": "fr_core_news_sm"},
        description="spaCy models that find people's names, by ISO 639-1 code: a JSON object. One that is not "
        "installed finds none.",
    )
    gate_at_once: int = Field(2, ge=1, le=64, description="What the gate has an engine do at once.")
    gate_call_seconds: float = Field(120, gt=0, description="Most time that one of the gate's calls may take.")
    gate_wait_seconds: float = Field(
        900, gt=0, description="Most time that the gate waits for an engine that is busy with its users, or away."
    )
    threads: int = Field(0, ge=0, description="Threads that training computes with; 0 leaves it to the library.")
    search_seconds: float = Field(10, gt=0, description="Most time that one of a run's searches may take.")
    evaluation_seconds: float = Field(3600, gt=0, description="Most time that the evaluation of a kept set may take.")

    @field_validator("signing_key")
    @classmethod
    def _signs(cls, key: SecretStr) -> SecretStr:
        """Check that the key signs; what is wrong with it is said without it."""
        AdapterSigner(key.get_secret_value())
        return key
