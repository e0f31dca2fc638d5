"""What every service's settings have in common."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.bus_security import UNSECURED, BusSecurity


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


class ServerSettings(BaseSettings):
    """A service's own settings begin with these; subclasses set the prefix."""

    address: str = Field("127.0.0.1:0", description="Where the gRPC server listens; port 0 picks one.")
    metrics_address: str = Field("127.0.0.1:0", description="Where Prometheus finds /metrics.")
