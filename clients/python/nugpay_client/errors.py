"""Errors: what the server refused, and what could not be found out.

NUGPayClientError
├── RequestRefused       a definite no; nothing has happened (subclasses by code)
├── ServiceUnavailable   not now; nothing has happened, the same may be sent later
├── OutcomeUnknown       money may have moved: send the same again, or ask for the id
├── Unreachable          a read found no server
├── PaymentCodeRefused   a payment code that was scanned is damaged, over or none at all
├── ReceiptRefused       a receipt is damaged, or the bank has not signed it
├── MemoRefused          a memo cannot be encrypted, or not be read with these keys
├── AnswerMalformed      what came back is no answer of this API
└── WaitedTooLong        a state did not come in time
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem+json answer (RFC 9457) of the server."""

    code: str
    """Stable name: switch on this."""
    status: int
    detail: str
    what_to_do: str
    retryable: str
    """``true``, ``false`` or ``unknown``."""
    money_moved: str
    """``false`` or ``unknown``."""
    request_id: str
    title: str = ""
    """The code in words, in the language of the answer, as ``detail`` and ``what_to_do`` are."""
    about_money: str = ""
    """``money_moved`` in a sentence."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Everything that the server said."""

    @classmethod
    def read(cls, status: int, content: Any) -> Problem | None:
        """The problem in a decoded body; None when it is none of this API's."""
        if not isinstance(content, dict) or not isinstance(content.get("code"), str):
            return None
        return cls(
            code=content["code"],
            status=status,
            detail=str(content.get("detail", "")),
            what_to_do=str(content.get("what_to_do", "")),
            retryable=str(content.get("retryable", "false")),
            money_moved=str(content.get("money_moved", "unknown")),
            request_id=str(content.get("request_id", "")),
            title=str(content.get("title", "")),
            about_money=str(content.get("about_money", "")),
            data=content,
        )

    @property
    def text(self) -> str:
        """What a person is shown: what happened, whether money moved, what to do now."""
        return " ".join(part for part in (self.detail, self.about_money, self.what_to_do) if part)


class NUGPayClientError(Exception):
    """Root of this library's errors."""


class RequestRefused(NUGPayClientError):
    """The server refused; nothing has happened. ``code`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.text}")
        self.problem = problem

    @property
    def code(self) -> str:
        """The stable code."""
        return self.problem.code

    @property
    def needs_new_id(self) -> bool:
        """Whether a new attempt needs a new id."""
        return bool(self.problem.data.get("new_id_needed", False))


class NotAuthenticated(RequestRefused):
    """Not believed: wrong key, clock, a device that is not enrolled, or a session that is over."""


class DeviceRevoked(RequestRefused):
    """This device was revoked."""


class EnrolmentRefused(RequestRefused):
    """The enrolment code is wrong, expired or used."""


class HandleUnavailable(RequestRefused):
    """The handle cannot be had."""


class InsufficientFunds(RequestRefused):
    """The available balance does not cover the amount and its fee."""


class LimitExceeded(RequestRefused):
    """More than the wallet may pay or hold by its tier, or than young money may leave the platform."""


class PayeeUnknown(RequestRefused):
    """No wallet has that handle."""


class FeeTooHigh(RequestRefused):
    """The fee is above what was agreed to."""


class IdAlreadyUsed(RequestRefused):
    """The id was used for something else, or was refused before."""


class NotAnOfficer(RequestRefused):
    """The device's person is no officer, or not any more."""


class ApprovalRefused(RequestRefused):
    """The approval does not count: expired, of another content, or of an own withdrawal."""


class ReleaseRefused(RequestRefused):
    """The breaker stays tripped: signatures are missing or wrong, or the books do not agree yet."""


class TooManyRequests(RequestRefused):
    """Asked as often as anybody may: handles in a minute, requests to one payer or in a day."""


class RequestNotOpen(RequestRefused):
    """The request to pay was decided or is over; ``problem.data["state"]`` says how it ended."""


class NotFound(RequestRefused):
    """There is no such thing, or it is not yours."""


class PaymentCodeRefused(NUGPayClientError):
    """A payment code is none, is damaged or is over; ``code`` says which, as the server's codes do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class ReceiptRefused(NUGPayClientError):
    """A receipt is none, is damaged, or is signed by somebody else; ``code`` says which."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class MemoRefused(NUGPayClientError):
    """A memo is not encrypted, or not read; nothing was sent. ``code`` says why, stably."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class ServiceUnavailable(NUGPayClientError):
    """The service cannot do it now; nothing has happened."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.text}")
        self.problem = problem

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return self.problem.retryable == "true"


class OutcomeUnknown(NUGPayClientError):
    """Money may have moved. Send the same order again, or ask for its id, until it is known."""

    def __init__(self, order_id: UUID, reason: str) -> None:
        super().__init__(f"The outcome of {order_id} is not known ({reason}); send the same order again.")
        self.order_id = order_id


class Unreachable(NUGPayClientError):
    """No server answered; the request was one that changes nothing, or is safe to repeat."""


