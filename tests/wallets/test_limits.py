"""Limits hold to the unit, however payments are split, raced, repeated or refused."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.assets import DMMK, USDT
from foundation.clock import SECOND_NS
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import Money
from tests.wallets.conftest import Bank
from wallets.errors import WalletCode
from wallets.limits import DAY_SECONDS, Limits, Window
from wallets.payments import Paid, pay
from wallets.tiers import TIER_LIMITS, Tier, TierLimits
from wallets.wallets import Wallet

HOUR = 3_600
MONDAY = 1_800_230_400
"""2027-01-18, a Monday, at midnight."""


@pytest.fixture
async def parties(bank: Bank) -> tuple[Wallet, Wallet]:
    bank.clock.set_ns(MONDAY * SECOND_NS)
    aye, ko = await bank.wallet("aye"), await bank.wallet("ko_ko")
    await bank.fund(aye, "1000000", USDT)
    return replace(aye, tier=Tier.STARTER), ko


async def paid(bank: Bank, payer: Wallet, payee: Wallet, text: str) -> Paid:
    return await bank.pay(bank.order(payer, payee, text, USDT))


async def refused(bank: Bank, payer: Wallet, payee: Wallet, text: str) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await paid(bank, payer, payee, text)
    return refusal.value


async def left(bank: Bank, wallet: Wallet) -> list[str]:
    return [room.left.format() for room in await bank.limits.rooms(wallet, USDT)]


class TestPayments:
    """A starter may pay 200 at once, 500 a day, 1,500 a week, 4,000 a month."""

    async def test_the_limit_itself_passes_and_a_unit_more_does_not(self, bank, parties):
        aye, ko = parties
        for text in ("200", "200", "99.999999"):
            await paid(bank, aye, ko, text)
        refusal = await refused(bank, aye, ko, "0.000002")
        assert refusal.code is WalletCode.DAILY_VALUE_LIMIT_EXCEEDED
        assert refusal.data["left"] == "0.000001"
        await paid(bank, aye, ko, "0.000001")
        assert await left(bank, aye) == ["0.000000", "1000.000000", "3500.000000"]

    async def test_more_than_a_payment_may_be_is_refused_and_nothing_is_written(self, bank, parties):
        aye, ko = parties
        await paid(bank, aye, ko, "1")
        before = await bank.transfers()
        refusal = await refused(bank, aye, ko, "200.000001")
        assert refusal.code is WalletCode.GREATER_THAN_TRANSACTION_MAX_VALUE
        assert await bank.transfers() == before

    async def test_a_day_gives_its_room_back_by_itself_payment_by_payment(self, bank, parties):
        aye, ko = parties
        await paid(bank, aye, ko, "200")
        bank.clock.advance(seconds=12 * HOUR)
        await paid(bank, aye, ko, "200")
        await paid(bank, aye, ko, "100")
        assert (await refused(bank, aye, ko, "1")).code is WalletCode.DAILY_VALUE_LIMIT_EXCEEDED
        bank.clock.advance(seconds=12 * HOUR + 1)
        assert (await left(bank, aye))[0] == "200.000000"
        await paid(bank, aye, ko, "200")
        assert (await refused(bank, aye, ko, "1")).code is WalletCode.DAILY_VALUE_LIMIT_EXCEEDED

    async def test_a_week_ends_on_monday_and_is_refilled_once(self, bank, parties):
        aye, ko = parties
        for _ in range(3):
            for text in ("200", "200", "100"):
                await paid(bank, aye, ko, text)
            bank.clock.advance(seconds=DAY_SECONDS + 1)
        assert (await refused(bank, aye, ko, "1")).code is WalletCode.WEEKLY_VALUE_LIMIT_EXCEEDED
        bank.clock.set_ns((MONDAY + 7 * DAY_SECONDS) * SECOND_NS)
        await paid(bank, aye, ko, "200")
        # Another process, which remembers nothing, does not give back what was used since.
        other = Limits(bank.ledger, bank.clock)
        assert [room.left.format() for room in await other.rooms(aye, USDT)] == [
            "300.000000",
            "1300.000000",
            "2300.000000",
        ]

    async def test_a_month_holds_across_its_weeks_and_ends_with_it(self, bank, parties):
        aye, ko = parties
        bank.clock.set_ns((MONDAY + 14 * DAY_SECONDS) * SECOND_NS)  # 2027-02-01, a Monday.
        for day in range(8):
            for text in ("200", "200", "100"):
                await paid(bank, aye, ko, text)
            bank.clock.advance(seconds=(2 if day % 2 else 3) * DAY_SECONDS + 1)
        refusal = await refused(bank, aye, ko, "1")
        assert refusal.code is WalletCode.MONTHLY_VALUE_LIMIT_EXCEEDED
        assert refusal.data["full_at"] == "2027-03-01T00:00:00Z"
        bank.clock.set_ns((MONDAY + 42 * DAY_SECONDS) * SECOND_NS)
        await paid(bank, aye, ko, "200")

    async def test_a_refused_id_stays_refused_when_there_is_room_again(self, bank, parties):
        aye, ko = parties
        for text in ("200", "200", "100"):
            await paid(bank, aye, ko, text)
        order = bank.order(aye, ko, "50", USDT)
        for code in (WalletCode.DAILY_VALUE_LIMIT_EXCEEDED, WalletCode.PAYMENT_ALREADY_REFUSED):
            with pytest.raises(Refusal) as refusal:
                await bank.pay(order)
            assert refusal.value.code is code
            bank.clock.advance(seconds=2 * DAY_SECONDS)
        assert await bank.available(ko, USDT) == "500.000000"

    async def test_a_payment_repeated_uses_its_room_once_also_after_the_tier_fell(self, bank, parties):
        aye, ko = parties
        rich = replace(aye, tier=Tier.BUSINESS)
        order = bank.order(rich, ko, "5000", USDT)
        first = await bank.pay(order)
        again = await bank.pay(order)
        fallen = await bank.pay(replace(order, payer=aye))
        assert first.payment.created_at_ns == again.payment.created_at_ns == fallen.payment.created_at_ns
        assert again.replayed
        assert fallen.replayed
        assert (await left(bank, rich))[1] == "1995000.000000"

    async def test_who_has_no_money_hears_that_and_uses_no_room(self, bank, parties):
        aye, ko = parties
        poor = replace(ko, tier=Tier.STARTER)
        assert (await refused(bank, poor, aye, "100")).code is WalletCode.INSUFFICIENT_FUNDS
        assert await left(bank, poor) == ["500.000000", "1500.000000", "4000.000000"]

    async def test_each_asset_and_each_wallet_has_room_of_its_own(self, bank, parties):
        aye, ko = parties
        await paid(bank, aye, ko, "200")
        assert [room.left.format() for room in await bank.limits.rooms(aye, DMMK)] == [
            "2000000.00",
            "6000000.00",
            "16000000.00",
        ]
        assert (await bank.limits.rooms(ko, USDT))[0].left.format() == "20000.000000"

    async def test_a_thousand_at_once_by_two_processes_never_pay_more_than_a_day_allows(self, bank, parties):
        aye, ko = parties
        processes = [Limits(bank.ledger, bank.clock) for _ in range(2)]
        orders = [bank.order(aye, ko, "3", USDT) for _ in range(1_000)]
        answers = await asyncio.gather(
            *(
                pay(bank.ledger, bank.directory, processes[number % 2], order)
                for number, order in enumerate(orders)
            ),
            return_exceptions=True,
        )
        refusals = [one for one in answers if isinstance(one, Refusal)]
        assert {one.code for one in refusals} == {WalletCode.DAILY_VALUE_LIMIT_EXCEEDED}
        assert len(answers) - len(refusals) == 166
        assert await bank.available(ko, USDT) == "498.000000"


class TestTiers:
    """A tier that changes takes what was used with it."""

    async def test_raised_the_room_grows_by_the_difference_once(self, bank, parties):
        aye, ko = parties
        await paid(bank, aye, ko, "200")
        risen = replace(aye, tier=Tier.STANDARD)
        others = [Limits(bank.ledger, bank.clock) for _ in range(4)]
        await asyncio.gather(*(other.rooms(risen, USDT) for other in others))
        assert await left(bank, risen) == ["19800.000000", "59800.000000", "149800.000000"]

    async def test_lowered_nothing_is_left_where_more_was_used_and_what_comes_back_is_the_lower_limit(
        self, bank, parties
    ):
        aye, ko = parties
        await paid(bank, replace(aye, tier=Tier.STANDARD), ko, "5000")
        assert await left(bank, aye) == ["0.000000", "0.000000", "0.000000"]
        assert (await refused(bank, aye, ko, "1")).code is WalletCode.DAILY_VALUE_LIMIT_EXCEEDED
        bank.clock.advance(seconds=35 * DAY_SECONDS)
        assert await left(bank, aye) == ["500.000000", "1500.000000", "4000.000000"]

    async def test_up_and_down_and_up_again_ends_where_it_began(self, bank, parties):
        aye, ko = parties
        await paid(bank, aye, ko, "100")
        for tier in (Tier.BUSINESS, Tier.STANDARD, Tier.STARTER, Tier.BUSINESS, Tier.STARTER):
            await bank.limits.rooms(replace(aye, tier=tier), USDT)
        assert await left(bank, aye) == ["400.000000", "1400.000000", "3900.000000"]

    async def test_in_every_tier_a_longer_window_allows_at_least_as_much(self):
        for assets in TIER_LIMITS.values():
            for limits in assets.values():
                assert 0 < limits.per_payment <= limits.day <= limits.week <= limits.month


async def test_an_asset_without_limits_has_none(bank, parties, monkeypatch):
    aye, ko = parties
    monkeypatch.setitem(TIER_LIMITS, Tier.STARTER, {})
    await paid(bank, aye, ko, "999")
    assert await bank.limits.rooms(aye, USDT) == []


async def test_a_process_that_dies_in_the_middle_of_opening_leaves_what_the_next_completes(bank, parties):
    aye, ko = parties

    class Dying(Limits):
        async def _level(self, *_accounts_and_limits):
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await Dying(bank.ledger, bank.clock).rooms(aye, USDT)
    await paid(bank, aye, ko, "200")
    assert await left(bank, aye) == ["300.000000", "1300.000000", "3800.000000"]


class Plain:
    """The same limits, counted over rows: written differently on purpose."""

    def __init__(self, limits: TierLimits) -> None:
        self.limits = limits
        self.paid: list[tuple[int, int]] = []

    def used(self, window: Window, now: int) -> int:
        return sum(amount for at, amount in self.paid if self._same(window, at, now))

    def _same(self, window: Window, at: int, now: int) -> bool:
        if window is Window.DAY:
            return now - at < DAY_SECONDS
        if window is Window.WEEK:
            return (at - MONDAY) // (7 * DAY_SECONDS) == (now - MONDAY) // (7 * DAY_SECONDS)
        return _month_of(at) == _month_of(now)

    def pay(self, amount: int, now: int) -> Window | None:
        """What it exceeds first; None if it fits."""
        bounds = (
            (Window.DAY, self.limits.day),
            (Window.WEEK, self.limits.week),
            (Window.MONTH, self.limits.month),
        )
        for window, bound in bounds:
            if self.used(window, now) + amount > bound:
                return window
        self.paid.append((now, amount))
        return None


def _month_of(at: int) -> int:
    # Days from 2027-01-01 to the first of each month; no test goes on for longer.
    days = (at - (MONDAY - 17 * DAY_SECONDS)) // DAY_SECONDS
    return sum(days >= first for first in (31, 59, 90, 120, 151))


STEPS = st.lists(
    st.tuples(st.integers(0, 3 * DAY_SECONDS), st.integers(1, 200_000_000)), min_size=1, max_size=40
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_any_life_is_held_to_what_a_plain_count_of_payments_allows(bank, steps):
    bank.clock.set_ns(max(bank.clock.now_ns(), MONDAY * SECOND_NS))
    aye = await bank.wallet(f"a{uuid7(bank.clock).hex[:20]}")
    ko = await bank.wallet(f"k{uuid7(bank.clock).hex[:20]}")
    await bank.fund(aye, "1000000", USDT)
    # The ledger's time only goes on: each example begins where the last one ended, on a Monday.
    weeks = -(-(bank.clock.now_ns() // SECOND_NS - MONDAY) // (7 * DAY_SECONDS))
    if weeks > 8:
        return
    bank.clock.set_ns((MONDAY + weeks * 7 * DAY_SECONDS) * SECOND_NS)
    starter = replace(aye, tier=Tier.STARTER)
    plain = Plain(TIER_LIMITS[Tier.STARTER][USDT])
    expected = {
        Window.DAY: WalletCode.DAILY_VALUE_LIMIT_EXCEEDED,
        Window.WEEK: WalletCode.WEEKLY_VALUE_LIMIT_EXCEEDED,
        Window.MONTH: WalletCode.MONTHLY_VALUE_LIMIT_EXCEEDED,
    }
    for pause, amount in steps:
        bank.clock.advance(seconds=pause)
        order = bank.order(starter, ko, Money(amount, USDT).format(), USDT)
        exceeded = plain.pay(amount, bank.clock.now_ns() // SECOND_NS)
        if exceeded is None:
            await bank.pay(order)
            continue
        with pytest.raises(Refusal) as refusal:
            await bank.pay(order)
        assert refusal.value.code is expected[exceeded]
