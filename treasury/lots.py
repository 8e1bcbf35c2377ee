"""Lots: how long an account has held what a withdrawal takes, read from the ledger alone.

Every credit of an account is a lot, and what leaves takes the oldest first, whatever it
leaves as. So a unit of money has a place in the row of all units that ever came in: the
units before it are the account's posted credits when it came, and those that have left
are the first ones, as many as the account's debits. A withdrawal's hold takes the
places from the debits before it to the debits after it, both of which the journal has
for ever; the credits that an account had 30 days before say where young money begins.
Nothing is stored and nobody walks along lots, and any process that asks again gets the
same answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from foundation.clock import SECOND_NS
from foundation.errors import InvariantViolation
from ledger.chart import TransferCode
from ledger.contract import BATCH_MAX, AccountFilter, AccountFilterFlags
from ledger.interface import Ledger
from ledger.queries.questions import BalancesAsOf

HOLDING: Final = timedelta(days=30)
"""How long money must have been held to be old; at exactly this age it is."""

HOLDING_NS: Final = int(HOLDING.total_seconds()) * SECOND_NS
"""The same in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Span:
    """Places in the row of all units that ever came into an account."""

    start: int
    """The first place that is taken: as many units left before."""
    end: int
    """The first place that is not."""
    at_ns: int
    """When they are taken, in the ledger's time."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a span is made of, in minor units; what is neither is old, or was given back by the bank."""

    young: int
    """Held for less than ``HOLDING``."""
    passing: int
    """Held for less too, and deposited on chain as the very token that leaves."""


async def span_of_hold(ledger: Ledger, *, account_id: int, hold_id: int) -> Span:
    """The places that a pending transfer took, out of the account's own counters after it."""
    (hold,) = await ledger.lookup_transfers([hold_id])
    (after,) = await ledger.get_account_balances(
        AccountFilter(account_id=account_id, timestamp_min=hold.timestamp, timestamp_max=hold.timestamp)
    )
    # What other holds have set aside counts as gone. Should one be given back, what was
    # decided after it stays decided, and the next one finds older money again.
    end = after.debits_posted + after.debits_pending
    return Span(end - hold.amount, end, hold.timestamp)


async def span_of_next(ledger: Ledger, *, account_id: int, amount: int, at_ns: int) -> Span:
    """The places that ``amount`` would take if it left now."""
    found = await ledger.get_snapshot([account_id])
    start = sum(account.debits_posted + account.debits_pending for account in found.accounts)
    # The ledger's newest entry may be of a moment that this process' clock has not reached.
    return Span(start, start + amount, max(at_ns, found.timestamp))


async def parts_of(ledger: Ledger, *, account_id: int, span: Span, passes_through: bool) -> Parts:
    """What of a span is young; ``passes_through`` says whether deposits of its asset are set apart."""
    page = await ledger.get_balances_as_of(
        BalancesAsOf(timestamp=span.at_ns - HOLDING_NS, account_ids=(account_id,))
    )
    # An account that is younger than that had nothing.
    start = max([span.start, *(account.credits_posted for account in page.accounts)])
    if start >= span.end:
        return Parts(0, 0)
    given_back = [place async for place in _credited(ledger, account_id, span.at_ns, TransferCode.CORRECTION)]
    deposited = (
        [place async for place in _credited(ledger, account_id, span.at_ns, TransferCode.DEPOSIT)]
        if passes_through
        else []
    )
    passing = sum(_common(start, span.end, *place) for place in deposited)
    # What the bank gives back, such as a payment that the chain lost, is no new money.
    old = sum(_common(start, span.end, *place) for place in given_back)
    return Parts(span.end - start - passing - old, passing)


async def _credited(
    ledger: Ledger, account_id: int, at_ns: int, code: TransferCode
) -> AsyncIterator[tuple[int, int]]:
    """The places of young credits of one kind, oldest first."""
    since = at_ns - HOLDING_NS + 1
    while True:
        asked = AccountFilter(
            account_id=account_id,
            code=int(code),
            timestamp_min=since,
            timestamp_max=at_ns,
            limit=BATCH_MAX,
            flags=int(AccountFilterFlags.CREDITS),
        )
        transfers = await ledger.get_account_transfers(asked)
        balances = {each.timestamp: each for each in await ledger.get_account_balances(asked)}
        for transfer in transfers:
            after = balances.get(transfer.timestamp)
            if after is None:
                raise InvariantViolation(f"transfer {transfer.id} has no balance in its account's history")
            yield after.credits_posted - transfer.amount, after.credits_posted
        if len(transfers) < BATCH_MAX:
            return
        since = transfers[-1].timestamp + 1


def _common(start: int, end: int, other_start: int, other_end: int) -> int:
    return max(0, min(end, other_end) - max(start, other_start))
