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
from ledger.id_filter import IDFilter
from ledger.journal import Connection, Head
from ledger.state import CLOSED, State
from ledger.stored import TRANSFER_JOINS, TRANSFER_SELECT, transfer_from_row
from ledger.stored_transfer import StoredTransfer

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

_ACCOUNT_QUERY = (
    "SELECT slot, id, coalesce(user_data_128, '00000000-0000-0000-0000-000000000000'), "
    "coalesce(user_data_64, 0), coalesce(user_data_32, 0), ledger, code, flags, timestamp "
    "FROM ledger_account ORDER BY slot"
)

_ACCOUNT = np.dtype(
    [("fields", ">i2")]
    + [
        part
        for name, kind in (
            ("slot", ">i4"), ("id", "V16"), ("user_data_128", "V16"), ("user_data_64", ">i8"),
            ("user_data_32", ">i4"), ("ledger", ">i4"), ("code", ">i2"), ("flags", ">i2"),
            ("timestamp", ">i8"),
        )
        for part in ((f"{name}_length", ">i4"), (name, kind))
    ]
)  # fmt: skip

_ID = np.dtype([("fields", ">i2"), ("length", ">i4"), ("id", "V16")])

ID_CHUNK = 100_000
"""How many ids are added to the filter at a time."""

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
    state.accounts.flush()
    check_sums(state)
    return state


def load_ids(connection: Connection) -> IDFilter:
    """The filter of every id that the journal has seen."""
    ids = IDFilter()
    for table, order in (("ledger_transfer", "timestamp"), ("ledger_failed_id", "timestamp")):
        for rows in _copy_records(connection, f"SELECT id FROM {table} ORDER BY {order}", _ID):
            pairs = _uuid_pairs(rows["id"])
            for at in range(0, len(pairs), ID_CHUNK):
                part = pairs[at : at + ID_CHUNK]
                ids.add(np.ascontiguousarray(part[:, 0]), np.ascontiguousarray(part[:, 1]))
    return ids


def check_sums(state: State) -> None:
    """Debits equal credits in every ledger, pending and posted; else the books are broken."""
    accounts = state.accounts
    counters, ledgers = accounts.counters[: accounts.stored], accounts.ledger[: accounts.stored]
    for ledger in np.unique(ledgers).tolist():
        rows = counters[ledgers == ledger]
        # Halves are summed apart, so that no total can pass 64 bits unseen.
        high, low = (rows >> 32).sum(axis=0).tolist(), (rows & 0xFFFFFFFF).sum(axis=0).tolist()
        totals = [(h << 32) + part for h, part in zip(high, low, strict=True)]
        if totals[0] != totals[2] or totals[1] != totals[3]:
            raise InvariantViolation(
                f"ledger {ledger}: debits {totals[1]}+{totals[0]} are not credits {totals[3]}+{totals[2]}"
            )


def _load_accounts(connection: Connection, state: State) -> None:
    for rows in _copy_records(connection, _ACCOUNT_QUERY, _ACCOUNT):
        first = state.accounts.stored
        slots = rows["slot"].astype(np.int64)
        if not np.array_equal(slots, np.arange(first, first + len(rows))):
            raise InvariantViolation(f"an account slot after {first} is missing from the journal")
        state.accounts.append_columns(
            len(rows),
            {
                "ids": _uuid_pairs(rows["id"]),
                "timestamp": rows["timestamp"].astype(np.int64),
                "user_data_128": _uuid_pairs(rows["user_data_128"]),
                "user_data_64": rows["user_data_64"].astype(np.int64).view(np.uint64),
                "user_data_32": rows["user_data_32"].astype(np.int32).view(np.uint32),
                "ledger": rows["ledger"].astype(np.int32).view(np.uint32),
                "code": rows["code"].astype(np.int16).view(np.uint16),
                "flags": rows["flags"].astype(np.uint16),
                "created_flags": rows["flags"].astype(np.uint16),
            },
        )
        state.last_account_timestamp = int(rows["timestamp"][-1])


def _uuid_pairs(values: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """UUIDs of 16 big-endian bytes as (low, high) pairs."""
    pairs = np.ascontiguousarray(values).view(">u8").reshape(-1, 2)
    return pairs[:, ::-1].astype(np.uint64)


def _load_balances(connection: Connection, state: State) -> None:
    count = state.accounts.stored
    balances = state.accounts.counters[:count]
    last = state.accounts.last_transfer[:count]
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
    return _copy_records(connection, f"SELECT {columns} FROM {table} ORDER BY timestamp", _POSTING)


def _copy_records(
    connection: Connection, query: str, record: np.dtype[np.void]
) -> Iterator[npt.NDArray[np.void]]:
    """Stream the rows of a query without NULLs as fixed-width records of their binary COPY form."""
    size = record.itemsize
    pending = bytearray()
    skip = _COPY_HEADER_SIZE
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)") as copy:
        for data in copy:
            pending += data
            if skip:
                del pending[:skip]
                skip = 0
            if len(pending) >= CHUNK_BYTES:
                whole = len(pending) // size * size
                yield np.frombuffer(bytes(pending[:whole]), record)
                del pending[:whole]
    if len(pending) > size:
        yield np.frombuffer(bytes(pending[: len(pending) // size * size]), record)


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
        state.pendings.add(StoredTransfer(transfer, TransferPendingStatus.PENDING))
        # A closing transfer closes for as long as it is pending.
        if transfer.flags & TransferFlags.CLOSING_DEBIT:
            _close(state, transfer.debit_account_id)
        if transfer.flags & TransferFlags.CLOSING_CREDIT:
            _close(state, transfer.credit_account_id)


def _close(state: State, account_id: int) -> None:
    account = state.accounts.get(account_id)
    assert account is not None
    account.flags |= CLOSED
    state.accounts.mark_changed(account)