class AnswerMalformed(NUGPayClientError):
    """What came back is no answer of this API."""


class WaitedTooLong(NUGPayClientError):
    """The state that was waited for did not come in time."""


_KINDS: Final[dict[str, type[RequestRefused]]] = {
    "device_revoked": DeviceRevoked,
    "signature_key_unknown": NotAuthenticated,
    "signature_wrong": NotAuthenticated,
    "signature_clock_out_of_window": NotAuthenticated,
    "nonce_replayed": NotAuthenticated,
    "enrolment_code_wrong": EnrolmentRefused,
    "enrolment_code_expired": EnrolmentRefused,
    "enrolment_code_used": EnrolmentRefused,
    "device_already_enrolled": EnrolmentRefused,
    "handle_malformed": HandleUnavailable,
    "handle_reserved": HandleUnavailable,
    "handle_taken": HandleUnavailable,
    "handle_too_similar": HandleUnavailable,
    "insufficient_funds": InsufficientFunds,
    "withdrawal_exceeds_balance": InsufficientFunds,
    "greater_than_transaction_max_value": LimitExceeded,
    "daily_value_limit_exceeded": LimitExceeded,
    "weekly_value_limit_exceeded": LimitExceeded,
    "monthly_value_limit_exceeded": LimitExceeded,
    "payee_balance_limit_exceeded": LimitExceeded,
    "young_funds_daily_limit_exceeded": LimitExceeded,
    "young_funds_weekly_limit_exceeded": LimitExceeded,
    "api_key_wrong": NotAuthenticated,
    "session_missing": NotAuthenticated,
    "session_over": NotAuthenticated,
    "pin_delayed": TooManyRequests,
    "too_many_device_codes": TooManyRequests,
    "session_not_found": NotFound,
    "device_not_found": NotFound,
    "recovery_not_trusted": NotFound,
    "recovery_not_found": NotFound,
    "payee_unknown": PayeeUnknown,
    "payer_unknown": PayeeUnknown,
    "too_many_lookups": TooManyRequests,
    "too_many_open_requests": TooManyRequests,
    "too_many_requests_today": TooManyRequests,
    "payment_request_not_open": RequestNotOpen,
    "payment_request_id_taken": IdAlreadyUsed,
    "bulk_id_taken": IdAlreadyUsed,
    "payment_request_id_used_differently": IdAlreadyUsed,
    "bulk_id_used_differently": IdAlreadyUsed,
    "review_not_found": NotFound,
    "handle_not_found": NotFound,
    "payment_request_not_found": NotFound,
    "bulk_not_found": NotFound,
    "refund_not_found": NotFound,
    "merchant_not_found": NotFound,
    "till_not_found": NotFound,
    "staff_not_found": NotFound,
    "till_key_not_found": NotFound,
    "invoice_not_found": NotFound,
    "webhook_not_found": NotFound,
    "webhook_event_not_found": NotFound,
    "recall_not_found": NotFound,
    "split_not_found": NotFound,
    "split_id_taken": IdAlreadyUsed,
    "split_id_used_differently": IdAlreadyUsed,
    "standing_order_not_found": NotFound,
    "standing_order_id_taken": IdAlreadyUsed,
    "standing_order_id_used_differently": IdAlreadyUsed,
    "recall_id_taken": IdAlreadyUsed,
    "too_many_open_recalls": TooManyRequests,
    "fee_above_maximum": FeeTooHigh,
    "withdrawal_fee_above_maximum": FeeTooHigh,
    "payment_id_taken": IdAlreadyUsed,
    "payment_id_used_differently": IdAlreadyUsed,
    "payment_already_refused": IdAlreadyUsed,
    "withdrawal_already_refused": IdAlreadyUsed,
    "withdrawal_exists_with_different_wallet": IdAlreadyUsed,
    "withdrawal_exists_with_different_asset": IdAlreadyUsed,
    "withdrawal_exists_with_different_amount": IdAlreadyUsed,
    "withdrawal_exists_with_different_receiver": IdAlreadyUsed,
    "payment_not_found": NotFound,
    "withdrawal_not_found": NotFound,
    "trip_not_found": NotFound,
    "approver_is_no_officer": NotAnOfficer,
    "approval_not_awaited": ApprovalRefused,
    "approval_of_own_withdrawal": ApprovalRefused,
    "approval_times_malformed": ApprovalRefused,
    "approval_expired": ApprovalRefused,
    "approval_signature_wrong": ApprovalRefused,
    "release_times_malformed": ReleaseRefused,
    "release_expired": ReleaseRefused,
    "release_signature_wrong": ReleaseRefused,
    "release_signatures_missing": ReleaseRefused,
    "release_awaits_correction": ReleaseRefused,
    "release_books_not_compared": ReleaseRefused,
    "release_books_differ": ReleaseRefused,
}


def refused(problem: Problem) -> RequestRefused:
    """The error for a refusal: the class of its code, or ``RequestRefused`` itself."""
    return _KINDS.get(problem.code, RequestRefused)(problem)
