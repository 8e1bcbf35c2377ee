"""Every way in which the creation of a transfer is refused.

Settings: a field's name is the event's value for it; ``ordinary``, ``void``,
``pending`` and ``imported`` are what it is; ``flag:N`` sets a flag; ``debit:…`` and
``credit:…`` are what its accounts are like; ``pending_is`` is what it posts or
voids; ``stored`` means that its id was created before.
"""

from ledger.contract import AMOUNT_LIMIT, ID_MAX, CreateTransferStatus, TransferFlags
from tests.ledger.faults import Contradictions, Fault, Settings

Status = CreateTransferStatus

FAR, LATE, PAST = 2**63, 2**63 - 1, 1
"""Imported timestamps: beyond the range, in the future, before everything that is stored."""
BEFORE_THE_YOUNG = "before the young account"
"""An imported timestamp between the old accounts and the young ones."""
BIG = 2**62 + 1
"""Overflows a column that stands at ``HIGH``."""
HIGH = 2**62 - 1
FULL = {"pending_full": AMOUNT_LIMIT, "posted_full": AMOUNT_LIMIT}
FILLS = {"pending_high": HIGH, "posted_high": HIGH} | FULL
"""What an account's columns stand at."""
AMOUNT = 100
"""The base's amount, and that of the pending transfer that it posts or voids."""
OWN, FAILED, ELSEWHERE = "its own id", "an id that failed", "another account"
FOREVER = 2**32 - 1
COMPARED = (
    "flags", "pending_id", "timeout", "debit_account_id", "credit_account_id", "amount",
    "user_data_128", "user_data_64", "user_data_32", "ledger", "code",
)  # fmt: skip
"""The fields in which a retry may differ, in the contract's order."""

ORDINARY, RESOLUTION = {"ordinary": True}, {"ordinary": False}
POST, VOID = RESOLUTION | {"void": False}, RESOLUTION | {"void": True}
PENDING, SINGLE_PHASE = ORDINARY | {"pending": True}, ORDINARY | {"pending": False}
IMPORTED = {"imported": True}

_EXCLUDED = (
    TransferFlags.PENDING,
    TransferFlags.BALANCING_DEBIT,
    TransferFlags.BALANCING_CREDIT,
    TransferFlags.CLOSING_DEBIT,
    TransferFlags.CLOSING_CREDIT,
)


def flag(value: int) -> dict[str, bool]:
    return {f"flag:{int(value)}": True}


def replay(status: Status, **fields: object) -> list[Fault]:
    """The same id again, with fields that differ: once ordinary, once a post."""
    stored = {"stored": True, **fields}
    return [Fault(status, ORDINARY | stored, "ordinary"), Fault(status, RESOLUTION | stored, "post or void")]


