"""Standing orders: paid once on their days whatever dies, missed aloud, cancelled for good."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

from benchmarks.bulk.business import device
from foundation.assets import USDT
from foundation.ids import uuid7
from foundation.money import Money
from identity.models import Device
from tests.wallets.conftest import Bank
from tests.wallets.recalling import Death, Mortal, refused
from wallets.handle_changes import change_handle, set_listed
from wallets.handle_lookups import HandleLookups
from wallets.history import history
from wallets.history_filters import HistoryFilter
from wallets.recurrence import Recurrence, Repeats
from wallets.standing_execution import StandingReport, StandingTools, advance_standing_orders
from wallets.standing_making import LIVE_MAX, StandingRequest, make_standing_order
from wallets.standing_models import StandingOrderRow
from wallets.standing_orders import (
    StandingBooks,
    StandingOrder,
    StandingState,
    Stood,
    cancel_standing_order,
    confirm_standing_order,
    list_standing_orders,
    list_standing_payments,
    record,
    standing_order_by_id,
)
from wallets.wallets import Wallet

DAY = 86_400
FIRST = date(2027, 1, 31)


@dataclass
class Standing:
    """@aye, who has 100 USDT, and @ko_ko; it is the morning of 30 January 2027, UTC."""

    bank: Bank
    books: StandingBooks
    lookups: HandleLookups
    payer: Wallet
    payee: Wallet

    def request(self, **changes: Any) -> StandingRequest:
        made = StandingRequest(
            uuid7(self.bank.clock), self.payer, "ko_ko", Money.parse("10", USDT), Recurrence(FIRST)
        )
        return replace(made, **changes)

    async def make(self, asked: StandingRequest) -> Stood:
        return await make_standing_order(self.books, self.lookups, asked)

    async def made(self, **changes: Any) -> StandingOrder:
        return (await self.make(self.request(**changes))).order

    async def advance(self, ledger: Any = None) -> StandingReport:
        bank = self.bank
        return await advance_standing_orders(
            StandingTools(bank.database, ledger or bank.ledger, bank.clock, bank.directory, bank.limits)
        )

    async def look(self, order: StandingOrder) -> StandingOrder:
        return await standing_order_by_id(self.books, wallet=self.payer, order_id=order.id)

    async def cancel(self, order: StandingOrder, ledger: Any = None) -> Stood:
        books = replace(self.books, ledger=ledger or self.bank.ledger)
        return await cancel_standing_order(books, wallet=self.payer, order_id=order.id)

    async def became(self, order: StandingOrder) -> list[tuple[str, str]]:
        """What became of the payments: day, and "paid" or a code."""
        found, following = await list_standing_payments(
            self.books, wallet=self.payer, order_id=order.id, limit=50
        )
        assert following is None
        assert [each.number for each in found] == list(reversed(range(len(found))))
        return [(each.on_day.isoformat(), each.code or "paid") for each in reversed(found)]

    def set(self, day: date, hour: int = 8) -> None:
        at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
        self.bank.clock.set_ns(int(at.timestamp()) * 10**9)

    async def received(self) -> str:
        return await self.bank.available(self.payee, USDT)


@pytest.fixture
async def standing(bank: Bank) -> Standing:
    books = StandingBooks(bank.database, bank.ledger, bank.clock, bank.directory)
    at = datetime(2027, 1, 30, 8, tzinfo=UTC)
    bank.clock.set_ns(int(at.timestamp()) * 10**9)
    payer, payee = await bank.wallet("aye_aye"), await bank.wallet("ko_ko")
    await bank.fund(payer, "100", USDT)
    return Standing(bank, books, HandleLookups(bank.database, bank.clock), payer, payee)


# Making ------------------------------------------------------------------------


async def test_nothing_moves_before_its_day_and_then_once(standing):
    reference = uuid4()
    order = await standing.made(reference=reference)
    assert (order.state, order.next_on, order.payee) == (StandingState.ACTIVE, FIRST, standing.payee)
    assert await standing.advance() == StandingReport()
    standing.set(FIRST, 0)
    assert await standing.advance() == StandingReport(paid=1)
    assert await standing.advance() == StandingReport()
    assert await standing.received() == "10.000000"
    (paid,), _ = await list_standing_payments(standing.books, wallet=standing.payer, order_id=order.id)
    bank = standing.bank
    only = HistoryFilter(asset=USDT)
    line = (await history(bank.ledger, bank.directory, wallet=standing.payee, only=only)).lines[0]
    assert (line.id, line.reference, line.counterparty) == (paid.payment_id, reference, "aye_aye")
    done = await standing.look(order)
    assert (done.state, done.next_on) == (StandingState.FINISHED, None)


async def test_the_same_request_again_is_the_same_and_another_is_named(standing):
    asked = standing.request()
    first = await standing.make(asked)
    assert await standing.make(asked) == Stood(first.order, replayed=True)
    standing.set(FIRST + timedelta(days=40))
    await standing.advance()
    assert (await standing.make(asked)).order.state is StandingState.FINISHED
    await standing.bank.wallet("su_su")
    changes: dict[str, dict[str, Any]] = {
        "payee": {"payee_handle": "su_su"},
        "amount": {"amount": Money.parse("11", USDT)},
        "fee_max": {"fee_max": Money.parse("1", USDT)},
        "reference": {"reference": uuid4()},
        "first_on": {"days": Recurrence(FIRST + timedelta(days=1))},
        "repeats": {"days": Recurrence(FIRST, Repeats.DAILY)},
        "until": {"days": Recurrence(FIRST, until=FIRST)},
        "times": {"days": Recurrence(FIRST, times=2)},
    }
    for field, change in changes.items():
        told = await refused(standing.make(replace(asked, **change)))
        assert (told.code, told.data) == ("standing_order_id_used_differently", {"field": field})
    theirs = replace(asked, payer=standing.payee, payee_handle="su_su")
    assert (await refused(standing.make(theirs))).code == "standing_order_id_taken"


@pytest.mark.parametrize(
    ("days", "field"),
    [
        (Recurrence(date(2027, 1, 29)), "first_on"),
        (Recurrence(date(2029, 2, 1)), "first_on"),
        (Recurrence(FIRST, Repeats.DAILY, until=date(2027, 1, 30)), "until"),
        (Recurrence(FIRST, Repeats.DAILY, times=0), "times"),
        (Recurrence(FIRST, Repeats.DAILY, times=1_001), "times"),
        (Recurrence(FIRST, Repeats.DAILY, until=FIRST, times=1), "times"),
        (Recurrence(FIRST, Repeats.ONCE, times=1), "times"),
    ],
)
async def test_days_that_can_mean_nothing_are_refused_by_name(standing, days, field):
    told = await refused(standing.made(days=days))
    assert (told.code, told.data) == ("standing_order_days_wrong", {"field": field})


async def test_what_cannot_be_ordered_is_refused_and_orders_are_few(standing):
    for change, code in (
        ({"payee_handle": "nobody_here"}, "payee_unknown"),
        ({"payee_handle": "aye_aye"}, "payee_is_payer"),
        ({"amount": Money(0, USDT)}, "amount_not_positive"),
        ({"id": uuid4()}, "payment_id_malformed"),
    ):
        assert (await refused(standing.made(**change))).code == code
    done = await asyncio.gather(*(standing.made() for _ in range(LIVE_MAX + 2)), return_exceptions=True)
    made = [each for each in done if isinstance(each, StandingOrder)]
    assert len(made) == LIVE_MAX
    assert (await refused(standing.made())).code == "too_many_standing_orders"
    await standing.cancel(made[0])
    again = await standing.made()
    listed, before, seen = [], None, 0
    while True:
        page, before = await list_standing_orders(
            standing.books, wallet=standing.payer, before=before, limit=9
        )
        listed += page
        seen += 1
        if before is None:
            break
    assert (seen, {each.id for each in listed}) == (3, {each.id for each in made} | {again.id})


async def test_somebody_elses_order_is_as_one_that_is_not_there(standing):
    order = await standing.made()
    su = await standing.bank.wallet("su_su")
    for wallet in (standing.payee, su):
        for doing in (
            standing_order_by_id(standing.books, wallet=wallet, order_id=order.id),
            list_standing_payments(standing.books, wallet=wallet, order_id=order.id),
            cancel_standing_order(standing.books, wallet=wallet, order_id=order.id),
            confirm_standing_order(standing.books, wallet=wallet, order_id=order.id),
            list_standing_orders(standing.books, wallet=wallet, before=order.id),
        ):
            assert (await refused(doing)).code == "standing_order_not_found"
        assert await list_standing_orders(standing.books, wallet=wallet) == ([], None)


# Paying ------------------------------------------------------------------------


async def test_the_end_of_each_month_is_kept_through_short_ones(standing):
    order = await standing.made(days=Recurrence(FIRST, Repeats.MONTHLY, times=3))
    day = FIRST
    while day < date(2027, 5, 1):
        standing.set(day)
        await standing.advance()
        day += timedelta(days=1)
    assert await standing.became(order) == [(f"2027-{day}", "paid") for day in ("01-31", "02-28", "03-31")]
    assert await standing.received() == "30.000000"


async def test_money_that_comes_in_during_the_day_is_paid_the_same_day(standing):
    order = await standing.made(amount=Money.parse("150", USDT))
    standing.set(FIRST, 0)
    assert await standing.advance() == StandingReport(refused=1)
    assert (await standing.look(order)).last_code == "insufficient_funds"
    # Not asked again before an hour is over.
    await standing.bank.fund(standing.payer, "100", USDT)
    assert await standing.advance() == StandingReport()
    standing.bank.clock.advance(3_601)
    assert await standing.advance() == StandingReport(paid=1)
    assert await standing.became(order) == [("2027-01-31", "paid")]


async def test_a_day_without_money_is_missed_with_the_reason_and_the_next_one_is_paid(standing):
    days = Recurrence(FIRST, Repeats.DAILY, times=2)
    order = await standing.made(amount=Money.parse("150", USDT), days=days)
    for hour in range(24):
        standing.set(FIRST, hour)
        await standing.advance()
    await standing.bank.fund(standing.payer, "100", USDT)
    standing.set(FIRST + timedelta(days=1), 0)
    assert await standing.advance() == StandingReport(missed=1, paid=1)
    assert await standing.became(order) == [("2027-01-31", "insufficient_funds"), ("2027-02-01", "paid")]


async def test_limits_hold_and_what_no_worker_tried_is_not_paid_late(standing):
    await standing.bank.fund(standing.payer, "100000", USDT)
    large = await standing.made(amount=Money.parse("90000", USDT))
    standing.set(FIRST)
    assert (await standing.advance()).refused == 1
    assert (await standing.look(large)).last_code == "greater_than_transaction_max_value"
    daily = await standing.made(days=Recurrence(FIRST + timedelta(days=1), Repeats.DAILY, times=3))
    standing.set(FIRST + timedelta(days=3))
    assert await standing.advance() == StandingReport(missed=3, paid=1)
    assert [code for _, code in await standing.became(daily)] == ["standing_order_not_tried"] * 2 + ["paid"]
    assert await standing.became(large) == [("2027-01-31", "greater_than_transaction_max_value")]
    assert await standing.received() == "10.000000"


# Cancelling and pausing --------------------------------------------------------


async def test_what_is_cancelled_is_never_paid_and_stays_cancelled(standing):
    order = await standing.made(days=Recurrence(FIRST, Repeats.DAILY))
    standing.set(FIRST)
    await standing.advance()
    first, second = await standing.cancel(order), await standing.cancel(order)
    assert (first.replayed, second.replayed, first.order) == (False, True, second.order)
    assert (first.order.state, first.order.next_on) == (StandingState.CANCELLED, None)
    standing.set(FIRST + timedelta(days=2))
    assert await standing.advance() == StandingReport()
    assert await standing.received() == "10.000000"
    confirm = confirm_standing_order(standing.books, wallet=standing.payer, order_id=order.id)
    assert (await refused(confirm)).code == "standing_order_over"
    done = await standing.made(days=Recurrence(FIRST + timedelta(days=2)))
    await standing.advance()
    assert (await refused(standing.cancel(done))).code == "standing_order_over"


async def test_cancelled_at_the_moment_of_paying_it_is_one_of_both(standing):
    for number in range(8):
        day = FIRST + timedelta(days=number)
        standing.set(day)
        before = await standing.received()
        order = await standing.made(amount=Money.parse("1", USDT), days=Recurrence(day))
        await asyncio.gather(
            standing.advance(), standing.cancel(order), standing.advance(), return_exceptions=True
        )
        after = await standing.received()
        paid = [code for _, code in await standing.became(order)]
        assert paid == ([] if before == after else ["paid"])
        standing.bank.clock.advance(3_601)
        await standing.advance()
        assert await standing.received() == after


async def test_a_revoked_device_pauses_orders_until_they_are_confirmed(standing):
    phone = await device(standing.bank.database, standing.bank.clock, standing.payer.person_id)
    order = await standing.made(days=Recurrence(FIRST, Repeats.DAILY))
    standing.set(FIRST, 0)
    async with standing.bank.database.session() as session:
        await session.execute(
            update(Device).where(Device.id == phone).values(revoked_at=standing.bank.clock.now())
        )
    assert await standing.advance() == StandingReport(refused=1)
    assert (await standing.look(order)).state is StandingState.PAUSED
    standing.set(FIRST + timedelta(days=1), 0)
    assert await standing.advance() == StandingReport(missed=1, refused=1)
    standing.bank.clock.advance(1)
    done = await confirm_standing_order(standing.books, wallet=standing.payer, order_id=order.id)
    assert done.order.state is StandingState.ACTIVE
    assert await standing.advance() == StandingReport(paid=1)
    assert await standing.became(order) == [
        ("2027-01-31", "standing_order_paused"),
        ("2027-02-01", "paid"),
    ]
    # Confirming does not bring a day forward.
    await confirm_standing_order(standing.books, wallet=standing.payer, order_id=order.id)
    assert await standing.advance() == StandingReport()


# Dying -------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("amount", ["10", "150"])
async def test_wherever_the_worker_dies_the_next_one_pays_once_or_says_why_not(standing, after, amount):
    order = await standing.made(amount=Money.parse(amount, USDT), days=Recurrence(FIRST, Repeats.DAILY))
    deaths = 0
    for number in range(4):
        day = FIRST + timedelta(days=number)
        for at in range(1, 8):
            standing.set(day, 2 * at)
            try:
                await standing.advance(Mortal(standing.bank.ledger, at, after))
            except Death:
                deaths += 1
    standing.set(FIRST + timedelta(days=4), 0)
    await standing.cancel(order)
    became = await standing.became(order)
    paid = [code for _, code in became].count("paid")
    assert deaths >= 4
    assert {code for _, code in became} <= ({"paid"} if amount == "10" else {"insufficient_funds"})
    assert await standing.received() == f"{10 * paid}.000000"
    assert len(became) >= 3


async def test_a_worker_that_looked_long_ago_calls_nothing_missed_that_another_may_still_pay(standing):
    order = await standing.made(amount=Money.parse("150", USDT))
    standing.set(FIRST)
    async with standing.bank.database.session() as session:
        looked_at = await session.get(StandingOrderRow, order.id)
    await standing.advance()
    await record(standing.bank.database, standing.bank.clock, looked_at, code="insufficient_funds")
    assert await standing.became(order) == []
    await standing.bank.fund(standing.payer, "100", USDT)
    standing.bank.clock.advance(3600)
    await standing.advance()
    assert await standing.became(order) == [("2027-01-31", "paid")]
    assert await standing.received() == "150.000000"


@pytest.mark.parametrize("after", [False, True])
async def test_a_cancellation_that_died_is_completed_by_the_worker(standing, after):
    order = await standing.made(days=Recurrence(FIRST, Repeats.DAILY))
    standing.set(FIRST)
    with pytest.raises(Death):
        await standing.cancel(order, Mortal(standing.bank.ledger, 1, after))
    assert (await standing.look(order)).state is StandingState.CANCELLED
    assert await standing.advance() == StandingReport()
    assert (await standing.cancel(order)).replayed
    assert await standing.received() == "0.000000"


async def test_several_workers_at_once_pay_each_order_once(standing):
    orders = [await standing.made(amount=Money.parse("1", USDT)) for _ in range(10)]
    standing.set(FIRST)
    await asyncio.gather(*(standing.advance() for _ in range(5)))
    assert await standing.received() == "10.000000"
    for order in orders:
        assert await standing.became(order) == [("2027-01-31", "paid")]


async def test_an_order_goes_on_when_its_payee_has_another_handle_and_is_not_listed(standing):
    bank = standing.bank
    asked = standing.request()
    order = (await standing.make(asked)).order
    await change_handle(bank.database, bank.clock, wallet=standing.payee, handle="ko_min")
    await set_listed(bank.database, bank.clock, wallet=standing.payee, listed=False)
    assert (await standing.make(asked)).replayed
    standing.set(FIRST)
    assert (await standing.advance()).paid == 1
    assert await standing.received() == "10.000000"
    assert await standing.became(order) == [("2027-01-31", "paid")]
