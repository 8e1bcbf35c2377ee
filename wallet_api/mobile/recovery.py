"""Recovery: whom a person trusts, and a device that is let in again by them."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.ids import derive_id
from identity.errors import IdentityCode
from identity.keys import PublicKey
from identity.recovery import (
    KEYS_MAX,
    TRUSTED_MAX,
    Claim,
    Trust,
    complete,
    refuse_claims,
    set_trust,
    trust_of,
    trusted_unknown,
    vouch,
)
from identity.recovery_errors import RecoveryCode
from wallet_api.callers import caller_of, signed_request
from wallet_api.connections import Connections, connections_of
from wallet_api.mobile.enrolments import EnrolmentAnswer, PublicKeyRequest
from wallet_api.operations import OF_A_SESSION, SIGNED, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import Answer, Asked, HandleText, TimeAnswer, answered, instant_text, read, shown
from wallets.errors import WalletCode
from wallets.handles import parse_handle
from wallets.request_errors import AskingCode

router = APIRouter(tags=["security"])

_CLAIM_BYTES: Final = 192
"""A key that waits, in JSON; as many as people can vouch for have the same size as none."""

KeyIdText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="RFC 7638 thumbprint of the new device's key, which that device shows.",
        examples=["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"],
    ),
]
"""How people name a new key to one another."""


class TrustRequest(Asked):
    """Whom to trust from now on, instead of those of before."""

    trusted: Annotated[
        list[HandleText], Field(max_length=20, description="Two to seven handles; none to trust nobody.")
    ]
    needed: Annotated[int, Field(ge=0, le=20, description="How many of them must vouch; two at least.")]


class ClaimAnswer(Answer):
    """A new key that people vouch for."""

    model_config = shown(
        {
            "key_id": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "vouched": 1,
            "needed": 2,
            "begun_at": "2026-12-01T08:00:00.000000Z",
            "completes_at": None,
        }
    )

    key_id: str
    vouched: int
    needed: int
    begun_at: TimeAnswer
    completes_at: Annotated[
        TimeAnswer | None,
        Field(description="From when on it may enrol itself; null while vouches are missing."),
    ]


class RecoveryAnswer(Answer):
    """How many are trusted, and the keys that wait. Who is trusted is kept nowhere in the clear."""

    model_config = shown(
        {
            "trusted": 3,
            "needed": 2,
            "set_at": "2026-11-23T14:05:09.123456Z",
            "claims": [
                {
                    "key_id": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                    "vouched": 2,
                    "needed": 2,
                    "begun_at": "2026-12-01T08:00:00.000000Z",
                    "completes_at": "2026-12-04T09:30:00.000000Z",
                }
            ],
        }
    )

    trusted: int
    needed: int
    set_at: TimeAnswer | None
    claims: list[ClaimAnswer]


class RefusalsAnswer(Answer):
    """No key of before is let in any more."""

    model_config = shown({"refused": 1})

    refused: int


class VouchRequest(Asked):
    """Somebody's new key."""

    handle: HandleText
    key_id: KeyIdText


class CompletionRequest(Asked):
    """The new device's public key."""

    public_key: PublicKeyRequest


@router.get(
    "/recovery",
    response_model=RecoveryAnswer,
    summary="Recovery",
    description="Ask for it now and then: a key that you do not know is a thief's, or a friend's mistake.",
    responses=problems(SIGNED, OF_A_SESSION),
    openapi_extra=signed(),
)
async def own_recovery(request: Request) -> Response:
    """How many the caller trusts, and which keys wait."""
    pad_list(request, lines_max=TRUSTED_MAX * KEYS_MAX, line_bytes=_CLAIM_BYTES)
    caller = await caller_of(request)
    async with connections_of(request).database.session() as session:
        trust, claims = await trust_of(session, caller.person_id)
    return answered(_answer(trust, claims))


@router.put(
    "/recovery",
    response_model=RecoveryAnswer,
    summary="Trust people",
    description="They can let a new device of yours in when all are lost: as many of them as are needed "
    "vouch for its key, and after 72 hours in which any device of yours may refuse, it enrols itself and "
    "all others end. The PIN stays as it is. Keep the list: the server keeps marks that nobody can read.",
    responses=problems(
        SIGNED,
        OF_A_SESSION,
        WITH_BODY,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.HANDLE_MALFORMED,
        RecoveryCode.RECOVERY_TRUST_MALFORMED,
        RecoveryCode.RECOVERY_TRUSTED_UNKNOWN,
    ),
    openapi_extra=asks(TrustRequest, example={"trusted": ["@ko_ko", "@mya_mya", "@thiri"], "needed": 2}),
)
async def trust_people(request: Request) -> Response:
    """Set whom the caller trusts."""
    connections = connections_of(request)
    caller = await caller_of(request)
    asked = read(TrustRequest, signed_request(request).body)
    trusted = [
        await _person_of(connections, caller.person_id, handle, listed_only=True) for handle in asked.trusted
    ]
    if None in trusted:
        raise trusted_unknown()
    trust = await set_trust(
        connections.database,
        connections.clock,
        connections.pins.pepper,
        person_id=caller.person_id,
        trusted=[one for one in trusted if one is not None],
        needed=asked.needed,
    )
    return answered(_answer(trust, []))


