"""Authorities and certificates for tests, in files as a deployment has them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from services.common.settings import PlatformSettings

KEY = "k" * 32
PAST = datetime.now(UTC) - timedelta(days=1)


class Files:
    """The three PEM files of one deployment, in a folder; all services are 127.0.0.1 and localhost."""

    def __init__(self, folder: Path, authority: trustme.CA | None = None) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.authority = authority or trustme.CA()
        self.certificate_file, self.key_file = folder / "tls.crt", folder / "tls.key"
        self.authority_file = folder / "ca.crt"
        self.authority.cert_pem.write_to_path(str(self.authority_file))
        self.serial = self.issue()

    def issue(self, *names: str, authority: trustme.CA | None = None, expires: datetime | None = None) -> int:
        """Put a new certificate in place, and return its serial number."""
        from cryptography import x509

        names = names or ("127.0.0.1", "localhost")
        made = (authority or self.authority).issue_cert(
            *names,
            not_after=expires,
            not_before=expires and expires - timedelta(days=9),
        )
        self.replace(self.key_file, made.private_key_pem.bytes())
        self.replace(self.certificate_file, b"".join(pem.bytes() for pem in made.cert_chain_pems))
        self.serial = x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes()).serial_number
        return self.serial

    def trust(self, *authorities: trustme.CA) -> None:
        self.replace(self.authority_file, b"".join(each.cert_pem.bytes() for each in authorities))

    def settings(self, **changes: object) -> PlatformSettings:
        values = {
            "identity_key": KEY,
            "tls_certificate": str(self.certificate_file),
            "tls_key": str(self.key_file),
            "tls_authority": str(self.authority_file),
        }
        return PlatformSettings(**values | changes)

    @staticmethod
    def replace(path: Path, content: bytes) -> None:
        """Replace a file as a whole."""
        aside = path.with_suffix(".new")
        aside.write_bytes(content)
        aside.replace(path)