FAULTS = [
    Fault(Status.LINKED_EVENT_FAILED, {"chain": "broken"}),
    Fault(Status.LINKED_EVENT_CHAIN_OPEN, {"chain": "open"}),
    Fault(Status.IMPORTED_EVENT_EXPECTED, {"imported": False, "batch_imported": True}),
    Fault(Status.IMPORTED_EVENT_NOT_EXPECTED, {"imported": True, "batch_imported": False}),
    Fault(Status.TIMESTAMP_MUST_BE_ZERO, {"imported": False, "timestamp": PAST}),
    Fault(Status.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE, IMPORTED | {"timestamp": 0}, "zero"),
    Fault(Status.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE, IMPORTED | {"timestamp": FAR}, "64 bits"),
    Fault(Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE, IMPORTED | {"timestamp": LATE}),
    *(Fault(Status.RESERVED_FLAG, flag(1 << bit), f"bit {bit}") for bit in range(9, 16)),
    Fault(Status.ID_MUST_NOT_BE_ZERO, {"id": 0}),
    Fault(Status.ID_MUST_NOT_BE_INT_MAX, {"id": ID_MAX}),
    *replay(Status.EXISTS_WITH_DIFFERENT_FLAGS, **flag(TransferFlags.BALANCING_CREDIT)),
    *replay(Status.EXISTS_WITH_DIFFERENT_PENDING_ID, pending_id=77),
    *replay(Status.EXISTS_WITH_DIFFERENT_TIMEOUT, timeout=FOREVER),
    *replay(Status.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID, debit_account_id=ELSEWHERE),
    *replay(Status.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID, credit_account_id=ELSEWHERE),
    *replay(Status.EXISTS_WITH_DIFFERENT_AMOUNT, amount=AMOUNT - 1),
    *replay(Status.EXISTS_WITH_DIFFERENT_USER_DATA_128, user_data_128=2),
    *replay(Status.EXISTS_WITH_DIFFERENT_USER_DATA_64, user_data_64=2),
    *replay(Status.EXISTS_WITH_DIFFERENT_USER_DATA_32, user_data_32=2),
    *replay(Status.EXISTS_WITH_DIFFERENT_LEDGER, ledger=2),
    *replay(Status.EXISTS_WITH_DIFFERENT_CODE, code=2),
    *replay(Status.EXISTS, equal=True),
    Fault(Status.ID_ALREADY_FAILED, {"id": FAILED}),
    *(Fault(Status.FLAGS_ARE_MUTUALLY_EXCLUSIVE, RESOLUTION | flag(f), f.name or "") for f in _EXCLUDED),
    Fault(Status.FLAGS_ARE_MUTUALLY_EXCLUSIVE, RESOLUTION | flag(4) | flag(8), "post and void"),
    Fault(Status.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO, ORDINARY | {"debit_account_id": 0}),
    Fault(Status.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX, ORDINARY | {"debit_account_id": ID_MAX}),
    Fault(Status.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO, ORDINARY | {"credit_account_id": 0}),
    Fault(Status.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX, ORDINARY | {"credit_account_id": ID_MAX}),
    Fault(
        Status.ACCOUNTS_MUST_BE_DIFFERENT,
        ORDINARY | {"debit_account_id": ELSEWHERE, "credit_account_id": ELSEWHERE},
    ),
    Fault(Status.PENDING_ID_MUST_BE_ZERO, ORDINARY | {"pending_id": 77}),
    Fault(Status.PENDING_ID_MUST_NOT_BE_ZERO, RESOLUTION | {"pending_id": 0}),
    Fault(Status.PENDING_ID_MUST_NOT_BE_INT_MAX, RESOLUTION | {"pending_id": ID_MAX}),
    Fault(Status.PENDING_ID_MUST_BE_DIFFERENT, RESOLUTION | {"pending_id": OWN}),
    Fault(Status.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER, SINGLE_PHASE | {"timeout": FOREVER}, "ordinary"),
    Fault(Status.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER, RESOLUTION | {"timeout": FOREVER}, "post or void"),
    Fault(Status.CLOSING_TRANSFER_MUST_BE_PENDING, SINGLE_PHASE | flag(TransferFlags.CLOSING_DEBIT), "debit"),
    Fault(
        Status.CLOSING_TRANSFER_MUST_BE_PENDING, SINGLE_PHASE | flag(TransferFlags.CLOSING_CREDIT), "credit"
    ),
    Fault(Status.LEDGER_MUST_NOT_BE_ZERO, ORDINARY | {"ledger": 0}),
    Fault(Status.CODE_MUST_NOT_BE_ZERO, ORDINARY | {"code": 0}),
    Fault(Status.DEBIT_ACCOUNT_NOT_FOUND, ORDINARY | {"debit_account_id": 77}),
    Fault(Status.CREDIT_ACCOUNT_NOT_FOUND, ORDINARY | {"credit_account_id": 78}),
    Fault(Status.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER, ORDINARY | {"credit:elsewhere": True}),
    Fault(Status.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS, ORDINARY | {"ledger": 3}),
    Fault(Status.PENDING_TRANSFER_NOT_FOUND, RESOLUTION | {"pending_id": 77}),
    Fault(Status.PENDING_TRANSFER_NOT_PENDING, RESOLUTION | {"pending_is": "single phase"}),
    Fault(
        Status.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID, RESOLUTION | {"debit_account_id": ELSEWHERE}
    ),
    Fault(
        Status.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID, RESOLUTION | {"credit_account_id": ELSEWHERE}
    ),
    Fault(Status.PENDING_TRANSFER_HAS_DIFFERENT_LEDGER, RESOLUTION | {"ledger": 2}),
    Fault(Status.PENDING_TRANSFER_HAS_DIFFERENT_CODE, RESOLUTION | {"code": 2}),
    Fault(Status.EXCEEDS_PENDING_TRANSFER_AMOUNT, RESOLUTION | {"amount": AMOUNT + 1}, "by one"),
    Fault(Status.EXCEEDS_PENDING_TRANSFER_AMOUNT, POST | {"amount": 2**128 - 2}, "post beyond 64 bits"),
    Fault(Status.EXCEEDS_PENDING_TRANSFER_AMOUNT, VOID | {"amount": 2**128 - 1}, "void of AMOUNT_MAX"),
    Fault(Status.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT, VOID | {"amount": AMOUNT - 1}),
    Fault(Status.PENDING_TRANSFER_ALREADY_POSTED, RESOLUTION | {"pending_is": "posted"}),
    Fault(Status.PENDING_TRANSFER_ALREADY_VOIDED, RESOLUTION | {"pending_is": "voided"}),
    Fault(Status.PENDING_TRANSFER_EXPIRED, RESOLUTION | {"pending_is": "expired"}),
    Fault(Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS, IMPORTED | {"timestamp": PAST}, "too early"),
    Fault(
        Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS,
        IMPORTED | {"timestamp": "an account's"},
        "an account has it",
    ),
    Fault(
        Status.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT,
        ORDINARY | IMPORTED | {"timestamp": BEFORE_THE_YOUNG, "debit:young": True},
    ),
    Fault(
        Status.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT,
        ORDINARY | IMPORTED | {"timestamp": BEFORE_THE_YOUNG, "credit:young": True},
    ),
    Fault(Status.IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO, PENDING | IMPORTED | {"timeout": FOREVER}),
    Fault(Status.DEBIT_ACCOUNT_ALREADY_CLOSED, ORDINARY | {"debit:closed": True}, "ordinary"),
    Fault(Status.DEBIT_ACCOUNT_ALREADY_CLOSED, POST | {"debit:closed": True}, "post"),
    Fault(Status.CREDIT_ACCOUNT_ALREADY_CLOSED, ORDINARY | {"credit:closed": True}, "ordinary"),
    Fault(Status.CREDIT_ACCOUNT_ALREADY_CLOSED, POST | {"credit:closed": True}, "post"),
    Fault(Status.OVERFLOWS_DEBITS_PENDING, PENDING | {"amount": BIG, "debit:pending_high": True}, "sum"),
    Fault(Status.OVERFLOWS_DEBITS_PENDING, PENDING | {"amount": 2**63}, "amount"),
    Fault(Status.OVERFLOWS_CREDITS_PENDING, PENDING | {"amount": BIG, "credit:pending_high": True}, "sum"),
    Fault(Status.OVERFLOWS_CREDITS_PENDING, PENDING | {"credit:pending_full": True}, "full"),
    Fault(Status.OVERFLOWS_DEBITS_POSTED, ORDINARY | {"amount": BIG, "debit:posted_high": True}, "sum"),
    Fault(Status.OVERFLOWS_DEBITS_POSTED, SINGLE_PHASE | {"amount": 2**128 - 1}, "amount"),
    Fault(Status.OVERFLOWS_CREDITS_POSTED, ORDINARY | {"amount": BIG, "credit:posted_high": True}, "sum"),
    Fault(Status.OVERFLOWS_CREDITS_POSTED, ORDINARY | {"credit:posted_full": True}, "full"),
    Fault(Status.OVERFLOWS_DEBITS, ORDINARY | {"debit:pending_high": True, "debit:posted_high": True}),
    Fault(Status.OVERFLOWS_CREDITS, ORDINARY | {"credit:pending_high": True, "credit:posted_high": True}),
    Fault(Status.OVERFLOWS_TIMEOUT, PENDING | {"timeout": FOREVER, "clock": "far"}),
    Fault(Status.EXCEEDS_CREDITS, ORDINARY | {"debit:limited": True}),
    Fault(Status.EXCEEDS_DEBITS, ORDINARY | {"credit:limited": True}),
]

