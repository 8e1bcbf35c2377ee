"""Limits: room for payments, as accounts of the ledger that payments use up.

Each wallet has for each asset it pays in six small accounts, in a ledger of their own
beside the asset's, so that room is never taken for money:

    day      a payment takes its amount as a pending transfer of 24 hours, which gives the
             room back by itself
    week     a payment moves its amount to week-spent; when a week begins, all of that
    month    comes back in one balancing transfer, whose id is the week's; a month likewise

These transfers are linked with the payment: it uses room or does not happen, and nobody
counts rows. What a limit is raised or lowered by moves between the account and the pool,
linked with one unit in the sixth account: it counts such changes, so that two who see
the same state make the same change, once.

If this process dies anywhere in here, accounts are open and filled as far as it came;
each step has an id of its own that says what it does, and the next caller completes it.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from foundation.assets import Asset
from foundation.clock import SECOND_NS, Clock, datetime_from_ns
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import derive_id
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, limit_ledger, open_accounts
from ledger.contract import (
    Account,
    AccountFlags,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)
from ledger.interface import Ledger
from wallets.ceilings import Ceilings, gate_use
from wallets.errors import WalletCode
from wallets.tiers import TIER_LIMITS, TierLimits
from wallets.wallets import Wallet

DAY_SECONDS: Final = 86_400
"""How long a payment takes room of the day."""

ALL: Final = 2**63 - 1
"""As much as there is, in a balancing transfer."""

READY_MAX: Final = 200_000
"""Wallets whose room this process remembers to be open."""

ROUNDS_MAX: Final = 5
"""Looks at an account until its level is right; others may be setting it too."""


class Window(StrEnum):
    """What a limit is counted over."""

    DAY = "day"
    """Any 24 hours."""
    WEEK = "week"
    """A calendar week from Monday, UTC."""
    MONTH = "month"
    """A calendar month, UTC."""


EXCEEDED: Final = {
    Window.DAY: WalletCode.DAILY_VALUE_LIMIT_EXCEEDED,
    Window.WEEK: WalletCode.WEEKLY_VALUE_LIMIT_EXCEEDED,
    Window.MONTH: WalletCode.MONTHLY_VALUE_LIMIT_EXCEEDED,
}
"""By window: the code of what does not fit it."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a limit is left."""

    window: Window
    limit: Money
    left: Money
    full_at: datetime | None
    """When all of it is free again at the latest; None if it is."""


@dataclass(frozen=True, slots=True)
class _Accounts:
    """Ids of a wallet's accounts in one asset's ledger of limits."""

    asset: Asset
    pool: int
    day: int
    week: int
    week_spent: int
    month: int
    month_spent: int
    changes: int

    @classmethod
    def of(cls, wallet_id: UUID, asset: Asset) -> _Accounts:
        names = ("day", "week", "week-spent", "month", "month-spent", "changes")
        own = (derive_id("limit-account", wallet_id, asset.code, name).int for name in names)
        return cls(asset, limit_pool(asset).id, *own)

    def spent(self, window: Window) -> int | None:
        """The account that holds what was used of a window; the day's is pending instead."""
        return {Window.DAY: None, Window.WEEK: self.week_spent, Window.MONTH: self.month_spent}[window]

    def room(self, window: Window) -> int:
        """The account whose balance is the room that is left."""
        return {Window.DAY: self.day, Window.WEEK: self.week, Window.MONTH: self.month}[window]

    def to_open(self, owner: UUID) -> list[Account]:
        """The accounts as they are created."""
        bounded = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
        ledger, code = limit_ledger(self.asset), int(AccountCode.LIMIT)
        own = (self.day, self.week, self.week_spent, self.month, self.month_spent, self.changes)
        return [
            limit_pool(self.asset),
            *(
                Account(id=one, ledger=ledger, code=code, flags=bounded, user_data_128=owner.int)
                for one in own
            ),
        ]


def limit_pool(asset: Asset) -> Account:
    """The other side of all room in an asset; it is bounded by nothing."""
    return Account(
        id=derive_id("limit-pool", asset.code).int,
        ledger=limit_ledger(asset),
        code=int(AccountCode.LIMIT_POOL),
    )


@dataclass(slots=True)
class _Ready:
    """What this process has seen to be open and filled."""

    accounts: _Accounts
    limits: TierLimits
    since_ns: int
    """When it was seen."""
    until_ns: int
    """When the next week or month begins: their room is filled again then."""


