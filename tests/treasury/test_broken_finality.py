"""Broken finality: the chain takes back what was final, and no money is made or lost by it."""

import time
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from chain.finality import send_lost_again
from chain.models import ChainFinalityBreak
from chain.rpc import RPC
from foundation.assets import USDT
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, wallet_account_id
from ledger.contract import AccountFilter, AccountFilterFlags, CreateTransferStatus, Transfer
from tests.fixtures.lying_node import lying_node
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import mortal_treasury, tools_of, tripped
from treasury.deposits import list_deposits
from treasury.models import TreasuryReversedDeposit
from treasury.reconciliation import ItemKind, Reconciliation
from treasury.tasks import TREASURY_TASKS, _guarded


async def follow(treasury: Treasury) -> None:
    """The worker's own task."""
    name = "treasury.follow_chain"
    await _guarded(name, TREASURY_TASKS[name])(tools_of(treasury))


async def settle(treasury: Treasury) -> None:
    """Mine until what is in the head is final; the worker follows and books."""
    treasury.contracts.node.mine(3)
    await follow(treasury)
    await follow(treasury)
    await treasury.book()


async def credited(treasury: Treasury, units: int) -> tuple[UUID, str]:
    """A wallet with a credited deposit; the raw tx that made it."""
    wallet_id = await treasury.wallet()
    address = await treasury.address(wallet_id)
    # Room for a reorg that takes nothing but the deposit.
    treasury.contracts.node.mine(10)
    await settle(treasury)
    tx_hash = await treasury.contracts.mint(address, units)
    raw = treasury.contracts.node.call("eth_getRawTransactionByHash", tx_hash)
    await settle(treasury)
    assert await treasury.minor(wallet_id) == units
    return wallet_id, raw


async def take_back(treasury: Treasury, depth: int = 5, again: list[tuple[Any, int]] | None = None) -> None:
    """The chain replaces blocks that were final; what is in them now is ``again``."""
    treasury.contracts.node.reorg(depth, again)
    await settle(treasury)


async def mine_again(treasury: Treasury, raw: str) -> None:
    node = treasury.contracts.node
    tx_hash = node.call("eth_sendRawTransaction", raw)
    treasury.contracts.receipt(tx_hash)
    await settle(treasury)


async def pay(treasury: Treasury, payer: UUID, payee: UUID, amount: int) -> None:
    (result,) = await treasury.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(treasury.clock).int,
                debit_account_id=wallet_account_id(payer, USDT),
                credit_account_id=wallet_account_id(payee, USDT),
                amount=amount,
                ledger=USDT.ledger,
                code=int(TransferCode.PAYMENT),
            )
        ]
    )
    assert result.status is CreateTransferStatus.CREATED


async def usdt(treasury: Treasury) -> Reconciliation:
    await settle(treasury)
    return next(result for result in await treasury.reconcile() if result.asset == USDT)


async def owed(treasury: Treasury) -> int:
    account = await treasury.system(AccountCode.RECEIVABLE)
    return account.debits_posted - account.credits_posted


async def states(treasury: Treasury, wallet_id: UUID) -> list[tuple[str, int]]:
    found = await list_deposits(treasury.database, treasury.ledger, treasury.custody, wallet_id=wallet_id)
    return [(str(deposit.state), deposit.amount) for deposit in found]


class TestUnspent:
    async def test_credit_is_undone_breaker_trips_and_the_books_agree(self, treasury: Treasury) -> None:
        wallet_id, _ = await credited(treasury, 250_000_000)
        await take_back(treasury)
        assert await treasury.minor(wallet_id) == 0
        assert await owed(treasury) == 0
        assert await states(treasury, wallet_id) == [("reversed", 250_000_000)]
        reason = await tripped(treasury)
        assert reason is not None
        assert "finality_broken" in reason
        assert (await usdt(treasury)).agrees

    async def test_history_shows_the_credit_and_what_undid_it(self, treasury: Treasury) -> None:
        wallet_id, _ = await credited(treasury, 250_000_000)
        await take_back(treasury)
        found = await treasury.ledger.get_account_transfers(
            AccountFilter(
                account_id=wallet_account_id(wallet_id, USDT),
                limit=10,
                flags=int(AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS),
            )
        )
        assert [(TransferCode(one.code), one.amount) for one in found] == [
            (TransferCode.DEPOSIT, 250_000_000),
            (TransferCode.CORRECTION, 250_000_000),
        ]
        assert found[1].user_data_128 == found[0].id

    async def test_same_tx_mined_again_is_credited_again_exactly_once(self, treasury: Treasury) -> None:
        wallet_id, raw = await credited(treasury, 250_000_000)
        await take_back(treasury)
        await mine_again(treasury, raw)
        await treasury.book()
        assert await treasury.minor(wallet_id) == 250_000_000
        assert await states(treasury, wallet_id) == [("credited", 250_000_000)]
        assert (await usdt(treasury)).agrees

    async def test_tx_mined_again_within_the_same_reorg_is_credited_once(self, treasury: Treasury) -> None:
        wallet_id, raw = await credited(treasury, 250_000_000)
        await take_back(treasury, again=[(raw, 3)])
        assert await treasury.minor(wallet_id) == 250_000_000
        assert (await usdt(treasury)).agrees

    async def test_chain_that_goes_back_and_forth_credits_once_in_the_end(self, treasury: Treasury) -> None:
        wallet_id, raw = await credited(treasury, 250_000_000)
        for _ in range(3):
            await take_back(treasury, depth=8)
            assert await treasury.minor(wallet_id) == 0
            await mine_again(treasury, raw)
            assert await treasury.minor(wallet_id) == 250_000_000
        assert (await usdt(treasury)).agrees
        async with treasury.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(ChainFinalityBreak)) == 3
            assert await session.scalar(select(func.count()).select_from(TreasuryReversedDeposit)) == 3

    async def test_deposit_in_suspense_is_undone_there(self, treasury: Treasury) -> None:
        await settle(treasury)
        before = await treasury.held(AccountCode.SUSPENSE)
        await treasury.contracts.mint(treasury.custody.vault, 3_000_000)
        await settle(treasury)
        await take_back(treasury)
        assert await treasury.held(AccountCode.SUSPENSE) == before
        assert (await usdt(treasury)).agrees


