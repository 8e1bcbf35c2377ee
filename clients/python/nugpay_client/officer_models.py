"""What officers are shown: withdrawals that await them or are looked at, the breaker, blocked receivers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class AwaitedWithdrawal:
    """A withdrawal that is not paid before two officers have approved it."""

    id: UUID
    requester: UUID
    """Who asked for it; cannot approve it."""
    asset: str
    amount: Decimal
    fee: Decimal
    to_address: str
    awaits_since: datetime
    approvals: int
    """Officers whose approval is there and has not expired."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A text that an officer reads before their device signs it, and its lifetime."""

    text: str
    begins_at: int
    """Seconds since 1970."""
    expires_at: int
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Review:
    """A withdrawal by which much passed through; it was let through, and officers look at it."""

    withdrawal_id: UUID
    wallet_id: UUID
    asset: str
    amount: Decimal
    passing: Decimal
    """What of it came in on chain within 30 days, as what leaves."""
    passed_in_week: Decimal
    """The same in the 7 days up to it, itself included."""
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Trip:
    """A trip of the breaker, and how far its release is."""

    id: UUID
    reason: str
    tripped_at: datetime
    signed_by: tuple[str, ...]
    """Officers whose signature is there and has not expired."""
    released_at: datetime | None
    """None while it stops withdrawals."""
    released_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether withdrawals stand still, and the last trips, the newest first."""

    stopped: bool
    trips: tuple[Trip, ...]


@dataclass(frozen=True, slots=True)
class BlockedReceiver:
    """An address that is never paid."""

    address: str
    reason: str
    blocked_by: str
    blocked_at: datetime
