"""Everything about the gateway that differs between deployments."""

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.settings import PlatformSettings, ServerSettings
from services.common.transport import Transport
from services.gateway.domain.tokens import Issuer


class DatabaseSettings(BaseSettings):
    """Read from GATEWAY_…: what making the first key needs."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(description="PostgreSQL, as SQLAlchemy's URL with the asyncpg driver.")


class Settings(ServerSettings, DatabaseSettings):
    """Read from GATEWAY_…."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, hide_input_in_errors=True)

    bus: str = Field(description="Kafka bootstrap address, such as 127.0.0.1:9092.")
    ingest_address: str = Field(description="host:port of the ingest service.")
    retrieve_address: str = Field(description="host:port of the retrieve service.")
    generate_address: str = Field(description="host:port of the generate service.")
    feedback_address: str = Field(description="host:port of the feedback service.")
    embed_address: str = Field(description="host:port of the embed service, for erasures.")
    tls_certificate: str = Field("", description="PEM file: what applications are shown; the platform's by default.")
    tls_key: str = Field("", description="PEM file: the key of that certificate, without a password.")
    client_authority: str = Field(
        "", description="PEM file: where set, applications must show a certificate of these authorities."
    )
    quota_storage: str = Field(
        "async+memory://",
        description="Where use is counted: a URI of the package `limits`, such as async+redis://HOST:PORT for several "
        "replicas; in memory each replica counts its own.",
    )
    cache_seconds: float = Field(
        0.5, ge=0, le=0.5, description="How long a key, somebody's groups or an assistant are remembered."
    )
    oidc_issuers: tuple[Issuer, ...] = Field(
        (), description="Whose tokens are believed: a JSON list of issuers, each for one tenant."
    )
    retrieve_seconds: float = Field(10, gt=0, description="Most time a search may take.")
    generate_seconds: float = Field(300, gt=0, description="Most time an answer may take.")
    feedback_seconds: float = Field(10, gt=0, description="Most time to read a conversation or keep a rating.")
    forward_seconds: float = Field(600, gt=0, description="Most time a forwarded admin call may take.")
    rewriter: Literal["rules", "model"] = Field(
        "rules", description="What makes follow-ups stand alone: rules, or the language model with rules behind it."
    )
    rewrite_seconds: float = Field(2, gt=0, description="Most time that the model may take for that.")
    record_seconds: float = Field(5, gt=0, description="Most time an answer waits for the event log before it fails.")

    languages: tuple[str, ...] = Field(
        ("en", "fr", "de", "es", "it"),
        description="Languages (ISO 639-1) in which a question is answered in its own; in others the model chooses.",
    )
    abstain_below: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Evidence (share of the question found in the passages) under which the model is not asked; 0 asks "
        "it always.",
    )
    abstain_unsupported_below: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Evidence under which an answer of which no sentence is supported counts as none; 0 is never.",
    )
    entailment: str = Field(
        "",
        description="A cross-encoder for natural language inference that has the label entailment, by "
        "sentence-transformers' name or folder, to judge what is supported; empty means by words alone. Needs the "
        "extra `entailment`.",
    )
    entailment_seconds: float = Field(5, gt=0, description="Most time an answer waits for that model.")
    entailment_least: float = Field(0.5, ge=0, le=1, description="From what probability on a sentence is supported.")

    def transport(self, platform: PlatformSettings) -> Transport:
        """Return how the gateway serves and calls.

        Raises:
            CertificatesUnusable: the settings name some of the TLS files only, or one that cannot be used.
        """
        return Transport.of_front(platform, self.tls_certificate, self.tls_key, self.client_authority)
