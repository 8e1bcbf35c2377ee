"""Payouts: carries held withdrawals on, from approval to the ledger's last word.

One step looks at every open withdrawal, reads from ledger, chain tables and node how
far it is, and does what comes next. What may be sent goes together where that is
cheaper (treasury.payout_batches). What counts as paid is a departure: a Transfer
log of one of its attempts, in a final block of our own mirror, to the letter of the
order. What counts as impossible is an order that was revoked before anything was
signed, or whose nonce is finally used without paying. Nothing else moves money.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import update

from chain.errors import ChainCode, RPCError, RPCMalformed
from chain.models import ChainOrder
from chain.order_status import OrderState, OrderStatus
from chain.orders import revoke_order
from chain.rpc import RPC
from chain.sender import Sender
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Unavailable
from ledger.interface import Ledger
from treasury.breaker import breaker_trip, trip_breaker
from treasury.custody import Custody
from treasury.liquidity import why_unpayable
from treasury.models import TreasuryWithdrawal
from treasury.open_withdrawals import OpenWithdrawal, booked_transfers, open_page
from treasury.payout_batches import grouped, has_left_nothing, members_count, write_payout_batch
from treasury.withdrawal_admission import admit_withdrawal
from treasury.withdrawal_checks import may_be_paid
from treasury.withdrawal_transfers import (
    hold_transfer_id,
    return_withdrawal,
    settle_withdrawal,
    settlement_transfer_id,
    void_transfer_id,
)
from treasury.young_funds import give_room_back

logger = structlog.get_logger()

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

_BATCH_WAITS = frozenset({ChainCode.FEE_ABOVE_CAP, ChainCode.NONCE_MISMATCH})
"""Refusals of a batch that its members would not be spared alone: they pass for all together."""


@dataclass(slots=True)
class PayoutReport:
    """How many withdrawals one step moved, and what kept others where they are."""

    approved: int = 0
    sent: int = 0
    batches: int = 0
    """Transactions that carried several of those that were sent."""
    paid: int = 0
    returned: int = 0
    waiting: int = 0
    """On their way or held up, none of it final."""
    troubles: list[str] = field(default_factory=list)
    """What went wrong, one each; the next step tries again."""


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
    while page := await open_page(database, after):
        after = page[-1].row.id
        booked = await booked_transfers(ledger, page)
        for one in page:
            await step.advance(one, booked)
        await step.send_ready()
    await step.send_unsigned_batches()
    return step.report


class _Step:
    """One pass over the open withdrawals."""

    def __init__(
        self, database: Database, ledger: Ledger, rpc: RPC, clock: Clock, custody: Custody, sender: Sender
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
        self._ready: list[OpenWithdrawal] = []
        """What may be sent now, in the order in which it was asked for."""
        self._of_batch: Final[defaultdict[UUID, list[OpenWithdrawal]]] = defaultdict(list)
        """The same of those that go in a batch which is written and not signed, batch by batch."""
        self._unsound: Final[set[UUID]] = set()
        """Such batches of which a member may not be sent now."""

    async def tend(self) -> None:
        """Send again, or with a higher fee, what is on its way."""
        try:
            self._statuses.update({status.order_id: status for status in await self._sender.tend_lane()})
        except (Unavailable, RPCError, RPCMalformed) as error:
            self.report.troubles.append(str(error))

    async def advance(self, one: OpenWithdrawal, booked: set[int]) -> None:
        """The next step of one withdrawal; ``booked`` are the transfers that the ledger has."""
        row = one.row
        is_returned = void_transfer_id(row.id).int in booked
        try:
            # Settled or returned, and the process died before it wrote that down.
            if is_returned or settlement_transfer_id(row.id).int in booked:
                if is_returned:
                    await give_room_back(self._ledger, row)
                await self._close(row.id)
            # Nothing is held: the client's retry will do it, or nobody.
            elif hold_transfer_id(row.id).int not in booked:
                return
            elif one.departure is not None:
                await settle_withdrawal(self._ledger, row)
                # Dies here: posted; the next step finds the settlement and closes.
                await self._close(row.id)
                self.report.paid += 1
            elif one.signed:
                await self._look_after(one)
            elif one.revoked:
                await self._return_unsigned(row)
            elif not one.approved and not await self._is_admitted(row):
                # No room: its money went back there, and nothing of it is left to send.
                return
            elif not await self._may_be_sent(one):
                if one.batch_id is not None:
                    self._unsound.add(one.batch_id)
            elif one.batch_id is not None:
                self._of_batch[one.batch_id].append(one)
            else:
                self._ready.append(one)
        except (Unavailable, RPCError, RPCMalformed) as error:
            self._wait(str(error))

    async def send_ready(self) -> None:
        """Send what may be sent, together where that is cheaper."""
        ready, self._ready = self._ready, []
        for group in grouped(ready):
            try:
                if len(group) == 1:
                    await self._send(group[0].row)
                else:
                    await self._send_together(group)
            except (Unavailable, RPCError, RPCMalformed) as error:
                self._wait(str(error), count=len(group))

    async def _send_together(self, group: Sequence[OpenWithdrawal]) -> None:
        async with self._database.session() as session:
            batch_id = await write_payout_batch(session, self._clock, self._custody, group)
        if batch_id is None:
            self._wait("one of a batch was stopped, or sent alone, meanwhile", count=len(group))
            return
        # Dies here: a batch that nothing was signed for; the next step finds it by its
        # members and sends it, or dissolves it.
        await self._send_batch(batch_id, len(group))

    async def send_unsigned_batches(self) -> None:
        """Carry on what an earlier step wrote and could not send: whole, or each member alone."""
        for batch_id in self._of_batch.keys() | self._unsound:
            ready = len(self._of_batch[batch_id])
            try:
                async with self._database.session() as session:
                    count = await members_count(session, batch_id)
                if batch_id in self._unsound and await self._dissolve(batch_id):
                    self._wait("its batch was dissolved", count=ready)
                # One that cannot be dissolved has a nonce, with which it may have been signed:
                # whoever wants the next nonce would have to settle it first in any case.
                elif batch_id in self._unsound or ready == count:
                    await self._send_batch(batch_id, ready)
                else:
                    self._wait("another of its batch waits", count=ready)
            except (Unavailable, RPCError, RPCMalformed) as error:
                self._wait(str(error), count=ready)

    async def _send_batch(self, batch_id: UUID, count: int) -> None:
        """Have a batch sent; ``count`` is of the members that this step has not told of yet."""
        try:
            await self._sender.send(batch_id)
        except Refusal as refusal:
            logger.warning("batch refused", batch_id=str(batch_id), code=str(refusal.code))
            signed = refusal.data.get("signed_before", True)
            if refusal.code not in _BATCH_WAITS and not signed:
                # Alone each is decided by itself: paid, waiting, or given back.
                await self._dissolve(batch_id)
            self._wait(str(refusal), count=count)
        else:
            self.report.sent += count
            self.report.batches += 1

    async def _dissolve(self, batch_id: UUID) -> bool:
        """Have a batch never signed, so that its members go alone; false if that comes too late."""
        async with self._database.session() as session:
            return await revoke_order(session, self._clock, batch_id)

    async def _is_admitted(self, row: TreasuryWithdrawal) -> bool:
        """Take the room that it needs, unless the request has; without room its money goes back."""
        refusal = await admit_withdrawal(self._database, self._ledger, self._clock, row)
        if refusal is None:
            return True
        logger.info("withdrawal not admitted", withdrawal_id=str(row.id), code=str(refusal.code))
        await self._return_unsigned(row)
        return False

    async def _may_be_sent(self, one: OpenWithdrawal) -> bool:
        """Approve it, unless withdrawals are stopped or the vault would refuse it."""
        row = one.row
        async with self._database.session() as session:
            if await breaker_trip(session, self._custody.chain_id) is not None:
                self._wait("withdrawals are stopped")
                return False
            blocked = not await may_be_paid(session, row.to_address)
            if not one.approved and not blocked:
                await session.execute(
                    update(ChainOrder)
                    .where(ChainOrder.id == row.id, ChainOrder.approved_at.is_(None))
                    .values(approved_at=self._clock.now())
                )
                self.report.approved += 1
        if blocked:
            # Blocked, or ours, since it was asked for. Nothing is signed: the money goes back.
            await self._return_unsigned(row)
            return False
        # Dies here: approved; the next step sends it.
        # Of a member the signer says only that it goes in a batch: it is asked for that.
        if one.batch_id is None and not await self._signer_would_sign(row):
            return False
        unpayable = await why_unpayable(
            self._database,
            self._rpc,
            self._custody,
            row,
            sender=await self._sender.address(),
            beside=self._about_to_be_sent(),
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

    def _about_to_be_sent(self) -> list[UUID]:
        """What this step has found ready and not sent yet."""
        batched = (one for members in self._of_batch.values() for one in members)
        return [one.row.id for one in (*self._ready, *batched)]

    async def _signer_would_sign(self, row: TreasuryWithdrawal) -> bool:
        """Ask the signer before a nonce is given, so that what waits for officers takes none."""
        try:
            signed = await self._sender.check(row.id)
        except Refusal as refusal:
            signed = refusal.data.get("signed_before", False) is True
            if not signed:
                await self._refused(row, refusal)
                return False
        if signed:
            # A restored database has forgotten it. The sender takes it in from the signer's log.
            await self._send(row)
        return not signed

    async def _send(self, row: TreasuryWithdrawal) -> None:
        try:
            await self._sender.send(row.id)
        except Refusal as refusal:
            await self._refused(row, refusal)
        else:
            self.report.sent += 1

    async def _refused(self, row: TreasuryWithdrawal, refusal: Refusal) -> None:
        """What the signer refuses waits, or goes back if time does not change it."""
        if refusal.data.get("signed_before", False):
            # It was signed, and our tables cannot take that in: nothing is given back for it.
            self._wait(str(refusal))
        elif refusal.code is ChainCode.APPROVALS_MISSING:
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

    async def _look_after(self, one: OpenWithdrawal) -> None:
        """A withdrawal that is signed: returned if it can never pay, else waited for."""
        sent_as = one.batch_id or one.row.id
        status = self._statuses.get(sent_as) or await self._sender.status(sent_as)
        if one.batch_id is not None and status.state.is_final:
            await self._end_with_batch(one, status)
        elif status.state.never_pays:
            await self._return(one.row)
        elif status.state is OrderState.SUCCEEDED and await self._left_nothing(one, status):
            # A success in a block that is written down has left a departure, or the books are not one.
            await self._trip(
                f"withdrawal {one.row.id} succeeded in block {status.block_number} and left no transfer"
            )
        else:
            self._wait(status.trouble)

    async def _end_with_batch(self, one: OpenWithdrawal, batch: OrderStatus) -> None:
        """Return what its batch did not pay, once the books and the vault both say so."""
        if batch.state is not OrderState.DISPLACED and not await self._left_nothing(one, batch):
            # Not written down yet, or paid: then the next step finds the departure.
            self._wait(None)
        elif (member := await self._sender.status(one.row.id)).state.never_pays:
            # It is never paid later: its nonce is used, and the signer's log says for ever
            # that it was signed in this batch. So this is its one end.
            logger.info("not paid by its batch", withdrawal_id=str(one.row.id), batch_id=str(one.batch_id))
            await self._return(one.row)
        elif member.state.is_final:
            await self._trip(f"withdrawal {one.row.id} was paid by its batch and left no transfer")
        else:
            # The second endpoint does not say so yet, or says something else.
            self._wait(member.trouble)

    async def _left_nothing(self, one: OpenWithdrawal, sent: OrderStatus) -> bool:
        async with self._database.session() as session:
            return await has_left_nothing(
                session, self._custody, token=one.token, order_id=one.row.id, sent=sent
            )

    async def _return(self, row: TreasuryWithdrawal) -> None:
        await return_withdrawal(self._ledger, row)
        # Dies here: returned; the next step finds the void, gives the room back and closes.
        await give_room_back(self._ledger, row)
        await self._close(row.id)
        self.report.returned += 1

    async def _return_unsigned(self, row: TreasuryWithdrawal) -> None:
        """Return what nothing is signed for, once nothing can be signed for it any more."""
        # A database that was restored from before a signature knows nothing of it; the log
        # of the signer does. What is signed after this question has a nonce or goes in a batch.
        try:
            signed = await self._sender.check(row.id)
        except Refusal as refusal:
            signed = bool(refusal.data.get("signed_before", False))
        if signed:
            await self._send(row)
            return
        async with self._database.session() as session:
            revoked = await revoke_order(session, self._clock, row.id)
        if not revoked:
            self._wait("it has a nonce, or goes in a batch: the chain decides")
            return
        # Dies here: revoked; the next step comes here again and gives the money back.
        await self._return(row)

    async def _trip(self, reason: str) -> None:
        async with self._database.session() as session:
            await trip_breaker(session, self._clock, self._custody.chain_id, reason=reason)
        self._wait(reason)

    def _wait(self, trouble: str | None, *, count: int = 1) -> None:
        self.report.waiting += count
        if trouble is not None:
            self.report.troubles.append(trouble)

    async def _close(self, withdrawal: UUID) -> None:
        async with self._database.session() as session:
            await session.execute(
                update(TreasuryWithdrawal)
                .where(TreasuryWithdrawal.id == withdrawal, TreasuryWithdrawal.closed_at.is_(None))
                .values(closed_at=self._clock.now())
            )
