"""Signed requests: from what arrived to the device that sent it.

The steps go from cheap to dear, and the only one that writes is the last: the
form of the signature, its time, the body's digest, the key, the signature, the
nonce. A request that fails a step has left no trace.
"""

from __future__ import annotations

from foundation.clock import Clock, datetime_from_ns
from foundation.errors import Refusal
from identity.devices import Device, DeviceDirectory
from identity.errors import IdentityCode
from identity.keys import PublicKey
from identity.nonces import NonceRecorder
from identity.signatures import (
    Signature,
    SignedRequest,
    check_content_digest,
    check_created,
    parse_signature,
    signature_expires_at_ns,
    verify_signature,
)


class Doorkeeper:
    """Answers whose device signed a request, and lets each request through once."""

    def __init__(self, devices: DeviceDirectory, nonces: NonceRecorder, clock: Clock) -> None:
        self._devices = devices
        self._nonces = nonces
        self._clock = clock

    async def admit(self, request: SignedRequest, *, carries_id: bool = False) -> Device:
        """The enrolled device that signed ``request``, its nonce recorded.

        With ``carries_id`` no nonce is recorded: what the request asks for has an id of
        its own, so that the same bytes again are the same thing, and get the same answer.
        Refused with the code of the first step that fails (see ``IdentityCode``).
        """
        signature = _checked_form(request, self._clock)
        device = await self._devices.find(signature.key_id)
        if device is None:
            raise Refusal(IdentityCode.SIGNATURE_KEY_UNKNOWN, "No enrolled device has this key.")
        verify_signature(request, signature, device.key)
        if carries_id:
            await self._devices.refuse_revoked(device)
            return device
        await self._nonces.record(
            device.id, signature.nonce, datetime_from_ns(signature_expires_at_ns(signature))
        )
        return device


def prove_possession(request: SignedRequest, key: PublicKey, clock: Clock) -> None:
    """Refuse a request that the holder of ``key`` did not sign: how a new key is shown.

    No nonce is recorded, since no device exists yet; the enrolment code that such a
    request carries works once.
    """
    signature = _checked_form(request, clock)
    if signature.key_id != key.key_id:
        raise Refusal(
            IdentityCode.SIGNATURE_KEY_UNKNOWN,
            "keyid must be the thumbprint (RFC 7638) of the public key in the body.",
        )
    verify_signature(request, signature, key)


def _checked_form(request: SignedRequest, clock: Clock) -> Signature:
    signature = parse_signature(request)
    check_created(signature, clock)
    check_content_digest(request, signature)
    return signature
