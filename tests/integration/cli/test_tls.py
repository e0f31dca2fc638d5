"""A whole platform under TLS: every service is reached by its peers, and by nobody else."""

import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.authority import paths_of
from tests.tandem_command import Tandem, home_in

SERVICES = ("gateway", "ingest", "embed", "retrieve", "generate", "feedback", "tune")


@pytest.fixture(scope="module")
def tandem(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Tandem]:
    cache = pytestconfig.cache.mkdir("tandem-models")
    with home_in(tmp_path_factory.mktemp("tls"), seconds=110) as command:
        command.up("--tls", "--engine", "memory", "--cache", str(cache))
        yield command


def test_a_document_is_pushed_found_and_answered_from(tandem: Tandem, tmp_path):
    folder = tmp_path / "house"
    folder.mkdir()
    (folder / "warranty.md").write_text("# Warranty\n\nThe Tern kettle has a warranty of 9 years.\n")
    tandem.json("source", "add", "files", str(folder), "--name", "house")
    tandem.json("wait", "--timeout", "60")
    found = tandem.json("search", "How long is the warranty of the kettle?")
    assert "9 years" in found["passages"][0]["text"]
    assert tandem.run("ask", "How long is the warranty?").returncode == 0
    assert tandem.json("status")["tls"] is True


def health(address: str, credentials: grpc.ChannelCredentials | None) -> int:
    channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    with channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_is_reached_without_tls_and_none_behind_without_a_certificate(tandem: Tandem, service: str):
    address, paths = tandem.unit(service).address, paths_of(tandem.home)
    assert paths.authority is not None
    roots = paths.authority.read_bytes()
    for credentials in (None, grpc.ssl_channel_credentials(roots)):
        if service == "gateway" and credentials:
            assert health(address, credentials) == health_pb2.HealthCheckResponse.SERVING
            continue
        with pytest.raises(grpc.RpcError) as raised:
            health(address, credentials)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_are_for_who_has_a_certificate(tandem: Tandem, service: str):
    paths = paths_of(tandem.home)
    context = ssl.create_default_context(cafile=paths.authority)
    url = f"https://{tandem.unit(service).metrics_address}/metrics"
    with pytest.raises((urllib.error.URLError, OSError)):
        urllib.request.urlopen(url, timeout=10, context=context)
    context.load_cert_chain(paths.certificate, paths.key)
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        assert b"tandem_tls_certificate_expiry_timestamp_seconds{" in answer.read()


def test_a_caller_from_elsewhere_must_know_the_authority(tandem: Tandem, tmp_path):
    address = tandem.state().gateway
    credentials = tandem.home.credentials()
    assert credentials is not None
    elsewhere = Tandem(type(tandem.home)(tmp_path / "elsewhere"))
    options = ("search", "warranty", "--address", address, "--api-key", credentials.secret)
    # On loopback, plaintext is spoken by default: a server of TLS does not answer it.
    assert elsewhere.run(*options).returncode == 1
    authority = tmp_path / "authority.pem"
    shutil.copy(str(paths_of(tandem.home).authority), authority)
    assert elsewhere.run(*options, "--authority", str(authority)).returncode == 0


def test_keys_are_for_their_owner_alone(tandem: Tandem):
    keys = [path for path in (tandem.home.root / "tls").iterdir() if "key" in path.name]
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert len(keys) == 2
