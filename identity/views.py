"""Views: which of a person's two wallets a PIN opens, and how that is written down unreadably."""

from __future__ import annotations

import hmac
from enum import StrEnum
from uuid import UUID

from identity.decoys import decoy_of
from identity.pepper import Pepper


class View(StrEnum):
    """What a session shows."""

    REAL = "real"
    """The person's own wallet."""
    DURESS = "duress"
    """The decoy's."""


def view_mark(pepper: Pepper, session_id: UUID, view: View) -> bytes:
    """What a session's row says of its view; without the pepper one looks like the other."""
    return pepper.mac("session view", session_id, view.encode())[:16]


def view_of_mark(pepper: Pepper, session_id: UUID, mark: bytes) -> View | None:
    """What a session's row says; None when it was written under another pepper.

    Both marks are computed, whichever it is.
    """
    is_real = hmac.compare_digest(view_mark(pepper, session_id, View.REAL), mark)
    is_duress = hmac.compare_digest(view_mark(pepper, session_id, View.DURESS), mark)
    if is_real == is_duress:
        # Nothing may be opened by it, and least of all the real wallet.
        return None
    return View.REAL if is_real else View.DURESS


def person_seen(pepper: Pepper, person_id: UUID, view: View) -> UUID:
    """Whose wallet a view of a person shows. Both ids are computed, whichever it is."""
    decoy = decoy_of(pepper, person_id)
    return {View.REAL: person_id, View.DURESS: decoy}[view]
