"""/metrics for Prometheus, over TLS where the platform has it."""

import socket
import ssl
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import make_wsgi_app

from services.common.certificates import Certificates, WatchedCertificates

# Most time in which a client must send, and take, the next of anything.
SECONDS = 10.0

log = structlog.get_logger()


def expose_metrics(host: str, port: int, certificates: WatchedCertificates | None) -> Callable[[], None]:
    """Serve /metrics in a thread, with mutual TLS unless `certificates` is None; return what stops it.

    Raises:
        OSError: the address is taken.
    """
    server = _Server(host, port, _Handshakes(certificates) if certificates else None)
    server.set_app(make_wsgi_app())
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


class _Handshakes:
    """Wraps connections in TLS, with the certificates as they are when the connection comes."""

    def __init__(self, certificates: WatchedCertificates) -> None:
        self._certificates = certificates
        self._made_of = certificates.current()
        self._context = self._make(self._made_of)

    def wrap(self, connection: socket.socket) -> socket.socket:
        current = self._certificates.current()
        if current is not self._made_of:
            try:
                self._context, self._made_of = self._make(current), current
            except OSError as error:
                # The files changed again while they were read; the next connection tries anew.
                log.warning("metrics_certificates_not_reloaded", detail=str(error))
        # The handshake is made in the connection's own thread: one that says nothing holds up nobody.
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _make(self, certificates: Certificates) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificates.paths.certificate, self._certificates.paths.key)
        if certificates.authority is not None:
            context.load_verify_locations(cadata=certificates.authority.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, handshakes: _Handshakes | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._handshakes = handshakes
        super().__init__((host, port), _Silent)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        connection.settimeout(SECONDS)
        return (self._handshakes.wrap(connection) if self._handshakes else connection), address

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that leave or cannot speak TLS."""


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Leave each scrape unsaid."""
