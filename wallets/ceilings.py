"""Ceilings: how much a wallet may hold, as an account that payments to it use up.

A wallet whose tier has a ceiling has for each asset it is paid in a gate: an account in
the asset's ledger of limits, whose room is what may still come in by payments. Nothing
is added to a payment for it. The transfer by which it takes its payer's room of the day
has two sides, and its other side is the payee's gate: it fits both or there is no
payment, however many come at once.

That transfer ends by itself after a day, and the gate's room comes back though the
money may still be there. So a gate is never opened for more than the ceiling has left
after the balance and after all that may come back meanwhile:

    balance + room + what may come back <= ceiling

Payments keep this true, money that leaves makes it safer. What comes in otherwise
(deposits, what is given back) is never refused and not counted by the gate: each process
looks again at a wallet's balance after a minute at most, and sets the gate by it. Two who
see one state of a gate change it once: a change's id is that state.

If this process dies anywhere in here, a gate is open as far as it came, for no more than
it may be; the next payment to that wallet completes it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from foundation.assets import Asset
from foundation.clock import SECOND_NS, Clock
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import derive_id, derive_ids
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, limit_ledger, open_accounts
from ledger.contract import (
    Account,
    AccountFilter,
    AccountFilterFlags,
    AccountFlags,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)
from ledger.interface import Ledger
from wallets.errors import WalletCode
from wallets.tiers import CEILINGS
from wallets.wallets import Wallet, wallet_account

DAY_SECONDS: Final = 86_400
"""How long a payment takes room of a gate."""

LOOKED_SECONDS: Final = 60
"""How long a process believes what it saw of a wallet's balance."""

COMING_BACK_SECONDS: Final = 180
"""How far ahead it is counted what comes back, where it is counted exactly: well beyond the
time between a look and the last decision on a payment that was sent by it."""

LOOKED_AT_ONCE: Final = 4_000
"""Wallets looked at in one question; each is two accounts, and a question has 8,189."""

KNOWN_MAX: Final = 200_000
"""Gates that this process remembers."""

ROUNDS_MAX: Final = 5
"""Looks at a gate until it is right; others may be setting it too."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a wallet may hold, and how much more of it may come in by payments."""

    limit: Money
    left: Money


@dataclass(slots=True)
class _Seen:
    """What this process knows of a gate."""

    ceiling: int
    since_ns: int
    room: int
    """What is left for this process to send payments by without another look."""


class Ceilings:
    """The gates of wallets, as one process sees them."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._seen: dict[tuple[UUID, Asset], _Seen] = {}

    async def gate(self, payee: Wallet, amount: Money) -> int | None:
        """The account through which ``amount`` comes in, opened for it as far as it may be.

        None for a wallet without a ceiling. Whether it fits is the ledger's word.
        """
        ceiling = CEILINGS[payee.tier].get(amount.asset)
        if ceiling is None:
            return None
        gate = _gate_id(payee.id, amount.asset)
        known, now_ns = self._seen.get((payee.id, amount.asset)), self._clock.now_ns()
        if (
            known is None
            or known.ceiling != ceiling
            or not known.since_ns <= now_ns < known.since_ns + LOOKED_SECONDS * SECOND_NS
            or known.room < amount.minor
        ):
            room = await self._level(payee.id, amount, ceiling, now_ns)
            if len(self._seen) >= KNOWN_MAX:
                self._seen.pop(next(iter(self._seen)))
            # Half of it: others send payments by the same gate.
            known = self._seen[payee.id, amount.asset] = _Seen(ceiling, now_ns, room // 2)
        known.room -= amount.minor
        return gate

    async def gates(self, wanted: Mapping[UUID, tuple[int, int]], asset: Asset) -> dict[UUID, int]:
        """``gate`` of many wallets at once; for each the sum of what comes in, and its ceiling."""
        wallets = list(wanted)
        for start in range(0, len(wallets), LOOKED_AT_ONCE):
            part = wallets[start : start + LOOKED_AT_ONCE]
            await self._level_together({wallet_id: wanted[wallet_id] for wallet_id in part}, asset)
        return {wallet_id: _gate_id(wallet_id, asset) for wallet_id in wallets}

    async def ceiling(self, wallet: Wallet, asset: Asset) -> Ceiling | None:
        """What the wallet may hold, and what is left under it now; None without a ceiling."""
        limit = CEILINGS[wallet.tier].get(asset)
        if limit is None:
            return None
        found = await self._ledger.lookup_accounts([wallet_account(wallet.id, asset)])
        left = limit - sum(_balance(account) for account in found)
        return Ceiling(Money(limit, asset), Money(max(0, left), asset))

    async def _level_together(self, wanted: Mapping[UUID, tuple[int, int]], asset: Asset) -> None:
        """Set gates by one look at all of them; ``wanted`` is the sum that comes in, and the ceiling."""
        gates = {wallet_id: gate_account(wallet_id, asset) for wallet_id in wanted}
        accounts = {wallet_id: wallet_account(wallet_id, asset) for wallet_id in wanted}
        ids = [gate.id for gate in gates.values()] + list(accounts.values())
        found = {one.id: one for one in await self._ledger.lookup_accounts(ids)}
        missing = [gate for gate in gates.values() if gate.id not in found]
        if missing:
            await open_accounts(self._ledger, [gate_pool(asset), *missing])
        steps, near = [], []
        for wallet_id, (amount, ceiling) in wanted.items():
            state = found.get(gates[wallet_id].id, gates[wallet_id])
            account = found.get(accounts[wallet_id])
            most = ceiling - (_balance(account) if account is not None else 0) - state.credits_pending
            if most < amount:
                near.append(wallet_id)
            elif not amount <= _room(state) <= most:
                steps.append(_step(asset, state, max(amount, most // 2) - _room(state)))
        # What somebody else has set meanwhile is as right as this.
        for result in await self._ledger.create_transfers(steps) if steps else []:
            if result.status not in _DONE and not result.status.name.startswith("EXISTS_"):
                raise InvariantViolation(f"gates of {asset.code}: {result.status.name}")
        for wallet_id in near:
            amount, ceiling = wanted[wallet_id]
            await self._level(wallet_id, Money(amount, asset), ceiling, self._clock.now_ns())

    async def _level(self, wallet_id: UUID, wanted: Money, ceiling: int, now_ns: int) -> int:
        """Set a gate's room by the wallet's balance; the room that it has then."""
        gate, account = gate_account(wallet_id, wanted.asset), wallet_account(wallet_id, wanted.asset)
        room = 0
        for _ in range(ROUNDS_MAX):
            # Both at one instant: what comes in after it takes of the room what it adds
            # to the balance.
            found = {one.id: one for one in await self._ledger.lookup_accounts([gate.id, account])}
            if gate.id not in found:
                await open_accounts(self._ledger, [gate_pool(wanted.asset), gate])
                continue
            state = found[gate.id]
            held = _balance(found[account]) if account in found else 0
            room = _room(state)
            most = ceiling - held - state.credits_pending
            if wanted.minor <= room <= most:
                return room
            # Half of what may be: the next payments then change nothing.
            target = max(wanted.minor, most // 2)
            if most < wanted.minor:
                # Near the ceiling it is worth asking how much really comes back soon.
                most = ceiling - held - await self._coming_back(gate.id, now_ns)
                target = max(0, most)
            if target == room:
                return room
            (result,) = await self._ledger.create_transfers([_step(wanted.asset, state, target - room)])
            if result.status not in _DONE and not result.status.name.startswith("EXISTS_"):
                raise InvariantViolation(f"gate {UUID(int=gate.id)}: {result.status.name}")
        return room

    async def _coming_back(self, gate: int, now_ns: int) -> int:
        """How much of a gate's room comes back within the next minutes."""
        # A little more than a day ago: what is over may not have been taken out yet.
        begun = now_ns - (DAY_SECONDS + COMING_BACK_SECONDS) * SECOND_NS
        ends = now_ns - (DAY_SECONDS - COMING_BACK_SECONDS) * SECOND_NS
        transfers = await self._ledger.get_account_transfers(
            AccountFilter(
                account_id=gate,
                timestamp_min=max(1, begun),
                timestamp_max=max(1, ends),
                flags=int(AccountFilterFlags.CREDITS),
            )
        )
        return sum(one.amount for one in transfers if one.flags & int(TransferFlags.PENDING))


