"""Stored transfer: one that exists, and what became of it if it is a pending one."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.contract import SECOND_NS, Transfer, TransferPendingStatus


@dataclass(slots=True)
class StoredTransfer:
    """A transfer that exists, and what became of it if it is a pending one."""

    transfer: Transfer
    status: TransferPendingStatus = TransferPendingStatus.NONE

    @property
    def expires_at(self) -> int:
        """When its reservation ends, in nanoseconds; 0 means never."""
        return self.transfer.timestamp + self.transfer.timeout * SECOND_NS if self.transfer.timeout else 0
