"""Payments: both legs or none, each id once, and every refusal by its code."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from foundation.assets import DMMK, USDC, USDT, Asset
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import AMOUNT_LIMIT, Money
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import CreateTransferStatus, Transfer, TransferFlags
from tests.wallets.conftest import Bank
from wallets import payments
from wallets.errors import WalletCode
from wallets.payments import Paid, pay, payment_by_id, payment_fee_id
from wallets.tiers import CEILINGS, TIER_LIMITS, Tier


@pytest.fixture
async def aye(bank):
    wallet = await bank.wallet("aye")
    await bank.fund(wallet, "100", USDT)
    return wallet


@pytest.fixture
async def ko(bank):
    return await bank.wallet("ko_ko")


async def refused(bank, order) -> Refusal:
    """The refusal of an order that must leave the books as they were."""
    before = await bank.transfers()
    with pytest.raises(Refusal) as refusal:
        await bank.pay(order)
    assert await bank.transfers() == before
    return refusal.value


async def fees_earned(bank: Bank, asset: Asset) -> int:
    (account,) = await bank.ledger.lookup_accounts([system_account_id(AccountCode.FEES, asset)])
    return account.credits_posted


class TestPay:
    async def test_the_payee_gets_the_amount_and_the_payer_pays_the_fee_on_top(self, bank, aye, ko):
        paid = await bank.pay(bank.order(aye, "@KO_KO", "25", USDT))

        assert not paid.replayed
        assert paid.payment.fee.format() == "0.025000"
        assert await bank.available(aye, USDT) == "74.975000"
        assert await bank.available(ko, USDT) == "25.000000"
        assert await fees_earned(bank, USDT) == 25_000

    async def test_all_that_one_has_can_be_paid(self, bank, aye, ko):
        await bank.pay(bank.order(aye, ko, "99.900099", USDT))
        assert await bank.available(aye, USDT) == "0.000001"

    async def test_a_free_payment_is_one_transfer(self, bank, aye, ko, monkeypatch):
        monkeypatch.setattr(payments, "payment_fee", lambda amount: Money(0, amount.asset))
        before = await bank.transfers()
        paid = await bank.pay(bank.order(aye, ko, "100", USDT))
        assert await bank.transfers() == before + 1
        assert paid.payment.fee.minor == 0
        assert await bank.available(aye, USDT) == "0.000000"

    async def test_money_can_be_paid_on_at_once(self, bank, aye, ko):
        await bank.pay(bank.order(aye, ko, "50", USDT))
        await bank.pay(bank.order(ko, aye, "40", USDT))
        assert await bank.available(ko, USDT) == "9.960000"


class TestReplay:
    async def test_the_same_order_again_gives_the_first_answer(self, bank, aye, ko):
        order = bank.order(aye, ko, "25", USDT, reference=uuid.uuid4())
        first = await bank.pay(order)
        bank.clock.advance(14 * 86_400)
        again = await bank.pay(order)

        assert again == Paid(first.payment, replayed=True)
        assert await bank.available(aye, USDT) == "74.975000"

    async def test_a_fee_that_changes_afterwards_changes_no_answer(self, bank, aye, ko, monkeypatch):
        order = bank.order(aye, ko, "25", USDT, fee_max=Money.parse("0.03", USDT))
        first = await bank.pay(order)
        for fee in (0, 7, 30_000, 30_001, 5_000_000):
            monkeypatch.setattr(payments, "payment_fee", lambda amount, fee=fee: Money(fee, amount.asset))
            assert await bank.pay(order) == Paid(first.payment, replayed=True)

    async def test_a_payment_that_was_free_stays_free(self, bank, aye, ko, monkeypatch):
        order = bank.order(aye, ko, "25", USDT)
        with monkeypatch.context() as free:
            free.setattr(payments, "payment_fee", lambda amount: Money(0, amount.asset))
            first = await bank.pay(order)
        assert await bank.pay(order) == Paid(first.payment, replayed=True)

    @pytest.mark.parametrize("field", ["asset", "payee", "amount", "reference"])
    async def test_other_content_under_the_same_id_is_refused_by_the_fields_name(self, bank, aye, ko, field):
        order = bank.order(aye, ko, "25", USDT)
        await bank.pay(order)
        await bank.wallet("thida")
        await bank.fund(aye, "100", USDC)
        changes: dict[str, dict[str, Any]] = {
            "asset": {"amount": Money.parse("25", USDC)},
            "payee": {"payee_handle": "thida"},
            "amount": {"amount": Money.parse("25.000001", USDT)},
            "reference": {"reference": uuid.uuid4()},
        }
        refusal = await refused(bank, replace(order, **changes[field]))
        assert refusal.code is WalletCode.PAYMENT_ID_USED_DIFFERENTLY
        assert refusal.data == {"field": field}

    async def test_somebody_elses_id_is_taken_and_tells_nothing(self, bank, aye, ko):
        order = bank.order(aye, ko, "25", USDT)
        await bank.pay(order)
        refusal = await refused(bank, replace(order, payer=ko, payee_handle="aye"))
        assert refusal.code is WalletCode.PAYMENT_ID_TAKEN
        assert refusal.data == {}

    async def test_the_id_of_another_kind_of_transfer_is_taken(self, bank, aye, ko):
        order = bank.order(aye, ko, "25", USDT)
        await bank.ledger.create_transfers(
            [
                Transfer(
                    id=order.id.int,
                    debit_account_id=wallet_account_id(aye.id, USDT),
                    credit_account_id=system_account_id(AccountCode.WITHDRAWAL_IN_FLIGHT, USDT),
                    amount=1,
                    ledger=USDT.ledger,
                    code=TransferCode.WITHDRAWAL,
                    flags=TransferFlags.PENDING,
                )
            ]
        )
        assert (await refused(bank, order)).code is WalletCode.PAYMENT_ID_TAKEN


class TestRefused:
    @pytest.mark.parametrize("version", [1, 3, 4, 5, 6, 8])
    async def test_an_id_that_is_not_a_uuid7(self, bank, aye, ko, version):
        other = uuid.UUID(int=uuid7(bank.clock).int & ~(0xF << 76) | version << 76)
        refusal = await refused(bank, bank.order(aye, ko, "1", USDT, id=other))
        assert refusal.code is WalletCode.PAYMENT_ID_MALFORMED

    async def test_the_id_of_its_own_fee(self, bank, aye, ko):
        fee_id = payment_fee_id(uuid7(bank.clock))
        refusal = await refused(bank, bank.order(aye, ko, "1", USDT, id=fee_id))
        assert refusal.code is WalletCode.PAYMENT_ID_MALFORMED

    async def test_nothing_or_less_than_nothing(self, bank, aye, ko):
        for minor in (0, -1, -AMOUNT_LIMIT):
            refusal = await refused(bank, bank.order(aye, ko, "1", USDT, amount=Money(minor, USDT)))
            assert refusal.code is WalletCode.AMOUNT_NOT_POSITIVE

    async def test_a_payee_that_nobody_is(self, bank, aye):
        assert (await refused(bank, bank.order(aye, "nobody_here", "1", USDT))).code is (
            WalletCode.PAYEE_UNKNOWN
        )
        assert (await refused(bank, bank.order(aye, "no body", "1", USDT))).code is (
            WalletCode.HANDLE_MALFORMED
        )

    async def test_oneself(self, bank, aye):
        assert (await refused(bank, bank.order(aye, "@AYE", "1", USDT))).code is WalletCode.PAYEE_IS_PAYER

    async def test_a_fee_above_what_was_agreed_to(self, bank, aye, ko):
        order = bank.order(aye, ko, "25", USDT, fee_max=Money.parse("0.024999", USDT))
        refusal = await refused(bank, order)
        assert refusal.code is WalletCode.FEE_ABOVE_MAXIMUM
        assert refusal.data == {"fee": "0.025000", "asset": "USDT"}
        # Nothing was tried, so the id is not burned.
        await pay(
            bank.ledger, bank.directory, bank.limits, replace(order, fee_max=Money.parse("0.025", USDT))
        )

    async def test_more_than_one_has(self, bank, aye, ko):
        refusal = await refused(bank, bank.order(aye, ko, "100.000001", USDT))
        assert refusal.code is WalletCode.INSUFFICIENT_FUNDS

    async def test_all_that_one_has_without_the_fee(self, bank, aye, ko):
        refusal = await refused(bank, bank.order(aye, ko, "100", USDT))
        assert refusal.code is WalletCode.INSUFFICIENT_FUNDS
        assert "fee" in refusal.detail

    async def test_an_asset_that_one_has_none_of(self, bank, aye, ko):
        assert (await refused(bank, bank.order(aye, ko, "0.01", DMMK))).code is (
            WalletCode.INSUFFICIENT_FUNDS
        )

    @pytest.mark.parametrize("amount", ["100.000001", "100"])
    async def test_an_id_that_was_refused_stays_refused_though_money_comes(self, bank, aye, ko, amount):
        order = bank.order(aye, ko, amount, USDT)
        await refused(bank, order)
        await bank.fund(aye, "1000", USDT)
        refusal = await refused(bank, order)
        assert refusal.code is WalletCode.PAYMENT_ALREADY_REFUSED
        await bank.pay(replace(order, id=uuid7(bank.clock)))

    async def test_money_that_is_reserved(self, bank, aye, ko):
        (result,) = await bank.ledger.create_transfers(
            [
                Transfer(
                    id=uuid7(bank.clock).int,
                    debit_account_id=wallet_account_id(aye.id, USDT),
                    credit_account_id=system_account_id(AccountCode.WITHDRAWAL_IN_FLIGHT, USDT),
                    amount=60_000_000,
                    ledger=USDT.ledger,
                    code=TransferCode.WITHDRAWAL,
                    flags=TransferFlags.PENDING,
                )
            ]
        )
        assert result.status is CreateTransferStatus.CREATED
        assert (await refused(bank, bank.order(aye, ko, "50", USDT))).code is WalletCode.INSUFFICIENT_FUNDS

    @pytest.mark.parametrize("side", ["payer", "payee"])
    async def test_a_closed_account(self, bank, aye, ko, side):
        closing, other = (aye, ko) if side == "payer" else (ko, aye)
        (result,) = await bank.ledger.create_transfers(
            [
                Transfer(
                    id=uuid7(bank.clock).int,
                    debit_account_id=wallet_account_id(closing.id, USDT),
                    credit_account_id=wallet_account_id(other.id, USDT),
                    ledger=USDT.ledger,
                    code=TransferCode.CORRECTION,
                    flags=TransferFlags.PENDING | TransferFlags.CLOSING_DEBIT,
                )
            ]
        )
        assert result.status is CreateTransferStatus.CREATED
        assert (await refused(bank, bank.order(aye, ko, "1", USDT))).code is WalletCode.WALLET_CLOSED

    async def test_more_than_the_payee_can_hold(self, bank, aye, ko, monkeypatch):
        monkeypatch.setitem(CEILINGS, Tier.STANDARD, {})
        await bank.fund(ko, "9223372036754.775807", USDT)
        await bank.pay(bank.order(aye, ko, "99", USDT))
        await bank.pay(bank.order(ko, aye, "50", USDT))
        # What an account ever received is counted for ever, also what it has spent.
        assert (await refused(bank, bank.order(aye, ko, "50", USDT))).code is WalletCode.PAYEE_BALANCE_FULL

    async def test_who_has_no_money_learns_nothing_of_what_the_payee_received(self, bank, ko, monkeypatch):
        monkeypatch.setitem(TIER_LIMITS, Tier.STANDARD, {})
        await bank.fund(ko, "50", USDT)
        stranger = await bank.wallet("stranger")
        for amount in ("9223372036804.775807", "9223372036804.775808", "9223372036854.775807"):
            refusal = await refused(bank, bank.order(stranger, ko, amount, USDT))
            assert refusal.code is WalletCode.INSUFFICIENT_FUNDS

    async def test_an_account_that_was_missing_is_opened_and_a_new_id_pays(self, bank, aye, monkeypatch):
        async def nothing(ledger, wallet_id):
            del ledger, wallet_id

        with monkeypatch.context() as forgetful:
            forgetful.setattr("wallets.wallets.open_wallet_accounts", nothing)
            late = await bank.wallet("late")
        order = bank.order(aye, late, "1", USDT)
        refusal = await refused(bank, order)
        assert refusal.code is WalletCode.WALLET_ACCOUNT_MISSING
        await bank.pay(replace(order, id=uuid7(bank.clock)))
        assert await bank.available(late, USDT) == "1.000000"


class TestConcurrency:
    async def test_the_same_payment_fifty_times_at_once_pays_once(self, bank, aye, ko):
        order = bank.order(aye, ko, "25", USDT)
        answers = await asyncio.gather(*(bank.pay(order) for _ in range(50)))
        assert len({repr(answer.payment) for answer in answers}) == 1
        assert sum(not answer.replayed for answer in answers) == 1
        assert await bank.available(aye, USDT) == "74.975000"
        assert await bank.available(ko, USDT) == "25.000000"

    async def test_of_two_payments_that_race_for_one_balance_one_wins(self, bank, aye, ko):
        orders = [bank.order(aye, ko, "60", USDT) for _ in range(2)]
        answers = await asyncio.gather(
            *(bank.pay(order) for order in orders),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, Paid) for answer in answers) == 1
        assert [answer.code for answer in answers if isinstance(answer, Refusal)] == [
            WalletCode.INSUFFICIENT_FUNDS
        ]
        assert await bank.available(aye, USDT) == "39.940000"

    async def test_wallets_that_pay_one_another_at_random_keep_the_sum(self, bank, aye, ko):
        everybody = [aye, ko, *[await bank.wallet(f"wallet_{i}") for i in range(4)]]
        orders = [
            bank.order(everybody[i % 6], everybody[(i * 5 + 1) % 6], f"{i % 17 + 1}", USDT)
            for i in range(300)
            if i % 6 != (i * 5 + 1) % 6
        ]
        answers = await asyncio.gather(
            *(bank.pay(order) for order in orders),
            return_exceptions=True,
        )
        assert all(
            isinstance(answer, Paid)
            or (isinstance(answer, Refusal) and answer.code is WalletCode.INSUFFICIENT_FUNDS)
            for answer in answers
        )
        held = [Money.parse(await bank.available(wallet, USDT), USDT).minor for wallet in everybody]
        assert sum(held) + await fees_earned(bank, USDT) == 100_000_000


class TestPaymentById:
    async def test_both_parties_see_it(self, bank, aye, ko):
        paid = await pay(
            bank.ledger, bank.directory, bank.limits, bank.order(aye, ko, "25", USDT, reference=uuid.uuid4())
        )
        for wallet in (aye, ko):
            assert paid.payment == await payment_by_id(
                bank.ledger, bank.directory, wallet=wallet, payment_id=paid.payment.id
            )

    async def test_nobody_else_does(self, bank, aye, ko):
        paid = await bank.pay(bank.order(aye, ko, "25", USDT))
        stranger = await bank.wallet("stranger")
        refused_order = bank.order(aye, ko, "1000", USDT)
        await refused(bank, refused_order)
        for wallet, payment_id in (
            (stranger, paid.payment.id),
            (aye, uuid7(bank.clock)),
            (aye, payment_fee_id(paid.payment.id)),
            (aye, refused_order.id),
        ):
            with pytest.raises(Refusal) as refusal:
                await payment_by_id(bank.ledger, bank.directory, wallet=wallet, payment_id=payment_id)
            assert refusal.value.code is WalletCode.PAYMENT_NOT_FOUND
