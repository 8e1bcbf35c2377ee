"""Refusals of standing orders.

Members stand in the order in which they are checked. An order of others is refused as one
that does not exist.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class StandingCode(RefusalCode):
    """Why a standing order is not made, shown or changed, or one of its payments was not made."""

    STANDING_ORDER_DAYS_WRONG = "standing_order_days_wrong"
    """The days can mean nothing: the first is past or years ahead, or the end is none; ``field`` is named."""
    STANDING_ORDER_ID_TAKEN = "standing_order_id_taken"
    """The id belongs to a standing order that is not this wallet's."""
    STANDING_ORDER_ID_USED_DIFFERENTLY = "standing_order_id_used_differently"
    """The id was used for a standing order with other content; the field that differs is named."""
    TOO_MANY_STANDING_ORDERS = "too_many_standing_orders"
    """The wallet has as many standing orders as anybody may have."""
    STANDING_ORDER_NOT_FOUND = "standing_order_not_found"
    """There is no such standing order, or it is not this wallet's."""
    STANDING_ORDER_OVER = "standing_order_over"
    """It was cancelled, or all its payments are settled."""
    STANDING_ORDER_PAUSED = "standing_order_paused"
    """Its day passed while it awaited a confirmation, since a device was revoked."""
    STANDING_ORDER_NOT_TRIED = "standing_order_not_tried"
    """Its day passed while the bank could not try; it is not paid late."""
