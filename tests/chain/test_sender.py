"""The sender: an order is mined once, whatever dies, is dropped, stuck or reorganised."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from chain.addresses import deposit_address
from chain.broadcasts import Outcome, broadcast, classified
from chain.calldata import calldata, hexadecimal
from chain.errors import ChainCode, RPCError, RPCUnavailable
from chain.fees import Fees
from chain.lanes import attempts_of
from chain.models import ChainAttempt, ChainLane
from chain.order_status import OrderState, OrderStatus
from chain.orders import revoke_order
from chain.rpc import RPC
from chain.sender import STUCK_SECONDS, Sender
from chain.signer_client import SignerClient
from chain.transactions import SignedTransaction, Transaction
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal, Retryable, Unavailable
from foundation.ids import uuid7
from tests.fixtures.anvil import Anvil
from tests.fixtures.contracts import (
    WHOLE,
    ContractsOnChain,
    running_signer,
    write_sweep,
    write_withdrawal,
)

CUSTOMER = "0x00000000000000000000000000000000000c0ffe"


class Died(BaseException):
    """Stands for kill -9: nothing after it runs, what is on disk and on chain stays."""


class DyingSigner(SignerClient):
    """A signer's client in a process that dies before it asks, or before it has read the answer."""

    def __init__(self, signer: SignerClient, *, after: bool) -> None:
        super().__init__(signer._socket)
        self.after = after

    async def sign(self, **asked: Any) -> SignedTransaction:
        if self.after:
            await super().sign(**asked)
        raise Died


class DyingRPC(RPC):
    """An RPC in a process that dies just before it sends signed bytes, or just after."""

    def __init__(self, url: str, *, after: bool) -> None:
        super().__init__(url)
        self.after = after

    async def call(self, method: str, *params: Any) -> Any:
        if method != "eth_sendRawTransaction":
            return await super().call(method, *params)
        if self.after:
            await super().call(method, *params)
        raise Died


class DeafRPC(RPC):
    """An RPC whose answers to signed bytes are lost; the node gets them."""

    async def call(self, method: str, *params: Any) -> Any:
        result = await super().call(method, *params)
        if method == "eth_sendRawTransaction":
            raise RPCUnavailable(method, "the answer was lost", outcome_unknown=True)
        return result


class Desk:
    """The parts from which a test makes senders, and what it looks at afterwards."""

    def __init__(
        self,
        database: Database,
        clock: SettableClock,
        contracts: ContractsOnChain,
        signer: SignerClient,
        rpc: RPC,
    ) -> None:
        self.database = database
        self.clock = clock
        self.contracts = contracts
        self.signer = signer
        self.rpc = rpc

    def sender(self, **parts: Any) -> Sender:
        ours: dict[str, Any] = {
            "database": self.database,
            "rpc": self.rpc,
            "signer": self.signer,
            "clock": self.clock,
            "deployment": self.contracts.deployment,
        }
        return Sender(**(ours | parts))

    async def withdrawal(self, units: int = 10 * WHOLE, **fields: Any) -> UUID:
        fields = {"to": CUSTOMER, **fields}
        return await write_withdrawal(self.database, self.clock, self.contracts, units=units, **fields)

    async def lane(self) -> list[tuple[int, UUID]]:
        async with self.database.session() as session:
            rows = await session.execute(
                select(ChainLane.nonce, ChainLane.order_id).order_by(ChainLane.nonce)
            )
            return [(row.nonce, row.order_id) for row in rows]

    async def hashes(self, order_id: UUID) -> list[str]:
        async with self.database.session() as session:
            return [attempt.tx_hash for attempt in await attempts_of(session, order_id)]

    async def fees(self, order_id: UUID) -> list[Fees]:
        async with self.database.session() as session:
            return [attempt.fees for attempt in await attempts_of(session, order_id)]

    def paid(self) -> int:
        return self.contracts.balance(CUSTOMER)

    async def finalize(self, sender: Sender, order_id: UUID) -> OrderStatus:
        """Wait until the order's transaction is mined, then make its block final."""

        async def mined() -> bool:
            return (await sender.status(order_id)).block_number is not None

        await until(mined)
        self.contracts.node.mine(2)
        return await sender.status(order_id)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, which the node brings about a moment after it has answered."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - the node's state, which no event of ours tells.
            await asyncio.sleep(0.005)


