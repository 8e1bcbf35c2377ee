"""Transfers of a check: the rules that a row keeps by itself and with its two accounts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.checks.accounts import Accounts
from ledger.checks.batches import check_times
from ledger.checks.findings import Mask, Verdict
from ledger.checks.pendings import IMPORTED, PENDING, POST, VOID
from ledger.checks.stretch import Rows, Stretch, uuid_max, uuid_zero
from ledger.contract import SECOND_NS, TIMESTAMP_MAX, TransferFlags
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED

Array = npt.NDArray[Any]

_KNOWN = sum(TransferFlags)
_BALANCING = int(TransferFlags.BALANCING_DEBIT | TransferFlags.BALANCING_CREDIT)
_CLOSING = int(TransferFlags.CLOSING_DEBIT | TransferFlags.CLOSING_CREDIT)
_BOTH_CLOSED = DEBIT_CLOSED | CREDIT_CLOSED


def check_transfers(stretch: Stretch, accounts: Accounts, last_timestamp: int, verdict: Verdict) -> None:
    """Times, ids, flags and accounts of the stretch's transfers."""
    rows = stretch.transfers
    if not len(rows):
        return
    flags = rows["flags"]
    check_times(stretch, rows, last_timestamp, verdict, flags & IMPORTED != 0)
    rows.expect(verdict, uuid_zero(rows["id"]) | uuid_max(rows["id"]), "id", "neither 0 nor the largest")
    rows.expect(verdict, rows["amount"] < 0, "amount", "not negative")
    rows.expect(verdict, rows["code"] == 0, "code", "not 0")
    _check_flags(rows, verdict)
    _check_timeouts(rows, verdict)
    known = check_slots(stretch, rows, accounts, verdict)
    _check_accounts(rows, accounts, known, verdict)


def check_expiry_rows(stretch: Stretch, accounts: Accounts, last_timestamp: int, verdict: Verdict) -> None:
    """Times, flags and accounts of the stretch's expiries."""
    rows = stretch.expiries
    if not len(rows):
        return
    check_times(stretch, rows, last_timestamp, verdict, None)
    wrong = rows["flags"] & ~_BOTH_CLOSED != 0
    rows.expect(verdict, wrong, "flags", "nothing but whether the accounts are closed")
    check_slots(stretch, rows, accounts, verdict)


def check_failed(stretch: Stretch, last_timestamp: int, verdict: Verdict) -> None:
    """Times and ids of the events that failed for a passing reason."""
    rows = stretch.failed
    check_times(stretch, rows, last_timestamp, verdict, None)
    if len(rows):
        rows.expect(verdict, uuid_zero(rows["id"]) | uuid_max(rows["id"]), "id", "neither 0 nor the largest")


def check_slots(stretch: Stretch, rows: Rows, accounts: Accounts, verdict: Verdict) -> Mask:
    """Both accounts exist by then; which rows have two that do."""
    created = stretch.accounts_before + stretch.accounts.ends
    limit = np.minimum(rows.since(created), accounts.rows.count)
    known = np.ones(len(rows), bool)
    for name in ("debit_account", "credit_account"):
        wrong = (rows[name] < 0) | (rows[name] >= limit)
        rows.expect(verdict, wrong, name, "the slot of an account that was created before")
        known &= ~wrong
    rows.expect(verdict, rows["debit_account"] == rows["credit_account"], "credit_account", "another account")
    return known


def _check_flags(rows: Rows, verdict: Verdict) -> None:
    flags = rows["flags"]
    wrong = flags & ~(_KNOWN | _BOTH_CLOSED) != 0
    resolves = flags & (POST | VOID)
    wrong |= resolves == POST | VOID
    wrong |= (resolves != 0) & (flags & (PENDING | _BALANCING | _CLOSING) != 0)
    wrong |= (flags & _CLOSING != 0) & (flags & PENDING == 0)
    rows.expect(verdict, wrong, "flags", "flags that go together")
    points = rows["pending_timestamp"] != 0
    rows.expect(
        verdict,
        points != (resolves != 0),
        "pending_timestamp",
        "there for a post or void, and for nothing else",
    )
    rows.expect(
        verdict, ~uuid_zero(rows["pending_id"]) != (resolves != 0), "pending_id",
        "there for a post or void, and for nothing else",
    )  # fmt: skip


def _check_timeouts(rows: Rows, verdict: Verdict) -> None:
    if "timeout" not in rows.taken.columns.arrays:
        return
    timeout = rows["timeout"].view(np.uint32).astype(np.int64)
    flags = rows["flags"]
    stray = (timeout != 0) & ((flags & PENDING == 0) | (flags & IMPORTED != 0))
    rows.expect(verdict, stray, "timeout", "0, as of all but pending transfers that are not imported")
    rows.expect(
        verdict, timeout * SECOND_NS > TIMESTAMP_MAX - rows["timestamp"], "timeout", "one that time can reach"
    )


def _check_accounts(rows: Rows, accounts: Accounts, known: Mask, verdict: Verdict) -> None:
    for name in ("debit_account", "credit_account"):
        slots = np.where(known, rows[name], 0)
        theirs = accounts.ledger[slots]
        rows.expect(verdict, known & (rows["ledger"] != theirs), "ledger", theirs)
        created = accounts.timestamp[slots]
        rows.expect(verdict, known & (rows["timestamp"] <= created), "timestamp", f"one after its {name}'s")
    # One time line: an imported transfer stands beside every account.
    times = accounts.timestamp[: accounts.rows.count]
    low, high = np.searchsorted(times, rows["timestamp"][[0, -1]])
    near = times[low : high + 1]
    if len(near):
        at = np.minimum(np.searchsorted(near, rows["timestamp"]), len(near) - 1)
        rows.expect(verdict, near[at] == rows["timestamp"], "timestamp", "one that no account has")
