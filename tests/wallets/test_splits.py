"""Splits: an amount asked of several, to the last unit, once, all of it or nothing."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import Money
from tests.wallets.asking import Asking, refused
from wallets.handle_lookups import HandleLookups
from wallets.payment_request_orders import OPEN_MAX
from wallets.payment_requests import RequestRole, RequestState, list_payment_requests
from wallets.split_errors import SplitCode
from wallets.splits import SHARES_MAX, Share, SplitOrder, equal_shares, split_amount, split_by_id


@pytest.fixture
async def asking(bank) -> Asking:
    made = await Asking.begin(bank)
    su = await bank.wallet("su_su")
    await bank.fund(su, "100", USDT)
    return made


def usdt(text: str) -> Money:
    return Money.parse(text, USDT)


def order(asking: Asking, **changes: Any) -> SplitOrder:
    shares = [Share("aye", usdt("20")), Share("su_su", usdt("10.000001"))]
    made = SplitOrder(uuid7(asking.bank.clock), asking.payee, usdt("30.000001"), shares, 3_600)
    return replace(made, **changes)


async def test_each_is_asked_for_a_share_and_one_read_tells_the_progress(asking):
    made = (await split_amount(asking.books, asking.lookups, order(asking))).split
    assert [(each.payer.handle, each.amount.format()) for each in made.requests] == [
        ("aye", "20.000000"),
        ("su_su", "10.000001"),
    ]
    assert {(each.state, each.reference) for each in made.requests} == {(RequestState.OPEN, made.id)}
    assert (made.total.format(), made.paid.format()) == ("30.000001", "0.000000")
    await asking.accept(made.requests[0], asking.new_id())
    su = await asking.bank.directory.by_handle("su_su")
    assert su is not None
    await asking.decline(made.requests[1], payer=su)
    now = await split_by_id(asking.books, wallet=asking.payee, split_id=made.id)
    assert [each.state for each in now.requests] == [RequestState.ACCEPTED, RequestState.DECLINED]
    assert now.paid.format() == "20.000000"
    for wallet in (asking.payer, su):
        look = split_by_id(asking.books, wallet=wallet, split_id=made.id)
        assert (await refused(look)).code == "split_not_found"


async def test_the_same_split_again_asks_nobody_again(asking):
    asked = order(asking)
    done = await asyncio.gather(*(split_amount(asking.books, asking.lookups, asked) for _ in range(8)))
    assert sorted(each.replayed for each in done) == [False] + [True] * 7
    page = await list_payment_requests(asking.books, wallet=asking.payee, role=RequestRole.PAYEE)
    assert len(page.requests) == 2
    swapped = [asked.shares[1], asked.shares[0]]
    shares = [Share("aye", usdt("20.000001")), Share("su_su", usdt("10"))]
    for change, field in (
        ({"seconds": 3_601}, "expires_in_seconds"),
        ({"shares": swapped}, "shares"),
        ({"shares": shares}, "shares"),
        ({"total": usdt("20"), "shares": asked.shares[:1]}, "total"),
    ):
        told = await refused(split_amount(asking.books, asking.lookups, replace(asked, **change)))
        assert (told.code, told.data) == ("split_id_used_differently", {"field": field})
    su = await asking.bank.directory.by_handle("su_su")
    theirs = replace(asked, payee=su, total=usdt("20"), shares=asked.shares[:1])
    assert (await refused(split_amount(asking.books, asking.lookups, theirs))).code == "split_id_taken"


async def test_several_processes_that_make_one_split_ask_once(asking):
    asked = order(asking)
    others = [HandleLookups(asking.bank.database, asking.bank.clock) for _ in range(6)]
    done = await asyncio.gather(*(split_amount(asking.books, each, asked) for each in others))
    assert sorted(each.replayed for each in done) == [False] + [True] * 5
    page = await list_payment_requests(asking.books, wallet=asking.payee, role=RequestRole.PAYEE)
    assert len(page.requests) == 2


@pytest.mark.parametrize(
    ("total", "shares"),
    [
        ("30", [("aye", "20"), ("su_su", "10.000001")]),
        ("30", [("aye", "20"), ("su_su", "9.999999")]),
        ("20", [("aye", "20"), ("su_su", "0")]),
        ("30", [("aye", "20"), ("@AYE", "10")]),
        ("1", []),
        ("21", [(f"payer_{number}", "1") for number in range(SHARES_MAX + 1)]),
    ],
)
async def test_shares_that_do_not_make_up_the_total_are_refused(asking, total, shares):
    asked = order(asking, total=usdt(total), shares=[Share(name, usdt(part)) for name, part in shares])
    assert (await refused(split_amount(asking.books, asking.lookups, asked))).code == "split_shares_wrong"


async def test_when_one_may_not_be_asked_nobody_is(asking):
    for _ in range(OPEN_MAX):
        await asking.asked("1")
    su_first = [Share("su_su", usdt("10")), Share("aye", usdt("20.000001"))]
    ghost = [Share("su_su", usdt("10")), Share("nobody_here", usdt("20.000001"))]
    own = [Share("su_su", usdt("10")), Share("ko_ko", usdt("20.000001"))]
    for change, code in (
        ({"shares": su_first}, "too_many_open_requests"),
        ({"shares": ghost}, "payer_unknown"),
        ({"shares": own}, "payer_is_payee"),
        ({"seconds": 59}, "payment_request_expiry_out_of_range"),
        ({"id": uuid4()}, "payment_id_malformed"),
        ({"total": Money(0, USDT)}, "amount_not_positive"),
    ):
        asked = order(asking, **change)
        assert (await refused(split_amount(asking.books, asking.lookups, asked))).code == code
        look = split_by_id(asking.books, wallet=asking.payee, split_id=asked.id)
        assert (await refused(look)).code == "split_not_found"
    su = await asking.bank.directory.by_handle("su_su")
    assert su is not None
    page = await list_payment_requests(asking.books, wallet=su, role=RequestRole.PAYER)
    assert page.requests == []


@given(total=st.integers(1, 2**62), count=st.integers(1, 20), at=st.integers(0, 19))
def test_equal_shares_make_up_the_total_and_one_bears_what_does_not_divide(total, count, at):
    handles = [f"payer_{number}" for number in range(count)]
    shares = equal_shares(Money(total, USDT), handles, handles[at % count])
    amounts = [each.amount.minor for each in shares]
    assert sum(amounts) == total
    assert [each.payer_handle for each in shares] == handles
    others = amounts[: at % count] + amounts[at % count + 1 :]
    assert set(others) <= {total // count}
    assert amounts[at % count] - total // count == total % count


def test_what_does_not_divide_goes_to_somebody_who_is_asked():
    for handles in (["aye_aye"], []):
        with pytest.raises(Refusal) as told:
            equal_shares(usdt("10"), handles, "ko_ko")
        assert told.value.code is SplitCode.SPLIT_SHARES_WRONG
