"""The sender: an order gets one nonce and is mined once, whoever sends it and whatever dies."""

import asyncio
from collections.abc import Awaitable
from uuid import UUID

import pytest

from chain.addresses import deposit_address
from chain.errors import ChainCode
from chain.order_status import OrderState
from chain.orders import revoke_order
from chain.signer_client import SignerClient
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal, Retryable, Unavailable
from foundation.ids import uuid7
from tests.fixtures.anvil import Anvil
from tests.fixtures.contracts import (
    WHOLE,
    write_sweep,
)
from tests.fixtures.sending import DeafRPC, Desk, Died, DyingRPC, DyingSigner


class TestSend:
    async def test_a_withdrawal_is_paid_once_and_becomes_final(self, desk: Desk) -> None:
        sender, order_id = desk.sender(), await desk.withdrawal()
        assert (await sender.status(order_id)).state is OrderState.UNSIGNED

        sent = await sender.send(order_id)

        assert sent.state in {OrderState.BROADCAST, OrderState.MINED}
        assert sent.nonce == 0
        final = await desk.finalize(sender, order_id)
        assert final.state is OrderState.SUCCEEDED
        assert [final.tx_hash] == await desk.hashes(order_id)
        assert desk.paid() == 10 * WHOLE
        assert await sender.send(order_id) == final

    async def test_a_mined_withdrawal_is_not_final_until_its_block_is(self, desk: Desk, anvil: Anvil) -> None:
        sender, order_id = desk.sender(), await desk.withdrawal()
        sent = await sender.send(order_id)
        desk.contracts.receipt(str(sent.tx_hash))

        states = [(await sender.status(order_id)).state]
        for _ in range(2):
            anvil.mine()
            states.append((await sender.status(order_id)).state)

        assert states == [OrderState.MINED, OrderState.MINED, OrderState.SUCCEEDED]

    async def test_a_sweep_brings_the_deposit_into_the_vault(
        self, desk: Desk, database: Database, clock: SettableClock
    ) -> None:
        contracts, salt = desk.contracts, b"\x07" * 32
        deployment = contracts.deployment
        address = deposit_address(vault=deployment.vault, implementation=deployment.implementation, salt=salt)
        await contracts.mint(address, 5 * WHOLE)
        before = contracts.balance(deployment.vault)
        order_id = await write_sweep(database, clock, contracts, address=address, salt=salt)

        sender = desk.sender()
        await sender.send(order_id)

        assert (await desk.finalize(sender, order_id)).state is OrderState.SUCCEEDED
        assert contracts.balance(address) == 0
        assert contracts.balance(deployment.vault) == before + 5 * WHOLE

    async def test_an_order_sent_by_many_at_once_has_one_nonce_and_is_paid_once(self, desk: Desk) -> None:
        order_id = await desk.withdrawal()
        senders = [desk.sender() for _ in range(4)]

        await asyncio.gather(*(sender.send(order_id) for sender in senders for _ in range(2)))

        await desk.finalize(senders[0], order_id)
        assert await desk.lane() == [(0, order_id)]
        assert desk.paid() == 10 * WHOLE

    async def test_orders_sent_at_once_get_nonces_without_gaps(self, desk: Desk) -> None:
        order_ids = [await desk.withdrawal(WHOLE) for _ in range(12)]
        senders = [desk.sender() for _ in range(3)]

        await asyncio.gather(*(senders[n % 3].send(one) for n, one in enumerate(order_ids)))

        for order_id in order_ids:
            await desk.finalize(senders[0], order_id)
        lane = await desk.lane()
        assert [nonce for nonce, _ in lane] == list(range(12))
        assert {order_id for _, order_id in lane} == set(order_ids)
        assert desk.paid() == 12 * WHOLE

    async def test_an_unknown_order_is_refused(self, desk: Desk) -> None:
        with pytest.raises(Refusal) as refused:
            await desk.sender().send(uuid7(desk.clock))

        assert refused.value.code is ChainCode.ORDER_NOT_FOUND

    async def test_an_order_that_nobody_approved_gets_no_nonce(self, desk: Desk) -> None:
        with pytest.raises(Refusal) as refused:
            await desk.sender().send(await desk.withdrawal(approved=False))

        assert refused.value.code is ChainCode.ORDER_NOT_APPROVED
        assert await desk.lane() == []

    async def test_an_order_that_the_signer_refuses_leaves_no_gap_in_the_lane(self, desk: Desk) -> None:
        sender = desk.sender()
        refused_id, order_id = await desk.withdrawal(1_001 * WHOLE), await desk.withdrawal()

        with pytest.raises(Refusal) as refused:
            await sender.send(refused_id)
        await sender.send(order_id)

        assert refused.value.code is ChainCode.CAP_PER_TRANSACTION_EXCEEDED
        assert await desk.lane() == [(0, order_id)]
        assert (await sender.status(refused_id)).state is OrderState.UNSIGNED

    async def test_an_order_above_the_hourly_cap_is_sent_when_the_hour_has_passed(self, desk: Desk) -> None:
        sender = desk.sender()
        for _ in range(2):
            await sender.send(await desk.withdrawal(1_000 * WHOLE))
        order_id = await desk.withdrawal(1_000 * WHOLE)
        with pytest.raises(Refusal) as refused:
            await sender.send(order_id)
        assert refused.value.retryable is Retryable.YES

        desk.clock.advance(3600)
        await sender.send(order_id)

        assert (await desk.finalize(sender, order_id)).state is OrderState.SUCCEEDED
        assert desk.paid() == 3_000 * WHOLE

    async def test_without_a_signer_nothing_is_lost(self, desk: Desk) -> None:
        order_id = await desk.withdrawal()
        nowhere = SignerClient(desk.contracts.home / "nobody.sock")

        with pytest.raises(Unavailable):
            await desk.sender(signer=nowhere).send(order_id)

        assert await desk.lane() == []
        status = await desk.sender(signer=nowhere).status(order_id)
        assert status.state is OrderState.UNSIGNED
        await desk.sender().send(order_id)
        final = await desk.finalize(desk.sender(signer=nowhere), order_id)
        assert final.state is OrderState.SUCCEEDED

    async def test_a_signer_of_another_chain_is_an_invariant_violated(self, desk: Desk) -> None:
        deployment = desk.contracts.deployment
        other = type(deployment)(
            deployment.chain_id,
            "0x" + "11" * 32,
            deployment.block_number,
            deployment.vault,
            deployment.implementation,
            deployment.tokens,
        )

        with pytest.raises(InvariantViolation):
            await desk.sender(deployment=other).send(await desk.withdrawal())


