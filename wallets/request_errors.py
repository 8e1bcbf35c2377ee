"""Refusals around asking: handles looked up, payment codes read, requests to pay.

Members stand in the order in which they are checked. Somebody else's request is
refused as one that does not exist.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class AskingCode(RefusalCode):
    """Why a handle is not shown, a payment code not read, a request to pay not made or decided."""

    TOO_MANY_LOOKUPS = "too_many_lookups"
    """The person asked for more handles in a minute than anybody pays."""
    HANDLE_NOT_FOUND = "handle_not_found"
    """No wallet that shows itself has this handle."""
    PAYMENT_CODE_MALFORMED = "payment_code_malformed"
    """The text is no payment code in its one form."""
    PAYMENT_CODE_VERSION_UNKNOWN = "payment_code_version_unknown"
    """The payment code has a version that this reader does not know."""
    PAYMENT_CODE_CHECKSUM = "payment_code_checksum"
    """A character of the payment code is wrong: its checksum does not fit."""
    PAYMENT_CODE_EXPIRED = "payment_code_expired"
    """The payment code was for a time that is over."""
    PAYMENT_CODE_EXPIRY_OUT_OF_RANGE = "payment_code_expiry_out_of_range"
    """A payment code lasts for a second at least and ten years at most."""
    PAYMENT_REQUEST_EXPIRY_OUT_OF_RANGE = "payment_request_expiry_out_of_range"
    """A request to pay is open for a minute at least and thirty days at most."""
    PAYER_UNKNOWN = "payer_unknown"
    """No wallet has the handle that was asked to pay."""
    PAYER_IS_PAYEE = "payer_is_payee"
    """A wallet does not ask itself to pay."""
    PAYMENT_REQUEST_ID_TAKEN = "payment_request_id_taken"
    """The id belongs to something that is not this wallet's request."""
    PAYMENT_REQUEST_ID_USED_DIFFERENTLY = "payment_request_id_used_differently"
    """The id was used for a request with other content; the field that differs is named."""
    TOO_MANY_OPEN_REQUESTS = "too_many_open_requests"
    """The payer has as many open requests of this payee as anybody may have."""
    TOO_MANY_REQUESTS_TODAY = "too_many_requests_today"
    """The payee has asked as often in a day as anybody may."""
    PAYMENT_REQUEST_NOT_FOUND = "payment_request_not_found"
    """There is no such request, or it is not this wallet's to see or to decide."""
    PAYMENT_REQUEST_NOT_OPEN = "payment_request_not_open"
    """The request was accepted, declined or cancelled before, or is over; ``state`` says which."""
    PAYMENT_REQUEST_CONTESTED = "payment_request_contested"
    """Others decide on the request at this moment."""
