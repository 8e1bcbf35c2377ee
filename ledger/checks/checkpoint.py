"""Checkpoint of a check: the stored shortcut says what the journal says at its batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.checkpoints import IDENTITY, Checkpoint
from ledger.checks.accounts import COUNTERS, Accounts
from ledger.checks.findings import Finding, FoundWrong, shown
from ledger.checks.pendings import HELD, Pendings
from ledger.rows import CONTRACT_FLAGS

Array = npt.NDArray[Any]

TABLE = "ledger_checkpoint"

_ROW_NAMES = {"ids": "id", "created_flags": "flags"}
"""What the journal calls a column of the checkpoint, where that differs."""


def decode_checkpoint(sequence: int, data: bytes) -> Checkpoint:
    """The checkpoint that has these bytes; ``FoundWrong`` where they are those of none."""
    try:
        return Checkpoint.decode(sequence, data)
    except Exception as error:  # spoiled bytes fail wherever they are
        found = f"not readable ({type(error).__name__})"
        raise FoundWrong(Finding(TABLE, f"sequence {sequence}", "data", found, "a checkpoint")) from error


def check_checkpoint(
    checkpoint: Checkpoint, timestamp: int, transfer_timestamp: int, accounts: Accounts, pendings: Pendings
) -> None:
    """Compare with the state right after the checkpoint's batch."""
    known = accounts.known
    for what, found, expected in (
        ("timestamp", checkpoint.timestamp, timestamp),
        ("transfer_timestamp", checkpoint.transfer_timestamp, transfer_timestamp),
        ("count of accounts", len(checkpoint.last_transfer), known),
        ("count of counters", checkpoint.counters.shape, (known, 4)),
    ):
        if found != expected:
            raise _wrong(checkpoint, what, found, expected)
    for counter, name in enumerate(COUNTERS):
        _compare(
            checkpoint, name, checkpoint.counters[:, counter], accounts.counters[counter, :known], "slot"
        )
    _compare(checkpoint, "last_transfer", checkpoint.last_transfer, accounts.last_transfer[:known], "slot")
    if checkpoint.identity:
        _compare_identity(checkpoint, accounts)
    _compare_pendings(checkpoint, pendings)


def _compare_identity(checkpoint: Checkpoint, accounts: Accounts) -> None:
    for name in IDENTITY:
        column = _ROW_NAMES.get(name, name)
        expected = accounts.rows.columns[column][: accounts.known]
        found = checkpoint.identity.get(name, np.zeros_like(expected))
        if found.shape != expected.shape:
            raise _wrong(checkpoint, f"count of {column}", found.shape, expected.shape)
        _compare(checkpoint, column, found.view(expected.dtype), expected, "slot")


def _compare_pendings(checkpoint: Checkpoint, pendings: Pendings) -> None:
    live = pendings.live()
    found = checkpoint.pendings.take(np.argsort(checkpoint.pendings["timestamp"], kind="stable"))
    if len(found) != len(live):
        raise _wrong(checkpoint, "count of pending transfers", len(found), len(live))
    for name in HELD:
        mine, theirs = found[name], live[name]
        if name == "flags":
            mine, theirs = mine & CONTRACT_FLAGS, theirs & CONTRACT_FLAGS
        _compare(checkpoint, f"{name} of pending transfers", mine, theirs, "pending transfer")


def _compare(checkpoint: Checkpoint, what: str, found: Array, expected: Array, row_name: str) -> None:
    differ = found != expected
    wrong = np.flatnonzero(differ.any(axis=1) if differ.ndim == 2 else differ)
    if len(wrong):
        row = int(wrong[0])
        raise _wrong(checkpoint, f"{what}, {row_name} {row}", shown(found[row]), shown(expected[row]))


def _wrong(checkpoint: Checkpoint, what: str, found: object, expected: object) -> FoundWrong:
    return FoundWrong(Finding(TABLE, f"sequence {checkpoint.sequence}", what, str(found), str(expected)))
