"""Callers: who sent a request, proven by the signature of an enrolled device.

Whoever has a PIN shows a session as well, which says which wallet is meant: in the
header Authorization, covered by the signature. Some reads are answered for the session
alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.types import Scope

from foundation.errors import Refusal
from foundation.settings import Settings
from identity.devices import Device
from identity.live_sessions import LiveSession, session_over
from identity.officers import officer_name
from identity.pin_errors import PinCode
from identity.roles import Action
from identity.signatures import SignedRequest
from treasury.errors import TreasuryCode
from wallet_api.connections import connections_of
from wallet_api.gate import body_of
from wallet_api.hosts import base_url
from wallets.merchant_errors import MerchantCode
from wallets.till_keys import KEY_BEGIN
from wallets.wallets import Wallet

_SIGNATURE_HEADERS = (b"signature-input", b"signature", b"content-digest", b"authorization")

_SCHEME: Final = "Bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a device, the session it shows if any, and whose wallet is meant."""

    device: Device
    session: LiveSession | None
    person_id: UUID
    """The device's person; or, in a session that a duress PIN opened, the decoy."""


async def device_of(request: Request, *, carries_id: bool = False) -> Device:
    """The device that signed the request; refused with an ``IdentityCode`` otherwise.

    ``carries_id`` as in ``Doorkeeper.admit``: whatever the request does is done once by its id.
    """
    asked = signed_request(request)
    return await connections_of(request).doorkeeper.admit(asked, carries_id=carries_id)


async def caller_of(request: Request, *, carries_id: bool = False) -> Caller:
    """Who signed the request, and whose wallet is meant; ``carries_id`` as in ``device_of``.

    Refused as ``session_missing`` where the person has a PIN and the request no session,
    as ``session_over`` where the session is not this device's.
    """
    device = await device_of(request, carries_id=carries_id)
    connections = connections_of(request)
    lines = request.headers.getlist("authorization")
    if not lines:
        if await connections.pins.has_pin(device.person_id):
            raise Refusal(
                PinCode.SESSION_MISSING,
                "There is a PIN: log in with POST /v1/sessions, and send and sign its token.",
            )
        return Caller(device, None, device.person_id)
    session = await connections.sessions.find(_token(lines))
    if session.device_id != device.id:
        raise session_over()
    return Caller(device, session, session.person_id)


async def session_of(request: Request) -> LiveSession:
    """The session that a signed request carries; ``session_missing`` without one."""
    caller = await caller_of(request)
    if caller.session is None:
        raise Refusal(PinCode.SESSION_MISSING, "This is asked with a session: set a PIN, and log in.")
    return caller.session


async def wallet_of(request: Request, *, carries_id: bool = False) -> Wallet:
    """The wallet that the signed request is for; ``carries_id`` as in ``device_of``."""
    caller = await caller_of(request, carries_id=carries_id)
    return await connections_of(request).wallets.by_person(caller.person_id)


async def wallet_read(request: Request) -> Wallet:
    """The wallet that a read is for: of a session's token alone, or of a signed request."""
    lines = request.headers.getlist("authorization")
    if not lines or "signature" in request.headers or "signature-input" in request.headers:
        return await wallet_of(request)
    connections = connections_of(request)
    # A token is no signature of the target; the host is checked as for one that is.
    base_url(request.scope, connections.settings)
    session = await connections.sessions.find(_token(lines))
    return await connections.wallets.by_person(session.person_id)


def key_shown(request: Request) -> str | None:
    """The key of a till that a request carries instead of a signature; None where there is neither.

    Refused as ``api_key_wrong`` when what it carries cannot be one.
    """
    lines = request.headers.getlist("authorization")
    if not lines or "signature" in request.headers or "signature-input" in request.headers:
        return None
    # A key is no signature of the target; the host is checked as for one that is.
    base_url(request.scope, connections_of(request).settings)
    if len(lines) != 1 or not lines[0].startswith(_SCHEME + KEY_BEGIN) or not lines[0].isascii():
        raise Refusal(MerchantCode.API_KEY_WRONG, "This is no key of a till.")
    return lines[0].removeprefix(_SCHEME)


def _token(lines: list[str]) -> str:
    if len(lines) != 1 or not lines[0].startswith(_SCHEME):
        raise session_over()
    return lines[0].removeprefix(_SCHEME)


async def officer_of(request: Request, action: Action) -> Device:
    """The device that signed the request, of an officer who may do ``action``.

    Anybody else hears that nothing is here; an officer without a role for it,
    ``officer_role_missing``.
    """
    device = await device_of(request)
    async with connections_of(request).database.session() as session:
        if await officer_name(session, device.person_id, action) is None:
            raise Refusal(TreasuryCode.APPROVER_IS_NO_OFFICER, "There is nothing at this path.")
    return device


def signed_request(request: Request) -> SignedRequest:
    """What arrived, as the verifier of signatures reads it."""
    found: dict[bytes, list[str]] = {name: [] for name in _SIGNATURE_HEADERS}
    for name, value in request.scope["headers"]:
        if name in found:
            found[name].append(value.decode("latin-1"))
    return SignedRequest(
        method=request.method,
        target_uri=target_uri(request.scope, connections_of(request).settings),
        signature_input=found[b"signature-input"],
        signature=found[b"signature"],
        content_digest=found[b"content-digest"],
        body=body_of(request.scope),
        authorization=found[b"authorization"],
    )


def target_uri(scope: Scope, settings: Settings) -> str:
    """The absolute URI that the client meant to reach (RFC 9421 section 2.2.2).

    Behind a proxy only the operator knows under which URL the API is reached:
    ``api_public_url`` says it, and no header of the request is believed. Without it
    the request's own scheme and Host are taken, if this server may be called so;
    refused as ``base_url`` says. Path and query are the bytes that came, not their
    decoded form.
    """
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("latin-1").partition("?")[0]
    query = scope["query_string"].decode("latin-1")
    base = base_url(scope, settings)
    return f"{base}{path}?{query}" if query else f"{base}{path}"
