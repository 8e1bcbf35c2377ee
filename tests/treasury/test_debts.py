"""Debts: what a broken finality left owed is settled, written off, or paid by the chain itself."""

from collections.abc import Awaitable
from uuid import UUID

import pytest
from sqlalchemy import select

from foundation.assets import DMMK, USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import Money
from identity.officers import dismiss_officer
from ledger.chart import AccountCode, TransferCode, wallet_account_id
from ledger.contract import AccountFilter, AccountFilterFlags
from ledger.interface import Ledger
from tests.fixtures.officers import OfficerDevice
from tests.treasury.conftest import Treasury
from tests.treasury.debts import (
    OFFICERS,
    appoint_two,
    assert_debts_are_receivable,
    debts,
    earn,
    fees,
    settled,
    spent_and_gone,
    the_debt,
    written_off,
)
from tests.treasury.test_broken_finality import credited, follow, mine_again, pay, states, take_back, usdt
from treasury.debt_payments import settle_debt, write_off_debt
from treasury.debts import DebtPaymentState, DebtState
from treasury.deposit_transfers import AnyDeposit, credited_ids, receivable_transfer_id, repayment_of
from treasury.errors import TreasuryCode
from treasury.models import TreasuryReversedDeposit
from treasury.movements import write_movements
from treasury.repayments import Origins
from wallets.history import HistoryKind, _kind


async def refused(code: TreasuryCode, call: Awaitable[object]) -> None:
    with pytest.raises(Refusal) as refusal:
        await call
    assert refusal.value.code is code


class TestOwed:
    async def test_a_debt_says_who_owes_how_much_of_which_deposit(self, treasury: Treasury) -> None:
        wallet_id, _, _ = await spent_and_gone(treasury, 250_000_000, 200_000_000)
        debt = await the_debt(treasury)
        assert (debt.wallet_id, debt.owed, debt.owed_at_first) == (
            wallet_id,
            Money(200_000_000, USDT),
            Money(200_000_000, USDT),
        )
        assert (debt.state, debt.payments) == (DebtState.OWED, ())
        await assert_debts_are_receivable(treasury)

    async def test_a_deposit_that_is_taken_back_whole_leaves_no_debt(self, treasury: Treasury) -> None:
        await spent_and_gone(treasury, 250_000_000, 200_000_000)
        _, _, _ = await spent_and_gone(treasury, 7_000_000, 0)
        assert (await the_debt(treasury)).owed.minor == 200_000_000
        await assert_debts_are_receivable(treasury)