@pytest.fixture
async def desk(
    database: Database, clock: SettableClock, contracts: ContractsOnChain, rpc: RPC
) -> AsyncIterator[Desk]:
    async with running_signer(contracts, database, clock) as signer:
        yield Desk(database, clock, contracts, signer, rpc)


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


class TestBroadcast:
    async def test_the_nodes_own_words_are_understood(self, desk: Desk, anvil: Anvil) -> None:
        key, rpc = desk.contracts.administrator, desk.rpc
        nonce = int(anvil.call("eth_getTransactionCount", key.address, "latest"), 16)

        def signed(**fields: Any) -> bytes:
            usual: dict[str, Any] = {
                "chain_id": 31337,
                "nonce": nonce,
                "max_priority_fee_per_gas": 10**9,
                "max_fee_per_gas": 10**10,
                "gas_limit": 21_000,
                "to": CUSTOMER,
            }
            return key.sign(Transaction(**(usual | fields))).raw

        anvil.set_automine(on=False)
        outcomes = {
            "taken": await broadcast(rpc, signed()),
            "the same again": await broadcast(rpc, signed()),
            "an old nonce": await broadcast(rpc, signed(nonce=nonce - 1)),
            "no money": await broadcast(rpc, signed(nonce=nonce + 1, value=10**30)),
            "no gas": await broadcast(rpc, signed(nonce=nonce + 1, gas_limit=20_000)),
            "too much gas": await broadcast(rpc, signed(nonce=nonce + 1, gas_limit=2**40)),
            "another chain": await broadcast(rpc, signed(nonce=nonce + 1, chain_id=1)),
            "no transaction": await broadcast(rpc, b"\x02\xc0"),
        }

        assert {name: outcome for name, (outcome, _) in outcomes.items()} == {
            "taken": Outcome.ACCEPTED,
            "the same again": Outcome.LOOK_UP,
            "an old nonce": Outcome.LOOK_UP,
            "no money": Outcome.RETRY,
            "no gas": Outcome.FINAL,
            "too much gas": Outcome.FINAL,
            "another chain": Outcome.FINAL,
            "no transaction": Outcome.FINAL,
        }, outcomes

    async def test_a_node_that_does_not_answer_leaves_it_unknown(self) -> None:
        rpc = RPC("http://127.0.0.1:1")

        outcome, said = await broadcast(rpc, b"\x02")
        await rpc.close()

        assert outcome is Outcome.UNKNOWN
        assert said is not None

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ("already known", Outcome.LOOK_UP),
            ("nonce too low: next nonce 7, tx nonce 6", Outcome.LOOK_UP),
            ("replacement transaction underpriced", Outcome.UNDERPRICED),
            ("transaction underpriced: tip needed 1, tip permitted 0", Outcome.UNDERPRICED),
            ("max fee per gas less than block base fee: address 0x1", Outcome.UNDERPRICED),
            ("insufficient funds for gas * price + value", Outcome.RETRY),
            ("txpool is full", Outcome.RETRY),
            ("intrinsic gas too low: gas 1, minimum needed 21000", Outcome.FINAL),
            ("exceeds block gas limit", Outcome.FINAL),
            ("invalid sender", Outcome.FINAL),
            ("AlreadyKnown", Outcome.LOOK_UP),
            ("FeeTooLow, MaxFeePerGas too low", Outcome.UNDERPRICED),
            ("something that nobody has heard of", Outcome.UNKNOWN),
        ],
    )
    def test_the_words_of_other_nodes_are_understood(self, said: str, meant: Outcome) -> None:
        assert classified(RPCError("eth_sendRawTransaction", -32000, said)) is meant


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
