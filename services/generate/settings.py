"""The settings of generate."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.common.lora.checks import tunable
from services.common.models.folder import weight_shapes
from services.common.settings import ServerSettings


class Settings(ServerSettings):
    """Read from GENERATE_…: one engine, its model, and how much it takes on."""

    model_config = SettingsConfigDict(env_prefix="GENERATE_", frozen=True, hide_input_in_errors=True)

    engine: Literal["vllm", "memory"] = Field("vllm", description="vllm, or memory: no model, an answer at once.")
    model: str = Field("", description="A folder, a .gguf file, or a name on the Hugging Face hub; vllm needs it.")
    cache: Path = Field(Path(".tandem/generate"), description="Folder for converted models and adapters' files.")
    database_url: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL with ingest's manifest, as SQLAlchemy's URL with the asyncpg driver; without it, "
        "adapters that learnt from documents answer only where they are cleared.",
    )
    instructions: str = Field("", description="Instructions for requests that bring none; empty means our own.")

    max_running: int = Field(16, ge=1, description="Requests that the engine works on at once.")
    max_waiting: int = Field(64, ge=0, description="Requests that may wait; more are turned away.")
    max_model_len: int = Field(2048, ge=256, description="Tokens of prompt and answer together.")
    max_tokens: int = Field(1024, ge=1, description="Tokens of an answer at most.")

    dtype: str = Field(
        "auto",
        description="The type that weights are computed in; auto is bfloat16, or float32 on a CPU that has none.",
    )
    enforce_eager: bool = Field(default=True, description="Start sooner, without compiling; slower on GPUs.")
    kv_cache_bytes: int = Field(1 << 30, ge=0, description="Memory for prompts' state; 0 leaves it to vLLM (GPUs).")
    reserved_cores: int = Field(
        0, ge=0, description="Cores that vLLM leaves to others on a CPU; of two cores its own default, 1, is half."
    )
    max_loras: int = Field(4, ge=1, description="Adapters in one engine step.")
    max_lora_rank: int = Field(16, ge=1, description="The highest rank that an adapter may have.")
    max_cpu_loras: int = Field(16, ge=1, description="Adapters in memory, those that streams still hold included.")
    engine_options: dict[str, Any] = Field(
        default_factory=dict, description="More fields of vLLM's AsyncEngineArgs, as JSON; they override the others."
    )
    adapter_roots: tuple[str, ...] = Field(
        ("",),
        description="What an adapter's URI must begin with, as a JSON list; {tenant} stands for the caller's tenant. "
        "Narrow it where tenants do not trust each other.",
    )
    adapter_protocols: tuple[str, ...] = Field(
        ("file", "s3", "gs", "gcs", "az", "abfs"), description="Kinds of URL that adapters are read from."
    )

    bus: str = Field("", description="Bootstrap address of the event log; without it no aliases are followed.")
    blobs: str = Field("", description="Folder or URL of the blob store that holds adapters; aliases need it.")
    adapter_keys: tuple[str, ...] = Field(
        (),
        description="Public keys, 32 bytes in base64 each, as a JSON list: an alias's adapter is signed with one of "
        "them. With none, any signature will do.",
    )
    tenants: tuple[str, ...] = Field(
        (), description="Whose aliases are followed, as a JSON list: an engine of a place has one tenant. None is all."
    )
    probe_tolerance: float = Field(
        0.1, gt=0, description="How far an adapter's log-probabilities may be from those at its training: nats a token."
    )
    fetch_seconds: float = Field(300.0, gt=0, description="How long an adapter may take to come from the blob store.")
    converge_seconds: float = Field(
        60.0, ge=0, description="How long a start waits at most until what aliases point at is loaded."
    )

    memory_tokens: int = Field(32, ge=1, description="Tokens of each answer of the memory engine.")
    memory_step_tokens: int = Field(0, ge=0, description="Tokens of one of its steps; 0 is all at once.")
    memory_step_seconds: float = Field(0.0, ge=0, description="How long one of its steps takes.")

    @model_validator(mode="after")
    def _needs_a_model(self) -> Self:
        if self.engine == "vllm" and not self.model:
            raise ValueError("GENERATE_MODEL is needed: the model that vllm runs")
        if self.bus and not self.blobs:
            raise ValueError(
                "GENERATE_BLOBS is needed: the store of the adapters that aliases on GENERATE_BUS point at"
            )
        if self.max_tokens >= self.max_model_len:
            raise ValueError("GENERATE_MAX_TOKENS leaves no room for a prompt in GENERATE_MAX_MODEL_LEN")
        return self

    def vllm_options(self, folder: Path) -> dict[str, Any]:
        """Return the fields of AsyncEngineArgs for the model in `folder`."""
        from services.common.models.precision import natural_dtype  # noqa: PLC0415 - the memory engine needs no torch

        dtype = str(natural_dtype()).removeprefix("torch.") if self.dtype == "auto" else self.dtype
        modules = {name.removesuffix(".weight").rpartition(".")[2] for name in tunable(weight_shapes(folder))}
        return {
            "model": str(folder),
            "dtype": dtype,
            "enforce_eager": self.enforce_eager,
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_running,
            "kv_cache_memory_bytes": self.kv_cache_bytes or None,
            "enable_prefix_caching": True,
            "enable_lora": True,
            "lora_target_modules": sorted(modules) or None,
            "max_loras": self.max_loras,
            "max_lora_rank": self.max_lora_rank,
            "max_cpu_loras": max(self.max_cpu_loras, self.max_loras),
        } | self.engine_options