class Limits:
    """The room of wallets, as one process sees it."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self.ceilings = Ceilings(ledger, clock)
        self._ready: dict[tuple[UUID, Asset], _Ready] = {}

    async def uses(self, payer: Wallet, payment_id: UUID, amount: Money, payee: Wallet) -> list[Transfer]:
        """The transfers by which a payment takes its room, to be linked after its own.

        The first one comes in by the payee's gate, if that has a ceiling; the last one has
        no ``LINKED``. None where neither side is limited. Refused as
        ``greater_than_transaction_max_value``.
        """
        limits = TIER_LIMITS[payer.tier].get(amount.asset)
        if limits is None:
            gate = await self.ceilings.gate(payee, amount)
            return [] if gate is None else [gate_use(payment_id, amount, gate)]
        if amount.minor > limits.per_payment:
            most = Money(limits.per_payment, amount.asset)
            raise Refusal(
                WalletCode.GREATER_THAN_TRANSACTION_MAX_VALUE,
                f"At most {most} in one payment.",
                limit=most.format(),
                asset=amount.asset.code,
            )
        gate = await self.ceilings.gate(payee, amount)
        return await self.uses_in_sum(payer, payment_id, amount, gate=gate)

    async def uses_in_sum(
        self, payer: Wallet, use_id: UUID, amount: Money, *, gate: int | None = None
    ) -> list[Transfer]:
        """The same for several payments at once, each of which is known to be small enough.

        ``gate`` is the payee's, where there is one payee; the gates of several are used by
        each payment itself.
        """
        limits = TIER_LIMITS[payer.tier].get(amount.asset)
        if limits is None:
            return []
        accounts = (await self._open(payer, amount.asset, limits)).accounts
        ledger, code = limit_ledger(amount.asset), int(TransferCode.LIMIT_USED)
        linked = int(TransferFlags.LINKED)
        return [
            Transfer(
                id=derive_id("limit-day", use_id).int,
                debit_account_id=accounts.day,
                # The pool gives and takes without end, so that its side is free for the gate.
                credit_account_id=accounts.pool if gate is None else gate,
                amount=amount.minor,
                timeout=DAY_SECONDS,
                ledger=ledger,
                code=code,
                flags=linked | int(TransferFlags.PENDING),
            ),
            Transfer(
                id=derive_id("limit-week", use_id).int,
                debit_account_id=accounts.week,
                credit_account_id=accounts.week_spent,
                amount=amount.minor,
                ledger=ledger,
                code=code,
                flags=linked,
            ),
            Transfer(
                id=derive_id("limit-month", use_id).int,
                debit_account_id=accounts.month,
                credit_account_id=accounts.month_spent,
                amount=amount.minor,
                ledger=ledger,
                code=code,
            ),
        ]

    async def rooms(self, wallet: Wallet, asset: Asset) -> list[Room]:
        """What is left of each limit now; none for an asset without limits."""
        limits = TIER_LIMITS[wallet.tier].get(asset)
        if limits is None:
            return []
        accounts = (await self._open(wallet, asset, limits)).accounts
        found = await self._look_up(accounts)
        now = self._clock.now()
        rooms = []
        for window, limit in _levels(limits):
            left = max(0, _balance(found[accounts.room(window)]))
            full_at = None if left >= limit else _end_of(window, now)
            rooms.append(Room(window, Money(limit, asset), Money(left, asset), full_at))
        return rooms

    async def refusal(self, payer: Wallet, asset: Asset, window: Window) -> Refusal:
        """Why a payment does not fit a window, and what is left of it."""
        room = next(one for one in await self.rooms(payer, asset) if one.window is window)
        until = room.full_at.isoformat().replace("+00:00", "Z") if room.full_at is not None else None
        return Refusal(
            EXCEEDED[window],
            f"Of {room.limit} a {window} {room.left} is left.",
            limit=room.limit.format(),
            left=room.left.format(),
            asset=asset.code,
            full_at=until,
        )

    async def _open(self, wallet: Wallet, asset: Asset, limits: TierLimits) -> _Ready:
        """Have the accounts open, the windows' room refilled, and the levels as the tier has them."""
        now_ns = self._clock.now_ns()
        known = self._ready.get((wallet.id, asset))
        if known is not None and known.since_ns <= now_ns < known.until_ns and known.limits == limits:
            return known
        now = datetime_from_ns(now_ns)
        week, month = _week(now), _month(now)
        accounts = _Accounts.of(wallet.id, asset)
        await open_accounts(self._ledger, accounts.to_open(wallet.id))
        # Before anything is used of a window its room is refilled, once for all callers: a
        # refill that came later would give back what was used since.
        await self._submit([*_refills(accounts, week, month)])
        await self._level(accounts, limits)
        if len(self._ready) >= READY_MAX:
            self._ready.pop(next(iter(self._ready)))
        until = min(_end_of(Window.WEEK, now), _end_of(Window.MONTH, now))
        ready = self._ready[wallet.id, asset] = _Ready(
            accounts, limits, now_ns, int(until.timestamp()) * SECOND_NS
        )
        return ready

    async def _level(self, accounts: _Accounts, limits: TierLimits) -> None:
        """Bring what each window has in all, used or not, to its limit."""
        for _ in range(ROUNDS_MAX):
            found = await self._look_up(accounts)
            steps = [
                step
                for window, limit in _levels(limits)
                if (step := _step(accounts, window, limit, found)) is not None
            ]
            if not steps:
                return
            results = await self._ledger.create_transfers([*steps, _count(accounts, found)])
            for result in results:
                # Of two who change the same state one is told that the other has done it.
                if result.status not in _DONE and not result.status.name.startswith(("EXISTS", "LINKED_")):
                    raise InvariantViolation(f"limits of {accounts.asset.code}: {result.status.name}")
        # A day's room that is in use cannot be taken before it comes back; until then
        # there is none left that could be used, and the next week's start looks again.

    async def _look_up(self, accounts: _Accounts) -> dict[int, Account]:
        ids = [one.id for one in accounts.to_open(UUID(int=0))]
        return {one.id: one for one in await self._ledger.lookup_accounts(ids)}

    async def _submit(self, transfers: Sequence[Transfer]) -> None:
        results = await self._ledger.create_transfers(transfers)
        for transfer, result in zip(transfers, results, strict=True):
            if result.status not in _DONE:
                raise InvariantViolation(f"limit transfer {UUID(int=transfer.id)}: {result.status.name}")


