"""Callers: who sent a request, proven by the signature of an enrolled device."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from identity.devices import Device
from identity.signatures import SignedRequest
from wallet_api.connections import connections_of
from wallets.wallets import Wallet

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


async def device_of(request: Request) -> Device:
    """The device that signed the request; refused with an ``IdentityCode`` otherwise."""
    return await connections_of(request).doorkeeper.admit(await signed_request(request))


async def wallet_of(request: Request) -> Wallet:
    """The wallet of the person whose device signed the request."""
    device = await device_of(request)
    return await connections_of(request).wallets.by_person(device.person_id)


async def signed_request(request: Request) -> SignedRequest:
    """What arrived, as the verifier of signatures reads it."""
    headers = request.headers
    return SignedRequest(
        method=request.method,
        target_uri=target_uri(request.scope, connections_of(request).settings.api_public_url),
        signature_input=headers.getlist("signature-input"),
        signature=headers.getlist("signature"),
        content_digest=headers.getlist("content-digest"),
        body=await request.body(),
    )


def target_uri(scope: Scope, public_url: str | None) -> str:
    """The absolute URI that the client meant to reach (RFC 9421 section 2.2.2).

    Behind a proxy only the operator knows under which URL the API is reached:
    ``public_url`` says it, and no header of the request is believed. Without it the
    request's own scheme and Host are taken. Path and query are the bytes that came,
    not their decoded form.
    """
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("latin-1").partition("?")[0]
    query = scope["query_string"].decode("latin-1")
    base = public_url.rstrip("/") if public_url is not None else _own_base(scope)
    return f"{base}{path}?{query}" if query else f"{base}{path}"


def _own_base(scope: Scope) -> str:
    scheme = scope["scheme"]
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    authority = hosts[0].lower() if len(hosts) == 1 else ""
    return f"{scheme}://{authority.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"
