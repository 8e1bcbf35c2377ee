"""Debts: what a broken finality left owed is settled, written off, or paid by the chain itself."""

from typing import Any

import pytest
from sqlalchemy import select

from foundation.assets import DMMK, USDT
from foundation.ids import uuid7
from foundation.money import Money
from identity.officers import appoint_officer, dismiss_officer
from identity.roles import Role
from ledger.chart import TransferCode, wallet_account_id
from ledger.contract import AccountFilter, AccountFilterFlags
from tests.fixtures.officers import OfficerDevice
from tests.treasury.conftest import Treasury
from tests.treasury.debts import (
    OFFICERS,
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
from tests.treasury.test_broken_finality import credited, follow, pay, usdt
from treasury.debt_payments import settle_debt, write_off_debt
from treasury.debts import DebtPaymentState, DebtState
from treasury.errors import TreasuryCode
from treasury.models import TreasuryReversedDeposit
from treasury.movements import write_movements
from wallets.history_filters import HistoryKind, history_kind


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
            (("may", "su"), "why"),
            (("may", "hla"), "  "),
        ],
    )
    async def test_too_few_write_nothing_off(
        self, treasury: Treasury, names: tuple[str, ...], reason: str
    ) -> None:
        _, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
        await appoint_two(treasury)
        for name in ("ko", "su"):
            device = await OfficerDevice(name).enrol(treasury.database, treasury.clock)
        async with treasury.database.session() as session:
            assert await dismiss_officer(session, treasury.clock, name="ko")
            # Officers of all but the bank's money.
            roles = set(Role) - {Role.TREASURY}
            how: dict[str, Any] = {"person_id": device.person_id, "name": "su", "roles": roles}
            await appoint_officer(session, treasury.clock, **how)
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


def test_a_settlement_stands_in_the_history_as_something_taken_back() -> None:
    assert history_kind(TransferCode.DEBT_SETTLED) is HistoryKind.CORRECTION
