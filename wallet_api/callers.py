"""Callers: who sent a request, proven by the signature of an enrolled device."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from foundation.errors import Refusal
from foundation.settings import Settings
from identity.devices import Device
from identity.officers import officer_name
from identity.signatures import SignedRequest
from treasury.errors import TreasuryCode
from wallet_api.connections import connections_of
from wallet_api.hosts import base_url
from wallets.wallets import Wallet

_SIGNATURE_HEADERS = (b"signature-input", b"signature", b"content-digest")


async def device_of(request: Request, *, carries_id: bool = False) -> Device:
    """The device that signed the request; refused with an ``IdentityCode`` otherwise.

    ``carries_id`` as in ``Doorkeeper.admit``: whatever the request does is done once by its id.
    """
    asked = await signed_request(request)
    return await connections_of(request).doorkeeper.admit(asked, carries_id=carries_id)


async def wallet_of(request: Request, *, carries_id: bool = False) -> Wallet:
    """The wallet of the person whose device signed the request; ``carries_id`` as in ``device_of``."""
    device = await device_of(request, carries_id=carries_id)
    return await connections_of(request).wallets.by_person(device.person_id)


async def officer_of(request: Request) -> Device:
    """The officer's device that signed the request; anybody else hears that nothing is here."""
    device = await device_of(request)
    async with connections_of(request).database.session() as session:
        if await officer_name(session, device.person_id) is None:
            raise Refusal(TreasuryCode.APPROVER_IS_NO_OFFICER, "There is nothing at this path.")
    return device


async def signed_request(request: Request) -> SignedRequest:
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
        body=await request.body(),
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
