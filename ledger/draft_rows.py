"""Draft rows: one transfer or expiry as the exact function decides it, before it is stored."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.contract import Transfer

Counters = tuple[int, int, int, int]
"""Debits pending, debits posted, credits pending, credits posted."""


@dataclass(slots=True)
class TransferRow:
    """A transfer with its history: both accounts after it, and before it."""

    transfer: Transfer
    debit_slot: int
    credit_slot: int
    pending_timestamp: int
    """Timestamp of the pending transfer it posts or voids, else 0."""
    debit_previous: int
    """Timestamp of the debit account's previous transfer, 0 for none."""
    credit_previous: int
    debit_after: Counters
    credit_after: Counters
    debit_closed: bool
    credit_closed: bool


@dataclass(slots=True)
class ExpiryRow:
    """A pending transfer's time is over: both accounts after its release."""

    timestamp: int
    pending: Transfer
    debit_slot: int
    credit_slot: int
    debit_after: Counters
    credit_after: Counters
    debit_closed: bool
    credit_closed: bool
