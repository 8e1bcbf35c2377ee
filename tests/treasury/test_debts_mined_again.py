"""Debts of a deposit that the chain has again: paid by it once, and given back what others paid."""

from uuid import UUID

import pytest

from ledger.chart import AccountCode
from ledger.interface import Ledger
from tests.treasury.conftest import Treasury
from tests.treasury.debts import (
    appoint_two,
    assert_debts_are_receivable,
    debts,
    earn,
    fees,
    refused,
    settled,
    spent_and_gone,
    the_debt,
    written_off,
)
from tests.treasury.test_broken_finality import follow, mine_again, pay, states, take_back, usdt
from treasury.debts import DebtState
from treasury.deposit_transfers import AnyDeposit, credited_ids, receivable_transfer_id, repayment_of
from treasury.errors import TreasuryCode
from treasury.models import TreasuryReversedDeposit
from treasury.movements import write_movements
from treasury.repayments import Origins


async def partly_paid(treasury: Treasury) -> tuple[UUID, UUID, str]:
    """250 of which 200 were spent and are owed; 80 of it settled, 40 written off; fees have 10 left."""
    wallet_id, payee, raw = await spent_and_gone(treasury, 250_000_000, 200_000_000)
    await appoint_two(treasury)
    await pay(treasury, payee, wallet_id, 80_000_000)
    await earn(treasury, payee, 50_000_000)
    deposit_id = (await the_debt(treasury)).deposit_id
    await settled(treasury, deposit_id, 80_000_000)
    await written_off(treasury, deposit_id, 40_000_000)
    assert (await the_debt(treasury)).owed.minor == 80_000_000
    return wallet_id, payee, raw


class TestMinedAgain:
    async def test_it_pays_the_rest_and_gives_back_what_each_has_paid(self, treasury: Treasury) -> None:
        wallet_id, _, raw = await partly_paid(treasury)
        await mine_again(treasury, raw)
        await treasury.book()
        assert await treasury.minor(wallet_id) == 50_000_000 + 80_000_000
        assert await fees(treasury) == 50_000_000
        debt = await the_debt(treasury)
        assert (debt.owed.minor, debt.state) == (0, DebtState.MINED_AGAIN)
        await assert_debts_are_receivable(treasury)
        assert await states(treasury, wallet_id) == [("credited", 250_000_000)]
        assert (await usdt(treasury)).agrees

    async def test_a_debt_that_was_paid_whole_is_given_back_whole(self, treasury: Treasury) -> None:
        wallet_id, payee, raw = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await appoint_two(treasury)
        await earn(treasury, payee, 100_000_000)
        await written_off(treasury, (await the_debt(treasury)).deposit_id, 100_000_000)
        assert await fees(treasury) == 0
        await mine_again(treasury, raw)
        assert (await fees(treasury), await treasury.minor(wallet_id)) == (100_000_000, 0)
        assert await states(treasury, wallet_id) == [("credited", 100_000_000)]
        assert (await usdt(treasury)).agrees

    async def test_what_is_there_again_is_not_paid_for_any_more(self, treasury: Treasury) -> None:
        wallet_id, _, raw = await partly_paid(treasury)
        deposit_id = (await the_debt(treasury)).deposit_id
        await mine_again(treasury, raw)
        await refused(TreasuryCode.DEBT_IS_LESS, settled(treasury, deposit_id, 1))
        await refused(TreasuryCode.DEBT_IS_LESS, written_off(treasury, deposit_id, 1))
        assert await treasury.minor(wallet_id) == 130_000_000
        await assert_debts_are_receivable(treasury)

    async def test_back_and_forth_each_has_in_the_end_what_they_had(self, treasury: Treasury) -> None:
        wallet_id, payee, raw = await partly_paid(treasury)
        for _ in range(2):
            await mine_again(treasury, raw)
            assert (await treasury.minor(wallet_id), await fees(treasury)) == (130_000_000, 50_000_000)
            await take_back(treasury, depth=8)
            # The fees bear again what they bore, and the wallet what it paid.
            assert (await treasury.minor(wallet_id), await fees(treasury)) == (0, 10_000_000)
            assert await treasury.minor(payee) == 70_000_000
            await assert_debts_are_receivable(treasury)
            assert (await usdt(treasury)).agrees
        await mine_again(treasury, raw)
        assert (await treasury.minor(wallet_id), await fees(treasury)) == (130_000_000, 50_000_000)
        assert await states(treasury, wallet_id) == [("credited", 250_000_000)]
        await assert_debts_are_receivable(treasury)
        assert (await usdt(treasury)).agrees

    async def test_taken_back_before_it_was_booked_it_passes_the_debt_on(self, treasury: Treasury) -> None:
        wallet_id, _, raw = await partly_paid(treasury)
        node = treasury.contracts.node
        treasury.contracts.receipt(node.call("eth_sendRawTransaction", raw))
        node.mine(3)
        await follow(treasury)
        async with treasury.database.session() as session:
            assert (await write_movements(session, treasury.clock, treasury.custody)).arrivals == 1
        # Written down, and nothing of it is in the ledger.
        await take_back(treasury, depth=8)
        assert (await treasury.minor(wallet_id), await fees(treasury)) == (0, 10_000_000)
        await assert_debts_are_receivable(treasury)
        await mine_again(treasury, raw)
        assert (await treasury.minor(wallet_id), await fees(treasury)) == (130_000_000, 50_000_000)
        await assert_debts_are_receivable(treasury)
        assert (await usdt(treasury)).agrees


