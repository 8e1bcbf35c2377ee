"""Sweep batches: several addresses in one transaction, when gas is worth it, without the frozen ones."""

from uuid import UUID

from sqlalchemy import select, update

from chain.models import ChainLane, ChainOrder
from foundation.assets import USDT
from tests.fixtures.contracts import WHOLE
from tests.treasury.conftest import Treasury
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import administer, call_first, mortal_treasury, move_out_of
from treasury.models import TreasurySweep, TreasuryUnswept
from treasury.sweep_choice import SWEEP_AMOUNTS_LARGE, SWEEP_BASE_FEE_MAX, SWEEP_SECONDS_MAX
from treasury.sweeps import FAILED_IN_BATCH


async def funded(treasury: Treasury, count: int, units: int = 25 * WHOLE) -> list[str]:
    """So many customers' addresses with a final deposit each."""
    addresses = [await treasury.address(await treasury.wallet()) for _ in range(count)]
    for address in addresses:
        await treasury.contracts.mint(address, units)
    await treasury.finalize()
    return addresses


async def kinds(treasury: Treasury) -> list[str]:
    """The kind of every order that has a nonce, in the order of the nonces."""
    async with treasury.database.session() as session:
        rows = await session.scalars(
            select(ChainOrder.kind)
            .join(ChainLane, ChainLane.order_id == ChainOrder.id)
            .order_by(ChainLane.nonce)
        )
        return list(rows)


async def outcomes(treasury: Treasury, address: str) -> list[str | None]:
    async with treasury.database.session() as session:
        rows = await session.scalars(
            select(TreasurySweep.outcome)
            .where(TreasurySweep.address == address)
            .order_by(TreasurySweep.created_at, TreasurySweep.id)
        )
        return list(rows)


class TestTogether:
    async def test_addresses_are_emptied_in_one_transaction(self, treasury: Treasury) -> None:
        addresses = await funded(treasury, 4)
        vault = treasury.contracts.balance(treasury.custody.vault)

        report = await treasury.sweep()

        assert (report.ordered, report.open, report.troubles) == (4, 4, [])
        assert await kinds(treasury) == ["sweep_batch"]
        assert treasury.contracts.balance(treasury.custody.vault) == vault + 100 * WHOLE
        await treasury.finalize()
        assert (await treasury.sweep()).closed == 4
        assert [await outcomes(treasury, one) for one in addresses] == [["succeeded"]] * 4
        await treasury.finalize()
        assert (await treasury.sweep()).ordered == 0
        await treasury.assert_books_agree()

    async def test_frozen_address_is_left_out_and_swept_once_it_is_free(self, treasury: Treasury) -> None:
        addresses = await funded(treasury, 3)
        token = treasury.contracts.token()
        await administer(treasury, token, "freeze(address)", addresses[1])

        report = await treasury.sweep()

        assert report.ordered == 2
        assert len(report.troubles) == 1
        assert addresses[1] in report.troubles[0]
        assert [treasury.contracts.balance(one) for one in addresses] == [0, 25 * WHOLE, 0]
        assert await outcomes(treasury, addresses[1]) == []
        await administer(treasury, token, "unfreeze(address)", addresses[1])
        await treasury.finalize()
        assert (await treasury.sweep()).ordered == 1
        assert treasury.contracts.balance(addresses[1]) == 0
        await treasury.assert_books_agree()

    async def test_batch_that_fails_all_the_same_is_tried_one_by_one(self, treasury: Treasury) -> None:
        addresses = await funded(treasury, 3)
        node, token = treasury.contracts.node, treasury.contracts.token()
        node.set_automine(on=False)
        await treasury.sweep()
        await call_first(treasury, token, "freeze(address)", addresses[0])
        node.set_automine(on=True)
        await treasury.finalize()

        report = await treasury.sweep()

        assert report.closed == 3
        assert [await outcomes(treasury, one) for one in addresses] == [[FAILED_IN_BATCH]] * 3
        await treasury.sweep()
        assert await kinds(treasury) == ["sweep_batch", "sweep", "sweep"]
        assert [treasury.contracts.balance(one) for one in addresses] == [25 * WHOLE, 0, 0]
        await treasury.assert_books_agree()

    async def test_batch_taken_away_by_a_reorg_is_mined_again(self, treasury: Treasury) -> None:
        addresses = await funded(treasury, 3)
        await treasury.sweep()
        await treasury.follow()
        treasury.contracts.node.reorg(1)
        await treasury.follow()
        assert [treasury.contracts.balance(one) for one in addresses] == [25 * WHOLE] * 3
        # Whoever tends the lane sends it again: the payouts' step, for all that has a nonce.
        for _ in range(3):
            await treasury.advance()
            await treasury.sweep()
            await treasury.finalize()
        assert [treasury.contracts.balance(one) for one in addresses] == [0] * 3
        assert await kinds(treasury) == ["sweep_batch"]
        await treasury.assert_books_agree()

    async def test_batch_killed_after_any_effect_is_finished_by_the_next(self, treasury: Treasury) -> None:
        addresses = await funded(treasury, 3)
        for last in range(1, 60):
            fate, died = Fate(last), False
            rpc = MortalRPC(treasury.contracts.node.url, fate)
            try:
                await mortal_treasury(treasury, fate, rpc).sweep()
            except Died:
                died = True
            finally:
                await rpc.close()
            for _ in range(3):
                await treasury.sweep()
                await treasury.finalize()
            assert [treasury.contracts.balance(one) for one in addresses] == [0] * 3, (last, fate.what)
            if not died:
                break
            for one in addresses:
                await treasury.contracts.mint(one, 5 * WHOLE)
            await treasury.finalize()
        else:
            raise AssertionError("it always died")
        assert last > 5
        assert set(await kinds(treasury)) == {"sweep_batch"}
        assert {one for address in addresses for one in await outcomes(treasury, address)} == {"succeeded"}
        await treasury.assert_books_agree()