class TestSpent:
    async def test_what_was_spent_becomes_owed_and_nobody_goes_below_zero(self, treasury: Treasury) -> None:
        wallet_id, _ = await credited(treasury, 250_000_000)
        payee = await treasury.wallet()
        await pay(treasury, wallet_id, payee, 200_000_000)
        await take_back(treasury)
        assert await treasury.minor(wallet_id) == 0
        assert await treasury.minor(payee) == 200_000_000
        assert await owed(treasury) == 200_000_000
        assert (await usdt(treasury)).agrees

    async def test_mined_again_it_pays_what_is_owed_first(self, treasury: Treasury) -> None:
        wallet_id, raw = await credited(treasury, 250_000_000)
        payee = await treasury.wallet()
        await pay(treasury, wallet_id, payee, 200_000_000)
        await take_back(treasury)
        await mine_again(treasury, raw)
        assert await treasury.minor(wallet_id) == 50_000_000
        assert await treasury.minor(payee) == 200_000_000
        assert await owed(treasury) == 0
        assert await states(treasury, wallet_id) == [("credited", 250_000_000)]
        assert (await usdt(treasury)).agrees

    async def test_all_spent_and_mined_again_twice_leaves_nothing_owed(self, treasury: Treasury) -> None:
        wallet_id, raw = await credited(treasury, 250_000_000)
        payee = await treasury.wallet()
        await pay(treasury, wallet_id, payee, 250_000_000)
        for _ in range(2):
            await take_back(treasury, depth=8)
            assert await owed(treasury) == 250_000_000
            await mine_again(treasury, raw)
            assert await owed(treasury) == 0
        assert await treasury.minor(wallet_id) == 0
        assert await states(treasury, wallet_id) == [("credited", 250_000_000)]
        assert (await usdt(treasury)).agrees

    async def test_other_deposits_of_the_customer_are_not_taken_for_it(self, treasury: Treasury) -> None:
        wallet_id, _ = await credited(treasury, 250_000_000)
        await pay(treasury, wallet_id, await treasury.wallet(), 250_000_000)
        await take_back(treasury)
        await treasury.contracts.mint(await treasury.address(wallet_id), 7_000_000)
        await settle(treasury)
        assert await treasury.minor(wallet_id) == 7_000_000
        assert await owed(treasury) == 250_000_000
        assert (await usdt(treasury)).agrees


class TestStandstill:
    async def test_nothing_is_undone_while_the_new_chain_is_not_final_itself(
        self, treasury: Treasury
    ) -> None:
        wallet_id, _ = await credited(treasury, 250_000_000)
        node = treasury.contracts.node
        node.reorg(5)
        low = node.call("eth_getBlockByNumber", hex(node.block_number() - 20), False)
        honest = treasury.rpc
        with lying_node(node.url) as liar:
            liar.rule = lambda _method, params, answer: (
                answer | {"result": low} if params and params[0] == "finalized" else answer
            )
            treasury.rpc = RPC(liar.url)
            await settle(treasury)
            await treasury.rpc.close()
        treasury.rpc = honest
        assert await tripped(treasury) is not None
        assert await treasury.minor(wallet_id) == 250_000_000
        await settle(treasury)
        assert await treasury.minor(wallet_id) == 0
        assert (await usdt(treasury)).agrees

    async def test_deposit_not_corrected_yet_is_named_by_the_reconciliation(self, treasury: Treasury) -> None:
        from treasury.movements import write_movements

        wallet_id, _ = await credited(treasury, 250_000_000)
        treasury.contracts.node.reorg(5)
        treasury.contracts.node.mine(3)
        await follow(treasury)
        assert await treasury.reconcile() == []
        await follow(treasury)
        async with treasury.database.session() as session:
            await write_movements(session, treasury.clock, treasury.custody)
        found = next(one for one in await treasury.reconcile() if one.asset == USDT)
        assert found.agrees
        assert [(item.kind, item.units) for item in found.items] == [
            (ItemKind.DEPOSIT_REVERSED, -250_000_000)
        ]
        await treasury.book()
        assert await treasury.minor(wallet_id) == 0


