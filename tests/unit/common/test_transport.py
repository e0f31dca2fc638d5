"""Who may speak to whom: real TLS on real sockets, and certificates that rotate under calls."""

import asyncio
import contextlib
import http.client
import socket
import ssl
import urllib.request
import warnings
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import trustme
from cryptography import x509

from services.common.certificates import CertificatePaths, WatchedCertificates
from services.common.client import open_channel
from services.common.interceptors import RpcInterceptor, signed_by
from services.common.server import Service, serve
from services.common.settings import PlatformSettings
from services.common.transport import LOOPBACK, PlaintextRefused, Transport, is_loopback
from tests.certificates import KEY, Files
from tests.conftest import free_address
from tests.unit.common.echo import SIGNER, Echo, call

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "tls")


@contextlib.asynccontextmanager
async def echoing(transport, echo=None, address="127.0.0.1:0"):
    """Serve an echo, and give its address."""
    server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(SIGNER.verify))])
    (echo or Echo()).register(server)
    port = transport.listen(server, address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def refused(channel):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(channel, "unary_unary")
    return raised.value.code() is UNAVAILABLE


def serial_at(address, context):
    """The serial number of the certificate that a server shows."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)).serial_number


def client_context(files, *, certified=True):
    context = ssl.create_default_context(cafile=files.authority_file)
    if certified:
        context.load_cert_chain(files.certificate_file, files.key_file)
    return context


async def test_services_of_one_authority_reach_each_other(files):
    transport = Transport.of(files.settings())
    async with echoing(transport) as address, open_channel(address, transport) as channel:
        assert await call(channel, "unary_unary") == [b"hi"]
        assert await call(channel, "unary_stream") == [b"first", b"hi"]


async def test_behind_the_gateway_a_client_must_show_a_certificate(files):
    only_authority = grpc.ssl_channel_credentials(files.authority_file.read_bytes())
    async with echoing(Transport.of(files.settings())) as address:
        async with grpc.aio.secure_channel(address, only_authority) as channel:
            assert await refused(channel)
        async with open_channel(address) as channel:
            assert await refused(channel)


async def test_neither_side_trusts_another_authority(files, tmp_path):
    ours, theirs = Transport.of(files.settings()), Files(tmp_path / "theirs")
    async with echoing(ours) as address:
        async with open_channel(address, Transport.of(theirs.settings())) as channel:
            assert await refused(channel)
        # One that trusts us, but whom we do not.
        theirs.trust(files.authority)
        async with open_channel(address, Transport.of(theirs.settings())) as channel:
            assert await refused(channel)


async def test_a_peer_whose_certificate_has_expired_since_is_refused(files):

    client = Transport.of(files.settings())
    files.issue(expires=datetime.now(UTC) - timedelta(seconds=1))
    paths = CertificatePaths(files.certificate_file, files.key_file, files.authority_file)
    expired = Transport(WatchedCertificates("expired", paths, lambda: datetime.now(UTC) - timedelta(days=2)))
    # What the client read before stays in its use, and is valid.
    async with echoing(expired) as address, open_channel(address, client) as channel:
        assert await refused(channel)
    async with echoing(client) as address, open_channel(address, expired) as channel:
        assert await refused(channel)


async def test_a_server_by_another_name_is_refused(files):
    client = Transport.of(files.settings())
    files.issue("embed.tandem.svc")
    async with echoing(Transport.of(files.settings())) as address, open_channel(address, client) as channel:
        assert await refused(channel)


async def test_tls_1_1_is_refused(files):
    context = client_context(files)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    transport = Transport.of(files.settings())
    metrics = free_address()
    stop = transport.expose_metrics(metrics)
    async with echoing(transport) as address:
        for each in (address, metrics):
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            assert await asyncio.to_thread(serial_at, each, context) == files.serial
            with warnings.catch_warnings(action="ignore"):
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises(OSError, match=r"(?i)protocol|EOF"):
                await asyncio.to_thread(serial_at, each, context)
    stop()


class Callers:
    """Two that call without a pause, and one whose call lasts until the end; a call that fails ends them all."""

    def __init__(self):
        self.counts = [0, 0]
        self.held, self.done = asyncio.Event(), asyncio.Event()

    async def hold_first(self, _context):
        if not self.held.is_set():
            self.held.set()
            await self.done.wait()

    @contextlib.asynccontextmanager
    async def on(self, channel):
        async with asyncio.TaskGroup() as group:
            lasting = group.create_task(call(channel, "unary_stream"))
            await self.held.wait()
            for number in range(len(self.counts)):
                group.create_task(self.go_on(channel, number))
            yield
            self.done.set()
        assert lasting.result() == [b"first", b"hi"]

    async def go_on(self, channel, number):
        while not self.done.is_set():
            assert await call(channel, "unary_unary") == [b"hi"]
            self.counts[number] += 1

    async def more(self):
        before = list(self.counts)
        async with asyncio.timeout(20):
            while any(now < then + 5 for now, then in zip(self.counts, before, strict=True)):  # noqa: ASYNC110 - calls go on
                await asyncio.sleep(0)


async def test_a_new_certificate_and_authority_are_used_without_a_failed_call(files):
    """As an authority rotates: both are trusted, then the new one issues, then the old one is trusted no more."""
    transport, new, callers = Transport.of(files.settings()), trustme.CA(), Callers()
    async with (
        echoing(transport, Echo(callers.hold_first)) as address,
        open_channel(address, transport) as channel,
        callers.on(channel),
    ):
        await callers.more()
        files.trust(files.authority, new)
        await callers.more()
        serial = files.issue(authority=new)
        await callers.more()
        files.trust(new)
        await callers.more()
        assert await asyncio.to_thread(serial_at, address, client_context(files)) == serial


async def test_a_client_shows_its_new_certificate(files, tmp_path):
    """The server trusts the new authority alone, so that only the client's new certificate is let in."""
    new = trustme.CA()
    server = Files(tmp_path / "server", files.authority)
    server.trust(new)
    client = Transport.of(files.settings())
    async with echoing(Transport.of(server.settings())) as address, open_channel(address, client) as channel:
        assert await refused(channel)
        files.issue(authority=new)
        assert await call(channel, "unary_unary") == [b"hi"]


async def test_what_is_broken_stops_no_call(files):
    transport = Transport.of(files.settings())
    serial, context = files.serial, client_context(files)
    async with echoing(transport) as address, open_channel(address, transport) as channel:
        files.replace(files.key_file, b"broken")
        assert await call(channel, "unary_unary") == [b"hi"]
        assert await asyncio.to_thread(serial_at, address, context) == serial


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.10:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:1", True),
        ("unix:/run/tandem.sock", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        (":1", False),
        ("10.0.0.1:1", False),
        ("localhost.example.com:1", False),
        ("127.0.0.1.example.com:1", False),
        ("dns:///embed:1", False),
        ("xds:///localhost:1", False),
    ],
)
async def test_plaintext_stays_on_loopback(address, loopback):
    assert is_loopback(address) is loopback
    if not loopback:
        for use in (lambda: LOOPBACK.listen(grpc.aio.server(), address), lambda: LOOPBACK.channel(address)):
            with pytest.raises(PlaintextRefused, match="TANDEM_ALLOW_PLAINTEXT"):
                use()
        with pytest.raises(PlaintextRefused):
            LOOPBACK.expose_metrics(address)