class TestWorthIt:
    async def dear(self, treasury: Treasury) -> None:
        treasury.contracts.node.call("anvil_setNextBlockBaseFeePerGas", hex(2 * SWEEP_BASE_FEE_MAX))
        treasury.contracts.node.mine(1)

    async def test_small_sweeps_wait_while_gas_is_dear_and_go_when_it_is_not(
        self, treasury: Treasury
    ) -> None:
        await funded(treasury, 2)
        await self.dear(treasury)
        report = await treasury.sweep()
        assert (report.ordered, report.waiting) == (0, 2)
        treasury.contracts.node.call("anvil_setNextBlockBaseFeePerGas", hex(SWEEP_BASE_FEE_MAX))
        treasury.contracts.node.mine(1)
        report = await treasury.sweep()
        assert (report.ordered, report.waiting) == (2, 0)

    async def test_what_holds_much_is_swept_whatever_gas_costs(self, treasury: Treasury) -> None:
        [small] = await funded(treasury, 1)
        [large] = await funded(treasury, 1, SWEEP_AMOUNTS_LARGE[USDT.code])
        await self.dear(treasury)
        report = await treasury.sweep()
        assert (report.ordered, report.waiting) == (1, 1)
        assert treasury.contracts.balance(small) > 0
        assert await kinds(treasury) == ["sweep"]
        assert treasury.contracts.balance(large) == 0

    async def test_what_has_waited_for_a_day_is_swept_whatever_gas_costs(self, treasury: Treasury) -> None:
        first = await funded(treasury, 1)
        treasury.clock.advance(seconds=SWEEP_SECONDS_MAX)
        await funded(treasury, 1)
        await self.dear(treasury)
        report = await treasury.sweep()
        assert (report.ordered, report.waiting) == (1, 1)
        assert treasury.contracts.balance(first[0]) == 0

    async def test_address_of_before_the_time_was_written_down_counts_as_long_waiting(
        self, treasury: Treasury
    ) -> None:
        await funded(treasury, 1)
        async with treasury.database.session() as session:
            await session.execute(update(TreasuryUnswept).values(since=None))
        await self.dear(treasury)
        assert (await treasury.sweep()).ordered == 1

    async def test_withdrawal_that_the_vault_cannot_pay_does_not_wait_for_cheap_gas(
        self, treasury: Treasury
    ) -> None:
        wallet_id: UUID = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await move_out_of(
            treasury, treasury.custody.vault, treasury.contracts.balance(treasury.custody.vault)
        )
        await treasury.request(wallet_id, "100.000000")
        await self.dear(treasury)
        assert (await treasury.sweep()).ordered == 1