@router.post(
    "/recovery/refusals",
    response_model=RefusalsAnswer,
    summary="Refuse new keys",
    description="Every key that people have vouched for until now is refused, for ever.",
    responses=problems(SIGNED, OF_A_SESSION),
    openapi_extra=signed(),
)
async def refuse_keys(request: Request) -> Response:
    """Refuse whatever waits."""
    connections = connections_of(request)
    caller = await caller_of(request)
    count = await refuse_claims(connections.database, connections.clock, person_id=caller.person_id)
    return answered(RefusalsAnswer(refused=count))


@router.post(
    "/recovery/vouches",
    response_model=ClaimAnswer,
    summary="Vouch for somebody's new key",
    description="Compare the key with the one that its owner shows you, face to face or by a voice that "
    "you know. The same again says the same.",
    responses=problems(
        SIGNED,
        OF_A_SESSION,
        WITH_BODY,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.HANDLE_MALFORMED,
        RecoveryCode.RECOVERY_KEY_MALFORMED,
        RecoveryCode.RECOVERY_NOT_TRUSTED,
        RecoveryCode.RECOVERY_KEY_REFUSED,
        RecoveryCode.RECOVERY_TOO_MANY_KEYS,
    ),
    openapi_extra=asks(
        VouchRequest,
        example={"handle": "@aye_aye", "key_id": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
    ),
)
async def vouch_for_key(request: Request) -> Response:
    """Vouch for a key."""
    connections = connections_of(request)
    caller = await caller_of(request)
    asked = read(VouchRequest, signed_request(request).body)
    person_id = await _person_of(connections, caller.person_id, asked.handle)
    claim = await vouch(
        connections.database,
        connections.clock,
        connections.pins.pepper,
        # Nobody's handle is looked for as somebody's is.
        person_id=person_id or derive_id("person-of-nobody", parse_handle(asked.handle)),
        guardian_id=caller.person_id,
        key_id=asked.key_id,
    )
    return answered(_claim(claim))


@router.post(
    "/recovery/completions",
    status_code=201,
    response_model=EnrolmentAnswer,
    summary="Enrol this device by recovery",
    description="Signed with the new key itself. All other devices of the person end. The same again gives "
    "the same answer for ever.",
    responses=problems(
        SIGNED[:-2],
        WITH_BODY,
        IdentityCode.PUBLIC_KEY_MALFORMED,
        IdentityCode.DEVICE_ALREADY_ENROLLED,
        RecoveryCode.RECOVERY_NOT_FOUND,
        RecoveryCode.RECOVERY_WAITING,
    ),
    openapi_extra=asks(
        CompletionRequest,
        example={
            "public_key": {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }
        },
    ),
)
async def complete_recovery(request: Request) -> Response:
    """Enrol the device that sent the request, if enough people vouched for its key."""
    connections = connections_of(request)
    message = signed_request(request)
    asked = read(CompletionRequest, message.body)
    key = PublicKey.from_jwk(asked.public_key.model_dump(exclude_none=True))
    done = await complete(connections.database, connections.clock, request=message, key=key)
    return answered(
        EnrolmentAnswer(device_id=str(done.device.id), key_id=key.key_id), status=201, replayed=done.replayed
    )


async def _person_of(
    connections: Connections, asker_id: UUID, handle: str, *, listed_only: bool = False
) -> UUID | None:
    """Whose a handle is; counted as a look-up, since the answer may tell whether it is anybody's.

    Vouching tells nothing to who is not trusted, and must not fail because a friend is unlisted.
    """
    wanted = parse_handle(handle)
    await connections.lookups.count(asker_id)
    find = connections.wallets.payee if listed_only else connections.wallets.by_handle
    wallet = await find(wanted)
    return wallet.person_id if wallet is not None else None


def _answer(trust: Trust, claims: list[Claim]) -> RecoveryAnswer:
    return RecoveryAnswer(
        trusted=trust.trusted,
        needed=trust.needed,
        set_at=instant_text(trust.set_at) if trust.set_at is not None else None,
        claims=[_claim(one) for one in claims],
    )


def _claim(claim: Claim) -> ClaimAnswer:
    return ClaimAnswer(
        key_id=claim.key_id,
        vouched=claim.vouched,
        needed=claim.needed,
        begun_at=instant_text(claim.begun_at),
        completes_at=instant_text(claim.completes_at) if claim.completes_at is not None else None,
    )
