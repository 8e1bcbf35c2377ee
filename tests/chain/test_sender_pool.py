"""The sender and the pool: dropped, stuck, reorganised, reverted, displaced."""

import asyncio
import itertools

import pytest
from sqlalchemy import select

from chain.broadcasts import broadcast
from chain.calldata import calldata, hexadecimal
from chain.errors import ChainCode
from chain.lanes import attempts_of
from chain.models import ChainAttempt
from chain.order_status import OrderState
from chain.sender import STUCK_SECONDS
from chain.transactions import Transaction
from foundation.errors import InvariantViolation
from tests.fixtures.anvil import Anvil
from tests.fixtures.contracts import (
    WHOLE,
)
from tests.fixtures.sending import CUSTOMER, Desk


class TestPool:
    async def test_a_dropped_transaction_is_sent_again_with_the_same_bytes(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        anvil.set_automine(on=False)
        sender, order_id = desk.sender(), await desk.withdrawal()
        sent = await sender.send(order_id)
        assert sent.state is OrderState.BROADCAST
        anvil.drop(str(sent.tx_hash))

        await sender.tend(order_id)

        assert anvil.call("eth_getTransactionByHash", sent.tx_hash) is not None
        assert await desk.hashes(order_id) == [sent.tx_hash]
        anvil.mine()
        assert (await desk.finalize(sender, order_id)).state is OrderState.SUCCEEDED

    async def test_a_transaction_that_waits_is_left_alone_until_it_is_stuck(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        anvil.set_automine(on=False)
        sender, order_id = desk.sender(), await desk.withdrawal()
        await sender.send(order_id)

        desk.clock.advance(STUCK_SECONDS - 1)
        await sender.tend(order_id)

        assert len(await desk.hashes(order_id)) == 1

    async def test_a_stuck_transaction_is_replaced_by_a_fifth_more_on_both_fees(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        anvil.set_automine(on=False)
        sender, order_id = desk.sender(), await desk.withdrawal()
        await sender.send(order_id)
        for _ in range(3):
            desk.clock.advance(STUCK_SECONDS)
            await asyncio.gather(*(sender.tend(order_id) for _ in range(3)))

        fees = await desk.fees(order_id)
        assert len(fees) == 4
        for older, newer in itertools.pairwise(fees):
            assert newer.max_fee_per_gas * 5 >= older.max_fee_per_gas * 6
            assert newer.max_priority_fee_per_gas * 5 >= older.max_priority_fee_per_gas * 6
        anvil.mine()
        final = await desk.finalize(sender, order_id)
        assert (final.state, final.attempts, final.nonce) == (OrderState.SUCCEEDED, 4, 0)
        assert desk.paid() == 10 * WHOLE

    async def test_an_attempt_that_was_replaced_and_mined_all_the_same_counts(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        anvil.set_automine(on=False)
        sender, order_id = desk.sender(), await desk.withdrawal()
        first = await sender.send(order_id)
        desk.clock.advance(STUCK_SECONDS)
        replaced = await sender.tend(order_id)
        assert replaced.tx_hash != first.tx_hash
        anvil.drop(str(replaced.tx_hash))
        async with desk.database.session() as session:
            raw = (await attempts_of(session, order_id))[0].raw
        await broadcast(desk.rpc, raw)
        anvil.mine()

        final = await desk.finalize(sender, order_id)

        assert (final.state, final.tx_hash) == (OrderState.SUCCEEDED, first.tx_hash)
        assert desk.paid() == 10 * WHOLE

    async def test_a_replacement_above_the_signers_fee_cap_leaves_what_was_sent(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        anvil.set_automine(on=False)
        sender, order_id = desk.sender(), await desk.withdrawal()
        sent = await sender.send(order_id)
        # The next suggestion is twice the base fee: above the signer's 500 gwei.
        anvil.call("anvil_setNextBlockBaseFeePerGas", hex(300 * 10**9))
        anvil.call("evm_mine")
        desk.clock.advance(STUCK_SECONDS)

        status = await sender.tend(order_id)

        assert status.state is OrderState.BROADCAST
        assert status.trouble is not None
        assert ChainCode.FEE_ABOVE_CAP.value in status.trouble
        assert await desk.hashes(order_id) == [sent.tx_hash]

    async def test_without_gas_money_the_order_waits_and_is_sent_later(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        address = desk.contracts.signer_key.address
        anvil.set_balance(address, 0)
        sender, order_id = desk.sender(), await desk.withdrawal()

        status = await sender.send(order_id)

        assert status.state is OrderState.SIGNED
        assert status.trouble is not None
        anvil.set_balance(address, 10**20)
        await sender.tend(order_id)
        assert (await desk.finalize(sender, order_id)).state is OrderState.SUCCEEDED


class TestChain:
    async def test_a_revert_on_chain_is_final_and_pays_nothing(self, desk: Desk) -> None:
        await pause_the_token(desk)
        sender, order_id = desk.sender(), await desk.withdrawal()

        await sender.send(order_id)

        final = await desk.finalize(sender, order_id)
        assert final.state is OrderState.REVERTED
        assert final.state.never_pays
        assert desk.paid() == 0
        assert (await sender.tend(order_id)).state is OrderState.REVERTED
        assert len(await desk.hashes(order_id)) == 1

    async def test_a_reorg_that_takes_the_transaction_away_has_it_sent_again(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        sender, order_id = desk.sender(), await desk.withdrawal()
        sent = await sender.send(order_id)
        desk.contracts.receipt(str(sent.tx_hash))
        assert (await sender.status(order_id)).state is OrderState.MINED

        anvil.reorg(1)
        assert desk.paid() == 0
        assert (await sender.status(order_id)).state is OrderState.BROADCAST

        await sender.tend(order_id)
        final = await desk.finalize(sender, order_id)
        assert (final.state, final.tx_hash) == (OrderState.SUCCEEDED, sent.tx_hash)
        assert desk.paid() == 10 * WHOLE

    async def test_a_reorg_of_several_orders_has_all_of_them_sent_again_in_order(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        sender = desk.sender()
        order_ids = [await desk.withdrawal(WHOLE) for _ in range(3)]
        for order_id in order_ids:
            desk.contracts.receipt(str((await sender.send(order_id)).tx_hash))
        anvil.reorg(3)
        assert desk.paid() == 0

        await sender.tend_lane()

        for order_id in order_ids:
            assert (await desk.finalize(sender, order_id)).state is OrderState.SUCCEEDED
        assert desk.paid() == 3 * WHOLE
        assert await sender.tend_lane() == []

    async def test_another_transaction_with_the_nonce_displaces_the_order(
        self, desk: Desk, anvil: Anvil
    ) -> None:
        anvil.set_automine(on=False)
        sender, order_id = desk.sender(), await desk.withdrawal()
        sent = await sender.send(order_id)
        anvil.drop(str(sent.tx_hash))
        use_nonce_elsewhere(desk, nonce=0)
        anvil.mine()
        # Not final yet: the other transaction may be taken away, and ours be mined.
        assert (await sender.status(order_id)).state is OrderState.BROADCAST

        anvil.mine(2)

        status = await sender.tend(order_id)
        assert status.state is OrderState.DISPLACED
        assert status.state.never_pays
        assert desk.paid() == 0

    async def test_an_order_paid_by_a_transaction_that_is_not_stored_stops_everything(
        self, desk: Desk
    ) -> None:
        sender, order_id = desk.sender(), await desk.withdrawal()
        sent = await sender.send(order_id)
        await desk.finalize(sender, order_id)
        async with desk.database.session() as session:
            row = await session.scalar(select(ChainAttempt).where(ChainAttempt.tx_hash == sent.tx_hash))
            assert row is not None
            row.tx_hash = "0x" + "00" * 32

        with pytest.raises(InvariantViolation):
            await sender.status(order_id)


async def pause_the_token(desk: Desk) -> None:
    """The issuer stops the token: every transfer of it reverts."""
    administrator, node = desk.contracts.administrator, desk.contracts.node
    transaction = Transaction(
        chain_id=31337,
        nonce=int(node.call("eth_getTransactionCount", administrator.address, "latest"), 16),
        max_priority_fee_per_gas=10**9,
        max_fee_per_gas=10**10,
        gas_limit=100_000,
        to=desk.contracts.token(),
        data=calldata("pause()"),
    )
    signed = administrator.sign(transaction)
    node.call("eth_sendRawTransaction", hexadecimal(signed.raw))
    assert desk.contracts.receipt(signed.tx_hash)["status"] == "0x1"


def use_nonce_elsewhere(desk: Desk, *, nonce: int) -> None:
    """The signer's key signs something that the signer knows nothing about."""
    transaction = Transaction(
        chain_id=31337,
        nonce=nonce,
        max_priority_fee_per_gas=10**10,
        max_fee_per_gas=10**11,
        gas_limit=21_000,
        to=CUSTOMER,
    )
    signed = desk.contracts.signer_key.sign(transaction)
    desk.contracts.node.call("eth_sendRawTransaction", hexadecimal(signed.raw))