@functools.lru_cache(maxsize=KNOWN_MAX)
def _gate_id(wallet_id: UUID, asset: Asset) -> int:
    return derive_id("ceiling-gate", wallet_id, asset.code).int


def gate_account(wallet_id: UUID, asset: Asset) -> Account:
    """The gate of a wallet: what comes in through it never exceeds what it is opened for."""
    return Account(
        id=_gate_id(wallet_id, asset),
        ledger=limit_ledger(asset),
        code=int(AccountCode.LIMIT),
        flags=int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS),
        user_data_128=wallet_id.int,
    )


def gate_pool(asset: Asset) -> Account:
    """The other side of gates in an asset; it is bounded by nothing."""
    return Account(
        id=derive_id("ceiling-pool", asset.code).int,
        ledger=limit_ledger(asset),
        code=int(AccountCode.LIMIT_POOL),
    )


def gate_use_ids(payment_ids: Sequence[UUID]) -> list[UUID]:
    """Ids of the transfers by which payments come in by a gate alone."""
    return derive_ids("ceiling-use", lasts=payment_ids)


def gate_use(payment_id: UUID, amount: Money, gate: int) -> Transfer:
    """Comes in by a gate alone, for a payment whose payer takes no room by itself."""
    return Transfer(
        id=gate_use_ids([payment_id])[0].int,
        debit_account_id=gate_pool(amount.asset).id,
        credit_account_id=gate,
        amount=amount.minor,
        timeout=DAY_SECONDS,
        ledger=limit_ledger(amount.asset),
        code=int(TransferCode.LIMIT_USED),
        flags=int(TransferFlags.PENDING),
    )


def ceiling_refusal(asset: Asset) -> Refusal:
    """Why a payment does not come in; how much the payee holds or may hold is not said."""
    return Refusal(
        WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED,
        "The payee's wallet would hold more than it may.",
        asset=asset.code,
    )


_DONE: Final = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})


def _step(asset: Asset, state: Account, by: int) -> Transfer:
    """Opens a gate further, or closes it as far as it is not used."""
    pool = gate_pool(asset).id
    debit, credit = (state.id, pool) if by > 0 else (pool, state.id)
    return Transfer(
        id=derive_id("ceiling-level", UUID(int=state.id), state.debits_posted, state.credits_posted).int,
        debit_account_id=debit,
        credit_account_id=credit,
        amount=abs(by),
        ledger=limit_ledger(asset),
        code=int(TransferCode.LIMIT_SET),
        flags=0 if by > 0 else int(TransferFlags.BALANCING_CREDIT),
    )


def _room(gate: Account) -> int:
    """What may still come in by a gate."""
    return gate.debits_posted - gate.credits_posted - gate.credits_pending


def _balance(account: Account) -> int:
    """What is there and not held for anything."""
    return account.credits_posted - account.debits_posted - account.debits_pending
