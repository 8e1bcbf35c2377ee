"""Checkpoints: accounts and live pending transfers as of a batch, so that a start replays little.

A checkpoint is only ever a shortcut: what it says follows from the journal, and
``nugpay ledger check`` proves it. It is taken in memory between two batches,
written by the sealer once its batch is committed, and replaced by the next.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from ledger.accounts import Accounts
from ledger.columns import FIXED_COLUMNS, TransferColumns, empty_column
from ledger.connection import Connection
from ledger.state import State

log = structlog.get_logger()

PART_BYTES = 8 * 1024 * 1024
"""A row of the table holds at most so much; sending it stops the other threads for a moment."""

COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
"""Columns of ``Checkpoint.counters``."""

_NARROW = {"user_data_64": np.int64, "user_data_32": np.int32, "timeout": np.int32, "ledger": np.int32}
_NARROW |= {"code": np.int16, "flags": np.int16}


IDENTITY = (
    "ids", "timestamp", "user_data_128", "user_data_64", "user_data_32", "ledger", "code", "created_flags",
)  # fmt: skip
"""Columns of accounts that never change."""


@dataclass(slots=True)
class Checkpoint:
    """The state after a batch; the empty one is that before the first."""

    sequence: int = 0
    timestamp: int = 0
    """Highest timestamp given out."""
    transfer_timestamp: int = 0
    """That of the newest transfer."""
    counters: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    last_transfer: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pendings: TransferColumns = field(default_factory=TransferColumns.empty)
    identity: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    """What each account is; a column in which all are 0 is left out."""

    @classmethod
    def of(cls, state: State, sequence: int, timestamp: int) -> Checkpoint:
        """Copy what is needed out of a state that was flushed."""
        accounts = state.accounts
        return cls(
            sequence,
            timestamp,
            state.last_transfer_timestamp,
            accounts.counters[: accounts.stored].copy(),
            accounts.last_transfer[: accounts.stored].copy(),
            _as_rows(state.pendings.columns()),
            # What accounts are never changes, and rows of younger ones come behind: no copy.
            {name: getattr(accounts, name)[: accounts.stored] for name in IDENTITY},
        )

    @classmethod
    def serving(cls, stored: tuple[int, bytes] | None) -> Checkpoint:
        """What a start may take of the stored one, given as its batch and its bytes: all of it or nothing.

        Bytes that were spoiled cost a start its shortcut, and no more: the journal has
        everything. So does one that was written before they held what accounts are.
        """
        if stored is None:
            return cls()
        try:
            checkpoint = cls.decode(*stored)
        except Exception as error:  # noqa: BLE001  # spoiled bytes fail wherever they are
            reason = f"{type(error).__name__}: {error}"
            log.warning("ledger_checkpoint_spoiled", sequence=stored[0], error=reason)
            return cls()
        return checkpoint if checkpoint.identity else cls()

    def restore(self, accounts: Accounts) -> None:
        """Put its accounts into a state that has none yet."""
        if not len(self.last_transfer):
            return
        columns = self.identity | {"counters": self.counters, "last_transfer": self.last_transfer}
        if "created_flags" in columns:
            columns["flags"] = columns["created_flags"]
        accounts.append_columns(len(self.last_transfer), columns)

    def encode(self) -> bytes:
        """The checkpoint's bytes, for :meth:`decode`."""
        out = io.BytesIO()
        arrays: dict[str, Any] = {f"pending_{name}": values for name, values in self.pendings.arrays.items()}
        arrays["times"] = np.array([self.timestamp, self.transfer_timestamp], np.int64)
        arrays |= {f"identity_{name}": values for name, values in self.identity.items() if values.any()}
        for name, values in zip(COUNTERS, self.counters.T, strict=True):
            if values.any():
                arrays[f"counter_{name}"] = _narrow(values)
        np.savez(out, last_transfer=self.last_transfer, **arrays)
        return out.getvalue()

    @classmethod
    def decode(cls, sequence: int, data: bytes) -> Checkpoint:
        """Read what ``encode`` has written; ``ValueError`` for anything else."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            columns = {name[8:]: arrays[name] for name in arrays if name.startswith("pending_")}
            identity = {name[9:]: arrays[name] for name in arrays if name.startswith("identity_")}
            timestamp, transfer_timestamp = arrays["times"].tolist()
            pendings = TransferColumns(len(columns["timestamp"]), columns)
            last_transfer = arrays["last_transfer"]
            counters = _counters(arrays, len(last_transfer))
        return cls(sequence, timestamp, transfer_timestamp, counters, last_transfer, pendings, identity)


def _narrow(values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The same numbers in half the bytes, where all of them fit."""
    return values.astype(np.uint32) if values.min() >= 0 and values.max() < 1 << 32 else values


def _counters(arrays: Any, count: int) -> npt.NDArray[np.int64]:
    """Each account's four counters; ``ValueError`` where a column has another length."""
    if "counters" in arrays:
        # As a version before stored them: all together.
        whole: npt.NDArray[np.int64] = arrays["counters"]
        return whole
    counters = np.zeros((count, len(COUNTERS)), np.int64)
    for number, name in enumerate(COUNTERS):
        if f"counter_{name}" in arrays:
            values = arrays[f"counter_{name}"]
            if values.shape != (count,):
                raise ValueError(f"{name} of {values.shape} accounts, not {count}")
            counters[:, number] = values
    return counters


def store(connection: Connection, sequence: int, data: bytes) -> None:
    """Write a checkpoint and drop those before it, in one database transaction."""
    with connection.transaction():
        for part, start in enumerate(range(0, len(data), PART_BYTES)):
            connection.execute(
                "INSERT INTO ledger_checkpoint VALUES (%s, %s, %b)",
                (sequence, part, data[start : start + PART_BYTES]),
            )
        connection.execute("DELETE FROM ledger_checkpoint WHERE sequence < %s", (sequence,))


def _as_rows(pendings: dict[str, npt.NDArray[Any]]) -> TransferColumns:
    """Pending transfers with the names and types of journal rows, as far as they are known."""
    count = len(pendings["timestamp"])
    arrays: dict[str, npt.NDArray[Any]] = {name: empty_column(name, count) for name in FIXED_COLUMNS}
    for name, values in pendings.items():
        if not name.endswith("_account_id"):
            arrays[name] = values.view(_NARROW[name]) if name in _NARROW else values
    return TransferColumns(count, arrays)
