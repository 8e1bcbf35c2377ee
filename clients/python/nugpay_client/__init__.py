"""A client for the NUG Pay wallet API: device keys, signed requests, payments that happen once.

    from nugpay_client import DeviceKey, Wallet

    async with Wallet("http://127.0.0.1:8080", DeviceKey.generate()) as wallet:
        await wallet.enrol(code)
        await wallet.open("@aye_aye")
        order = wallet.order("@ko_ko", "25.00", "USDT")   # keep it: it has the id
        payment = await wallet.pay(order)                 # as often as needed: it pays once

The library knows nothing of the server but its API.
"""

from nugpay_client.bulk_payments import BulkLine, BulkOrder, BulkPayment, BulkPayments
from nugpay_client.business import Business, Till, TillKey, TillOrder, TillStaff, Webhook
from nugpay_client.clock import DeviceClock
from nugpay_client.connection import RetryPolicy
from nugpay_client.errors import (
    AnswerMalformed,
    ApprovalRefused,
    DeviceRevoked,
    EnrolmentRefused,
    FeeTooHigh,
    HandleUnavailable,
    IdAlreadyUsed,
    InsufficientFunds,
    LimitExceeded,
    MemoRefused,
    NotAnOfficer,
    NotAuthenticated,
    NotFound,
    NUGPayClientError,
    OutcomeUnknown,
    PayeeUnknown,
    PaymentCodeRefused,
    Problem,
    ReceiptRefused,
    ReleaseRefused,
    RequestNotOpen,
    RequestRefused,
    ServiceUnavailable,
    TooManyRequests,
    Unreachable,
    WaitedTooLong,
)
from nugpay_client.keys import DeviceKey, RequestSigner, key_id
from nugpay_client.memos import MemoKeys, open_memo, seal_memo
from nugpay_client.models import (
    Acceptance,
    Balance,
    Ceiling,
    Deposit,
    DepositAddress,
    Fee,
    HistoryLine,
    Payee,
    Payment,
    PaymentOrder,
    PaymentRequest,
    RequestOrder,
    WalletInfo,
    Withdrawal,
    WithdrawalOrder,
    WithdrawalQuote,
    YoungRoom,
)
from nugpay_client.officer import Officer
from nugpay_client.officer_models import (
    AwaitedWithdrawal,
    BlockedReceiver,
    Breaker,
    Review,
    Statement,
    Trip,
)
from nugpay_client.own_handles import FormerHandle, OwnHandle, OwnHandles
from nugpay_client.payment_codes import PaymentCode, read_payment_code
from nugpay_client.payment_requests import Requests
from nugpay_client.personal import Personal, PersonalAccess, PersonalData
from nugpay_client.recalls import DisputedRecall, Recall, RecallOrder, Recalls
from nugpay_client.receipts import Receipt, ReceiptKeys, Receipts, receipt_text, verify_receipt
from nugpay_client.refunds import Refund, RefundOrder, Refunds
from nugpay_client.sandbox import MagicAmount, Sandbox, SandboxState, SandboxTime
from nugpay_client.security import DeviceCode, EnrolledDevice, OpenSession, Security
from nugpay_client.signing import signature_headers
from nugpay_client.splits import Split, SplitOrder, Splits
from nugpay_client.standing_orders import StandingOrder, StandingOrders, StandingPayment, StandingRequest
from nugpay_client.statements import MonthLine, MonthStatement, Statements
from nugpay_client.syncs import Changes
from nugpay_client.till import DaySettlement, Invoice, InvoiceOrder, TillDesk, TillPayment, till_desk
from nugpay_client.wallet import Wallet

__all__ = [
    "Acceptance",
    "AnswerMalformed",
    "ApprovalRefused",
    "AwaitedWithdrawal",
    "Balance",
    "BlockedReceiver",
    "Breaker",
    "BulkLine",
    "BulkOrder",
    "BulkPayment",
    "BulkPayments",
    "Business",
    "Ceiling",
    "Changes",
    "DaySettlement",
    "Deposit",
    "DepositAddress",
    "DeviceClock",
    "DeviceCode",
    "DeviceKey",
    "DeviceRevoked",
    "DisputedRecall",
    "EnrolledDevice",
    "EnrolmentRefused",
    "Fee",
    "FeeTooHigh",
    "FormerHandle",
    "HandleUnavailable",
    "HistoryLine",
    "IdAlreadyUsed",
    "InsufficientFunds",
    "Invoice",
    "InvoiceOrder",
    "LimitExceeded",
    "MagicAmount",
    "MemoKeys",
    "MemoRefused",
    "MonthLine",
    "MonthStatement",
    "NUGPayClientError",
    "NotAnOfficer",
    "NotAuthenticated",
    "NotFound",
    "Officer",
    "OpenSession",
    "OutcomeUnknown",
    "OwnHandle",
    "OwnHandles",
    "Payee",
    "PayeeUnknown",
    "Payment",
    "PaymentCode",
    "PaymentCodeRefused",
    "PaymentOrder",
    "PaymentRequest",
    "Personal",
    "PersonalAccess",
    "PersonalData",
    "Problem",
    "Recall",
    "RecallOrder",
    "Recalls",
    "Receipt",
    "ReceiptKeys",
    "ReceiptRefused",
    "Receipts",
    "Refund",
    "RefundOrder",
    "Refunds",
    "ReleaseRefused",
    "RequestNotOpen",
    "RequestOrder",
    "RequestRefused",
    "RequestSigner",
    "Requests",
    "RetryPolicy",
    "Review",
    "Sandbox",
    "SandboxState",
    "SandboxTime",
    "Security",
    "ServiceUnavailable",
    "Split",
    "SplitOrder",
    "Splits",
    "StandingOrder",
    "StandingOrders",
    "StandingPayment",
    "StandingRequest",
    "Statement",
    "Statements",
    "Till",
    "TillDesk",
    "TillKey",
    "TillOrder",
    "TillPayment",
    "TillStaff",
    "TooManyRequests",
    "Trip",
    "Unreachable",
    "WaitedTooLong",
    "Wallet",
    "WalletInfo",
    "Webhook",
    "Withdrawal",
    "WithdrawalOrder",
    "WithdrawalQuote",
    "YoungRoom",
    "key_id",
    "open_memo",
    "read_payment_code",
    "receipt_text",
    "seal_memo",
    "signature_headers",
    "till_desk",
    "verify_receipt",
]
