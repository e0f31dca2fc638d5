"""What every service's settings have in common."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.quotas import TenantQuotas


class PlatformSettings(BaseSettings):
    """Read from TANDEM_…: the same for all services of one deployment."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", frozen=True)

    identity_key: SecretStr = Field(
        min_length=32, description="Shared key that signs identities and answer ids between services."
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    traces: str = Field(
        "", description="Where spans go: an OTLP gRPC URL, file:FOLDER for JSON lines, or empty for nowhere."
    )
    quotas: TenantQuotas = Field(
        default_factory=TenantQuotas,
        description='What tenants may use, as a JSON object: {"default": {"requests_per_minute": 600, '
        '"tokens_per_minute": 0, "concurrent_streams": 20, "documents": 0, "bytes": 0}, "TENANT": {...}}; '
        "0 is unlimited.",
    )


class ServerSettings(BaseSettings):
    """A service's own settings begin with these; subclasses set the prefix."""

    address: str = Field("127.0.0.1:0", description="Where the gRPC server listens; port 0 picks one.")
    metrics_address: str = Field("127.0.0.1:0", description="Where Prometheus finds /metrics.")
