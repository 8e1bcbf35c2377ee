"""Ceilings hold to the unit, however payments are raced, and refuse nothing else that comes in."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text as sql
from sqlalchemy import update

from foundation.assets import USDT
from foundation.errors import Refusal, RefusalCode
from foundation.ids import uuid7
from foundation.money import Money
from tests.wallets.conftest import Bank
from wallets.ceilings import COMING_BACK_SECONDS, DAY_SECONDS, LOOKED_SECONDS
from wallets.errors import WalletCode
from wallets.fees import payment_fee
from wallets.limits import Limits
from wallets.models import WalletRow
from wallets.payments import pay
from wallets.refunds import RefundOrder, refund_payment
from wallets.tiers import CEILINGS, Tier
from wallets.wallets import Wallet

CEILING = CEILINGS[Tier.STARTER][USDT]
"""5,000 dollars."""


async def in_tier(bank: Bank, wallet: Wallet, tier: Tier) -> Wallet:
    async with bank.database.session() as session:
        await session.execute(update(WalletRow).where(WalletRow.id == wallet.id).values(tier=tier))
    return replace(wallet, tier=tier)


@pytest.fixture
async def rich(bank: Bank) -> Wallet:
    wallet = await bank.wallet("daw_rich")
    await bank.fund(wallet, "9000000", USDT)
    return await in_tier(bank, wallet, Tier.BUSINESS)


@pytest.fixture
async def starter(bank: Bank) -> Wallet:
    return await in_tier(bank, await bank.wallet("starter"), Tier.STARTER)


async def paid(bank: Bank, payer: Wallet, payee: Wallet, text: str, limits: Limits | None = None) -> None:
    order = bank.order(payer, payee, text, USDT)
    await pay(bank.ledger, bank.directory, limits or bank.limits, order)


async def refused(bank: Bank, payer: Wallet, payee: Wallet, text: str) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await paid(bank, payer, payee, text)
    return refusal.value


async def code_of(bank: Bank, payer: Wallet, payee: Wallet, text: str) -> RefusalCode | None:
    """The code by which a payment is refused; None where it is made."""
    try:
        await paid(bank, payer, payee, text)
    except Refusal as refusal:
        return refusal.code
    return None


async def left(bank: Bank, wallet: Wallet) -> str | None:
    found = await bank.limits.ceilings.ceiling(wallet, USDT)
    return found.left.format() if found is not None else None


class TestCeiling:
    """A starter holds at most 5,000 by payments."""

    async def test_the_ceiling_itself_fits_and_a_unit_more_does_not(self, bank, rich, starter):
        await paid(bank, rich, starter, "3000")
        await paid(bank, rich, starter, "1999.999999")
        assert await left(bank, starter) == "0.000001"
        refusal = await refused(bank, rich, starter, "0.000002")
        assert refusal.code is WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED
        # Nothing is said of what the payee holds or may hold.
        assert refusal.data == {"asset": "USDT"}
        assert not any(digit in refusal.detail for digit in "0123456789")
        await paid(bank, rich, starter, "0.000001")
        assert await bank.available(starter, USDT) == "5000.000000"

    async def test_what_was_refused_stays_refused_and_what_leaves_makes_room(self, bank, rich, starter):
        await paid(bank, rich, starter, "5000")
        order = bank.order(rich, starter, "40", USDT)
        for code in (WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED, WalletCode.PAYMENT_ALREADY_REFUSED):
            with pytest.raises(Refusal) as refusal:
                await bank.pay(order)
            assert refusal.value.code is code
        await paid(bank, starter, rich, "100")
        with pytest.raises(Refusal) as refusal:
            await bank.pay(order)
        assert refusal.value.code is WalletCode.PAYMENT_ALREADY_REFUSED
        await paid(bank, rich, starter, "50")

    async def test_a_payment_that_was_made_is_answered_again_though_the_payee_is_full(
        self, bank, rich, starter
    ):
        order = bank.order(rich, starter, "4000", USDT)
        await bank.pay(order)
        await paid(bank, rich, starter, "1000")
        assert (await bank.pay(order)).replayed

    async def test_who_has_no_money_learns_nothing_of_the_payee(self, bank, rich, starter):
        await paid(bank, rich, starter, "5000")
        poor = await bank.wallet("u_poor")
        assert (await refused(bank, poor, starter, "1")).code is WalletCode.INSUFFICIENT_FUNDS

    async def test_it_costs_a_payment_no_transfer(self, bank, rich, starter):
        async def transfers() -> int:
            async with bank.database.session() as session:
                return await session.scalar(sql("SELECT count(*) FROM ledger_transfer")) or 0

        business = await in_tier(bank, await bank.wallet("business"), Tier.BUSINESS)
        counts = []
        for payee in (starter, business):
            # The first one opens accounts; the others are what most payments are.
            await paid(bank, rich, payee, "10")
            before = await transfers()
            for _ in range(5):
                await paid(bank, rich, payee, "10")
            counts.append(await transfers() - before)
        assert counts[0] == counts[1] == 25

    async def test_another_tier_moves_it_at_once(self, bank, rich, starter):
        await paid(bank, rich, starter, "5000")
        risen = await in_tier(bank, starter, Tier.STANDARD)
        await paid(bank, rich, risen, "6000")
        fallen = await in_tier(bank, starter, Tier.STARTER)
        assert await left(bank, fallen) == "0.000000"
        assert (await refused(bank, rich, fallen, "0.01")).code is WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED
        free = await in_tier(bank, starter, Tier.BUSINESS)
        await paid(bank, rich, free, "90000")
        assert await left(bank, free) is None


class TestOtherMoney:
    """Deposits and what is given back always land."""

    async def test_a_deposit_lands_above_it_and_counts_within_a_minute(self, bank, rich, starter):
        await paid(bank, rich, starter, "100")
        await bank.fund(starter, "20000", USDT)
        assert await bank.available(starter, USDT) == "20100.000000"
        bank.clock.advance(seconds=LOOKED_SECONDS)
        assert (await refused(bank, rich, starter, "0.01")).code is WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED
        # For whoever has not looked before, at once.
        other = Limits(bank.ledger, bank.clock)
        with pytest.raises(Refusal):
            await paid(bank, rich, starter, "0.01", other)

    async def test_a_refund_lands_above_it(self, bank, rich, starter):
        await bank.fund(starter, "5000", USDT)
        order = bank.order(starter, rich, "150", USDT)
        await bank.pay(order)
        await bank.fund(starter, "5000", USDT)
        await refund_payment(
            bank.ledger,
            bank.directory,
            RefundOrder(id=uuid7(bank.clock), payee=rich, payment_id=order.id, amount="150"),
        )
        assert Money.parse(await bank.available(starter, USDT), USDT).minor > CEILING


class TestConcurrency:
    """Many at once, of many processes, never come in together above it."""

    async def test_of_many_at_once_as_many_come_in_as_fit(self, bank, rich, starter):
        processes = [Limits(bank.ledger, bank.clock) for _ in range(4)]
        for process in processes:
            await paid(bank, rich, starter, "1", process)
        done = await asyncio.gather(
            *(paid(bank, rich, starter, "450", processes[number % 4]) for number in range(40)),
            return_exceptions=True,
        )
        codes = {one.code for one in done if isinstance(one, Refusal)}
        assert codes == {WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED}
        assert not [one for one in done if one is not None and not isinstance(one, Refusal)]
        held = Money.parse(await bank.available(starter, USDT), USDT).minor
        assert held <= CEILING
        # Some may have been refused though there was room for a moment; one that looks now is not.
        while held + 450_000_000 <= CEILING:
            await paid(bank, rich, starter, "450", Limits(bank.ledger, bank.clock))
            held += 450_000_000
        assert (await refused(bank, rich, starter, "450")).code is WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED

    async def test_room_that_comes_back_after_a_day_brings_nothing_in_above_it(self, bank, rich, starter):
        old = Limits(bank.ledger, bank.clock)
        for _ in range(2):
            await paid(bank, rich, starter, "1100", old)
            bank.clock.advance(seconds=40)
        # A process looks just before what was used a day ago comes back, and sends just after.
        bank.clock.advance(seconds=DAY_SECONDS - 100)
        processes = [Limits(bank.ledger, bank.clock) for _ in range(3)]
        for process in processes:
            await paid(bank, rich, starter, "1", process)
        bank.clock.advance(seconds=50)
        await asyncio.gather(
            *(paid(bank, rich, starter, "200", processes[number % 3]) for number in range(30)),
            return_exceptions=True,
        )
        assert Money.parse(await bank.available(starter, USDT), USDT).minor <= CEILING


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["in", "in", "in", "out", "deposit"]),
        st.one_of(st.integers(1, 2_500_000_000), st.sampled_from([1, CEILING // 2, CEILING])),
        st.one_of(st.integers(LOOKED_SECONDS, 7_200), st.sampled_from([0, DAY_SECONDS - 30, DAY_SECONDS])),
    ),
    min_size=3,
    max_size=20,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
@example(events=[("in", 1, 0), ("out", 1, 0), ("in", 1, 0), ("in", 1, 0), ("out", 1, 0)])
async def test_in_any_life_a_payment_comes_in_where_it_fits_and_nowhere_else(bank, events):
    rich = await in_tier(bank, await bank.wallet(f"r{uuid7(bank.clock).hex[:20]}"), Tier.BUSINESS)
    await bank.fund(rich, "9000000", USDT)
    payee = await in_tier(bank, await bank.wallet(f"p{uuid7(bank.clock).hex[:20]}"), Tier.STARTER)
    spender = replace(payee, tier=Tier.BUSINESS)
    held = 0
    came_in: list[tuple[int, int]] = []
    for kind, amount, pause in events:
        text, now = Money(amount, USDT).format(), bank.clock.now_ns() // 10**9
        if kind == "deposit":
            await bank.fund(payee, text, USDT)
            held += amount
            bank.clock.advance(seconds=LOOKED_SECONDS)
        elif kind == "out":
            spent = Money(amount // 2 + 1, USDT)
            order = bank.order(spender, rich, spent.format(), USDT)
            if spent.minor + payment_fee(spent).minor <= held:
                made = await bank.pay(order)
                held -= made.payment.amount.minor + made.payment.fee.minor
        else:
            # What came in about a day ago is kept free for what it gives back to the gate.
            soon = COMING_BACK_SECONDS + 1
            coming = sum(each for at, each in came_in if abs(now - at - DAY_SECONDS) <= soon)
            code = await code_of(bank, rich, payee, text)
            if code is None:
                held += amount
                came_in.append((now, amount))
                assert held <= CEILING
            else:
                assert code is WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED
                assert held + amount + coming > CEILING
        bank.clock.advance(seconds=pause)
    assert Money(held, USDT).format() == await bank.available(payee, USDT)
