"""A certificate authority for tests, and settings of both sides of a connection that use it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from foundation.settings import Settings

VALID_DAYS = 2


class Authority:
    """A CA with its own key; its certificates and keys are files of a directory."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = directory / f"{name}.pem"
        self.path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def _builder(
        self, subject: x509.Name, public_key: Any, *, valid_from: datetime | None = None
    ) -> x509.CertificateBuilder:
        # OpenSSL compares with the machine's clock, which no test can move.
        start = valid_from or datetime.now(UTC) - timedelta(hours=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=VALID_DAYS))
        )

    def issue(
        self,
        *,
        uris: tuple[str, ...] = (),
        dns: tuple[str, ...] = (),
        addresses: tuple[str, ...] = (),
        common_names: tuple[str, ...] = (),
        valid_from: datetime | None = None,
        password: bytes | None = None,
    ) -> tuple[Path, Path]:
        """A certificate and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])
        builder = self._builder(subject, key.public_key(), valid_from=valid_from)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ip_address(address)) for address in addresses]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        stem = self.directory / f"{certificate.serial_number:x}"
        certificate_path, key_path = stem.with_suffix(".pem"), stem.with_suffix(".key")
        certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        key_path.touch(mode=0o600)
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return certificate_path, key_path

    def server_settings(self, rights: Path | None, **changes: Any) -> Settings:
        """Settings of a ledger process with a certificate for this machine."""
        certificate, key = self.issue(addresses=("127.0.0.1",))
        values: dict[str, Any] = {
            "ledger_url": "https://127.0.0.1:0",
            "ledger_rights": rights,
            "ledger_tls_certificate": certificate,
            "ledger_tls_key": key,
            "ledger_tls_client_ca": self.path,
        }
        return Settings(**values | changes)

    def client_settings(self, url: str, pair: tuple[Path, Path], **changes: Any) -> Settings:
        """Settings of a caller with this certificate and key."""
        values: dict[str, Any] = {
            "ledger_url": url,
            "ledger_client_certificate": pair[0],
            "ledger_client_key": pair[1],
            "ledger_server_ca": self.path,
        }
        return Settings(**values | changes)