_DONE: Final = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})


def _levels(limits: TierLimits) -> Iterable[tuple[Window, int]]:
    return ((Window.DAY, limits.day), (Window.WEEK, limits.week), (Window.MONTH, limits.month))


def _refills(accounts: _Accounts, week: int, month: int) -> Iterable[Transfer]:
    for window, number in ((Window.WEEK, week), (Window.MONTH, month)):
        room, spent = accounts.room(window), accounts.spent(window)
        assert spent is not None
        yield Transfer(
            id=derive_id("limit-refill", UUID(int=room), number).int,
            debit_account_id=spent,
            credit_account_id=room,
            amount=ALL,
            ledger=limit_ledger(accounts.asset),
            code=int(TransferCode.LIMIT_REFILLED),
            flags=int(TransferFlags.BALANCING_DEBIT),
        )


def _step(accounts: _Accounts, window: Window, limit: int, found: dict[int, Account]) -> Transfer | None:
    """What brings a window nearer to its limit; None when it is there, or all that can be taken is."""
    room = found[accounts.room(window)]
    spent_id = accounts.spent(window)
    spent = found[spent_id] if spent_id is not None else None
    # What is pending in a day's room is used, and part of its level.
    level = _posted(room) + (_posted(spent) if spent is not None else 0)
    source, target, flags = accounts.pool, room.id, 0
    if level > limit:
        # From what is free first, then from what would come back with the next refill.
        source = room.id if _balance(room) > 0 or spent is None else spent.id
        target, flags = accounts.pool, int(TransferFlags.BALANCING_DEBIT)
        if _balance(found[source]) == 0:
            return None
    elif level == limit:
        return None
    changes = found[accounts.changes].credits_posted
    return Transfer(
        id=derive_id("limit-level", UUID(int=room.id), changes, limit).int,
        debit_account_id=source,
        credit_account_id=target,
        amount=abs(limit - level),
        ledger=limit_ledger(accounts.asset),
        code=int(TransferCode.LIMIT_SET),
        flags=flags | int(TransferFlags.LINKED),
    )


def _count(accounts: _Accounts, found: dict[int, Account]) -> Transfer:
    """Counts a change of levels; its id is the state's, so that each state is changed once."""
    changes = found[accounts.changes].credits_posted
    return Transfer(
        id=derive_id("limit-change", UUID(int=accounts.changes), changes).int,
        debit_account_id=accounts.pool,
        credit_account_id=accounts.changes,
        amount=1,
        ledger=limit_ledger(accounts.asset),
        code=int(TransferCode.LIMIT_SET),
    )


def _posted(account: Account) -> int:
    return account.credits_posted - account.debits_posted


def _balance(account: Account) -> int:
    return _posted(account) - account.debits_pending


def _week(now: datetime) -> int:
    # 1970 began on a Thursday.
    return (int(now.timestamp()) // DAY_SECONDS + 3) // 7


def _month(now: datetime) -> int:
    return now.year * 12 + now.month - 1


def _end_of(window: Window, now: datetime) -> datetime:
    """When a window that is in use is wholly free again, at the latest."""
    if window is Window.DAY:
        return now + timedelta(seconds=DAY_SECONDS)
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC)
    if window is Window.WEEK:
        return midnight + timedelta(days=7 - now.weekday())
    return midnight + timedelta(days=calendar.monthrange(now.year, now.month)[1] - now.day + 1)
