"""The authority of one home, and the certificate that all its services share: for `tandem up --tls`."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.cli.addresses import HOST
from services.cli.home import Home, write_whole
from services.common.certificates import CertificatePaths, WatchedCertificates, utc_now
from services.common.transport import LOOPBACK, Transport

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 90
RENEW_DAYS = 30
# Clocks of one machine agree, but may be set back a little.
BEFORE = timedelta(minutes=5)

Now = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def paths_of(home: Home) -> CertificatePaths:
    """Return where a home keeps what its services show, and whom they trust."""
    folder = home.root / "tls"
    return CertificatePaths(folder / "certificate.pem", folder / "key.pem", folder / "authority.pem")


def transport_of(home: Home, *, tls: bool) -> Transport:
    """Return how to speak to the services of a home.

    Raises:
        CertificatesUnusable: the home's files cannot be used.
    """
    return Transport(WatchedCertificates("platform", paths_of(home))) if tls else LOOPBACK


def settings_of(home: Home, *, tls: bool) -> dict[str, str]:
    """Return what services are told of TLS; the platform of a home listens on loopback, by its own files or none."""
    paths = paths_of(home)
    names = {
        "TANDEM_TLS_CERTIFICATE": str(paths.certificate),
        "TANDEM_TLS_KEY": str(paths.key),
        "TANDEM_TLS_AUTHORITY": str(paths.authority),
    }
    none = dict.fromkeys(("GATEWAY_TLS_CERTIFICATE", "GATEWAY_TLS_KEY", "GATEWAY_CLIENT_AUTHORITY"), "")
    return none | (names if tls else dict.fromkeys(names, ""))


def renew(home: Home, now: Now = utc_now) -> None:
    """Make the authority and the certificate, or what of them is missing or ends soon."""
    folder = home.root / "tls"
    folder.mkdir(parents=True, exist_ok=True)
    authority_key = folder / "authority.key"
    paths = paths_of(home)
    authority = _kept(folder / "authority.pem", authority_key, now() + timedelta(days=CERTIFICATE_DAYS))
    if authority is None:
        authority = _make_authority(now())
        _keep(authority, folder / "authority.pem", authority_key)
        paths.certificate.unlink(missing_ok=True)
    if _kept(paths.certificate, paths.key, now() + timedelta(days=RENEW_DAYS)) is None:
        _keep(_make_certificate(authority, now()), paths.certificate, paths.key)


def _kept(certificate: Path, key: Path, needed_until: datetime) -> Pair | None:
    """Return a pair that is there and lasts long enough, or None."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        its_key = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError):
        return None
    if not isinstance(its_key, ec.EllipticCurvePrivateKey) or its_key.public_key() != found.public_key():
        return None
    return Pair(found, its_key) if found.not_valid_after_utc >= needed_until else None


def _keep(pair: Pair, certificate: Path, key: Path) -> None:
    content = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(key, content, 0o600)
    write_whole(certificate, pair.certificate.public_bytes(Encoding.PEM), 0o644)


def _make_authority(now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Tandem, this machine's authority")
    builder = _builder(name, name, key, now, AUTHORITY_DAYS)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Pair(builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key)


def _make_certificate(authority: Pair, now: datetime) -> Pair:
    """Make a certificate for every service on this machine, as a server and as a client."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address(HOST)),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = _builder(_name("Tandem"), authority.certificate.subject, key, now, CERTIFICATE_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(uses, critical=False).add_extension(issuer, critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
