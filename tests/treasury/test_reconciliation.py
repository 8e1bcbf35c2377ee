"""Reconciliation: every unit explained or the breaker, at exact instants of both books."""

import asyncio
import json
import time
from typing import Any

import pytest
from sqlalchemy import func, select

from chain.errors import RPCError, RPCMalformed
from chain.rpc import RPC
from foundation.assets import DMMK, USDT
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import CreateTransferStatus, Transfer
from tests.fixtures.lying_node import lying_node
from tests.treasury.conftest import Treasury
from tests.treasury.moves import tripped
from treasury.custody_balances import units_at
from treasury.models import TreasuryDepositAddress, TreasuryReconciliation
from treasury.reconciliation import ItemKind, Reconciliation, last_reconciliations, reconcile


async def usdt(treasury: Treasury) -> Reconciliation:
    return next(result for result in await treasury.reconcile() if result.asset == USDT)


class TestReconcile:
    async def test_agreeing_books_are_recorded_once_a_block(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await treasury.fund(wallet_id, "1000000.00", DMMK)
        results = {result.asset.code: result for result in await treasury.reconcile()}
        assert results["USDT"].chain_units == 1_000_250_000_000
        assert results["USDT"].ledger_amount == 1_000_250_000_000
        assert results["DMMK"].chain_units == 200_000_000
        assert all(result.agrees and result.items == () for result in results.values())
        assert await treasury.reconcile() == []
        async with treasury.database.session() as session:
            assert await last_reconciliations(session, treasury.custody) == list(results.values())
            assert await session.scalar(select(func.count()).select_from(TreasuryReconciliation)) == 2
        assert await tripped(treasury) is None

    async def test_nothing_written_down_yet_gives_nothing(self, treasury: Treasury) -> None:
        assert await treasury.reconcile() == []
        async with treasury.database.session() as session:
            assert await last_reconciliations(session, treasury.custody) == []

    async def test_credit_that_no_deposit_explains_trips_the_breaker(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        (result,) = await treasury.ledger.create_transfers(
            [
                Transfer(
                    id=uuid7(treasury.clock).int,
                    debit_account_id=system_account_id(AccountCode.CUSTODY, USDT),
                    credit_account_id=wallet_account_id(wallet_id, USDT),
                    amount=1,
                    ledger=USDT.ledger,
                    code=int(TransferCode.DEPOSIT),
                )
            ]
        )
        assert result.status is CreateTransferStatus.CREATED
        found = await usdt(treasury)
        assert found.unexplained_units == -1
        reason = await tripped(treasury)
        assert reason is not None
        assert "-1 units of USDT" in reason

    async def test_deposit_credited_after_the_block_is_named_as_ahead(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await treasury.contracts.mint(await treasury.address(wallet_id), 7_000_000)
        treasury.contracts.node.mine(3)
        asked, gate = asyncio.Event(), asyncio.Event()

        class SlowRPC(RPC):
            """A node whose balances arrive after a deposit of a later block was credited."""

            async def read(self, calls: Any, answer: Any) -> Any:
                if calls[0][0] == "eth_call":
                    asked.set()
                    await gate.wait()
                return await super().read(calls, answer)

        rpc = SlowRPC(treasury.contracts.node.url)
        under_way = asyncio.create_task(
            reconcile(treasury.database, treasury.ledger, rpc, treasury.clock, treasury.custody)
        )
        await asked.wait()
        await treasury.follow()
        await treasury.book()
        gate.set()
        results = await under_way
        await rpc.close()
        found = next(result for result in results if result.asset == USDT)
        assert found.agrees, found
        assert [(item.kind, item.units) for item in found.items] == [(ItemKind.DEPOSIT_AHEAD, -7_000_000)]

    async def test_token_that_does_not_answer_is_no_balance_of_zero(self, treasury: Treasury) -> None:
        await treasury.finalize()
        with lying_node(treasury.contracts.node.url) as liar:
            liar.rule = lambda method, _params, answer: (
                answer | {"result": "0x"} if method == "eth_call" else answer
            )
            rpc = RPC(liar.url)
            with pytest.raises(RPCMalformed):
                await reconcile(treasury.database, treasury.ledger, rpc, treasury.clock, treasury.custody)
            await rpc.close()
        assert await tripped(treasury) is None
        await treasury.assert_books_agree()

    async def test_block_that_the_node_does_not_know_is_an_error_and_not_a_difference(
        self, treasury: Treasury
    ) -> None:
        with pytest.raises(RPCError):
            await units_at(
                treasury.rpc,
                token=treasury.contracts.token(),
                addresses=[treasury.custody.vault],
                block_hash="0x" + "12" * 32,
            )

    async def test_result_is_what_was_recorded_to_the_last_digit(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.contracts.mint(await treasury.address(wallet_id), 2**200, asset="DMMK")
        await treasury.finalize()
        results = {result.asset.code: result for result in await treasury.reconcile()}
        assert results["DMMK"].chain_units == 2**200 + 100_000_000
        assert results["DMMK"].agrees
        async with treasury.database.session() as session:
            recorded = {one.asset.code: one for one in await last_reconciliations(session, treasury.custody)}
            items = await session.scalar(
                select(TreasuryReconciliation.items).where(TreasuryReconciliation.asset == "DMMK")
            )
        assert recorded == results
        assert json.loads(json.dumps(items))[0]["units"] == str(2**200)


@pytest.mark.slow
async def test_ten_thousand_deposit_addresses_are_reconciled_in_seconds(treasury: Treasury) -> None:
    wallet_id = await treasury.wallet()
    await treasury.fund(wallet_id, "250.000000")
    async with treasury.database.session() as session:
        session.add_all(
            TreasuryDepositAddress(
                address=f"0x{number + 2**100:040x}",
                wallet_id=uuid7(treasury.clock),
                epoch=0,
                salt=f"0x{number:064x}",
                created_at=treasury.clock.now(),
            )
            for number in range(10_000)
        )
    began = time.perf_counter()
    results = await treasury.reconcile()
    took = time.perf_counter() - began
    assert all(result.agrees for result in results)
    # Two tokens; the target of one is two seconds on a quiet machine.
    assert took < 20, took