class TestCrashes:
    """Death at each step; the next sender finishes, and the customer is paid once."""

    async def dies(self, sending: Awaitable[object]) -> None:
        with pytest.raises(Died):
            await sending

    async def assert_paid_once(self, desk: Desk, order_id: UUID, *, nonce: int = 0) -> None:
        sender = desk.sender()
        await sender.tend(order_id)
        final = await desk.finalize(sender, order_id)
        assert final.state is OrderState.SUCCEEDED
        assert (nonce, order_id) in await desk.lane()
        assert desk.paid() == 10 * WHOLE

    async def test_after_the_nonce_the_same_nonce_is_signed(self, desk: Desk) -> None:
        order_id = await desk.withdrawal()
        await self.dies(desk.sender(signer=DyingSigner(desk.signer, after=False)).send(order_id))
        assert await desk.lane() == [(0, order_id)]
        assert await desk.hashes(order_id) == []

        await self.assert_paid_once(desk, order_id)

    async def test_after_the_signature_the_same_bytes_are_stored(self, desk: Desk) -> None:
        order_id = await desk.withdrawal()
        await self.dies(desk.sender(signer=DyingSigner(desk.signer, after=True)).send(order_id))
        assert await desk.hashes(order_id) == []

        await self.assert_paid_once(desk, order_id)

    async def test_after_the_signature_another_order_settles_it_first(self, desk: Desk) -> None:
        left, order_id = await desk.withdrawal(), await desk.withdrawal(WHOLE)
        await self.dies(desk.sender(signer=DyingSigner(desk.signer, after=True)).send(left))

        sender = desk.sender()
        await sender.send(order_id)
        await sender.tend_lane()

        assert await desk.lane() == [(0, left), (1, order_id)]
        for one in (left, order_id):
            assert (await desk.finalize(sender, one)).state is OrderState.SUCCEEDED
        assert desk.paid() == 11 * WHOLE

    async def test_after_the_nonce_of_an_order_that_is_refused_since_then_the_nonce_is_free(
        self, desk: Desk
    ) -> None:
        left, order_id = await desk.withdrawal(1_001 * WHOLE), await desk.withdrawal()
        await self.dies(desk.sender(signer=DyingSigner(desk.signer, after=False)).send(left))

        await desk.sender().send(order_id)

        assert await desk.lane() == [(0, order_id)]
        await self.assert_paid_once(desk, order_id)

    async def test_after_the_bytes_are_stored_they_are_sent(self, desk: Desk, anvil: Anvil) -> None:
        order_id = await desk.withdrawal()
        rpc = DyingRPC(anvil.url, after=False)
        await self.dies(desk.sender(rpc=rpc).send(order_id))
        await rpc.close()
        [stored] = await desk.hashes(order_id)
        assert anvil.call("eth_getTransactionByHash", stored) is None
        assert (await desk.sender().status(order_id)).state is OrderState.SIGNED

        await self.assert_paid_once(desk, order_id)
        assert await desk.hashes(order_id) == [stored]

    async def test_after_the_bytes_are_sent_nothing_is_sent_anew(self, desk: Desk, anvil: Anvil) -> None:
        order_id = await desk.withdrawal()
        rpc = DyingRPC(anvil.url, after=True)
        await self.dies(desk.sender(rpc=rpc).send(order_id))
        await rpc.close()
        stored = await desk.hashes(order_id)

        await self.assert_paid_once(desk, order_id)
        assert await desk.hashes(order_id) == stored

    async def test_a_lost_answer_to_a_broadcast_is_looked_up(self, desk: Desk, anvil: Anvil) -> None:
        anvil.set_automine(on=False)
        order_id, rpc = await desk.withdrawal(), DeafRPC(anvil.url)
        status = await desk.sender(rpc=rpc).send(order_id)
        await rpc.close()
        assert (status.state, len(await desk.hashes(order_id))) == (OrderState.SIGNED, 1)
        assert status.trouble is not None

        status = await desk.sender().send(order_id)

        assert status.state is OrderState.BROADCAST
        assert len(await desk.hashes(order_id)) == 1