_TRAITS = ("debit:", "credit:")

CONTRADICTIONS = Contradictions(
    pairs=[
        *(("equal", name) for name in (*COMPARED, "flag:")),
        *(("stored", name) for name in ("id", "pending_is", *_TRAITS)),
        ("debit_account_id", "debit:"),
        ("credit_account_id", "credit:"),
        ("pending_id", "pending_is"),
        # Balances need transfers, and the imported one would have to be older than these.
        *((f"{side}young", f"{side}{trait}") for side in _TRAITS for trait in FILLS),
        *((f"{side}{a}", f"{side}{b}") for side in _TRAITS for a in FULL for b in FILLS if a != b),
    ],
    merges={
        frozenset({FAR, LATE}): FAR,
        frozenset({PAST, BEFORE_THE_YOUNG}): PAST,
    },
)

_ONE_NUMBER = "an id is one number"
_PATHS = "one is of ordinary transfers, the other of posts and voids"

ARGUED = {
    (Status.LINKED_EVENT_FAILED, Status.LINKED_EVENT_CHAIN_OPEN): "the later one wins; a test of its own",
    (Status.IMPORTED_EVENT_EXPECTED, Status.IMPORTED_EVENT_NOT_EXPECTED): "an event is imported or not",
    (Status.IMPORTED_EVENT_NOT_EXPECTED, Status.TIMESTAMP_MUST_BE_ZERO): "an event is imported or not",
    (Status.TIMESTAMP_MUST_BE_ZERO, Status.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE): "imported or not",
    (Status.ID_MUST_NOT_BE_ZERO, Status.ID_MUST_NOT_BE_INT_MAX): _ONE_NUMBER,
    (Status.ID_MUST_NOT_BE_INT_MAX, Status.EXISTS_WITH_DIFFERENT_FLAGS): "such an id is never stored",
    (Status.EXISTS_WITH_DIFFERENT_CODE, Status.EXISTS): "equal or different",
    (Status.EXISTS, Status.ID_ALREADY_FAILED): "an id that failed is never stored",
    (Status.FLAGS_ARE_MUTUALLY_EXCLUSIVE, Status.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO): _PATHS,
    (Status.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO, Status.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX): _ONE_NUMBER,
    (Status.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO, Status.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX): _ONE_NUMBER,
    (Status.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX, Status.ACCOUNTS_MUST_BE_DIFFERENT): (
        "both of 2^128-1 is answered for the debit account"
    ),
    (Status.PENDING_ID_MUST_BE_ZERO, Status.PENDING_ID_MUST_NOT_BE_ZERO): _PATHS,
    (Status.PENDING_ID_MUST_NOT_BE_ZERO, Status.PENDING_ID_MUST_NOT_BE_INT_MAX): _ONE_NUMBER,
    (Status.PENDING_ID_MUST_NOT_BE_INT_MAX, Status.PENDING_ID_MUST_BE_DIFFERENT): (
        "its own id would be 2^128-1 and refused before"
    ),
    (Status.CREDIT_ACCOUNT_NOT_FOUND, Status.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER): (
        "an account that is not there has no ledger"
    ),
    (Status.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS, Status.PENDING_TRANSFER_NOT_FOUND): _PATHS,
    (Status.PENDING_TRANSFER_NOT_FOUND, Status.PENDING_TRANSFER_NOT_PENDING): "found or not",
    (Status.EXCEEDS_PENDING_TRANSFER_AMOUNT, Status.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT): "above or below",
    (Status.PENDING_TRANSFER_ALREADY_POSTED, Status.PENDING_TRANSFER_ALREADY_VOIDED): "it ends once",
    (Status.PENDING_TRANSFER_ALREADY_VOIDED, Status.PENDING_TRANSFER_EXPIRED): "it ends once",
}
"""Neighbours in the table that no event can break together, and why."""


def expected(settings: Settings) -> CreateTransferStatus:
    """The status that must answer: the earliest of all that the settings break."""
    broken = {fault.status for fault in FAULTS if fault.settings.items() <= settings.items()}
    if settings.get("stored"):
        flags = any(name.startswith("flag:") for name in settings)
        differing = [f for f in COMPARED if (flags if f == "flags" else f in settings)]
        broken |= {CreateTransferStatus[f"EXISTS_WITH_DIFFERENT_{f.upper()}"] for f in differing}
    return min((CreateTransferStatus(status) for status in broken), key=list(Status).index)
