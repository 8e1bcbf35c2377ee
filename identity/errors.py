"""Refusals of identity: keys, enrolment codes and signatures.

Members stand in the order in which they are checked. None of them tells a
stranger whether a person, a device or a code exists beyond what the stranger
proved by a signature or a code.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class IdentityCode(RefusalCode):
    """Why a device is not believed, or not enrolled."""

    SIGNATURE_MISSING = "signature_missing"
    """The request has no Signature-Input or no Signature header."""
    SIGNATURE_MALFORMED = "signature_malformed"
    """The signature's headers are not one signature in our profile's exact form."""
    SIGNATURE_COMPONENTS_NOT_ACCEPTED = "signature_components_not_accepted"
    """The signature covers other components, or in another order, than the profile says."""
    SIGNATURE_PARAMETERS_NOT_ACCEPTED = "signature_parameters_not_accepted"
    """A parameter of the signature is missing, unknown, given twice or malformed."""
    SIGNATURE_CLOCK_OUT_OF_WINDOW = "signature_clock_out_of_window"
    """``created`` is too far from the server's time; the refusal carries that time."""
    CONTENT_DIGEST_MISSING = "content_digest_missing"
    """A request with a body has no Content-Digest header, or its signature does not cover it."""
    CONTENT_DIGEST_MALFORMED = "content_digest_malformed"
    """Content-Digest is not exactly one SHA-256 digest."""
    CONTENT_DIGEST_MISMATCH = "content_digest_mismatch"
    """The body is not the one that was digested: it has been changed on its way."""
    SIGNATURE_KEY_UNKNOWN = "signature_key_unknown"
    """No enrolled device has this key."""
    SIGNATURE_ALGORITHM_NOT_ACCEPTED = "signature_algorithm_not_accepted"
    """``alg`` is not the algorithm of the device's key."""
    SIGNATURE_WRONG = "signature_wrong"
    """The signature does not verify: another key, or a changed method, target or body."""
    DEVICE_REVOKED = "device_revoked"
    """The device was revoked; it can do nothing any more."""
    NONCE_REPLAYED = "nonce_replayed"
    """This nonce was used before by this device."""
    PUBLIC_KEY_MALFORMED = "public_key_malformed"
    """The public key is not a P-256 or Ed25519 key in the form of a JSON Web Key."""
    ENROLMENT_CODE_WRONG = "enrolment_code_wrong"
    """There is no such code; or it was mistyped too often."""
    ENROLMENT_CODE_EXPIRED = "enrolment_code_expired"
    """The code was right, and its time is over."""
    ENROLMENT_CODE_USED = "enrolment_code_used"
    """The code was right, and another device was enrolled with it."""
    DEVICE_ALREADY_ENROLLED = "device_already_enrolled"
    """This key was enrolled before with another code; each enrolment needs a new key."""
