"""Refusals of PINs and sessions.

Members stand in the order in which they are checked. Which of a person's two PINs a
request carried is told by none of them, nor whether there are two.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class PinCode(RefusalCode):
    """Why a PIN is not taken, or a session not opened or believed."""

    SESSION_MISSING = "session_missing"
    """The person has a PIN: requests for the wallet carry a session, which the signature covers."""
    SESSION_OVER = "session_over"
    """The session is over, was revoked, is another device's or never was."""
    PIN_MALFORMED = "pin_malformed"
    """A PIN is 6 to 12 digits."""
    PIN_TOO_SIMPLE = "pin_too_simple"
    """The PIN is one of those that are tried first."""
    PINS_ALIKE = "pins_alike"
    """The two PINs are the same."""
    DECOY_HANDLE_MISSING = "decoy_handle_missing"
    """A duress PIN comes with the handle of the wallet that it opens, and that with it."""
    PIN_CHECKS_BUSY = "pin_checks_busy"
    """Too many PINs wait to be checked in this process."""
    PIN_NOT_SET = "pin_not_set"
    """The person has no PIN yet."""
    CURRENT_PIN_MISSING = "current_pin_missing"
    """The person has a PIN, and another one is set only with it."""
    PIN_DELAYED = "pin_delayed"
    """After wrong PINs this device waits before the next try."""
    PIN_WRONG = "pin_wrong"
    """The PIN is wrong; the try was counted for this device."""
    SESSION_NOT_FOUND = "session_not_found"
    """No session of this wallet has this id."""
    DEVICE_NOT_FOUND = "device_not_found"
    """No device of this person has this id."""
    TOO_MANY_DEVICE_CODES = "too_many_device_codes"
    """As many codes for further devices as a day may have were given out."""