class TestSettle:
    async def test_the_debtor_s_wallet_pays_and_its_history_says_so(self, treasury: Treasury) -> None:
        wallet_id, payee, _ = await spent_and_gone(treasury, 250_000_000, 200_000_000)
        await pay(treasury, payee, wallet_id, 90_000_000)
        debt = await the_debt(treasury)
        assert (await settled(treasury, debt.deposit_id, 80_000_000)).state is DebtPaymentState.PAID
        assert await treasury.minor(wallet_id) == 10_000_000
        after = await the_debt(treasury)
        assert (after.owed.minor, after.owed_at_first.minor) == (120_000_000, 200_000_000)
        assert [one.state for one in after.payments] == [DebtPaymentState.PAID]
        await assert_debts_are_receivable(treasury)
        assert (await usdt(treasury)).agrees
        lines = await treasury.ledger.get_account_transfers(
            AccountFilter(
                account_id=wallet_account_id(wallet_id, USDT),
                limit=1,
                flags=int(AccountFilterFlags.DEBITS | AccountFilterFlags.REVERSED),
            )
        )
        assert [(line.code, line.user_data_128) for line in lines] == [
            (TransferCode.DEBT_SETTLED, debt.deposit_id.int)
        ]

    async def test_the_same_payment_again_moves_nothing_and_says_that_it_is_paid(
        self, treasury: Treasury
    ) -> None:
        wallet_id, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await pay(treasury, payee, wallet_id, 100_000_000)
        deposit_id, payment_id = (await the_debt(treasury)).deposit_id, uuid7(treasury.clock)
        first = await settled(treasury, deposit_id, 100_000_000, payment_id)
        # All is paid by now, and the wallet empty: the payment itself is looked for first.
        assert await settled(treasury, deposit_id, 100_000_000, payment_id) == first
        assert await treasury.minor(wallet_id) == 0
        assert (await the_debt(treasury)).state is DebtState.PAID
        await assert_debts_are_receivable(treasury)

    async def test_an_id_is_for_one_payment_only(self, treasury: Treasury) -> None:
        wallet_id, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await appoint_two(treasury)
        await pay(treasury, payee, wallet_id, 100_000_000)
        deposit_id, payment_id = (await the_debt(treasury)).deposit_id, uuid7(treasury.clock)
        await settled(treasury, deposit_id, 10_000_000, payment_id)
        different = TreasuryCode.DEBT_PAYMENT_EXISTS_DIFFERENTLY
        await refused(different, settled(treasury, deposit_id, 11_000_000, payment_id))
        await refused(different, written_off(treasury, deposit_id, 10_000_000, payment_id))
        assert await treasury.minor(wallet_id) == 90_000_000

    async def test_no_more_is_paid_than_is_owed_though_others_owe_more(self, treasury: Treasury) -> None:
        first, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await spent_and_gone(treasury, 900_000_000, 900_000_000)
        await pay(treasury, payee, first, 100_000_000)
        mine = next(one for one in await debts(treasury) if one.wallet_id == first)
        payment_id = uuid7(treasury.clock)
        await settled(treasury, mine.deposit_id, 60_000_000)
        for _ in range(2):
            await refused(
                TreasuryCode.DEBT_IS_LESS, settled(treasury, mine.deposit_id, 40_000_001, payment_id)
            )
        assert await treasury.minor(first) == 40_000_000
        await settled(treasury, mine.deposit_id, 40_000_000)
        await assert_debts_are_receivable(treasury)

    async def test_the_debtor_pays_no_more_than_the_wallet_has(self, treasury: Treasury) -> None:
        wallet_id, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await pay(treasury, payee, wallet_id, 30_000_000)
        deposit_id, payment_id = (await the_debt(treasury)).deposit_id, uuid7(treasury.clock)
        for _ in range(2):
            await refused(TreasuryCode.DEBTOR_HAS_LESS, settled(treasury, deposit_id, 30_000_001, payment_id))
        debt = await the_debt(treasury)
        assert [(one.state, one.refusal_code) for one in debt.payments] == [
            (DebtPaymentState.REFUSED, "debtor_has_less")
        ]
        assert (debt.owed.minor, await treasury.minor(wallet_id)) == (100_000_000, 30_000_000)
        await assert_debts_are_receivable(treasury)
        # Refused for ever, also when the wallet has it: the operator was told that it failed.
        await pay(treasury, payee, wallet_id, 70_000_000)
        await refused(TreasuryCode.DEBTOR_HAS_LESS, settled(treasury, deposit_id, 30_000_001, payment_id))
        await settled(treasury, deposit_id, 30_000_001)

    async def test_what_is_no_debt_is_not_paid(self, treasury: Treasury) -> None:
        await spent_and_gone(treasury, 100_000_000, 100_000_000)
        deposit_id = (await the_debt(treasury)).deposit_id
        await refused(TreasuryCode.DEBT_NOT_FOUND, settled(treasury, uuid7(treasury.clock), 1))
        await refused(TreasuryCode.DEBT_AMOUNT_NOT_POSITIVE, settled(treasury, deposit_id, 0))
        await refused(TreasuryCode.DEBT_AMOUNT_NOT_POSITIVE, settled(treasury, deposit_id, -5))
        await refused(
            TreasuryCode.DEBT_NOT_FOUND,
            settle_debt(
                treasury.database,
                treasury.ledger,
                treasury.clock,
                payment_id=uuid7(treasury.clock),
                deposit_id=deposit_id,
                amount=Money(1, DMMK),
            ),
        )
        assert (await the_debt(treasury)).payments == ()

    async def test_a_deposit_that_left_nothing_owed_is_no_debt(self, treasury: Treasury) -> None:
        await spent_and_gone(treasury, 100_000_000, 0)
        async with treasury.database.session() as session:
            deposit_id = await session.scalar(select(TreasuryReversedDeposit.id))
        assert deposit_id is not None
        await refused(TreasuryCode.DEBT_NOT_FOUND, settled(treasury, deposit_id, 1))

    async def test_a_deposit_that_is_not_corrected_yet_is_not_paid_for(self, treasury: Treasury) -> None:
        await credited(treasury, 100_000_000)
        treasury.contracts.node.reorg(5)
        treasury.contracts.node.mine(3)
        for _ in range(2):
            await follow(treasury)
        async with treasury.database.session() as session:
            await write_movements(session, treasury.clock, treasury.custody)
        debt = await the_debt(treasury)
        assert (debt.state, debt.owed.minor) == (DebtState.NOT_CORRECTED, 0)
        await refused(TreasuryCode.DEBT_NOT_FINAL, settled(treasury, debt.deposit_id, 1))


