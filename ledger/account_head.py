"""Account head: where an account's history begins."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class AccountHead:
    """Where an account's history begins: its slot, newest transfer and flags."""

    slot: int
    last_transfer: int
    flags: int
