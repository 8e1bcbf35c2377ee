"""The sender: gets approved orders mined, each once.

For an order it takes a nonce, has it signed, stores the bytes, and only then
sends them; afterwards it sends the same bytes again, or offers a higher fee with
the same nonce, until one of them is mined. Every step may be repeated after a
crash at any line: the nonce is the order's for ever, the signer gives the same
bytes again, and the chain takes a nonce once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from chain.broadcasts import Outcome, broadcast
from chain.deployments import Deployment
from chain.errors import ChainCode
from chain.fees import Fees, suggested_fees
from chain.lanes import (
    Attempt,
    Place,
    attempts_of,
    give_place,
    lock_lane,
    note_broadcast,
    places_from,
    store_attempt,
    take_back_place,
    unsigned_place,
)
from chain.order_status import OrderState, OrderStatus, confirmed, member_status, order_status
from chain.orders import Order, hold_order, read_order
from chain.recall import take_in
from chain.rpc import RPC
from chain.signer_client import SignerClient
from chain.signer_messages import RecalledAnswer
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal

logger = structlog.get_logger()

STUCK_SECONDS = 120
"""How long a transaction may wait in the pool before a higher fee is offered: ten blocks of mainnet."""


class Sender:
    """Sends the orders of one signer on one chain; any number of processes may have one."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RPC,
        signer: SignerClient,
        clock: Clock,
        deployment: Deployment,
        stuck_seconds: int = STUCK_SECONDS,
        check: RPC | None = None,
    ) -> None:
        """``check`` is a second endpoint, without whose word no order is final."""
        self._database: Final = database
        self._rpc: Final = rpc
        self._check: Final = check
        self._signer: Final = signer
        self._clock: Final = clock
        self._deployment: Final = deployment
        self._stuck_after: Final = timedelta(seconds=stuck_seconds)
        self._address: str | None = None
        # Inside a process askers queue here and not in the database: each would hold a
        # connection there while the one that has the lane needs a second.
        self._lane: Final = asyncio.Lock()

    async def address(self) -> str:
        """The address that orders are sent from: the signer's, asked once.

        Raises ``Unavailable``, and ``InvariantViolation`` if the signer signs for
        another chain or vault than ours.
        """
        if self._address is None:
            identity = await self._signer.identity()
            ours = (self._deployment.chain_id, self._deployment.genesis_hash, self._deployment.vault)
            if (identity.chain_id, identity.genesis_hash, identity.vault) != ours:
                raise InvariantViolation("the signer signs for another chain or vault than the sender's")
            self._address = identity.address
        return self._address

    async def status(self, order_id: UUID) -> OrderStatus:
        """What became of the order, whether or not the signer lives; by its batch if it goes in one.

        Where there is a second endpoint, only what both say is final. Refused as
        ``order_not_found``; raises the RPC's errors.
        """
        order, attempts = await self._read(order_id)
        if order.batch_id is None or attempts:
            ask = partial(order_status, deployment=self._deployment, order=order, attempts=attempts)
        else:
            batch = await self.status(order.batch_id)
            ask = partial(member_status, deployment=self._deployment, member=order, batch=batch)
        status = await ask(self._rpc)
        return status if self._check is None else await confirmed(status, ask, self._check)

    async def check(self, order_id: UUID) -> bool:
        """Raise what the signer would refuse the order with now, without giving it a nonce.

        A ``Refusal`` as ``send`` raises it, or ``Unavailable``. That nothing is raised
        promises nothing: the signer decides when it signs. True if the signer's log has a
        signature for it, whatever our tables say.
        """
        return await self._signer.check(order_id=order_id, chain_id=self._deployment.chain_id)

    async def send(self, order_id: UUID) -> OrderStatus:
        """Have the order on its way: sign it if nothing is signed, send it if no node is known to have it.

        Repeat it after any failure. A ``Refusal`` (of the signer, or ``order_not_found``,
        ``order_not_approved``, ``order_revoked``, ``order_in_batch``) means that nothing is signed for the
        order, unless its ``signed_before`` is true; with ``retryable`` YES the same
        order may be signed later. Raises ``Unavailable`` and the RPC's errors.
        """
        status = await self._signed_status(order_id)
        if status.state is not OrderState.SIGNED:
            return status
        # It may have turned out that it was signed in a batch, whose attempts are the ones to send.
        order, _ = await self._read(order_id)
        return (await self._broadcast_last(order.batch_id or order_id))[1]

    async def tend(self, order_id: UUID) -> OrderStatus:
        """Help an order along that is not final: send it again if no node has it, bump it if it is stuck.

        Call it now and then until the state is final. Raises as ``send`` does.
        """
        status = await self._signed_status(order_id)
        if status.state not in {OrderState.SIGNED, OrderState.BROADCAST}:
            return status
        _, attempts = await self._read(order_id)
        # The last attempt is the one that must be there: a replacement whose answer was
        # lost may never have arrived, while an older one waits on.
        if not await self._known_hashes(attempts[-1:]):
            outcome, status = await self._broadcast_last(order_id)
            if outcome is not Outcome.UNDERPRICED:
                return status
        if self._clock.now() - attempts[-1].created_at >= self._stuck_after:
            return await self._replace(order_id)
        return status

    async def tend_lane(self) -> list[OrderStatus]:
        """Help along every order that has a nonce and is not final, lowest nonce first.

        A lane moves in order, so one that is left behind holds up all that follow. An
        order that is refused or meets trouble does not keep the others from their turn.
        """
        address = await self.address()
        calls = [("eth_getTransactionCount", (address, "finalized"))]
        first = int((await self._rpc.read(calls, str))[0], 16)
        async with self._database.session() as session:
            places = await places_from(session, address, first)
        statuses = []
        for place in places:
            try:
                statuses.append(await self.tend(place.order_id))
            except Refusal as refusal:
                logger.warning("order refused", order_id=str(place.order_id), code=str(refusal.code))
        return statuses

    async def _read(self, order_id: UUID) -> tuple[Order, list[Attempt]]:
        async with self._database.session() as session:
            order = await read_order(session, order_id)
            if order is None:
                raise Refusal(ChainCode.ORDER_NOT_FOUND, "There is no such order.", order_id=str(order_id))
            return order, await attempts_of(session, order_id)

    async def _signed_status(self, order_id: UUID) -> OrderStatus:
        """The order's status, after it was signed if nothing was signed for it."""
        _, attempts = await self._read(order_id)
        if not attempts:
            await self._sign_first(order_id)
        return await self.status(order_id)

    async def _sign_first(self, order_id: UUID) -> None:
        """Give the order its nonce and store its first signature, as the only one on the lane."""
        address = await self.address()
        # Outside the lane: two questions that every order asks, and that may take long.
        fees = await suggested_fees(self._rpc)
        first_nonce = await self._mined_count(address)
        async with self._lane, self._database.session() as guard:
            await lock_lane(guard, address)
            await self._settle_unsigned(order_id)
            # From here until the guard ends nobody revokes the order (orders.revoke_order):
            # either it is revoked already, or it has its nonce when they look.
            await hold_order(guard, order_id)
            order, attempts = await self._read(order_id)
            if attempts:
                return
            recalled = await self._recall(order_id)
            if recalled.order is not None:
                return
            _refuse_unsendable(order)
            # Dies here: nothing happened.
            async with self._database.session() as session:
                place = await give_place(
                    session, address, order_id, first_nonce=first_nonce, next_nonce=recalled.next_nonce
                )
            # Dies here: the lane ends in a nonce without a signature. The order's next
            # turn finds it, or whoever wants the next nonce settles it first.
            await self._sign_and_store(place, fees)

    async def _recall(self, order_id: UUID) -> RecalledAnswer:
        """Store what the signer has signed for the order and a restored database does not know.

        Without ``order`` it has signed nothing for it. Under the lane's lock.
        """
        recalled = await self._signer.recall(order_id)
        if recalled[0].order is not None:
            async with self._database.session() as session:
                await take_in(session, self._clock, recalled, held=order_id)
            logger.warning("recalled from the signer's log", order_id=str(order_id))
        return recalled[0]

    async def _settle_unsigned(self, order_id: UUID) -> None:
        """Sign for the order that a crash left with a nonce and without a signature, unless it is ours."""
        address = await self.address()
        async with self._database.session() as session:
            place = await unsigned_place(session, address)
        if place is None or place.order_id == order_id:
            return
        try:
            # Signed with another nonce, which a restored database has forgotten: then it has that.
            if (await self._recall(place.order_id)).order is None:
                await self._sign_and_store(place, await suggested_fees(self._rpc))
        except Refusal as refusal:
            # Its place is taken back, and its own turn will tell its owner why.
            logger.warning("order refused", order_id=str(place.order_id), code=str(refusal.code))

    async def _sign_and_store(self, place: Place, fees: Fees) -> None:
        """Have the order signed with its nonce, and the bytes stored before anybody sees them."""
        try:
            signed = await self._signer.sign(
                order_id=place.order_id,
                chain_id=self._deployment.chain_id,
                nonce=place.nonce,
                fees=fees,
                from_address=place.from_address,
            )
        except Refusal as refusal:
            if refusal.code is ChainCode.NONCE_MISMATCH:
                # The signer may have another key since we asked for its address: ask again.
                self._address = None
            # The signer says that it never signed for this order: its nonce is free, and
            # leaving it would hold up every later one. Dies before the commit: the next
            # turn asks, is refused and takes it back.
            if not refusal.data.get("signed_before", True):
                async with self._database.session() as session:
                    await take_back_place(session, place)
            raise
        # Dies here: the signature is in the signer's log and nowhere else. The next turn
        # asks with the same nonce, and what it gets is stored before it is sent.
        async with self._database.session() as session:
            await store_attempt(session, self._clock, place, signed, fees)
        # Dies here: stored and not sent; the next turn sends these bytes.

    async def _broadcast_last(self, order_id: UUID) -> tuple[Outcome, OrderStatus]:
        """Send the attempt with the highest fee: stored bytes, so any number of times."""
        _, attempts = await self._read(order_id)
        outcome, said = await broadcast(self._rpc, attempts[-1].raw)
        # Dies here: a node may have it and we do not know; we look it up or send it again.
        if outcome in {Outcome.ACCEPTED, Outcome.LOOK_UP}:
            known = await self._known_hashes(attempts)
            async with self._database.session() as session:
                await note_broadcast(session, self._clock, known)
        if said is not None:
            logger.warning("broadcast", order_id=str(order_id), outcome=outcome.value, said=said)
        status = await self.status(order_id)
        return outcome, replace(status, trouble=said)

    async def _replace(self, order_id: UUID) -> OrderStatus:
        """Offer a fifth more with the same nonce, and send that."""
        address = await self.address()
        now = await suggested_fees(self._rpc)
        async with self._lane, self._database.session() as guard:
            await lock_lane(guard, address)
            _, attempts = await self._read(order_id)
            last = attempts[-1]
            # Somebody else may have replaced it while we waited for the lane.
            if self._clock.now() - last.created_at >= self._stuck_after:
                try:
                    place = Place(last.nonce, order_id, last.from_address)
                    await self._sign_and_store(place, last.fees.bumped(now))
                except Refusal as refusal:
                    # Above the signer's cap: what was sent stays in the pool, and waits.
                    return replace(await self.status(order_id), trouble=f"{refusal.code}: {refusal.detail}")
                logger.info("replaced", order_id=str(order_id), nonce=last.nonce)
        return (await self._broadcast_last(order_id))[1]

    async def _known_hashes(self, attempts: list[Attempt]) -> list[str]:
        """The attempts that the node has, in its pool or in a block."""
        calls = [("eth_getTransactionByHash", (attempt.tx_hash,)) for attempt in attempts]
        found = await self._rpc.find(calls, dict)
        return [attempt.tx_hash for attempt, one in zip(attempts, found, strict=True) if one is not None]

    async def _mined_count(self, address: str) -> int:
        """The nonce that an empty lane begins with."""
        calls = [("eth_getTransactionCount", (address, "latest"))]
        return int((await self._rpc.read(calls, str))[0], 16)


def _refuse_unsendable(order: Order) -> None:
    if order.revoked:
        raise Refusal(ChainCode.ORDER_REVOKED, "The order was revoked.", signed_before=False)
    if not order.approved:
        raise Refusal(ChainCode.ORDER_NOT_APPROVED, "Nobody approved the order.", signed_before=False)
    if order.batch_id is not None:
        # The batch may be signed: nobody may take this for a promise that it is not.
        raise Refusal(ChainCode.ORDER_IN_BATCH, f"It goes in batch {order.batch_id}.", signed_before=True)
