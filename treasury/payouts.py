"""Payouts: carries held withdrawals on, from approval to the ledger's last word.

One step looks at every open withdrawal, reads from ledger, chain tables and node how
far it is, and does what comes next. What counts as paid is a departure: a Transfer
log of one of its attempts, in a final block of our own mirror, to the letter of the
order. What counts as impossible is an order that was revoked before anything was
signed, or whose nonce is finally used without paying. Nothing else moves money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select, update

from chain.errors import ChainCode, RPCError, RPCMalformed
from chain.models import ChainAttempt, ChainOrder
from chain.order_status import OrderState, OrderStatus
from chain.orders import revoke_order
from chain.rpc import RPC
from chain.sender import Sender
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Unavailable
from ledger.interface import Ledger
from treasury.blocked_receivers import is_blocked
from treasury.breaker import breaker_trip, trip_breaker
from treasury.custody import Custody
from treasury.liquidity import why_unpayable
from treasury.models import TreasuryBookingCursor, TreasuryDeparture, TreasuryWithdrawal
from treasury.withdrawal_transfers import (
    hold_transfer_id,
    return_withdrawal,
    settle_withdrawal,
    settlement_transfer_id,
    void_transfer_id,
)

logger = structlog.get_logger()

OPEN_PER_PAGE: Final = 1_000
"""Open withdrawals looked at together; each step looks at all, page by page."""

UNPAYABLE_SECONDS_MAX: Final = 86_400
"""How long a withdrawal waits for a vault that would refuse it; then it is returned."""

UNAPPROVED_SECONDS_MAX: Final = 3 * 86_400
"""How long a withdrawal waits for officers; then it is returned, for nobody answers."""

_NEVER_SIGNED = frozenset(
    {
        ChainCode.CAP_PER_TRANSACTION_EXCEEDED,
        ChainCode.CONTRACT_NOT_ALLOWED,
        ChainCode.RECEIVER_BLOCKED_BY_SIGNER,
        ChainCode.RECEIVER_NOT_ALLOWED,
        ChainCode.ORDER_UNEXPLAINED,
        ChainCode.ORDER_REVOKED,
    }
)
"""Refusals of the signer that time does not change."""


@dataclass(slots=True)
class PayoutReport:
    """How many withdrawals one step moved, and what kept others where they are."""

    approved: int = 0
    sent: int = 0
    paid: int = 0
    returned: int = 0
    waiting: int = 0
    """On their way or held up, none of it final."""
    troubles: list[str] = field(default_factory=list)
    """What went wrong, one each; the next step tries again."""


@dataclass(frozen=True, slots=True)
class _Open:
    """An open withdrawal and how far it is."""

    row: TreasuryWithdrawal
    approved: bool
    revoked: bool
    signed: bool
    departure: TreasuryDeparture | None


async def advance_withdrawals(
    database: Database, ledger: Ledger, rpc: RPC, clock: Clock, custody: Custody, sender: Sender
) -> PayoutReport:
    """Do the next step of every open withdrawal; what stands still is told in the report.

    A dependency that does not answer holds up only what needs it. Raises
    ``InvariantViolation`` where going on could pay or return twice.
    """
    step = _Step(database, ledger, rpc, clock, custody, sender)
    await step.tend()
    after: UUID | None = None
    while page := await _open_page(database, after):
        after = page[-1].row.id
        booked = await _booked(ledger, page)
        for one in page:
            await step.advance(one, booked)
    return step.report


class _Step:
    """One pass over the open withdrawals."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        rpc: RPC,
        clock: Clock,
        custody: Custody,
        sender: Sender,
    ) -> None:
        self._database: Final = database
        self._ledger: Final = ledger
        self._rpc: Final = rpc
        self._clock: Final = clock
        self._custody: Final = custody
        self._sender: Final = sender
        self.report: Final = PayoutReport()
        self._statuses: Final[dict[UUID, OrderStatus]] = {}
        """Of the orders on their way, as they were when this step began."""

    async def tend(self) -> None:
        """Send again, or with a higher fee, what is on its way."""
        try:
            self._statuses.update({status.order_id: status for status in await self._sender.tend_lane()})
        except (Unavailable, RPCError, RPCMalformed) as error:
            self.report.troubles.append(str(error))

    async def advance(self, one: _Open, booked: set[int]) -> None:
        """The next step of one withdrawal; ``booked`` are the transfers that the ledger has."""
        row = one.row
        # Settled or returned, and the process died before it wrote that down.
        if {settlement_transfer_id(row.id).int, void_transfer_id(row.id).int} & booked:
            await self._close(row.id)
            return
        # Nothing is held: the client's retry will do it, or nobody.
        if hold_transfer_id(row.id).int not in booked:
            return
        try:
            if one.departure is not None:
                await settle_withdrawal(self._ledger, row)
                # Dies here: posted; the next step finds the settlement and closes.
                await self._close(row.id)
                self.report.paid += 1
            elif one.signed:
                await self._look_after(row)
            elif one.revoked:
                await self._return_unsigned(row)
            elif await self._may_be_sent(one):
                await self._send(row)
        except (Unavailable, RPCError, RPCMalformed) as error:
            self._wait(str(error))

    async def _may_be_sent(self, one: _Open) -> bool:
        """Approve it, unless withdrawals are stopped or the vault would refuse it."""
        row = one.row
        async with self._database.session() as session:
            if await breaker_trip(session, self._custody.chain_id) is not None:
                self._wait("withdrawals are stopped")
                return False
            blocked = await is_blocked(session, row.to_address)
            if not one.approved and not blocked:
                await session.execute(
                    update(ChainOrder)
                    .where(ChainOrder.id == row.id, ChainOrder.approved_at.is_(None))
                    .values(approved_at=self._clock.now())
                )
                self.report.approved += 1
        if blocked:
            # Blocked since it was asked for. Nothing is signed: the money goes back.
            await self._return_unsigned(row)
            return False
        # Dies here: approved; the next step sends it.
        if not await self._signer_would_sign(row):
            return False
        unpayable = await why_unpayable(
            self._database, self._rpc, self._custody, row, sender=await self._sender.address()
        )
        if unpayable is None:
            return True
        patience = UNPAYABLE_SECONDS_MAX
        if row.awaits_officers_since is not None:
            # The time that officers took is not the vault's.
            patience += UNAPPROVED_SECONDS_MAX
        if self._clock.now() - row.created_at >= timedelta(seconds=patience):
            await self._return_unsigned(row)
        else:
            self._wait(unpayable)
        return False

    async def _signer_would_sign(self, row: TreasuryWithdrawal) -> bool:
        """Ask the signer before a nonce is given, so that what waits for officers takes none."""
        try:
            await self._sender.check(row.id)
        except Refusal as refusal:
            await self._refused(row, refusal)
            return False
        return True

    async def _send(self, row: TreasuryWithdrawal) -> None:
        try:
            await self._sender.send(row.id)
        except Refusal as refusal:
            await self._refused(row, refusal)
        else:
            self.report.sent += 1

    async def _refused(self, row: TreasuryWithdrawal, refusal: Refusal) -> None:
        """What the signer refuses waits, or goes back if time does not change it."""
        if refusal.code is ChainCode.APPROVALS_MISSING:
            since = row.awaits_officers_since
            if since is None:
                await self._await_officers(row)
            elif self._clock.now() - since >= timedelta(seconds=UNAPPROVED_SECONDS_MAX):
                await self._return_unsigned(row)
                return
            self._wait(str(refusal))
        elif refusal.code in _NEVER_SIGNED:
            logger.warning("payout refused", withdrawal_id=str(row.id), code=str(refusal.code))
            await self._return_unsigned(row)
        else:
            self._wait(str(refusal))

    async def _await_officers(self, row: TreasuryWithdrawal) -> None:
        """Put it on the officers' list; said again, the first time stays."""
        logger.info("withdrawal awaits officers", withdrawal_id=str(row.id))
        async with self._database.session() as session:
            await session.execute(
                update(TreasuryWithdrawal)
                .where(TreasuryWithdrawal.id == row.id, TreasuryWithdrawal.awaits_officers_since.is_(None))
                .values(awaits_officers_since=self._clock.now())
            )

    async def _look_after(self, row: TreasuryWithdrawal) -> None:
        """A withdrawal that is signed: returned if it can never pay, else waited for."""
        status = self._statuses.get(row.id) or await self._sender.status(row.id)
        if status.state.never_pays:
            await return_withdrawal(self._ledger, row)
            # Dies here: returned; the next step finds the void and closes.
            await self._close(row.id)
            self.report.returned += 1
            return
        self._wait(status.trouble)
        if status.state is OrderState.SUCCEEDED and status.block_number is not None:
            await self._expect_departure(row, status.block_number)

    async def _return_unsigned(self, row: TreasuryWithdrawal) -> None:
        """Return what nothing is signed for, once nothing can be signed for it any more."""
        async with self._database.session() as session:
            revoked = await revoke_order(session, self._clock, row.id)
        if not revoked:
            self._wait("a nonce was given: the chain decides")
            return
        # Dies here: revoked; the next step comes here again and gives the money back.
        await return_withdrawal(self._ledger, row)
        await self._close(row.id)
        self.report.returned += 1

    async def _expect_departure(self, row: TreasuryWithdrawal, block_number: int) -> None:
        """A success in a block that is written down has left a departure, or the books are not one."""
        async with self._database.session() as session:
            token = self._custody_token(row)
            cursor = await session.get(TreasuryBookingCursor, (self._custody.chain_id, token))
            if cursor is None or cursor.booked_number < block_number:
                return
            departure = select(TreasuryDeparture).where(TreasuryDeparture.order_id == row.id)
            if await session.scalar(departure) is None:
                reason = f"withdrawal {row.id} succeeded in block {block_number} and left no transfer"
                await trip_breaker(session, self._clock, self._custody.chain_id, reason=reason)

    def _custody_token(self, row: TreasuryWithdrawal) -> str:
        return next(token.address for token in self._custody.tokens if token.asset.code == row.asset)

    def _wait(self, trouble: str | None) -> None:
        self.report.waiting += 1
        if trouble is not None:
            self.report.troubles.append(trouble)

    async def _close(self, withdrawal: UUID) -> None:
        async with self._database.session() as session:
            await session.execute(
                update(TreasuryWithdrawal)
                .where(TreasuryWithdrawal.id == withdrawal, TreasuryWithdrawal.closed_at.is_(None))
                .values(closed_at=self._clock.now())
            )


