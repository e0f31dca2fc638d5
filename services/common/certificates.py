"""Certificates in PEM files: taken whole and valid or not at all, and read again once the files change."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.common.telemetry import TLS_EXPIRY, TLS_RELOADS

log = structlog.get_logger()

# What changes of a file when it is written, replaced, or reached by another link; None while it is away.
Stamp = tuple[int, int, int, int] | None
Now = Callable[[], datetime]


class CertificatesUnusable(Exception):
    """The TLS files that the settings name cannot be used; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class CertificatePaths:
    """Where a certificate (its chain behind it), its key, and the authorities of its peers are."""

    certificate: Path
    key: Path
    authority: Path | None = None

    def stamps(self) -> tuple[Stamp, ...]:
        """Return what tells whether a file has changed; Kubernetes swaps a link above them."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.authority) if path)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM that was checked; `authority` is None where peers need no certificate."""

    chain: bytes
    key: bytes = field(repr=False)
    authority: bytes | None
    expires_at: datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def read_certificates(paths: CertificatePaths, now: Now = utc_now) -> Certificates:
    """Read and check the files.

    Raises:
        CertificatesUnusable: one is unreadable, not PEM or not valid now, or the key is another's.
    """
    chain, key = _content(paths.certificate), _content(paths.key)
    leaf = _parse(paths.certificate, chain)[0]
    if not leaf.not_valid_before_utc <= now() < leaf.not_valid_after_utc:
        raise CertificatesUnusable(
            f"{paths.certificate} is valid from {leaf.not_valid_before_utc} until {leaf.not_valid_after_utc} only"
        )
    _check_key(paths, key, leaf)
    authority = _content(paths.authority) if paths.authority else None
    if paths.authority and authority is not None:
        _check_authority(paths.authority, authority, now())
    return Certificates(chain, key, authority, leaf.not_valid_after_utc)


class WatchedCertificates:
    """Gives the certificates in the files as they are now; `name` tells them apart in logs and metrics.

    What cannot be used after a change is logged and counted, and what was in use stays so. Safe in threads.

    Raises:
        CertificatesUnusable: the files cannot be used from the start.
    """

    def __init__(self, name: str, paths: CertificatePaths, now: Now = utc_now) -> None:
        self.paths = paths
        self._name = name
        self._now = now
        self._lock = threading.Lock()
        # Taken before the files are read: what changes meanwhile is seen at the next look.
        self._stamps = paths.stamps()
        self._current = read_certificates(paths, now)
        self._tell_expiry()

    def current(self) -> Certificates:
        """Return what is in use; the same object until it is replaced."""
        with self._lock:
            stamps = self.paths.stamps()
            if stamps != self._stamps:
                self._stamps = stamps
                self._reload()
            return self._current

    def _reload(self) -> None:
        try:
            self._current = read_certificates(self.paths, self._now)
        except CertificatesUnusable as error:
            TLS_RELOADS.labels(self._name, "failed").inc()
            log.warning("certificates_not_reloaded", certificate=self._name, detail=str(error))
            return
        TLS_RELOADS.labels(self._name, "loaded").inc()
        self._tell_expiry()
        log.info("certificates_reloaded", certificate=self._name, expires_at=self._current.expires_at.isoformat())

    def _tell_expiry(self) -> None:
        TLS_EXPIRY.labels(self._name).set(self._current.expires_at.timestamp())


def _stamp(path: Path) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116 - every call looks here, and Path.stat takes twice as long
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificatesUnusable(f"{path} cannot be read: {error.strerror}") from error


def _parse(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificatesUnusable(f"{path} holds no certificate in PEM") from error


def _check_key(paths: CertificatePaths, content: bytes, leaf: x509.Certificate) -> None:
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificatesUnusable(f"{paths.key} holds no private key in PEM without a password") from error
    if key.public_key() != leaf.public_key():
        raise CertificatesUnusable(f"{paths.key} is not the key of {paths.certificate}")


def _check_authority(path: Path, content: bytes, now: datetime) -> None:
    if all(each.not_valid_after_utc <= now for each in _parse(path, content)):
        raise CertificatesUnusable(f"{path} holds no authority that is still valid")