async def paid_then_taken_back(treasury: Treasury) -> None:
    """A withdrawal of 100 that was paid and final, and is not in the chain any more."""
    wallet_id = await treasury.wallet()
    await treasury.fund(wallet_id, "250.000000")
    treasury.contracts.node.mine(10)
    await treasury.request(wallet_id, "100.000000")
    for _ in range(4):
        await treasury.advance()
        await settle(treasury)
        treasury.clock.advance(seconds=5)
    assert await treasury.held(AccountCode.WITHDRAWAL_IN_FLIGHT) == "0.000000"
    node = treasury.contracts.node
    assert treasury.contracts.balance(OUTSIDE) == 100_000_000
    depth = 0
    while treasury.contracts.balance(OUTSIDE, block=hex(node.block_number() - depth)):
        depth += 1
    node.reorg(depth)
    assert treasury.contracts.balance(OUTSIDE) == 0


async def test_payment_that_was_taken_back_is_sent_again_and_paid_once(treasury: Treasury) -> None:
    await paid_then_taken_back(treasury)
    await settle(treasury)
    assert treasury.contracts.balance(OUTSIDE) == 100_000_000
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())
    assert await tripped(treasury) is not None


async def test_payment_that_was_taken_back_is_named_until_it_is_mined_again(treasury: Treasury) -> None:
    await paid_then_taken_back(treasury)
    node = treasury.contracts.node
    node.set_automine(on=False)
    await follow(treasury)
    for pending in node.call("txpool_content")["pending"].values():
        for tx in pending.values():
            node.drop(tx["hash"])
    found = await usdt(treasury)
    assert [(item.kind, item.units) for item in found.items] == [(ItemKind.WITHDRAWAL_LOST, 100_000_000)]
    assert found.agrees
    assert await send_lost_again(treasury.database, treasury.rpc) > 0
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())
    assert treasury.contracts.balance(OUTSIDE) == 100_000_000


async def test_batch_that_was_taken_back_is_sent_again_and_pays_each_member_once(treasury: Treasury) -> None:
    wallet_id = await treasury.wallet()
    await treasury.fund(wallet_id, "250.000000")
    treasury.contracts.node.mine(10)
    receivers = [f"0x{0xBEEF:04x}{number:036x}" for number in range(3)]
    for receiver in receivers:
        await treasury.request(wallet_id, "20.000000", to_address=receiver)
    assert (await treasury.advance()).batches == 1
    for _ in range(3):
        await settle(treasury)
        await treasury.advance()
    assert await treasury.held(AccountCode.WITHDRAWAL_IN_FLIGHT) == "0.000000"
    node, depth = treasury.contracts.node, 0
    while treasury.contracts.balance(receivers[0], block=hex(node.block_number() - depth)):
        depth += 1
    node.reorg(depth)
    assert [treasury.contracts.balance(one) for one in receivers] == [0, 0, 0]
    await settle(treasury)
    assert [treasury.contracts.balance(one) for one in receivers] == [20_000_000] * 3
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())
    assert await tripped(treasury) is not None


@pytest.mark.parametrize("last", range(1, 13))
async def test_death_after_any_effect_of_the_correction_leaves_it_to_be_done_once(
    treasury: Treasury, last: int
) -> None:
    wallet_id, raw = await credited(treasury, 250_000_000)
    payee = await treasury.wallet()
    await pay(treasury, wallet_id, payee, 200_000_000)
    treasury.contracts.node.reorg(5, [(raw, 3)])
    treasury.contracts.node.mine(3)
    fate = Fate(last)
    rpc = MortalRPC(treasury.contracts.node.url, fate)
    mortal = mortal_treasury(treasury, fate, rpc)
    began = time.monotonic()
    try:
        await follow(mortal)
        await follow(mortal)
        await mortal.book()
    except Died:
        assert time.monotonic() - began < 60
    finally:
        await rpc.close()
    await settle(treasury)
    assert await tripped(treasury) is not None
    assert await treasury.minor(wallet_id) == 50_000_000
    assert await treasury.minor(payee) == 200_000_000
    assert await owed(treasury) == 0
    assert (await usdt(treasury)).agrees
