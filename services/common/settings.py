"""What every service's settings have in common."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.bus_security import UNSECURED, BusSecurity
from services.common.quotas import TenantQuotas

SHARED = "shared"


class Place(BaseModel):
    """Where a tenant's index and its engine may be; what is empty is as the services' own settings say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    milvus_uri: str = Field(description="The place's Milvus.")
    milvus_token: SecretStr = Field(SecretStr(""), description="Its user:password, where it asks.")
    milvus_database: str = Field("", description="The database in it; milvus-lite has none.")
    generate_address: str = Field("", description="host:port of the place's own engine; empty means the shared one.")
    tenant: str = Field(pattern="^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$", description="The one tenant that may move here.")


class PlatformSettings(BaseSettings):
    """Read from TANDEM_…: the same for all services of one deployment."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", frozen=True, hide_input_in_errors=True)

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
    places: Mapping[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")], Place] = Field(
        default_factory=dict, description='Places beside "shared" that tenants may move to, by name, as a JSON object.'
    )
    tls_certificate: str = Field(
        "", description="PEM file: what services show each other, for server and client, its chain behind it."
    )
    tls_key: str = Field("", description="PEM file: the key of the certificate, without a password.")
    tls_authority: str = Field("", description="PEM file: the authorities that services' certificates are from.")
    bus_options: BusSecurity = Field(
        UNSECURED, description="JSON: security_protocol, authority, sasl_mechanism, sasl_user, sasl_password."
    )
    allow_plaintext: bool = Field(
        default=False, description="Whether listeners and channels off loopback may do without TLS."
    )

    @field_validator("places")
    @classmethod
    def _spare_shared(cls, places: Mapping[str, Place]) -> Mapping[str, Place]:
        if SHARED in places:
            raise ValueError(f'"{SHARED}" is what the services\' own settings say')
        return places


class ServerSettings(BaseSettings):
    """A service's own settings begin with these; subclasses set the prefix."""

    address: str = Field("127.0.0.1:0", description="Where the gRPC server listens; port 0 picks one.")
    metrics_address: str = Field("127.0.0.1:0", description="Where Prometheus finds /metrics.")
