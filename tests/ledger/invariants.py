"""The laws of the books, checked from the journal alone, row by row.

Written apart from the engine: it replays the rows one at a time in plain
Python and compares what each row says with what it computed.
"""

import hashlib
import struct
from typing import Any

import psycopg
from psycopg.rows import dict_row

from foundation.postgres import sync_url

PENDING, POST, VOID = 2, 4, 8


def check_journal(url: str) -> dict[int, list[int]]:
    """Assert every law; returns the final counters by account slot."""
    with psycopg.connect(sync_url(url), row_factory=dict_row) as db:
        accounts = {a["slot"]: a for a in db.execute("SELECT * FROM ledger_account ORDER BY slot")}
        transfers = db.execute("SELECT * FROM ledger_transfer ORDER BY timestamp").fetchall()
        expiries = db.execute("SELECT * FROM ledger_expiry ORDER BY timestamp").fetchall()
        batches = db.execute("SELECT * FROM ledger_batch ORDER BY sequence").fetchall()
        balances = _replay(accounts, transfers, expiries, batches)
        _check_sums(accounts, balances)
        _check_limits(accounts, balances)
        _check_chain(db, batches)
    return balances


def _replay(accounts: Any, transfers: Any, expiries: Any, batches: Any) -> dict[int, list[int]]:
    balances = {slot: [0, 0, 0, 0] for slot in accounts}
    last = dict.fromkeys(accounts, 0)
    by_timestamp = {t["timestamp"]: t for t in transfers}
    resolved: set[int] = set()
    waiting_t, waiting_e = list(reversed(transfers)), list(reversed(expiries))
    for batch in batches:
        for _ in range(batch["expiry_count"]):
            assert waiting_e, "an expiry is missing"
            row = waiting_e.pop()
            assert row["pending_timestamp"] in by_timestamp, "an expiry of nothing"
            assert {row["debit_account"], row["credit_account"]} <= accounts.keys(), "an account is missing"
            pending = by_timestamp[row["pending_timestamp"]]
            assert pending["flags"] & PENDING
            assert row["pending_timestamp"] not in resolved
            resolved.add(row["pending_timestamp"])
            # The last of a sweep has the time of the sweep, those before it stand right before that.
            assert batch["timestamp"] >= pending["timestamp"] + pending["timeout"] * 10**9
            balances[row["debit_account"]][0] -= pending["amount"]
            balances[row["credit_account"]][2] -= pending["amount"]
            _check_after(row, balances)
        for _ in range(batch["transfer_count"]):
            assert waiting_t, "a transfer is missing"
            row = waiting_t.pop()
            debit, credit = row["debit_account"], row["credit_account"]
            assert {debit, credit} <= accounts.keys(), "an account is missing"
            assert debit != credit
            assert accounts[debit]["ledger"] == accounts[credit]["ledger"] == row["ledger"]
            assert row["debit_previous"] == last[debit]
            assert row["credit_previous"] == last[credit]
            last[debit] = last[credit] = row["timestamp"]
            if row["flags"] & (POST | VOID):
                assert row["pending_timestamp"] in by_timestamp, "an end of nothing"
                pending = by_timestamp[row["pending_timestamp"]]
                assert pending["id"] == row["pending_id"]
                assert row["pending_timestamp"] not in resolved
                resolved.add(row["pending_timestamp"])
                assert row["amount"] <= pending["amount"]
                balances[debit][0] -= pending["amount"]
                balances[credit][2] -= pending["amount"]
            if row["flags"] & PENDING:
                balances[debit][0] += row["amount"]
                balances[credit][2] += row["amount"]
            elif not row["flags"] & VOID:
                balances[debit][1] += row["amount"]
                balances[credit][3] += row["amount"]
            assert all(v >= 0 for v in balances[debit] + balances[credit])
            _check_after(row, balances)
    assert not waiting_t, "a transfer is in no batch"
    assert not waiting_e, "an expiry is in no batch"
    assert sum(b["account_count"] for b in batches) == len(accounts)
    return balances


def _check_after(row: Any, balances: dict[int, list[int]]) -> None:
    for side in ("debit", "credit"):
        stored = [
            row[f"{side}_{name}"] or 0
            for name in ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
        ]
        assert stored == balances[row[f"{side}_account"]], f"{side} side of {row['timestamp']}"


def _check_sums(accounts: Any, balances: dict[int, list[int]]) -> None:
    for ledger in {a["ledger"] for a in accounts.values()}:
        of_ledger = [balances[slot] for slot, a in accounts.items() if a["ledger"] == ledger]
        assert sum(b[0] for b in of_ledger) == sum(b[2] for b in of_ledger)
        assert sum(b[1] for b in of_ledger) == sum(b[3] for b in of_ledger)


def _check_limits(accounts: Any, balances: dict[int, list[int]]) -> None:
    for slot, account in accounts.items():
        debits_pending, debits_posted, credits_pending, credits_posted = balances[slot]
        if account["flags"] & 2:
            assert debits_pending + debits_posted <= credits_posted
        if account["flags"] & 4:
            assert credits_pending + credits_posted <= debits_posted


def _check_chain(db: Any, batches: Any) -> None:
    rows = {
        "ledger_account": _copy_rows(db, "ledger_account", "slot"),
        "ledger_expiry": _copy_rows(db, "ledger_expiry", "timestamp"),
        "ledger_transfer": _copy_rows(db, "ledger_transfer", "timestamp"),
        "ledger_failed_id": _copy_rows(db, "ledger_failed_id", "timestamp"),
    }
    previous, last_timestamp = bytes(32), 0
    for number, b in enumerate(batches, 1):
        assert b["sequence"] == number
        assert b["timestamp"] >= last_timestamp
        last_timestamp = b["timestamp"]
        counts = (b["account_count"], b["transfer_count"], b["expiry_count"], b["failed_count"])
        header = struct.pack(
            "!qqqqiiii", number, b["timestamp"], b["transfer_first"] or 0, b["transfer_last"] or 0, *counts
        )
        digest = hashlib.sha256(previous + header)
        for table, count in (
            ("ledger_account", counts[0]),
            ("ledger_expiry", counts[2]),
            ("ledger_transfer", counts[1]),
            ("ledger_failed_id", counts[3]),
        ):
            for _ in range(count):
                assert rows[table], f"a row of {table} is missing"
                digest.update(rows[table].pop(0))
        assert digest.digest() == bytes(b["hash"]), f"hash of batch {number}"
        previous = digest.digest()
    assert not any(rows.values())


def _copy_rows(db: Any, table: str, order: str) -> list[bytes]:
    """Each row in PostgreSQL's binary COPY form, without the stream's header and trailer."""
    with db.cursor().copy(f"COPY (SELECT * FROM {table} ORDER BY {order}) TO STDOUT (FORMAT BINARY)") as copy:
        data = b"".join(bytes(part) for part in copy)[19:]
    rows, at = [], 0
    while data[at : at + 2] != b"\xff\xff":
        end = at + 2
        for _ in range(int.from_bytes(data[at:end], "big")):
            length = int.from_bytes(data[end : end + 4], "big", signed=True)
            end += 4 + max(length, 0)
        rows.append(data[at:end])
        at = end
    return rows