class TestWriteOff:
    async def test_fees_bear_it_when_two_officers_say_so(self, treasury: Treasury) -> None:
        _, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await appoint_two(treasury)
        await earn(treasury, payee, 50_000_000)
        deposit_id = (await the_debt(treasury)).deposit_id
        paid = await written_off(treasury, deposit_id, 40_000_000)
        assert (paid.decided_by, paid.reason) == ("hla, may", "the chain broke")
        assert (await fees(treasury), (await the_debt(treasury)).owed.minor) == (10_000_000, 60_000_000)
        await assert_debts_are_receivable(treasury)
        assert (await usdt(treasury)).agrees

    async def test_fees_that_were_not_earned_bear_nothing(self, treasury: Treasury) -> None:
        _, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await appoint_two(treasury)
        await earn(treasury, payee, 5_000_000)
        deposit_id, payment_id = (await the_debt(treasury)).deposit_id, uuid7(treasury.clock)
        for _ in range(2):
            await refused(
                TreasuryCode.FEES_ARE_LESS, written_off(treasury, deposit_id, 5_000_001, payment_id)
            )
        assert await fees(treasury) == 5_000_000
        await assert_debts_are_receivable(treasury)

    @pytest.mark.parametrize(
        ("names", "reason"),
        [
            ((), "why"),
            (("may",), "why"),
            (("may", " may "), "why"),
            (("may", "stranger"), "why"),
            (("may", "hla", "stranger"), "why"),
            (("may", "ko"), "why"),
            (("may", "hla"), "  "),
        ],
    )
    async def test_too_few_write_nothing_off(
        self, treasury: Treasury, names: tuple[str, ...], reason: str
    ) -> None:
        _, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await appoint_two(treasury)
        await OfficerDevice("ko").enrol(treasury.database, treasury.clock)
        async with treasury.database.session() as session:
            assert await dismiss_officer(session, treasury.clock, name="ko")
        await earn(treasury, payee, 50_000_000)
        await refused(
            TreasuryCode.DEBT_DECIDED_BY_TOO_FEW,
            write_off_debt(
                treasury.database,
                treasury.ledger,
                treasury.clock,
                payment_id=uuid7(treasury.clock),
                deposit_id=(await the_debt(treasury)).deposit_id,
                amount=Money(1, USDT),
                decided_by=names,
                reason=reason,
            ),
        )
        assert (await the_debt(treasury)).payments == ()

    async def test_the_debtor_writes_nothing_off(self, treasury: Treasury) -> None:
        _, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await appoint_two(treasury)
        debtor = (await OfficerDevice("ko").enrol(treasury.database, treasury.clock)).person_id
        await earn(treasury, payee, 50_000_000)
        await refused(
            TreasuryCode.DEBT_DECIDED_BY_TOO_FEW,
            write_off_debt(
                treasury.database,
                treasury.ledger,
                treasury.clock,
                payment_id=uuid7(treasury.clock),
                deposit_id=(await the_debt(treasury)).deposit_id,
                amount=Money(1, USDT),
                decided_by=(*OFFICERS, "ko"),
                reason="my own",
                debtor=debtor,
            ),
        )

    async def test_a_decision_is_carried_out_though_an_officer_is_dismissed_since(
        self, treasury: Treasury
    ) -> None:
        _, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await appoint_two(treasury)
        await earn(treasury, payee, 50_000_000)
        deposit_id, payment_id = (await the_debt(treasury)).deposit_id, uuid7(treasury.clock)
        await written_off(treasury, deposit_id, 40_000_000, payment_id)
        async with treasury.database.session() as session:
            assert await dismiss_officer(session, treasury.clock, name="hla")
        await written_off(treasury, deposit_id, 40_000_000, payment_id)
        assert await fees(treasury) == 10_000_000
        await refused(TreasuryCode.DEBT_DECIDED_BY_TOO_FEW, written_off(treasury, deposit_id, 1))


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


def test_a_settlement_stands_in_the_history_as_something_taken_back() -> None:
    assert _kind(TransferCode.DEBT_SETTLED) is HistoryKind.CORRECTION
