"""Refusals of refunds.

Members stand in the order in which they are checked. A payment or refund of others is
refused as one that does not exist.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class RefundCode(RefusalCode):
    """Why a payment is not refunded, or a refund not shown."""

    REFUND_NOT_BY_PAYEE = "refund_not_by_payee"
    """Only who was paid gives back."""
    REFUND_EXCEEDS_PAYMENT = "refund_exceeds_payment"
    """All refunds of a payment together are at most what was paid."""
    REFUND_NOT_FOUND = "refund_not_found"
    """No refund with this id has this wallet on one of its sides."""
