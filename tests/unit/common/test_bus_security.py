"""One model of the event log's security says the same to both clients, and says no secret to anybody else."""

import pytest
from confluent_kafka import KafkaException, Producer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from pydantic import ValidationError

from services.common.bus_security import UNSECURED, BusSecurity
from services.common.settings import PlatformSettings
from tests.certificates import KEY, Files

SCRAM = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_user": "ada", "sasl_password": "secret"}


def test_without_settings_it_is_plaintext():
    assert UNSECURED.for_kafka_python() == {"security_protocol": "PLAINTEXT"}
    assert UNSECURED.for_librdkafka() == {"security.protocol": "plaintext"}


def test_tls_and_a_password_are_said_to_both():
    security = BusSecurity(security_protocol="SASL_SSL", authority="/ca.pem", **SCRAM)
    assert security.for_kafka_python() == {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": "/ca.pem",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ada",
        "sasl_plain_password": "secret",
    }
    assert security.for_librdkafka() == {
        "security.protocol": "sasl_ssl",
        "ssl.ca.location": "/ca.pem",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ada",
        "sasl.password": "secret",
    }


@pytest.mark.parametrize("protocol", ["SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_the_clients_know_every_option(tmp_path, protocol):
    authority = {"authority": str(Files(tmp_path / "tls").authority_file)} if protocol.endswith("SSL") else {}
    sasl = SCRAM if protocol.startswith("SASL") else {}
    security = BusSecurity(security_protocol=protocol, **authority, **sasl)
    for client in (KafkaAdminClient, KafkaConsumer, KafkaProducer):
        assert security.for_kafka_python().keys() <= client.DEFAULT_CONFIG.keys()
    Producer({"bootstrap.servers": "127.0.0.1:1", **security.for_librdkafka()})
    with pytest.raises(KafkaException):
        Producer({"bootstrap.servers": "127.0.0.1:1", **security.for_librdkafka(), "sasl.unknown": "x"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"security_protocol": "SASL_SSL"},
        {"security_protocol": "SSL", **SCRAM},
        {"security_protocol": "PLAINTEXT", "authority": "/ca.pem"},
        {"security_protocol": "TLS"},
        {"ssl_cafile": "/ca.pem"},
    ],
)
def test_what_does_not_fit_together_stops_the_start(wrong):
    with pytest.raises(ValidationError):
        BusSecurity(**wrong)


def test_it_is_read_from_the_platform_s_settings_and_hides_its_password(monkeypatch):
    monkeypatch.setenv(
        "TANDEM_BUS_OPTIONS",
        '{"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN",'
        ' "sasl_user": "ada", "sasl_password": "secret"}',
    )
    platform = PlatformSettings(identity_key=KEY)
    assert platform.bus_options.for_kafka_python()["sasl_plain_password"] == "secret"
    assert "secret" not in repr(platform)
