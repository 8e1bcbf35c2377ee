"""Refusals of businesses.

Members stand in the order in which they are checked. A till, key or invoice of others is
refused as one that does not exist.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class MerchantCode(RefusalCode):
    """Why a business, its till, key or invoice is not made, shown or used."""

    API_KEY_WRONG = "api_key_wrong"
    """No key of a till is this one, or it was revoked."""
    MERCHANT_NOT_FOUND = "merchant_not_found"
    """The wallet has not been made a business yet."""
    TILL_NOT_FOUND = "till_not_found"
    """There is no till with this id at which the caller may act."""
    TILL_RIGHT_MISSING = "till_right_missing"
    """The caller may act at the till, but not do this; the right that is missing is named."""
    MERCHANT_LIST_FULL = "merchant_list_full"
    """A business has as many tills or webhooks, or a till as many people or keys, as there may be."""
    MERCHANT_ID_TAKEN = "merchant_id_taken"
    """The id of a till or an invoice was used for another one."""
    STAFF_UNKNOWN = "staff_unknown"
    """No wallet has this handle, or it is the owner's own."""
    STAFF_NOT_FOUND = "staff_not_found"
    """Nobody with this handle was asked to work at the till."""
    TILL_KEY_NOT_FOUND = "till_key_not_found"
    """The till has no key with this id."""
    INVOICE_NOT_FOUND = "invoice_not_found"
    """The till has no invoice with this id."""
    WEBHOOK_URL_REFUSED = "webhook_url_refused"
    """The address is not one that events may be sent to: https, a public address, no credentials."""
    WEBHOOK_NOT_FOUND = "webhook_not_found"
    """The business has no webhook with this id."""
    WEBHOOK_EVENT_NOT_FOUND = "webhook_event_not_found"
    """The business has no event with this id."""