async def _open_page(database: Database, after: UUID | None) -> list[_Open]:
    async with database.session() as session:
        query = (
            select(TreasuryWithdrawal, ChainOrder)
            .join(ChainOrder, ChainOrder.id == TreasuryWithdrawal.id)
            .where(TreasuryWithdrawal.closed_at.is_(None))
            .order_by(TreasuryWithdrawal.id)
            .limit(OPEN_PER_PAGE)
        )
        if after is not None:
            query = query.where(TreasuryWithdrawal.id > after)
        rows = (await session.execute(query)).all()
        ids = [row.TreasuryWithdrawal.id for row in rows]
        signed = set(
            await session.scalars(select(ChainAttempt.order_id).where(ChainAttempt.order_id.in_(ids)))
        )
        departures = await session.scalars(
            select(TreasuryDeparture).where(TreasuryDeparture.order_id.in_(ids))
        )
        left = {departure.order_id: departure for departure in departures}
    return [
        _Open(
            row=row.TreasuryWithdrawal,
            approved=row.ChainOrder.approved_at is not None,
            revoked=row.ChainOrder.revoked_at is not None,
            signed=row.ChainOrder.id in signed,
            departure=left.get(row.ChainOrder.id),
        )
        for row in rows
    ]


async def _booked(ledger: Ledger, page: Sequence[_Open]) -> set[int]:
    ids = [
        transfer.int
        for one in page
        for transfer in (
            hold_transfer_id(one.row.id),
            settlement_transfer_id(one.row.id),
            void_transfer_id(one.row.id),
        )
    ]
    return {transfer.id for transfer in await ledger.lookup_transfers(ids)}
