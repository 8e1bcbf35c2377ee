"""Refusals of recalls.

Members stand in the order in which they are checked. A payment or recall of others is
refused as one that does not exist.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class RecallCode(RefusalCode):
    """Why a payment is not recalled, or a recall not shown or decided."""

    RECALL_NOT_BY_PAYER = "recall_not_by_payer"
    """Only who has paid asks for it back; who was paid refunds."""
    RECALL_ID_TAKEN = "recall_id_taken"
    """The id belongs to another recall."""
    PAYMENT_ALREADY_RECALLED = "payment_already_recalled"
    """A payment is recalled once; ``recall_id`` names the recall."""
    RECALL_TOO_LATE = "recall_too_late"
    """The time in which the payer may ask for a payment back is over."""
    TOO_MANY_OPEN_RECALLS = "too_many_open_recalls"
    """The payer has as many open recalls in this asset as anybody may have."""
    NOTHING_TO_RECALL = "nothing_to_recall"
    """All of it was given back before, or the payee has nothing of this asset any more."""
    RECALL_CONTESTED = "recall_contested"
    """Money moved again and again while it was to be held."""
    RECALL_NOT_FOUND = "recall_not_found"
    """There is no such recall, or it is not this wallet's to see or to decide."""
    RECALL_OF_OWN = "recall_of_own"
    """An officer does not decide on a payment of their own."""
    RECALL_NOT_DISPUTED = "recall_not_disputed"
    """The payee has still time to answer; officers decide afterwards."""
    RECALL_VOTE_STANDS = "recall_vote_stands"
    """The officer has decided otherwise before, and that stands."""
    RECALL_NOT_OPEN = "recall_not_open"
    """It has ended before; ``state`` says how."""
