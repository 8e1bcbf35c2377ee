"""Kinds of problems: the one table from a code to its HTTP status and advice.

Every code that any room can refuse with stands here once (a test says so). Rooms
know no HTTP, and nothing else in this room chooses a status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chain.errors import ChainCode, FollowerStopCode
from foundation.errors import FoundationCode
from identity.errors import IdentityCode
from identity.personal_errors import PersonalCode
from identity.pin_errors import PinCode
from identity.recovery_errors import RecoveryCode
from identity.role_errors import RoleCode
from treasury.errors import TreasuryCode
from wallet_api.errors import ApiCode
from wallets.bulk_errors import BulkCode
from wallets.errors import WalletCode
from wallets.memo_errors import MemoCode
from wallets.merchant_errors import MerchantCode
from wallets.recall_errors import RecallCode
from wallets.refund_errors import RefundCode
from wallets.request_errors import AskingCode
from wallets.split_errors import SplitCode
from wallets.standing_errors import StandingCode
from wallets.statement_errors import StatementCode


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """What a client gets to see for a code."""

    status: int
    """HTTP status."""
    what_to_do: str
    """One sentence for the person or program that sent the request."""
    new_id_needed: bool = False
    """The id stays refused, or is somebody else's: a new attempt has a new one."""


_CORRECT: Final = "Correct the request; sending it again unchanged gets the same answer."
_SIGN: Final = "Sign the request again as docs/api.md describes; each request has a new nonce."
_NEW_ID: Final = "Nothing was paid. Make a new id for a new attempt; this one stays refused."
_OTHER_ID: Final = "Make a new id, and use an id for one thing only."
_LATER: Final = "Try again in a moment with the same id."
_ASK_US: Final = "This is not for a client to solve; tell us the request_id."
_RECEIVER: Final = "Give an address that belongs to the receiver."
_NEW_QUOTE: Final = "Ask for a new quote: POST /v1/withdrawals/quotes."
_YOUNG_FUNDS: Final = (
    "The money is back in the wallet. A quote says what is left and when there is more; make a new id."
)
_SIGN_APPROVAL: Final = "Sign the statement that the list shows now, as docs/signer.md describes."
_SIGN_RELEASE: Final = "Sign the statement that the trip shows now, as docs/signer.md describes."
_WAIT_FOR_ROOM: Final = (
    "Nothing was paid. GET /v1/limits says what is left; wait for room, and make a new id."
)
_CORRECT_FILE: Final = "Correct the line, and bring the file again with a new id."
_SCAN_AGAIN: Final = "Scan or copy the payment code again, or ask the payee for another one."
_FEWER: Final = "Wait, and send the same request later."
_LOG_IN: Final = "Log in with the PIN: POST /v1/sessions; then send the session's token and sign it."
_NEW_CODE: Final = "Ask whoever gave the code for a new one."