async def nothing_counted(_ledger: Ledger, _row: TreasuryReversedDeposit) -> int:
    return 0


async def repaid_whole(ledger: Ledger, deposit: AnyDeposit, origins: Origins) -> int:
    """What a deposit that is mined again did before debts were counted."""
    ids = [receivable_transfer_id(one).int for one in credited_ids(origins.rows[0].id)]
    owed = sum(transfer.amount for transfer in await ledger.lookup_transfers(ids))
    await ledger.create_transfers([repayment_of(deposit, owed)])
    return owed


async def repaid_nothing(_ledger: Ledger, _deposit: AnyDeposit, _origins: Origins) -> int:
    return 0


class TestOfEarlierReleases:
    """Debts that stand in the books of a bank that ran a release without accounts for them."""

    async def test_it_is_shown_and_counted_when_it_is_paid(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as earlier:
            earlier.setattr("treasury.corrections.open_debt", nothing_counted)
            wallet_id, payee, raw = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await pay(treasury, payee, wallet_id, 40_000_000)
        debt = await the_debt(treasury)
        assert (debt.owed.minor, debt.state) == (100_000_000, DebtState.OWED)
        assert (await treasury.system(AccountCode.DEBTS)).credits_posted == 0
        await settled(treasury, debt.deposit_id, 40_000_000)
        assert (await the_debt(treasury)).owed.minor == 60_000_000
        await assert_debts_are_receivable(treasury)
        await mine_again(treasury, raw)
        assert await treasury.minor(wallet_id) == 40_000_000
        await assert_debts_are_receivable(treasury)

    async def test_what_its_deposit_has_paid_already_is_not_paid_again(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as earlier:
            earlier.setattr("treasury.corrections.open_debt", nothing_counted)
            earlier.setattr("treasury.deposits.repay", repaid_whole)
            wallet_id, payee, raw = await spent_and_gone(treasury, 100_000_000, 70_000_000)
            await mine_again(treasury, raw)
        # Somebody else's debt, so that RECEIVABLE by itself would let it be paid.
        await spent_and_gone(treasury, 900_000_000, 900_000_000)
        first = next(one for one in await debts(treasury) if one.wallet_id == wallet_id)
        assert (first.owed.minor, first.state) == (0, DebtState.MINED_AGAIN)
        assert await treasury.minor(wallet_id) == 30_000_000
        await refused(TreasuryCode.DEBT_IS_LESS, settled(treasury, first.deposit_id, 1))
        await assert_debts_are_receivable(treasury)
        assert (await usdt(treasury)).agrees
        assert await treasury.minor(payee) == 70_000_000

    async def test_what_came_and_went_before_is_owed_once(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as earlier:
            earlier.setattr("treasury.corrections.open_debt", nothing_counted)
            earlier.setattr("treasury.deposits.repay", repaid_whole)
            wallet_id, payee, raw = await spent_and_gone(treasury, 100_000_000, 70_000_000)
            await mine_again(treasury, raw)
            await take_back(treasury, depth=8)
        await spent_and_gone(treasury, 900_000_000, 900_000_000)
        owing = [one for one in await debts(treasury) if one.wallet_id == wallet_id]
        assert sorted((one.state, one.owed.minor) for one in owing) == [
            (DebtState.MINED_AGAIN, 0),
            (DebtState.OWED, 70_000_000),
        ]
        await pay(treasury, payee, wallet_id, 70_000_000)
        for one in owing:
            if one.state is DebtState.OWED:
                await settled(treasury, one.deposit_id, 20_000_000)
            else:
                await refused(TreasuryCode.DEBT_IS_LESS, settled(treasury, one.deposit_id, 1))
        await assert_debts_are_receivable(treasury)
        await mine_again(treasury, raw)
        assert await treasury.minor(wallet_id) == 100_000_000
        await assert_debts_are_receivable(treasury)
        assert (await usdt(treasury)).agrees

    async def test_what_came_and_went_unbooked_before_is_owed_by_the_first(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wallet_id, payee, raw = await spent_and_gone(treasury, 100_000_000, 70_000_000)
        await pay(treasury, payee, wallet_id, 70_000_000)
        node = treasury.contracts.node
        treasury.contracts.receipt(node.call("eth_sendRawTransaction", raw))
        node.mine(3)
        await follow(treasury)
        async with treasury.database.session() as session:
            await write_movements(session, treasury.clock, treasury.custody)
        with monkeypatch.context() as earlier:
            earlier.setattr("treasury.corrections.repay", repaid_nothing)
            await take_back(treasury, depth=8)
        assert (await the_debt(treasury)).owed.minor == 70_000_000
        await settled(treasury, (await the_debt(treasury)).deposit_id, 20_000_000)
        await assert_debts_are_receivable(treasury)
        await mine_again(treasury, raw)
        assert await treasury.minor(wallet_id) == 100_000_000
        await assert_debts_are_receivable(treasury)
        assert (await usdt(treasury)).agrees
