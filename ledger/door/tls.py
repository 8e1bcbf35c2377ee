"""TLS at the ledger's door: both sides show a certificate, or there is no connection.

TLS 1.3 and nothing older; only the CA that is named is trusted, never those of
the system. Sessions are not resumed, so that every connection proves its
certificate anew. Key files that others may read are refused.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from foundation.errors import NUGPayError
from foundation.settings import Settings
from ledger.addresses import split_addresses
from ledger.door.rights import is_identity

log = structlog.get_logger()

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Bits of a key file's mode that must not be set."""
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
"""Bits of a certificate file's mode that must not be set."""


class TLSRefused(NUGPayError):
    """The address or the files at hand make no connection that is safe."""


class _LoggedHandshake(ssl.SSLObject):
    """A handshake that says why it failed; the event loop keeps silent about it."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            log.warning("ledger_handshake_refused", reason=error.reason or type(error).__name__)
            raise


def refuse_plain(address: str) -> None:
    """Refuse TCP without TLS, loopback included: any user of the machine reaches that."""
    if not address.startswith(("unix:", "https://")):
        raise TLSRefused(
            f"{address}: the ledger is reached over unix:/path or https://host:port; "
            "plain http is refused, on loopback too"
        )


def server_context(settings: Settings) -> ssl.SSLContext:
    """What the ledger process serves an ``https`` address with. Raises ``TLSRefused``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(
        context,
        ("NUGPAY_LEDGER_TLS_CERTIFICATE", settings.ledger_tls_certificate),
        ("NUGPAY_LEDGER_TLS_KEY", settings.ledger_tls_key),
        ("NUGPAY_LEDGER_TLS_CLIENT_CA", settings.ledger_tls_client_ca),
    )
    context.verify_mode = ssl.CERT_REQUIRED
    # A ticket would let a client come back after its certificate's time is over.
    context.num_tickets = 0
    context.sslobject_class = _LoggedHandshake
    return context


def client_context(settings: Settings) -> ssl.SSLContext | None:
    """What the ledger's callers connect to ``https`` addresses with; None when there are none.

    Raises ``TLSRefused``, also for an address of plain ``http``.
    """
    addresses = split_addresses(settings.ledger_address)
    for address in addresses:
        refuse_plain(address)
    if all(address.startswith("unix:") for address in addresses):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(
        context,
        ("NUGPAY_LEDGER_CLIENT_CERTIFICATE", settings.ledger_client_certificate),
        ("NUGPAY_LEDGER_CLIENT_KEY", settings.ledger_client_key),
        ("NUGPAY_LEDGER_SERVER_CA", settings.ledger_server_ca),
    )
    return context


Setting = tuple[str, Path | None]


def _load(context: ssl.SSLContext, certificate: Setting, key: Setting, authority: Setting) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    certificate_path = _checked(certificate, WRITABLE_BY_OTHERS, "written")
    key_path = _checked(key, OTHERS, "read")
    authority_path = _checked(authority, WRITABLE_BY_OTHERS, "written")
    try:
        context.load_cert_chain(certificate_path, key_path, password=_no_password)
    except OSError as error:
        raise TLSRefused(
            f"{certificate_path} and {key_path} are no certificate and its key: {_reason(error)}"
        ) from None
    try:
        context.load_verify_locations(cafile=authority_path)
    except OSError as error:
        raise TLSRefused(f"{authority_path} is no CA's certificate: {_reason(error)}") from None


def _checked(setting: Setting, forbidden: int, verb: str) -> Path:
    name, path = setting
    if path is None:
        raise TLSRefused(f"an https address of the ledger needs {name}")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise TLSRefused(f"{name}: {path} cannot be read: {error.strerror}") from None
    if mode & forbidden:
        raise TLSRefused(f"{name}: {path} may be {verb} by others than its owner (mode {mode:o}); chmod 600")
    return path


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal, where nobody may be.
    raise TLSRefused(
        "the key of the ledger's certificate is encrypted; a key file without a password is needed"
    )


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not PEM"
    return error.strerror or type(error).__name__


def identity_of(certificate: Mapping[str, Any]) -> str | None:
    """Who a verified certificate (as ``SSLObject.getpeercert`` gives it) names, or None.

    One URI, else one DNS name of its subjectAltName, else, where it has no such
    extension, one common name. A certificate that names several is nobody's, so
    that it is never a question which of its names counts.
    """
    names = certificate.get("subjectAltName", ())
    for kind in ("URI", "DNS"):
        found = [value for name, value in names if name == kind]
        if found:
            return _one(found)
    if names:
        return None
    parts = (part for group in certificate.get("subject", ()) for part in group)
    return _one([value for name, value in parts if name == "commonName"])


def _one(found: list[str]) -> str | None:
    return found[0] if len(found) == 1 and is_identity(found[0]) else None


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of an ``https`` address."""
    parts = urlsplit(address)
    if parts.hostname is None or parts.port is None:
        raise TLSRefused(f"{address}: an https address of the ledger names host and port")
    return parts.hostname, parts.port