async def test_plaintext_off_loopback_is_what_a_setting_allows():
    transport = Transport.of(PlatformSettings(identity_key=KEY, allow_plaintext=True))
    async with echoing(transport, address="0.0.0.0:0") as address, open_channel(address) as channel:
        assert await call(channel, "unary_unary") == [b"hi"]


async def test_applications_need_no_certificate_unless_their_authority_is_set(files, tmp_path):
    apps, settings = Files(tmp_path / "apps"), files.settings()
    roots = files.authority_file.read_bytes()
    without = grpc.ssl_channel_credentials(roots)
    with_one = grpc.ssl_channel_credentials(roots, apps.key_file.read_bytes(), apps.certificate_file.read_bytes())
    async with (
        echoing(Transport.of_front(settings, "", "", "")) as address,
        grpc.aio.secure_channel(address, without) as channel,
    ):
        assert await call(channel, "unary_unary") == [b"hi"]
    async with echoing(Transport.of_front(settings, "", "", str(apps.authority_file))) as address:
        async with grpc.aio.secure_channel(address, without) as channel:
            assert await refused(channel)
        async with grpc.aio.secure_channel(address, with_one) as channel:
            assert await call(channel, "unary_unary") == [b"hi"]


async def test_applications_are_shown_the_public_certificate_and_services_the_platform_s(files, tmp_path):
    public = Files(tmp_path / "public")
    pair = (str(public.certificate_file), str(public.key_file))
    gateway = Transport.of_front(files.settings(), *pair, "")
    context = client_context(public, certified=False)
    async with echoing(gateway) as address:
        assert await asyncio.to_thread(serial_at, address, context) == public.serial
    async with echoing(Transport.of(files.settings())) as behind, open_channel(behind, gateway) as channel:
        assert await call(channel, "unary_unary") == [b"hi"]


def read_metrics(address, context):
    with urllib.request.urlopen(f"https://{address}/metrics", timeout=10, context=context) as answer:
        return answer.read().decode()


async def test_metrics_are_for_peers_of_the_platform_and_rotate_too(files):
    address, metrics = free_address(), free_address()
    stop, started = asyncio.Event(), asyncio.Event()
    service = Service(
        address, metrics, signed_by(SIGNER.verify), Echo().register, (), started=lambda _port: started.set()
    )
    serving = asyncio.create_task(serve(service, stop, Transport.of(files.settings())))
    async with asyncio.timeout(20):
        await started.wait()
    # One that connects and says nothing holds up nobody.
    host, _, port = metrics.rpartition(":")
    with socket.create_connection((host, int(port))):
        text = await asyncio.to_thread(read_metrics, metrics, client_context(files))
    assert 'tandem_tls_certificate_expiry_timestamp_seconds{certificate="platform"}' in text
    with pytest.raises(OSError, match=r"(?i)certificate.required|reset|EOF|handshake"):
        await asyncio.to_thread(read_metrics, metrics, client_context(files, certified=False))
    with pytest.raises((OSError, http.client.HTTPException)):
        await asyncio.to_thread(urllib.request.urlopen, f"http://{metrics}/metrics", timeout=10)
    serial = files.issue()
    assert await asyncio.to_thread(serial_at, metrics, client_context(files)) == serial
    stop.set()
    await serving
