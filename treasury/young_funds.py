"""Young funds: the bank's published rules over what it has held for less than 30 days.

    day      at most 1,000 dollars of young money in any 24 hours leave the platform
    week     at most 5,000 in any 7 days
    passing  USDT that came in on chain and leaves as USDT is free of both; above 10,000
             in any 7 days the withdrawal is put before officers, and paid

A withdrawal's money is held first, and what its hold took says how much of it is young
(treasury.lots). That much is then taken from two small accounts of the wallet, as linked
pending transfers of a day and of a week: they fit or the withdrawal is refused, and time
gives the room back. So two at once cannot both use the last room, and an amount that is
split takes as much in sum as it does whole.

Between the hold and the room this process may die: the money is set aside, nothing is
approved, and whoever comes next, the client or the worker, takes the room under the same
ids. No withdrawal is approved before (treasury.payouts). What is refused stays refused:
the ledger remembers the ids that found no room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from foundation.assets import THB, USDC, USDT, Asset, asset_by_code
from foundation.clock import SECOND_NS, Clock, datetime_from_ns
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import derive_id
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, limit_ledger, open_accounts, wallet_account_id
from ledger.contract import (
    Account,
    AccountFilter,
    AccountFilterFlags,
    AccountFlags,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
    TransferPendingStatus,
)
from ledger.interface import Ledger
from treasury.errors import TreasuryCode
from treasury.lots import Parts, parts_of, span_of_hold, span_of_next
from treasury.models import TreasuryWithdrawal
from treasury.withdrawal_transfers import hold_transfer_id

DAY_SECONDS: Final = 86_400
"""How long young money takes room of the day."""

WEEK_SECONDS: Final = 7 * DAY_SECONDS
"""How long it takes room of the week, and passing money is counted."""


class YoungWindow(StrEnum):
    """What young money is counted over."""

    DAY = "day"
    """Any 24 hours."""
    WEEK = "week"
    """Any 7 days."""


EXCEEDED: Final = {
    YoungWindow.DAY: TreasuryCode.YOUNG_FUNDS_DAILY_LIMIT_EXCEEDED,
    YoungWindow.WEEK: TreasuryCode.YOUNG_FUNDS_WEEKLY_LIMIT_EXCEEDED,
}
"""By window: the code of what does not fit it."""

SECONDS: Final = {YoungWindow.DAY: DAY_SECONDS, YoungWindow.WEEK: WEEK_SECONDS}
"""By window: how long what is used of it stays used."""

YOUNG_LIMITS: Final[Mapping[Asset, Mapping[YoungWindow, int]]] = {
    USDT: {YoungWindow.DAY: 1_000_000_000, YoungWindow.WEEK: 5_000_000_000},
    USDC: {YoungWindow.DAY: 1_000_000_000, YoungWindow.WEEK: 5_000_000_000},
    # A round figure near the rate of 2026, as for all limits.
    THB: {YoungWindow.DAY: 3_500_000, YoungWindow.WEEK: 17_500_000},
}
"""Minor units of young money, inclusive. The rules name neither kyat nor, so far, gold."""

PASSING_WEEK: Final[Mapping[Asset, int]] = {USDT: 10_000_000_000}
"""By asset whose deposits are free of the limits: above how much in any 7 days officers look."""


@dataclass(frozen=True, slots=True)
class YoungRoom:
    """How much young money may still leave."""

    window: YoungWindow
    limit: Money
    left: Money
    more_at: datetime | None
    """When the first of what is used comes back; None where nothing is used."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What the rules say of a withdrawal whose money is held."""

    refused_by: YoungWindow | None
    """The window that it does not fit; None where it may leave."""
    parts: Parts
    passed_in_week: int | None = None
    """Minor units that passed through in the 7 days up to it, where that is more than is
    paid without being looked at."""


