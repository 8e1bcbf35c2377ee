"""What the model remembers: dictionaries and sets, and the arithmetic on them."""

from ledger.contract import Account, Transfer

SECOND = 10**9
TOP = 2**63 - 1
"""Highest amount, balance and timestamp."""
MAX = 2**128 - 1

LINKED, PENDING, POST, VOID = 1, 2, 4, 8
BALANCING_DEBIT, BALANCING_CREDIT, CLOSING_DEBIT, CLOSING_CREDIT, IMPORTED_TRANSFER = 16, 32, 64, 128, 256
DEBIT_LIMIT, CREDIT_LIMIT, HISTORY, IMPORTED_ACCOUNT, CLOSED = 2, 4, 8, 16, 32

Balance = tuple[int, int, int, int]
"""Debits pending, debits posted, credits pending, credits posted."""


class Change:
    """One change of balances: what happened, and both accounts after it."""

    def __init__(
        self, timestamp: int, kind: str, transfer: Transfer, debit: Account, credit: Account
    ) -> None:
        self.timestamp, self.kind, self.transfer = timestamp, kind, transfer
        self.debit, self.credit = debit, credit


class Books:
    """What a chain may have to take back. Entries are replaced, never changed in place."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.balances: dict[int, Balance] = {}
        self.transfers: dict[int, Transfer] = {}
        self.fates: dict[int, str] = {}
        """What became of each pending transfer: pending, posted, voided or expired."""
        self.changes: list[Change] = []
        """Every change of balances, in the order in which it was made."""
        self.account_times: set[int] = set()
        self.transfer_times: set[int] = set()

    def copy(self) -> "Books":
        books = Books()
        for name, value in vars(self).items():
            setattr(books, name, value.copy())
        return books


def expires_at(transfer: Transfer) -> int | None:
    """When a pending transfer's time is over; None for never (section 7)."""
    return transfer.timestamp + transfer.timeout * SECOND if transfer.timeout else None


def moved_amount(books: Books, e: Transfer) -> int:
    """The amount after balancing (section 8)."""
    amounts = [e.amount]
    if e.flags & BALANCING_DEBIT:
        pending, posted, _, received = books.balances[e.debit_account_id]
        amounts.append(max(0, received - (posted + pending)))
    if e.flags & BALANCING_CREDIT:
        _, given, pending, posted = books.balances[e.credit_account_id]
        amounts.append(max(0, given - (posted + pending)))
    return min(amounts)


def resolved_amount(e: Transfer, pending: Transfer) -> int:
    """What a post or void asks for (section 5.4, step 5)."""
    if e.flags & VOID:
        return pending.amount if e.amount == 0 else e.amount
    return pending.amount if e.amount == MAX else e.amount
