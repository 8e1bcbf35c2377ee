"""Receipts: what a payment was, signed, and the keys that anybody verifies it with."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode
from foundation.ids import parse_id
from wallet_api.callers import wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, OF_THE_LEDGER, problems, signed
from wallet_api.wire import Answer, TimeAnswer, UUIDText, answered, id_in_path, shown
from wallets.errors import WalletCode
from wallets.payments import payment_by_id
from wallets.receipt_keys import PublishedKey
from wallets.receipts import receipt, receipt_text

router = APIRouter(tags=["payments"])

COSE: Final = "application/cose"
"""A COSE message, whose first tag says which (RFC 9052 section 11.3.1)."""

_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "alg": "EdDSA",
    "use": "sig",
    "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "since": "2026-11-23T14:05:09Z",
    "until": None,
}

_BYTES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {COSE: {"schema": {"type": "string", "format": "binary"}, "example": "0xd284…"}}}
}
"""What Accept may ask for instead of JSON."""


class ReceiptAnswer(Answer):
    """A receipt; the same payment's is the same for as long as the bank's key is."""

    model_config = shown(
        {
            "payment_id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
            "key_id": _KEY["kid"],
            "receipt": "0oRYJ6IBJwRYIAABAgME…",
        }
    )

    payment_id: UUIDText
    key_id: Annotated[str, Field(description="The key that verifies it: GET /v1/receipt_keys.")]
    receipt: Annotated[str, Field(description="A COSE_Sign1 (RFC 9052) in base64url without padding.")]


class ReceiptKeyAnswer(Answer):
    """A key of the bank, as a JSON Web Key (RFC 7517, RFC 8037)."""

    kty: str
    crv: str
    alg: str
    use: str
    kid: Annotated[str, Field(description="RFC 7638 thumbprint; its 32 bytes are the receipt's kid.")]
    x: str
    since: TimeAnswer
    until: Annotated[TimeAnswer | None, Field(description="Null: it signs now.")]


class ReceiptKeysAnswer(Answer):
    """Every key that receipts were ever signed with, the newest first."""

    model_config = shown({"keys": [_KEY]})

    keys: list[ReceiptKeyAnswer]


@router.get(
    "/payments/{payment_id}/receipt",
    response_model=ReceiptAnswer,
    summary="A payment's receipt",
    description="For payer and payee alone. It states what happened when the payment was made, and "
    "nothing that came later: refunds have lines of their own. Anybody verifies it without a network, with "
    "the key that GET /v1/receipt_keys lists. With Accept: application/cose the answer is its bytes; in a "
    "session it is always JSON, whose size says nothing.",
    responses=_BYTES
    | problems(OF_A_WALLET, OF_THE_LEDGER, FoundationCode.ID_MALFORMED, WalletCode.PAYMENT_NOT_FOUND),
    openapi_extra=signed(),
)
async def own_receipt(
    request: Request, payment_id: Annotated[str, id_in_path("The payment's id.")]
) -> Response:
    """The receipt of a payment of the caller."""
    connections = connections_of(request)
    wallet = await wallet_of(request)
    payment = await payment_by_id(
        connections.ledger, connections.wallets, wallet=wallet, payment_id=parse_id(payment_id)
    )
    keys = connections.receipt_keys.keys()
    data = receipt(keys, payment, viewer=wallet)
    # Only JSON is padded: the bytes of a receipt say how long handles and amounts are.
    if "authorization" not in request.headers and _wants_bytes(request):
        return Response(data, media_type=COSE)
    return answered(ReceiptAnswer(payment_id=str(payment.id), key_id=keys.key_id, receipt=receipt_text(data)))


@router.get(
    "/receipt_keys",
    response_model=ReceiptKeysAnswer,
    summary="The keys of receipts",
    description="A JSON Web Key Set, open to anybody; keep it, and receipts are verified without a network. "
    "Keys that no longer sign stay listed.",
    responses=problems(),
)
async def receipt_keys(request: Request) -> Response:
    """The bank's receipt keys."""
    published = connections_of(request).receipt_keys.keys().published
    return answered(ReceiptKeysAnswer(keys=[_key(each) for each in published]))


def _wants_bytes(request: Request) -> bool:
    kinds = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return COSE in kinds


def _key(published: PublishedKey) -> ReceiptKeyAnswer:
    jwk = published.key.to_jwk()
    return ReceiptKeyAnswer(
        kty=jwk["kty"],
        crv=jwk["crv"],
        alg="EdDSA",
        use="sig",
        kid=published.key.key_id,
        x=jwk["x"],
        since=published.since,
        until=published.until,
    )