@dataclass(frozen=True, slots=True)
class _Accounts:
    """Ids of a wallet's accounts in one asset's ledger of limits.

    A limit is part of its account's name: a release with other limits begins with
    other accounts, and what was used of the former ones is not counted in these.
    """

    asset: Asset
    pool: int
    room: Mapping[YoungWindow, int]
    passed: int

    @classmethod
    def of(cls, wallet_id: UUID, asset: Asset) -> _Accounts:
        return cls(
            asset,
            derive_id("young-pool", asset.code).int,
            {
                window: derive_id("young-room", wallet_id, asset.code, window, limit).int
                for window, limit in YOUNG_LIMITS[asset].items()
            },
            derive_id("young-passed", wallet_id, asset.code).int,
        )

    async def open(self, ledger: Ledger, owner: UUID) -> None:
        """Have them open and each limit's room in its account; safe to repeat."""
        at, code = limit_ledger(self.asset), int(AccountCode.LIMIT)
        bounded = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
        await open_accounts(
            ledger,
            [
                Account(id=self.pool, ledger=at, code=int(AccountCode.LIMIT_POOL)),
                # Bounded by nothing: what passes through is counted and never refused.
                Account(
                    id=self.passed,
                    ledger=at,
                    code=code,
                    flags=int(AccountFlags.HISTORY),
                    user_data_128=owner.int,
                ),
                *(
                    Account(id=one, ledger=at, code=code, flags=bounded, user_data_128=owner.int)
                    for one in self.room.values()
                ),
            ],
        )
        filling = [
            Transfer(
                id=derive_id("young-fill", UUID(int=self.room[window])).int,
                debit_account_id=self.pool,
                credit_account_id=self.room[window],
                amount=limit,
                ledger=at,
                code=int(TransferCode.LIMIT_SET),
            )
            for window, limit in YOUNG_LIMITS[self.asset].items()
        ]
        for result in await ledger.create_transfers(filling):
            if result.status not in _DONE:
                raise InvariantViolation(f"filling the room of young funds: {result.status.name}")


_DONE: Final = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})
_NO_ROOM: Final = frozenset({CreateTransferStatus.EXCEEDS_CREDITS, CreateTransferStatus.ID_ALREADY_FAILED})
_NOTHING_TO_GIVE_BACK: Final = frozenset(
    {
        CreateTransferStatus.PENDING_TRANSFER_NOT_FOUND,
        CreateTransferStatus.PENDING_TRANSFER_EXPIRED,
        CreateTransferStatus.ID_ALREADY_FAILED,
    }
)


async def admit(ledger: Ledger, withdrawal: TreasuryWithdrawal) -> Admission:
    """Take the room that a held withdrawal needs; safe to repeat, with the same answer."""
    asset = asset_by_code(withdrawal.asset)
    if asset not in YOUNG_LIMITS:
        return Admission(None, Parts(0, 0))
    wallet = wallet_account_id(withdrawal.wallet_id, asset)
    span = await span_of_hold(ledger, account_id=wallet, hold_id=hold_transfer_id(withdrawal.id).int)
    parts = await parts_of(ledger, account_id=wallet, span=span, passes_through=asset in PASSING_WEEK)
    if parts == Parts(0, 0):
        return Admission(None, parts)
    accounts = _Accounts.of(withdrawal.wallet_id, asset)
    await accounts.open(ledger, withdrawal.wallet_id)
    if parts.young and (window := await _take(ledger, accounts, withdrawal.id, parts.young)) is not None:
        return Admission(window, parts)
    # Dies here: the room is taken, and the same question takes nothing more.
    passed = await _pass(ledger, accounts, withdrawal.id, parts.passing) if parts.passing else 0
    return Admission(None, parts, passed if passed > PASSING_WEEK.get(asset, passed) else None)


async def give_room_back(ledger: Ledger, withdrawal: TreasuryWithdrawal) -> None:
    """What a withdrawal that was not paid had taken, unless time has given it back; safe to repeat."""
    if asset_by_code(withdrawal.asset) not in YOUNG_LIMITS:
        return
    names = (*YoungWindow, "passed")
    # Each for itself: a day's may be over while a week's is not.
    results = await ledger.create_transfers(
        [
            Transfer(
                id=derive_id("young-void", withdrawal.id, name).int,
                pending_id=_use_id(withdrawal.id, name),
                flags=int(TransferFlags.VOID_PENDING_TRANSFER),
            )
            for name in names
        ]
    )
    for result in results:
        if result.status not in _DONE | _NOTHING_TO_GIVE_BACK:
            raise InvariantViolation(f"giving room of {withdrawal.id} back: {result.status.name}")


async def young_rooms(ledger: Ledger, clock: Clock, *, wallet_id: UUID, asset: Asset) -> list[YoungRoom]:
    """What of each limit is left now; none for an asset without the rules."""
    if asset not in YOUNG_LIMITS:
        return []
    accounts = _Accounts.of(wallet_id, asset)
    found = {one.id: one for one in await ledger.lookup_accounts(list(accounts.room.values()))}
    rooms = []
    for window, limit in YOUNG_LIMITS[asset].items():
        account = found.get(accounts.room[window])
        used = account.debits_pending if account is not None else 0
        more_at = await _more_at(ledger, clock, accounts.room[window], window) if used else None
        rooms.append(YoungRoom(window, Money(limit, asset), Money(limit - used, asset), more_at))
    return rooms


