"""How bytes travel: mutual TLS inside the platform, TLS to its applications, or plaintext that stays on loopback."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from services.common.certificates import (
    CertificatePaths,
    Certificates,
    CertificatesUnusable,
    WatchedCertificates,
)
from services.common.exposition import expose_metrics
from services.common.rotating import RotatingChannel
from services.common.settings import PlatformSettings

Options = Sequence[tuple[str, Any]]


class PlaintextRefused(Exception):
    """Without TLS, a server or a client would use an address that others can listen in on."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} is not on loopback: set TANDEM_TLS_CERTIFICATE, TANDEM_TLS_KEY and TANDEM_TLS_AUTHORITY,"
            " or allow plaintext with TANDEM_ALLOW_PLAINTEXT=true"
        )


class Transport:
    """Opens listeners and channels as one deployment's settings say.

    `inside` is what services show each other; `front`, where it differs, what this one shows its own clients.
    """

    def __init__(
        self,
        inside: WatchedCertificates | None = None,
        front: WatchedCertificates | None = None,
        *,
        allow_plaintext: bool = False,
    ) -> None:
        self._inside = inside
        self._front = front or inside
        self._allow_plaintext = allow_plaintext

    @classmethod
    def of(cls, platform: PlatformSettings) -> "Transport":
        """Return the transport of a service behind the gateway.

        Raises:
            CertificatesUnusable: the settings name some of the files only, or one that cannot be used.
        """
        return cls(_inside(platform), allow_plaintext=platform.allow_plaintext)

    @classmethod
    def of_front(cls, platform: PlatformSettings, certificate: str, key: str, client_authority: str) -> "Transport":
        """Return the gateway's transport: by default the platform's certificate, and clients need none.

        Raises:
            CertificatesUnusable: the settings name some of the files only, or one that cannot be used.
        """
        inside = _inside(platform)
        _check_whole({"GATEWAY_TLS_CERTIFICATE": certificate, "GATEWAY_TLS_KEY": key})
        certificate, key = certificate or platform.tls_certificate, key or platform.tls_key
        if not certificate:
            if client_authority:
                raise CertificatesUnusable("GATEWAY_CLIENT_AUTHORITY needs GATEWAY_TLS_CERTIFICATE and GATEWAY_TLS_KEY")
            return cls(inside, allow_plaintext=platform.allow_plaintext)
        paths = CertificatePaths(Path(certificate), Path(key), Path(client_authority) if client_authority else None)
        front = WatchedCertificates("front", paths)
        return cls(inside, front, allow_plaintext=platform.allow_plaintext)

    def listen(self, server: grpc.aio.Server, address: str) -> int:
        """Make `server` listen on `address`, and return its port.

        Raises:
            PlaintextRefused: there is no TLS, and the address is not on loopback.
            RuntimeError: the address is taken.
        """
        if self._front is None:
            self._check_plaintext(address)
            return server.add_insecure_port(address)
        return server.add_secure_port(address, _server_credentials(self._front))

    def channel(self, address: str, options: Options = ()) -> grpc.aio.Channel:
        """Open a channel to a service of the platform, whose name in `address` must be its certificate's.

        Raises:
            PlaintextRefused: there is no TLS, and the address is not on loopback.
        """
        if self._inside is None:
            self._check_plaintext(address)
            return grpc.aio.insecure_channel(address, options=options)
        return RotatingChannel(self._inside.current, partial(_connect, address, options))

    def expose_metrics(self, address: str) -> Callable[[], None]:
        """Serve /metrics on `address`, to peers inside the platform, and return what stops it.

        Raises:
            PlaintextRefused: there is no TLS, and the address is not on loopback.
            OSError: the address is taken.
        """
        if self._inside is None:
            self._check_plaintext(address)
        host, _, port = address.rpartition(":")
        return expose_metrics(host.strip("[]"), int(port), self._inside)

    def _check_plaintext(self, address: str) -> None:
        if not self._allow_plaintext and not is_loopback(address):
            raise PlaintextRefused(address)


# What empty settings give.
LOOPBACK = Transport()


def is_loopback(address: str) -> bool:
    """Tell whether what is sent to `address`, any that gRPC takes, stays on this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    scheme, colon, rest = address.partition(":")
    if colon and scheme == "dns":
        address = rest.rpartition("/")[2]
    elif colon and scheme in {"ipv4", "ipv6"}:
        return all(_host_is_loopback(each) for each in rest.lstrip("/").split(","))
    return _host_is_loopback(address)


def _host_is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _inside(platform: PlatformSettings) -> WatchedCertificates | None:
    files = {
        "TANDEM_TLS_CERTIFICATE": platform.tls_certificate,
        "TANDEM_TLS_KEY": platform.tls_key,
        "TANDEM_TLS_AUTHORITY": platform.tls_authority,
    }
    _check_whole(files)
    if not platform.tls_certificate:
        return None
    return WatchedCertificates("platform", CertificatePaths(*map(Path, files.values())))


def _check_whole(files: Mapping[str, str]) -> None:
    missing = [name for name, value in files.items() if not value]
    if missing and len(missing) < len(files):
        given = ", ".join(name for name in files if name not in missing)
        raise CertificatesUnusable(f"{given} alone make no TLS: set {', '.join(missing)} too")


def _connect(address: str, options: Options, certificates: Certificates) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(certificates.authority, certificates.key, certificates.chain)
    return grpc.aio.secure_channel(address, credentials, options=options)


def _server_credentials(watched: WatchedCertificates) -> grpc.ServerCredentials:
    """Return credentials that are looked at anew before each handshake."""
    used = watched.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        current = watched.current()
        if current is used:
            return None
        used = current
        return _configuration(current)

    fetcher: Any = changed  # which may return None, whatever the stubs say
    return grpc.dynamic_ssl_server_credentials(_configuration(used), fetcher, used.authority is not None)


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificates.key, certificates.chain)], certificates.authority)
