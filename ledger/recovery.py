"""Recovery: the state, rebuilt from the journal. The normal start uses it too.

Accounts are read by slot, balances from each account's newest row, and pending
transfers that nothing has resolved. Rows carry running balances, so the replay
is a streamed read with the last row winning; afterwards debits must equal
credits in every ledger, or the start is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from foundation.errors import InvariantViolation
from ledger.contract import TransferFlags, TransferPendingStatus
from ledger.journal import Connection, Head
from ledger.rows import unsigned
from ledger.state import CLOSED, AccountState, State, StoredTransfer
from ledger.stored import TRANSFER_JOINS, TRANSFER_SELECT, transfer_from_row

CHUNK_BYTES = 32 * 1024 * 1024
"""How much of the journal is in memory at a time."""

_COPY_HEADER_SIZE = 19

_POSTING_COLUMNS = (
    "timestamp", "debit_account", "credit_account",
    "coalesce(debit_debits_pending, 0)", "debit_debits_posted",
    "coalesce(debit_credits_pending, 0)", "debit_credits_posted",
    "coalesce(credit_debits_pending, 0)", "credit_debits_posted",
    "coalesce(credit_credits_pending, 0)", "credit_credits_posted",
)  # fmt: skip

_POSTING = np.dtype(
    [("fields", ">i2"), ("n0", ">i4"), ("timestamp", ">i8")]
    + [("n1", ">i4"), ("debit", ">i4"), ("n2", ">i4"), ("credit", ">i4")]
    + [part for n in range(8) for part in ((f"m{n}", ">i4"), (f"after{n}", ">i8"))]
)

Int64Array = npt.NDArray[np.int64]


def load_head(connection: Connection) -> Head:
    """The newest batch in the journal."""
    row: Any = connection.execute(
        "SELECT sequence, timestamp, hash FROM ledger_batch ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    return Head() if row is None else Head(row[0], row[1], bytes(row[2]))


def load_state(connection: Connection, head: Head) -> State:
    """Everything the engine needs in memory, as of ``head``.

    The caller holds the writer's lock, so nothing is appended meanwhile.
    """
    state = State(last_timestamp=head.timestamp)
    _load_accounts(connection, state)
    _load_balances(connection, state)
    _load_pendings(connection, state)
    check_sums(state)
    return state


def check_sums(state: State) -> None:
    """Debits equal credits in every ledger, pending and posted; else the books are broken."""
    sums: dict[int, list[int]] = {}
    for account in state.slots:
        total = sums.setdefault(account.ledger, [0, 0, 0, 0])
        for n, value in enumerate(account.counters()):
            total[n] += value
    for ledger, (debits_pending, debits_posted, credits_pending, credits_posted) in sums.items():
        if debits_pending != credits_pending or debits_posted != credits_posted:
            raise InvariantViolation(
                f"ledger {ledger}: debits {debits_posted}+{debits_pending} "
                f"are not credits {credits_posted}+{credits_pending}"
            )


def _load_accounts(connection: Connection, state: State) -> None:
    with connection.transaction(), connection.cursor("ledger_accounts_load", binary=True) as cursor:
        cursor.itersize = 20_000
        cursor.execute(
            "SELECT slot, id, user_data_128, user_data_64, user_data_32, ledger, code, flags, timestamp "
            "FROM ledger_account ORDER BY slot"
        )
        row: Any
        for expected, row in enumerate(cursor):
            if row[0] != expected:
                raise InvariantViolation(f"account slot {expected} is missing from the journal")
            account = AccountState(
                slot=row[0],
                id=row[1].int,
                user_data_128=0 if row[2] is None else row[2].int,
                user_data_64=unsigned(row[3], 64),
                user_data_32=unsigned(row[4], 32),
                ledger=unsigned(row[5], 32),
                code=unsigned(row[6], 16),
                flags=row[7],
                timestamp=row[8],
                created_flags=row[7],
            )
            state.accounts[account.id] = account
            state.slots.append(account)
            state.account_timestamps.add(account.timestamp)
            state.last_account_timestamp = max(state.last_account_timestamp, account.timestamp)


def _load_balances(connection: Connection, state: State) -> None:
    count = len(state.slots)
    balances = np.zeros((count, 4), np.int64)
    last = np.zeros(count, np.int64)
    for rows in _copy_postings(connection, "ledger_transfer"):
        slots = np.empty(2 * len(rows), np.int64)
        slots[0::2], slots[1::2] = rows["debit"], rows["credit"]
        after = np.empty((2 * len(rows), 4), np.int64)
        for n in range(4):
            after[0::2, n], after[1::2, n] = rows[f"after{n}"], rows[f"after{n + 4}"]
        # Where a slot stands several times NumPy keeps the last one: the newest.
        balances[slots] = after
        last[slots] = np.repeat(rows["timestamp"].astype(np.int64), 2)
    _apply_expiries(connection, balances, last)
    for account, counters, timestamp in zip(state.slots, balances.tolist(), last.tolist(), strict=True):
        account.debits_pending, account.debits_posted = counters[0], counters[1]
        account.credits_pending, account.credits_posted = counters[2], counters[3]
        account.last_transfer = timestamp
    state.last_transfer_timestamp = int(last.max(initial=0))


def _apply_expiries(connection: Connection, balances: Int64Array, last: Int64Array) -> None:
    """Let an account's newest expiry win where it was committed after its newest transfer.

    Timestamps alone do not tell: an imported transfer is younger than its
    timestamp. The batches do; in a batch, expiries come first.
    """
    batches: Any = connection.execute(
        "SELECT sequence, timestamp, transfer_last FROM ledger_batch ORDER BY sequence", binary=True
    ).fetchall()
    expiry_ends = np.array([row[1] for row in batches], np.int64)
    ranges = np.array([(row[0], row[2]) for row in batches if row[2] is not None], np.int64).reshape(-1, 2)
    sequences = np.array([row[0] for row in batches], np.int64)
    for rows in _copy_postings(connection, "ledger_expiry"):
        at = np.searchsorted(expiry_ends, rows["timestamp"].astype(np.int64))
        expired_in = sequences[at]
        # Row by row, both sides of each: an account may be debited by one and credited by the next.
        for row, sequence in zip(rows, expired_in, strict=True):
            for side, offset in (("debit", 0), ("credit", 4)):
                slot = int(row[side])
                posted_in = 0
                if last[slot]:
                    posted_in = int(ranges[np.searchsorted(ranges[:, 1], last[slot]), 0])
                if sequence > posted_in:
                    balances[slot] = [int(row[f"after{offset + n}"]) for n in range(4)]


def _copy_postings(connection: Connection, table: str) -> Iterator[npt.NDArray[np.void]]:
    """Stream a table's rows in order of timestamp, as fixed-width records."""
    columns = ", ".join(_POSTING_COLUMNS)
    statement = f"COPY (SELECT {columns} FROM {table} ORDER BY timestamp) TO STDOUT (FORMAT BINARY)"
    size = _POSTING.itemsize
    pending = bytearray()
    with connection.cursor().copy(statement) as copy:
        skip = _COPY_HEADER_SIZE
        for data in copy:
            pending += data
            if skip:
                del pending[:skip]
                skip = 0
            if len(pending) >= CHUNK_BYTES:
                whole = len(pending) // size * size
                yield np.frombuffer(bytes(pending[:whole]), _POSTING)
                del pending[:whole]
    if len(pending) > size:
        yield np.frombuffer(bytes(pending[: len(pending) // size * size]), _POSTING)


def _load_pendings(connection: Connection, state: State) -> None:
    rows: Any = connection.execute(
        TRANSFER_SELECT + " FROM ledger_transfer t" + TRANSFER_JOINS + "WHERE t.flags & 2 <> 0"
        " AND NOT EXISTS (SELECT FROM ledger_transfer r WHERE r.pending_timestamp = t.timestamp)"
        " AND NOT EXISTS (SELECT FROM ledger_expiry e WHERE e.pending_timestamp = t.timestamp)"
        " ORDER BY t.timestamp",
        binary=True,
    ).fetchall()
    for row in rows:
        transfer = transfer_from_row(row)
        state.add_pending(StoredTransfer(transfer, TransferPendingStatus.PENDING))
        # A closing transfer closes for as long as it is pending.
        if transfer.flags & TransferFlags.CLOSING_DEBIT:
            state.accounts[transfer.debit_account_id].flags |= CLOSED
        if transfer.flags & TransferFlags.CLOSING_CREDIT:
            state.accounts[transfer.credit_account_id].flags |= CLOSED