class TestRevoke:
    async def test_an_order_without_a_nonce_is_revoked_and_never_sent(self, desk: Desk) -> None:
        order_id = await desk.withdrawal()
        async with desk.database.session() as session:
            assert await revoke_order(session, desk.clock, order_id)
            assert await revoke_order(session, desk.clock, order_id)

        with pytest.raises(Refusal) as refused:
            await desk.sender().send(order_id)

        assert refused.value.code is ChainCode.ORDER_REVOKED
        assert await desk.lane() == []

    async def test_an_order_with_a_nonce_cannot_be_revoked(self, desk: Desk) -> None:
        order_id = await desk.withdrawal()
        with pytest.raises(Died):
            await desk.sender(signer=DyingSigner(desk.signer, after=False)).send(order_id)

        async with desk.database.session() as session:
            assert not await revoke_order(session, desk.clock, order_id)

        await desk.sender().send(order_id)

    async def test_an_unknown_order_cannot_be_revoked(self, desk: Desk) -> None:
        async with desk.database.session() as session:
            assert not await revoke_order(session, desk.clock, uuid7(desk.clock))

    async def test_of_revoking_and_sending_at_once_exactly_one_happens(self, desk: Desk) -> None:
        order_ids = [await desk.withdrawal(WHOLE) for _ in range(16)]
        sender = desk.sender()

        async def revoke(order_id: UUID) -> bool:
            async with desk.database.session() as session:
                return await revoke_order(session, desk.clock, order_id)

        async def send(order_id: UUID) -> bool:
            try:
                return (await sender.send(order_id)).state is not OrderState.UNSIGNED
            except Refusal:
                return False

        turns = [act(one) for one in order_ids for act in (send, revoke)]
        answers = await asyncio.gather(*turns)

        for sent, revoked in zip(answers[::2], answers[1::2], strict=True):
            assert sent is not revoked
        sent_count = sum(answers[::2])
        for _, order_id in await desk.lane():
            await desk.finalize(sender, order_id)
        assert desk.paid() == sent_count * WHOLE