PROBLEM_KINDS: Final[dict[str, ProblemKind]] = {
    ApiCode.ROUTE_NOT_FOUND: ProblemKind(404, "Look up the path in the API's description."),
    ApiCode.METHOD_NOT_ALLOWED: ProblemKind(405, "Look up the method in the API's description."),
    ApiCode.HOST_MALFORMED: ProblemKind(400, "Send one Host header with the host and port of the URL."),
    ApiCode.HOST_NOT_ACCEPTED: ProblemKind(
        421, "Use the URL that the operator gave; an operator sets NUGPAY_API_PUBLIC_URL."
    ),
    ApiCode.HEADERS_TOO_LARGE: ProblemKind(431, _CORRECT),
    ApiCode.BODY_TOO_LARGE: ProblemKind(413, _CORRECT),
    ApiCode.BODY_TOO_SLOW: ProblemKind(408, _LATER),
    ApiCode.CONTENT_TYPE_NOT_ACCEPTED: ProblemKind(
        415, "Send JSON with Content-Type: application/json, or a file of payments with text/csv."
    ),
    ApiCode.JSON_MALFORMED: ProblemKind(400, _CORRECT),
    ApiCode.CBOR_MALFORMED: ProblemKind(400, _CORRECT),
    ApiCode.REQUEST_MALFORMED: ProblemKind(422, _CORRECT),
    ApiCode.INTERNAL_ERROR: ProblemKind(
        500, "Ask for the id of what you sent, or send it again with the same id; tell us the request_id."
    ),
    FoundationCode.UNKNOWN_ASSET: ProblemKind(422, "GET /v1/assets lists the assets."),
    FoundationCode.AMOUNT_MALFORMED: ProblemKind(422, _CORRECT),
    FoundationCode.AMOUNT_TOO_PRECISE: ProblemKind(422, "Write no more decimals than the asset's scale."),
    FoundationCode.AMOUNT_OUT_OF_RANGE: ProblemKind(422, _CORRECT),
    FoundationCode.ID_MALFORMED: ProblemKind(422, _CORRECT),
    IdentityCode.SIGNATURE_MISSING: ProblemKind(401, _SIGN),
    IdentityCode.SIGNATURE_MALFORMED: ProblemKind(401, _SIGN),
    IdentityCode.SIGNATURE_COMPONENTS_NOT_ACCEPTED: ProblemKind(401, _SIGN),
    IdentityCode.SIGNATURE_PARAMETERS_NOT_ACCEPTED: ProblemKind(401, _SIGN),
    IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW: ProblemKind(
        401, "Count time from server_time instead of the device's clock, and sign again."
    ),
    IdentityCode.CONTENT_DIGEST_MISSING: ProblemKind(401, _SIGN),
    IdentityCode.CONTENT_DIGEST_MALFORMED: ProblemKind(401, _SIGN),
    IdentityCode.CONTENT_DIGEST_MISMATCH: ProblemKind(401, _SIGN),
    IdentityCode.SIGNATURE_KEY_UNKNOWN: ProblemKind(401, "Enrol this device first."),
    IdentityCode.SIGNATURE_ALGORITHM_NOT_ACCEPTED: ProblemKind(401, _SIGN),
    IdentityCode.SIGNATURE_WRONG: ProblemKind(
        401, "Compare the method, target and body that were signed with those that were sent."
    ),
    IdentityCode.DEVICE_REVOKED: ProblemKind(403, "Enrol a device again with a new key and a new code."),
    IdentityCode.NONCE_REPLAYED: ProblemKind(401, _SIGN),
    IdentityCode.PUBLIC_KEY_MALFORMED: ProblemKind(422, _CORRECT),
    IdentityCode.ENROLMENT_CODE_WRONG: ProblemKind(403, "Compare the code with the one you were given."),
    IdentityCode.ENROLMENT_CODE_EXPIRED: ProblemKind(403, _NEW_CODE),
    IdentityCode.ENROLMENT_CODE_USED: ProblemKind(409, _NEW_CODE),
    IdentityCode.DEVICE_ALREADY_ENROLLED: ProblemKind(409, "The device can be used as it is."),
    PinCode.SESSION_MISSING: ProblemKind(401, _LOG_IN),
    PinCode.SESSION_OVER: ProblemKind(401, _LOG_IN),
    PinCode.PIN_MALFORMED: ProblemKind(422, _CORRECT),
    PinCode.PIN_TOO_SIMPLE: ProblemKind(422, "Choose another PIN."),
    PinCode.PINS_ALIKE: ProblemKind(422, "Choose another PIN."),
    PinCode.DECOY_HANDLE_MISSING: ProblemKind(422, _CORRECT),
    PinCode.PIN_CHECKS_BUSY: ProblemKind(503, _FEWER),
    PinCode.PIN_NOT_SET: ProblemKind(409, "Set a PIN first: PUT /v1/pin."),
    PinCode.CURRENT_PIN_MISSING: ProblemKind(422, "Give the PIN of now as current_pin."),
    PinCode.PIN_DELAYED: ProblemKind(429, "Wait as long as Retry-After says."),
    PinCode.PIN_WRONG: ProblemKind(403, "Enter the PIN again; tries_left says how often."),
    PinCode.SESSION_NOT_FOUND: ProblemKind(404, "Look at the list of sessions again."),
    PinCode.DEVICE_NOT_FOUND: ProblemKind(404, "Look at the list of devices again."),
    PinCode.TOO_MANY_DEVICE_CODES: ProblemKind(429, _FEWER),
    RecoveryCode.RECOVERY_TRUST_MALFORMED: ProblemKind(422, _CORRECT),
    RecoveryCode.RECOVERY_TRUSTED_UNKNOWN: ProblemKind(422, "Ask those you trust for their handles again."),
    RecoveryCode.RECOVERY_KEY_MALFORMED: ProblemKind(422, "Read the key from the new device again."),
    RecoveryCode.RECOVERY_NOT_TRUSTED: ProblemKind(404, "Ask for the handle again."),
    RecoveryCode.RECOVERY_KEY_REFUSED: ProblemKind(
        409, "Ask its owner; if all devices are lost, the new one makes another key."
    ),
    RecoveryCode.RECOVERY_TOO_MANY_KEYS: ProblemKind(429, "Ask its owner which key is the right one."),
    RecoveryCode.RECOVERY_NOT_FOUND: ProblemKind(404, "Ask those you trust to vouch for this key."),
    RecoveryCode.RECOVERY_WAITING: ProblemKind(
        409, "Send the same request again when completes_at has come."
    ),
    WalletCode.HANDLE_MALFORMED: ProblemKind(422, _CORRECT),
    WalletCode.HANDLE_RESERVED: ProblemKind(422, "Choose another handle."),
    WalletCode.HANDLE_TAKEN: ProblemKind(409, "Choose another handle."),
    WalletCode.HANDLE_TOO_SIMILAR: ProblemKind(409, "Choose a handle that nobody takes for another one."),
    WalletCode.TOO_MANY_HANDLE_CHANGES: ProblemKind(429, "Keep the handle until Retry-After is over."),
    WalletCode.WALLET_ALREADY_OPEN: ProblemKind(409, "Use the wallet that is open."),
    WalletCode.WALLET_NOT_OPEN: ProblemKind(409, "Open the wallet first: POST /v1/wallet."),
    WalletCode.PAYMENT_ID_MALFORMED: ProblemKind(422, "Make a UUIDv7 and keep it until the answer is known."),
    WalletCode.AMOUNT_NOT_POSITIVE: ProblemKind(422, _CORRECT),
    WalletCode.PAYEE_UNKNOWN: ProblemKind(422, "Ask the payee for the handle again."),
    WalletCode.PAYEE_IS_PAYER: ProblemKind(422, "Choose somebody else as payee."),
    WalletCode.FEE_ABOVE_MAXIMUM: ProblemKind(409, "Agree to the fee shown, or pay another amount."),
    WalletCode.PAYMENT_ID_TAKEN: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    WalletCode.PAYMENT_ID_USED_DIFFERENTLY: ProblemKind(
        422, "GET the id to see what was paid with it; use a new id for another payment.", new_id_needed=True
    ),
    WalletCode.PAYMENT_ALREADY_REFUSED: ProblemKind(409, _NEW_ID, new_id_needed=True),
    WalletCode.WALLET_ACCOUNT_MISSING: ProblemKind(409, _NEW_ID, new_id_needed=True),
    WalletCode.WALLET_CLOSED: ProblemKind(
        409, "Ask an officer why the account is closed.", new_id_needed=True
    ),
    WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED: ProblemKind(
        409, "Nothing was paid. Ask the payee to make room, or pay less, with a new id.", new_id_needed=True
    ),
    WalletCode.PAYEE_BALANCE_FULL: ProblemKind(409, "Pay less, or ask the payee for another wallet."),
    WalletCode.GREATER_THAN_TRANSACTION_MAX_VALUE: ProblemKind(
        422, "Pay in smaller parts, or ask for a higher tier."
    ),
    WalletCode.DAILY_VALUE_LIMIT_EXCEEDED: ProblemKind(409, _WAIT_FOR_ROOM, new_id_needed=True),
    WalletCode.WEEKLY_VALUE_LIMIT_EXCEEDED: ProblemKind(409, _WAIT_FOR_ROOM, new_id_needed=True),
    WalletCode.MONTHLY_VALUE_LIMIT_EXCEEDED: ProblemKind(409, _WAIT_FOR_ROOM, new_id_needed=True),
    WalletCode.INSUFFICIENT_FUNDS: ProblemKind(
        409,
        "Nothing was paid. Add money or pay less, with a new id; this one stays refused.",
        new_id_needed=True,
    ),
    WalletCode.PAYMENT_NOT_FOUND: ProblemKind(
        404, "If you sent this payment, it has not happened: send it again with the same id."
    ),
    WalletCode.CURSOR_MALFORMED: ProblemKind(422, "Begin again without a cursor."),
    AskingCode.TOO_MANY_LOOKUPS: ProblemKind(429, "Wait as long as Retry-After says."),
    AskingCode.HANDLE_NOT_FOUND: ProblemKind(404, "Ask the payee for the handle again."),
    AskingCode.PAYMENT_CODE_MALFORMED: ProblemKind(422, _SCAN_AGAIN),
    AskingCode.PAYMENT_CODE_VERSION_UNKNOWN: ProblemKind(422, "Update the app: the code is newer."),
    AskingCode.PAYMENT_CODE_CHECKSUM: ProblemKind(422, _SCAN_AGAIN),
    AskingCode.PAYMENT_CODE_EXPIRED: ProblemKind(422, "Ask the payee for a new payment code."),
    AskingCode.PAYMENT_CODE_EXPIRY_OUT_OF_RANGE: ProblemKind(422, _CORRECT),
    AskingCode.PAYMENT_REQUEST_EXPIRY_OUT_OF_RANGE: ProblemKind(422, _CORRECT),
    AskingCode.PAYER_UNKNOWN: ProblemKind(422, "Ask the payer for the handle again."),
    AskingCode.PAYER_IS_PAYEE: ProblemKind(422, "Choose somebody else as payer."),
    AskingCode.PAYMENT_REQUEST_ID_TAKEN: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    AskingCode.PAYMENT_REQUEST_ID_USED_DIFFERENTLY: ProblemKind(
        422, "GET the id to see what was asked with it; use a new id for another request.", new_id_needed=True
    ),
    AskingCode.TOO_MANY_OPEN_REQUESTS: ProblemKind(429, _FEWER),
    AskingCode.TOO_MANY_REQUESTS_TODAY: ProblemKind(429, _FEWER),
    AskingCode.PAYMENT_REQUEST_NOT_FOUND: ProblemKind(
        404, "If you sent this request, it is not there: send it again with the same id."
    ),
    AskingCode.PAYMENT_REQUEST_NOT_OPEN: ProblemKind(
        409, "The state says how it ended; if it was paid, payment_id names the payment."
    ),
    AskingCode.PAYMENT_REQUEST_CONTESTED: ProblemKind(409, "Look at the request again, then decide."),
    WalletCode.COUNTERPARTY_UNKNOWN: ProblemKind(422, "Ask the other party for the handle again."),
    WalletCode.HISTORY_FILTER_MALFORMED: ProblemKind(422, _CORRECT),
    BulkCode.BULK_TIER_NEEDED: ProblemKind(403, "Ask the bank for the business tier."),
    BulkCode.BULK_ENCODING_BROKEN: ProblemKind(422, "Save the file as CSV in UTF-8."),
    BulkCode.BULK_FILE_MALFORMED: ProblemKind(422, _CORRECT_FILE),
    BulkCode.BULK_TOO_MANY_LINES: ProblemKind(422, "Bring the lines in several files, each with its own id."),
    BulkCode.BULK_LINE_MALFORMED: ProblemKind(422, _CORRECT_FILE),
    BulkCode.BULK_CELL_FORMULA: ProblemKind(422, _CORRECT_FILE),
    BulkCode.BULK_LINE_REPEATED: ProblemKind(422, _CORRECT_FILE),
    BulkCode.BULK_ID_TAKEN: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    BulkCode.BULK_ID_USED_DIFFERENTLY: ProblemKind(
        422, "GET the id to see which file it is for; use a new id for another one.", new_id_needed=True
    ),
    BulkCode.BULK_NOT_FOUND: ProblemKind(
        404, "If you sent this file, it is not there: send it again with the same id."
    ),
    BulkCode.BULK_RELEASED_BY_MAKER: ProblemKind(403, "Release it with another device of the wallet."),
    BulkCode.BULK_CANCELLED: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    BulkCode.BULK_LINES_WRONG: ProblemKind(
        409, "Correct the lines that are told, and bring the file again with a new id.", new_id_needed=True
    ),
    BulkCode.BULK_RELEASED_DIFFERENTLY: ProblemKind(
        422, "Compare the file with the one that you mean to release."
    ),
    BulkCode.BULK_RELEASED: ProblemKind(409, "GET /v1/bulk_payments says how far it is."),
    BulkCode.BULK_EXCEEDS_BALANCE: ProblemKind(409, "Nothing was paid. Add money, then release it again."),
    BulkCode.BULK_EXCEEDS_LIMIT: ProblemKind(
        409, "Nothing was paid. GET /v1/limits says what is left; release it when there is room."
    ),
    RefundCode.REFUND_NOT_BY_PAYEE: ProblemKind(403, "Ask the payee to give it back."),
    RefundCode.REFUND_EXCEEDS_PAYMENT: ProblemKind(
        409, "Nothing was given back. Give back at most what is left, with a new id.", new_id_needed=True
    ),
    RefundCode.REFUND_NOT_FOUND: ProblemKind(
        404, "If you sent this refund, it has not happened: send it again with the same id."
    ),
    StatementCode.STATEMENT_MONTH_MALFORMED: ProblemKind(422, _CORRECT),
    MemoCode.MEMO_MALFORMED: ProblemKind(422, _CORRECT),
    MemoCode.MEMO_FOR_FORMER_HANDLE: ProblemKind(
        409, "Look the handle up, and encrypt the memo for the handle that is answered."
    ),
    MemoCode.MEMO_KEY_MALFORMED: ProblemKind(422, _CORRECT),
    MerchantCode.API_KEY_WRONG: ProblemKind(401, "Ask the owner of the till for a new key."),
    MerchantCode.MERCHANT_NOT_FOUND: ProblemKind(404, "Give the business a name first: PUT /v1/merchant."),
    MerchantCode.TILL_NOT_FOUND: ProblemKind(404, "Look at the list of tills again."),
    MerchantCode.TILL_RIGHT_MISSING: ProblemKind(403, "Ask the owner of the till for this right."),
    MerchantCode.MERCHANT_LIST_FULL: ProblemKind(409, "End one that is not needed any more."),
    MerchantCode.MERCHANT_ID_TAKEN: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    MerchantCode.STAFF_UNKNOWN: ProblemKind(422, "Ask the person for the handle again."),
    MerchantCode.STAFF_NOT_FOUND: ProblemKind(404, "Look at the list of the till's people again."),
    MerchantCode.TILL_KEY_NOT_FOUND: ProblemKind(404, "Look at the list of the till's keys again."),
    MerchantCode.INVOICE_NOT_FOUND: ProblemKind(
        404, "If you sent this invoice, it is not there: send it again with the same id."
    ),
    MerchantCode.WEBHOOK_URL_REFUSED: ProblemKind(422, "Give an https address that the internet reaches."),
    MerchantCode.WEBHOOK_NOT_FOUND: ProblemKind(404, "Look at the list of webhooks again."),
    MerchantCode.WEBHOOK_EVENT_NOT_FOUND: ProblemKind(404, "Look at the list of events again."),
    RecallCode.RECALL_NOT_BY_PAYER: ProblemKind(403, "Refund it, if you wish to give it back."),
    RecallCode.RECALL_ID_TAKEN: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    RecallCode.PAYMENT_ALREADY_RECALLED: ProblemKind(409, "GET the recall that recall_id names."),
    RecallCode.RECALL_TOO_LATE: ProblemKind(409, "Ask the payee to give it back."),
    RecallCode.TOO_MANY_OPEN_RECALLS: ProblemKind(429, "Wait until one is decided, or withdraw one."),
    RecallCode.NOTHING_TO_RECALL: ProblemKind(409, "Nothing is held. Ask the payee to give it back."),
    RecallCode.RECALL_CONTESTED: ProblemKind(409, _LATER),
    RecallCode.RECALL_NOT_FOUND: ProblemKind(
        404, "If you sent this recall, it is not there: send it again with the same id."
    ),
    RecallCode.RECALL_OF_OWN: ProblemKind(403, "Ask two other officers."),
    RecallCode.RECALL_NOT_DISPUTED: ProblemKind(409, "Wait until the payee has said no, or answer_until."),
    RecallCode.RECALL_VOTE_STANDS: ProblemKind(409, "Ask other officers, if it is to end otherwise."),
    RecallCode.RECALL_NOT_OPEN: ProblemKind(409, "The state says how it ended."),
    SplitCode.SPLIT_SHARES_WRONG: ProblemKind(422, _CORRECT),
    SplitCode.SPLIT_ID_TAKEN: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    SplitCode.SPLIT_ID_USED_DIFFERENTLY: ProblemKind(
        422, "GET the id to see what was asked with it; use a new id for another split.", new_id_needed=True
    ),
    SplitCode.SPLIT_NOT_FOUND: ProblemKind(
        404, "If you sent this split, it is not there: send it again with the same id."
    ),
    StandingCode.STANDING_ORDER_DAYS_WRONG: ProblemKind(422, _CORRECT),
    StandingCode.STANDING_ORDER_ID_TAKEN: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    StandingCode.STANDING_ORDER_ID_USED_DIFFERENTLY: ProblemKind(
        422, "GET the id to see what was ordered with it; use a new id for another order.", new_id_needed=True
    ),
    StandingCode.TOO_MANY_STANDING_ORDERS: ProblemKind(409, "Cancel one that is not needed."),
    StandingCode.STANDING_ORDER_NOT_FOUND: ProblemKind(
        404, "If you sent this order, it is not there: send it again with the same id."
    ),
    StandingCode.STANDING_ORDER_OVER: ProblemKind(409, "Make a new one, if it is to go on."),
    StandingCode.STANDING_ORDER_PAUSED: ProblemKind(409, "Confirm it, if it is to go on."),
    StandingCode.STANDING_ORDER_NOT_TRIED: ProblemKind(409, "Pay it yourself, if it is still wanted."),
    TreasuryCode.ASSET_NOT_ON_CHAIN: ProblemKind(422, "Choose an asset that has a token on this chain."),
    TreasuryCode.WITHDRAWAL_ID_MALFORMED: ProblemKind(
        422, "Make a UUIDv7 and keep it until the answer is known."
    ),
    TreasuryCode.WITHDRAWAL_AMOUNT_NOT_POSITIVE: ProblemKind(422, _CORRECT),
    TreasuryCode.RECEIVER_IS_ZERO: ProblemKind(422, _RECEIVER),
    TreasuryCode.RECEIVER_IS_CONTRACT: ProblemKind(422, _RECEIVER),
    TreasuryCode.RECEIVER_IS_OURS: ProblemKind(422, "Pay a customer by handle: POST /v1/payments."),
    TreasuryCode.RECEIVER_IS_BLOCKED: ProblemKind(422, "This address is never paid; ask an officer why."),
    TreasuryCode.WITHDRAWAL_ABOVE_LIMIT: ProblemKind(422, "Withdraw less at a time."),
    TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_WALLET: ProblemKind(409, _OTHER_ID, new_id_needed=True),
    TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_ASSET: ProblemKind(422, _OTHER_ID, new_id_needed=True),
    TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_AMOUNT: ProblemKind(422, _OTHER_ID, new_id_needed=True),
    TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_RECEIVER: ProblemKind(422, _OTHER_ID, new_id_needed=True),
    TreasuryCode.QUOTE_NOT_FOUND: ProblemKind(422, _NEW_QUOTE),
    TreasuryCode.QUOTE_IS_FOR_ANOTHER: ProblemKind(422, _NEW_QUOTE),
    TreasuryCode.QUOTE_EXPIRED: ProblemKind(409, _NEW_QUOTE),
    TreasuryCode.WITHDRAWAL_FEE_ABOVE_MAXIMUM: ProblemKind(409, "Agree to the fee shown."),
    TreasuryCode.WITHDRAWAL_ABOVE_DAILY_LIMIT: ProblemKind(
        409, "Withdraw less, or wait: what was withdrawn a day ago gives its room back."
    ),
    TreasuryCode.WITHDRAWALS_STOPPED: ProblemKind(503, "Wait: the books are being checked; nothing is lost."),
    TreasuryCode.WITHDRAWAL_WALLET_UNUSABLE: ProblemKind(
        409, "Ask an officer why the account is closed.", new_id_needed=True
    ),
    TreasuryCode.WITHDRAWAL_EXCEEDS_BALANCE: ProblemKind(409, _NEW_ID, new_id_needed=True),
    TreasuryCode.YOUNG_FUNDS_DAILY_LIMIT_EXCEEDED: ProblemKind(409, _YOUNG_FUNDS, new_id_needed=True),
    TreasuryCode.YOUNG_FUNDS_WEEKLY_LIMIT_EXCEEDED: ProblemKind(409, _YOUNG_FUNDS, new_id_needed=True),
    TreasuryCode.WITHDRAWAL_ALREADY_REFUSED: ProblemKind(409, _NEW_ID, new_id_needed=True),
    TreasuryCode.WITHDRAWAL_NOT_FOUND: ProblemKind(
        404, "If you sent this withdrawal, it has not happened: send it again with the same id."
    ),
    TreasuryCode.APPROVER_IS_NO_OFFICER: ProblemKind(404, "Look up the path in the API's description."),
    PersonalCode.PERSONAL_DATA_TIER_NEEDED: ProblemKind(403, "Leave both out, or ask for the business tier."),
    PersonalCode.PERSONAL_KEYS_OUTDATED: ProblemKind(503, _LATER),
    PersonalCode.PERSONAL_DATA_UNREADABLE: ProblemKind(409, "Give it again, or erase it."),
    RoleCode.OFFICER_ROLE_MISSING: ProblemKind(403, "Ask an officer whose roles allow it."),
    TreasuryCode.APPROVAL_NOT_AWAITED: ProblemKind(409, "Look at the list of what awaits officers again."),
    TreasuryCode.APPROVAL_OF_OWN_WITHDRAWAL: ProblemKind(403, "Ask two other officers."),
    TreasuryCode.APPROVAL_TIMES_MALFORMED: ProblemKind(422, _SIGN_APPROVAL),
    TreasuryCode.APPROVAL_EXPIRED: ProblemKind(422, _SIGN_APPROVAL),
    TreasuryCode.APPROVAL_SIGNATURE_WRONG: ProblemKind(422, _SIGN_APPROVAL),
    TreasuryCode.REVIEW_NOT_FOUND: ProblemKind(404, "Look at the list of reviews again."),
    TreasuryCode.REVIEW_OF_OWN: ProblemKind(403, "Ask another officer."),
    TreasuryCode.REVIEW_WITHOUT_REASON: ProblemKind(422, "Say in a few words what you found."),
    TreasuryCode.TRIP_NOT_FOUND: ProblemKind(404, "Look at the breaker's trips again."),
    TreasuryCode.RELEASE_TIMES_MALFORMED: ProblemKind(422, _SIGN_RELEASE),
    TreasuryCode.RELEASE_EXPIRED: ProblemKind(422, _SIGN_RELEASE),
    TreasuryCode.RELEASE_SIGNATURE_WRONG: ProblemKind(422, _SIGN_RELEASE),
    TreasuryCode.RELEASE_SIGNATURES_MISSING: ProblemKind(409, "Two officers sign this trip's release first."),
    TreasuryCode.RELEASE_AWAITS_CORRECTION: ProblemKind(409, "The worker corrects it; wait for it."),
    TreasuryCode.RELEASE_BOOKS_NOT_COMPARED: ProblemKind(
        409, "The worker compares them at the next final block; so does ./nugpay reconcile."
    ),
    TreasuryCode.RELEASE_BOOKS_DIFFER: ProblemKind(
        409, "Find the difference first; ./nugpay reconcile shows what explains the rest of it."
    ),
    TreasuryCode.COLD_ADDRESS_NOT_THE_VAULTS: ProblemKind(500, _ASK_US),
    TreasuryCode.COLD_ADDRESS_NOT_FRESH: ProblemKind(500, _ASK_US),
    TreasuryCode.COLD_ADDRESS_NOT_RECORDED: ProblemKind(500, _ASK_US),
    TreasuryCode.COLD_MOVE_AMOUNT_NOT_POSITIVE: ProblemKind(500, _ASK_US),
    TreasuryCode.COLD_MOVE_EXISTS_DIFFERENTLY: ProblemKind(500, _ASK_US),
    TreasuryCode.COLD_MOVE_NOT_FOUND: ProblemKind(500, _ASK_US),
    TreasuryCode.COLD_MOVE_NOT_AWAITED: ProblemKind(500, _ASK_US),
    TreasuryCode.DEBT_AMOUNT_NOT_POSITIVE: ProblemKind(500, _ASK_US),
    TreasuryCode.DEBT_NOT_FOUND: ProblemKind(500, _ASK_US),
    TreasuryCode.DEBT_NOT_FINAL: ProblemKind(500, _ASK_US),
    TreasuryCode.DEBT_DECIDED_BY_TOO_FEW: ProblemKind(500, _ASK_US),
    TreasuryCode.DEBT_PAYMENT_EXISTS_DIFFERENTLY: ProblemKind(500, _ASK_US),
    TreasuryCode.DEBT_IS_LESS: ProblemKind(500, _ASK_US),
    TreasuryCode.DEBTOR_HAS_LESS: ProblemKind(500, _ASK_US),
    TreasuryCode.FEES_ARE_LESS: ProblemKind(500, _ASK_US),
    TreasuryCode.CUSTODY_UNIT_TOO_COARSE: ProblemKind(500, _ASK_US),
    ChainCode.ADDRESS_MALFORMED: ProblemKind(422, "An address is 0x and 40 hexadecimal digits."),
    ChainCode.ADDRESS_CHECKSUM_MISMATCH: ProblemKind(422, "Copy the address again: a character is wrong."),
    ChainCode.DEPLOYMENT_NOT_FOUND: ProblemKind(503, "The chain is not set up yet; try again later."),
    ChainCode.DEPLOYMENT_MISMATCH: ProblemKind(503, _ASK_US),
    ChainCode.ORDER_NOT_FOUND: ProblemKind(500, _ASK_US),
    ChainCode.ORDER_NOT_APPROVED: ProblemKind(500, _ASK_US),
    ChainCode.ORDER_REVOKED: ProblemKind(500, _ASK_US),
    ChainCode.ORDER_IN_BATCH: ProblemKind(500, _ASK_US),
    ChainCode.ORDER_UNEXPLAINED: ProblemKind(500, _ASK_US),
    ChainCode.CONTRACT_NOT_ALLOWED: ProblemKind(500, _ASK_US),
    ChainCode.CAP_PER_TRANSACTION_EXCEEDED: ProblemKind(500, _ASK_US),
    ChainCode.CAP_PER_HOUR_EXCEEDED: ProblemKind(500, _ASK_US),
    ChainCode.CAP_PER_DAY_EXCEEDED: ProblemKind(500, _ASK_US),
    ChainCode.RECEIVER_BLOCKED_BY_SIGNER: ProblemKind(500, _ASK_US),
    ChainCode.RECEIVER_NOT_ALLOWED: ProblemKind(500, _ASK_US),
    ChainCode.APPROVALS_MISSING: ProblemKind(500, _ASK_US),
    ChainCode.NONCE_MISMATCH: ProblemKind(500, _ASK_US),
    ChainCode.FEE_ABOVE_CAP: ProblemKind(500, _ASK_US),
    ChainCode.FEES_PER_DAY_EXCEEDED: ProblemKind(500, _ASK_US),
    ChainCode.SIGNING_STOPPED: ProblemKind(500, _ASK_US),
    FollowerStopCode.WRONG_CHAIN_ID: ProblemKind(500, _ASK_US),
    FollowerStopCode.WRONG_GENESIS: ProblemKind(500, _ASK_US),
    FollowerStopCode.REORG_TOO_DEEP: ProblemKind(500, _ASK_US),
    FollowerStopCode.ENDPOINTS_DISAGREE: ProblemKind(500, _ASK_US),
    FollowerStopCode.FINALITY_BROKEN: ProblemKind(500, _ASK_US),
    # What a dependency that does not answer is called; these are no refusals.
    "ledger_unavailable": ProblemKind(503, _LATER),
    "ledger_busy": ProblemKind(503, _LATER),
    "ledger_segment_archived": ProblemKind(503, _ASK_US),
    "database_unavailable": ProblemKind(503, _LATER),
    "chain_unavailable": ProblemKind(503, _LATER),
}
"""By code: status and advice."""
