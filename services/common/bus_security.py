"""How the event log is spoken to, TLS and SASL, as both of its clients want it said."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator


class BusSecurity(BaseModel):
    """One model for kafka-python and librdkafka; without `authority`, the system's roots are trusted.

    Raises:
        ValueError: a mechanism, a user or a password is missing where SASL is spoken, or given where it is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    authority: str = ""
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    sasl_user: str = ""
    sasl_password: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _fits(self) -> "BusSecurity":
        given = (self.sasl_mechanism, self.sasl_user, self.sasl_password.get_secret_value())
        if self._speaks_sasl and not all(given):
            raise ValueError(f"{self.security_protocol} needs sasl_mechanism, sasl_user and sasl_password")
        if not self._speaks_sasl and any(given):
            raise ValueError(f"{self.security_protocol} has no place for sasl_mechanism, sasl_user or sasl_password")
        if self.authority and not self.security_protocol.endswith("SSL"):
            raise ValueError(f"{self.security_protocol} has no place for authority")
        return self

    @property
    def _speaks_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL")

    def for_kafka_python(self) -> dict[str, Any]:
        """Return the options of kafka-python's clients."""
        options: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.authority:
            options["ssl_cafile"] = self.authority
        if self._speaks_sasl:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_user
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        return options

    def for_librdkafka(self) -> dict[str, Any]:
        """Return the options of confluent-kafka's clients."""
        options: dict[str, Any] = {"security.protocol": self.security_protocol.lower()}
        if self.authority:
            options["ssl.ca.location"] = self.authority
        if self._speaks_sasl:
            options["sasl.mechanism"] = self.sasl_mechanism
            options["sasl.username"] = self.sasl_user
            options["sasl.password"] = self.sasl_password.get_secret_value()
        return options


# What empty settings give.
UNSECURED = BusSecurity()