async def young_part(ledger: Ledger, clock: Clock, *, wallet_id: UUID, amount: Money) -> Money:
    """How much of ``amount`` would be young money under the limits, if it left now."""
    if amount.asset not in YOUNG_LIMITS:
        return Money(0, amount.asset)
    account = wallet_account_id(wallet_id, amount.asset)
    span = await span_of_next(ledger, account_id=account, amount=amount.minor, at_ns=clock.now_ns())
    parts = await parts_of(ledger, account_id=account, span=span, passes_through=amount.asset in PASSING_WEEK)
    return Money(parts.young, amount.asset)


async def young_refusal(
    ledger: Ledger, clock: Clock, withdrawal: TreasuryWithdrawal, by: Admission
) -> Refusal:
    """Why a withdrawal was refused by a window, what is left of it, and when there is more."""
    asset = asset_by_code(withdrawal.asset)
    rooms = await young_rooms(ledger, clock, wallet_id=withdrawal.wallet_id, asset=asset)
    room = next(one for one in rooms if one.window is by.refused_by)
    young = Money(by.parts.young, asset)
    return Refusal(
        EXCEEDED[room.window],
        f"{young} of it is held for less than 30 days; of {room.limit} a {room.window} {room.left} is left.",
        young=young.format(),
        limit=room.limit.format(),
        left=room.left.format(),
        asset=asset.code,
        more_at=room.more_at.isoformat().replace("+00:00", "Z") if room.more_at is not None else None,
    )


def _use_id(withdrawal_id: UUID, name: str) -> int:
    return derive_id("young-use", withdrawal_id, name).int


async def _take(ledger: Ledger, accounts: _Accounts, withdrawal_id: UUID, young: int) -> YoungWindow | None:
    """Take room of both windows or of none; the window that has not enough."""
    uses = [
        Transfer(
            id=_use_id(withdrawal_id, window),
            debit_account_id=accounts.room[window],
            credit_account_id=accounts.pool,
            amount=young,
            timeout=SECONDS[window],
            user_data_128=withdrawal_id.int,
            ledger=limit_ledger(accounts.asset),
            code=int(TransferCode.LIMIT_USED),
            flags=int(TransferFlags.PENDING | TransferFlags.LINKED),
        )
        for window in YoungWindow
    ]
    uses[-1].flags = int(TransferFlags.PENDING)
    results = await ledger.create_transfers(uses)
    window, status = next(
        (window, result.status)
        for window, result in zip(YoungWindow, results, strict=True)
        if result.status is not CreateTransferStatus.LINKED_EVENT_FAILED
    )
    if status in _DONE:
        return None
    if status not in _NO_ROOM:
        raise InvariantViolation(f"room for withdrawal {withdrawal_id}: {status.name}")
    return window


async def _pass(ledger: Ledger, accounts: _Accounts, withdrawal_id: UUID, passing: int) -> int:
    """Count what passes through; how much did in the 7 days up to it, itself included."""
    (result,) = await ledger.create_transfers(
        [
            Transfer(
                id=_use_id(withdrawal_id, "passed"),
                debit_account_id=accounts.pool,
                credit_account_id=accounts.passed,
                amount=passing,
                timeout=WEEK_SECONDS,
                user_data_128=withdrawal_id.int,
                ledger=limit_ledger(accounts.asset),
                code=int(TransferCode.LIMIT_USED),
                flags=int(TransferFlags.PENDING),
            )
        ]
    )
    if result.status not in _DONE:
        raise InvariantViolation(f"passing of withdrawal {withdrawal_id}: {result.status.name}")
    (after,) = await ledger.get_account_balances(
        AccountFilter(
            account_id=accounts.passed, timestamp_min=result.timestamp, timestamp_max=result.timestamp
        )
    )
    return after.credits_pending


async def _more_at(ledger: Ledger, clock: Clock, account_id: int, window: YoungWindow) -> datetime | None:
    """When the oldest of what is used of a window comes back."""
    uses: Sequence[Transfer] = await ledger.get_account_transfers(
        AccountFilter(
            account_id=account_id,
            timestamp_min=max(1, clock.now_ns() - SECONDS[window] * SECOND_NS),
            flags=int(AccountFilterFlags.DEBITS),
        )
    )
    states = await ledger.get_pending_states([one.id for one in uses])
    ends = [one.expires_at for one in states if one.status is TransferPendingStatus.PENDING]
    return datetime_from_ns(min(ends)) if ends else None
