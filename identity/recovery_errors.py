"""Refusals of recovery.

Members stand in the order in which they are checked. None tells who trusts whom: to
somebody who is not trusted, a person who has set nobody, and one who is not there, are one.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class RecoveryCode(RefusalCode):
    """Why nobody is trusted, vouched for or let in again."""

    RECOVERY_TRUST_MALFORMED = "recovery_trust_malformed"
    """Two to seven different handles are trusted, and at least two of them are needed; or nobody is."""
    RECOVERY_TRUSTED_UNKNOWN = "recovery_trusted_unknown"
    """A handle that is to be trusted is nobody's, or the person's own."""
    RECOVERY_KEY_MALFORMED = "recovery_key_malformed"
    """The new device's key is named by its RFC 7638 thumbprint, 43 characters of base64url."""
    RECOVERY_NOT_TRUSTED = "recovery_not_trusted"
    """Nobody of this handle has asked the caller to vouch, or there is no such handle."""
    RECOVERY_KEY_REFUSED = "recovery_key_refused"
    """A device of the person has refused this key."""
    RECOVERY_TOO_MANY_KEYS = "recovery_too_many_keys"
    """The caller has vouched for as many keys of this person as one may."""
    RECOVERY_NOT_FOUND = "recovery_not_found"
    """Not enough people have vouched for this key, or a device of the person has refused it."""
    RECOVERY_WAITING = "recovery_waiting"
    """Enough have vouched, and the time in which a device of the person may refuse is not over."""
