"""Requests to pay: asked once, seen by two, listed by page, and no flood of them."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from foundation.assets import USDC, USDT
from foundation.errors import Refusal
from foundation.money import Money
from tests.wallets.asking import Asking, refused
from wallets.errors import WalletCode
from wallets.handle_lookups import LOOKUPS_PER_MINUTE
from wallets.payment_request_orders import DAILY_MAX, OPEN_MAX, SECONDS_MAX, SECONDS_MIN, RequestOrder
from wallets.payment_requests import (
    PaymentRequest,
    Requested,
    RequestRole,
    RequestState,
    list_payment_requests,
    payment_request_by_id,
)
from wallets.request_errors import AskingCode


@pytest.fixture
async def asking(bank):
    return await Asking.begin(bank)


class TestAsking:
    async def test_both_sides_see_the_request_and_nothing_has_moved(self, asking):
        before = await asking.bank.transfers()
        request = await asking.asked("25", reference=uuid4())
        for wallet in (asking.payer, asking.payee):
            assert request == await payment_request_by_id(asking.books, wallet=wallet, request_id=request.id)
        assert (request.state, request.payment_id) == (RequestState.OPEN, None)
        assert (request.payer, request.payee) == (asking.payer, asking.payee)
        assert (request.expires_at - request.created_at).total_seconds() == 3_600
        assert await asking.bank.transfers() == before

    async def test_the_same_order_again_gives_the_request_as_it_stands(self, asking):
        order = asking.order("25", payer_handle="@AYE")
        first = await asking.ask(order)
        assert await asking.ask(order) == Requested(first.request, replayed=True)
        await asking.decline(first.request)
        asking.bank.clock.advance(40 * 86_400)
        again = await asking.ask(order)
        assert (again.replayed, again.request.state) == (True, RequestState.DECLINED)

    @pytest.mark.parametrize("field", ["payer", "asset", "amount", "expires_in_seconds", "reference"])
    async def test_other_content_under_the_same_id_is_refused_by_the_fields_name(self, asking, field):
        await asking.bank.wallet("thida")
        request = await asking.asked("25")
        changes: dict[str, dict[str, Any]] = {
            "payer": {"payer_handle": "thida"},
            "asset": {"amount": Money.parse("25", USDC)},
            "amount": {"amount": Money.parse("25.000001", USDT)},
            "expires_in_seconds": {"seconds": 3_601},
            "reference": {"reference": uuid4()},
        }
        refusal = await refused(asking.asked("25", id=request.id, **changes[field]))
        assert refusal.code is AskingCode.PAYMENT_REQUEST_ID_USED_DIFFERENTLY
        assert refusal.data == {"field": field}

    async def test_somebody_elses_id_is_taken_and_tells_nothing(self, asking):
        request = await asking.asked("25")
        refusal = await refused(asking.asked("25", id=request.id, payee=asking.payer, payer_handle="ko_ko"))
        assert (refusal.code, refusal.data) == (AskingCode.PAYMENT_REQUEST_ID_TAKEN, {})

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"id": UUID(int=4 << 76)}, WalletCode.PAYMENT_ID_MALFORMED),
            ({"amount": Money(0, USDT)}, WalletCode.AMOUNT_NOT_POSITIVE),
            ({"amount": Money(-1, USDT)}, WalletCode.AMOUNT_NOT_POSITIVE),
            ({"seconds": SECONDS_MIN - 1}, AskingCode.PAYMENT_REQUEST_EXPIRY_OUT_OF_RANGE),
            ({"seconds": SECONDS_MAX + 1}, AskingCode.PAYMENT_REQUEST_EXPIRY_OUT_OF_RANGE),
            ({"payer_handle": "no body"}, WalletCode.HANDLE_MALFORMED),
            ({"payer_handle": "nobody_here"}, AskingCode.PAYER_UNKNOWN),
            ({"payer_handle": "ko_ko"}, AskingCode.PAYER_IS_PAYEE),
        ],
    )
    async def test_what_cannot_be_asked_is_refused_and_not_kept(self, asking, changes, code):
        order = asking.order(**changes)
        assert (await refused(asking.ask(order))).code is code
        found = await list_payment_requests(asking.books, wallet=asking.payee, role=RequestRole.PAYEE)
        assert list(found.requests) == []

    async def test_the_same_order_fifty_times_at_once_is_one_request(self, asking):
        order = asking.order("25")
        answers = await asyncio.gather(*(asking.ask(order) for _ in range(50)))
        assert {answer.request for answer in answers} == {answers[0].request}
        assert sum(not answer.replayed for answer in answers) == 1

    async def test_strangers_and_unknown_ids_hear_the_same(self, asking):
        request = await asking.asked("25")
        stranger = await asking.bank.wallet("stranger")
        refusals = [
            await refused(payment_request_by_id(asking.books, wallet=wallet, request_id=request_id))
            for wallet, request_id in (
                (stranger, request.id),
                (stranger, asking.new_id()),
                (asking.payer, asking.new_id()),
            )
        ]
        assert {(each.code, each.detail, str(each.data)) for each in refusals} == {
            (AskingCode.PAYMENT_REQUEST_NOT_FOUND, refusals[0].detail, "{}")
        }

    async def test_it_expires_by_itself_and_for_good(self, asking):
        request = await asking.asked("25")
        asking.bank.clock.advance(3_600, ns=-1_000)
        assert await asking.state(request) == "open"
        asking.bank.clock.advance(ns=1_000)
        assert await asking.state(request) == "expired"
        # Also for a process whose clock is behind.
        asking.bank.clock.advance(-10)
        assert await asking.state(request) == "expired"
        refusal = await refused(asking.accept(request, asking.new_id()))
        assert (refusal.code, refusal.data["state"]) == (AskingCode.PAYMENT_REQUEST_NOT_OPEN, "expired")


class TestBounds:
    async def test_a_payer_has_so_many_open_requests_of_one_payee(self, asking):
        requests = [await asking.asked("1") for _ in range(OPEN_MAX)]
        order = asking.order("1")
        assert (await refused(asking.ask(order))).code is AskingCode.TOO_MANY_OPEN_REQUESTS
        # Of somebody else there may be as many again, and the other way round.
        thida = await asking.bank.wallet("thida")
        await asking.asked("1", payee=thida)
        await asking.asked("1", payee=asking.payer, payer_handle="ko_ko")
        # What was refused keeps nothing: any end of one of the open ones makes room for it.
        await asking.accept(requests[0], asking.new_id())
        await asking.ask(order)
        assert (await refused(asking.asked("1"))).code is AskingCode.TOO_MANY_OPEN_REQUESTS
        await asking.decline(requests[1])
        await asking.cancel(requests[2])
        await asking.asked("1")
        await asking.asked("1")
        assert (await refused(asking.asked("1"))).code is AskingCode.TOO_MANY_OPEN_REQUESTS
        asking.bank.clock.advance(3_600)
        await asking.asked("1")

    async def test_a_payment_that_was_only_meant_leaves_the_request_open_for_the_count(self, asking):
        requests = [await asking.asked("1000") for _ in range(OPEN_MAX)]
        for request in requests:
            refusal = await refused(asking.accept(request, asking.new_id()))
            assert refusal.code is WalletCode.INSUFFICIENT_FUNDS
        assert (await refused(asking.asked("1"))).code is AskingCode.TOO_MANY_OPEN_REQUESTS

    async def test_of_many_at_once_no_more_are_made_than_are_allowed(self, asking):
        answers = await asyncio.gather(
            *(asking.ask(asking.order("1")) for _ in range(OPEN_MAX * 4)), return_exceptions=True
        )
        kinds = Counter(each.code if isinstance(each, Refusal) else "made" for each in answers)
        assert kinds == {"made": OPEN_MAX, AskingCode.TOO_MANY_OPEN_REQUESTS: OPEN_MAX * 3}

    async def test_a_payee_asks_so_often_in_a_day(self, asking):
        for number in range(DAILY_MAX):
            if number % (LOOKUPS_PER_MINUTE // 2) == 0:
                asking.bank.clock.advance(60)
            await asking.cancel(await asking.asked("1"))
        asking.bank.clock.advance(60)
        assert (await refused(asking.asked("1"))).code is AskingCode.TOO_MANY_REQUESTS_TODAY
        asking.bank.clock.advance(86_400)
        await asking.asked("1")

    async def test_asking_is_looking_a_handle_up_and_bounded_as_that(self, asking):
        for number in range(LOOKUPS_PER_MINUTE):
            refusal = await refused(asking.asked(payer_handle=f"nobody_{number}"))
            assert refusal.code is AskingCode.PAYER_UNKNOWN
        assert (await refused(asking.asked(payer_handle="nobody_here"))).code is AskingCode.TOO_MANY_LOOKUPS


class TestList:
    async def listed(self, asking: Asking, **how: Any) -> list[PaymentRequest]:
        """All pages, each as short as can be."""
        how = {"wallet": asking.payer, "role": RequestRole.PAYER, "limit": 2, **how}
        found: list[PaymentRequest] = []
        while True:
            page = await list_payment_requests(asking.books, **how)
            found += page.requests
            if page.next_before is None:
                return found
            how["before"] = page.next_before

    async def five(self, asking: Asking) -> dict[str, PaymentRequest]:
        """One in each state."""
        made = {
            state: await asking.asked("1", seconds=7_200) for state in ("accepted", "declined", "cancelled")
        }
        made["expired"] = await asking.asked("1", seconds=3_600)
        await asking.accept(made["accepted"], asking.new_id())
        await asking.decline(made["declined"])
        await asking.cancel(made["cancelled"])
        asking.bank.clock.advance(3_600)
        made["open"] = await asking.asked("1")
        return made

    async def test_each_state_can_be_asked_for_from_either_side(self, asking):
        made = await self.five(asking)
        for wallet, role in ((asking.payer, RequestRole.PAYER), (asking.payee, RequestRole.PAYEE)):
            for state in RequestState:
                found = await self.listed(asking, wallet=wallet, role=role, state=state)
                assert [(each.id, each.state) for each in found] == [(made[state.value].id, state)]
            assert len(await self.listed(asking, wallet=wallet, role=role)) == 5

    async def test_pages_follow_one_another_newest_first_without_gap(self, asking):
        order = [request.id for request in (await self.five(asking)).values()]
        for limit in (1, 2, 3, 5, 50):
            found = await self.listed(asking, limit=limit)
            assert sorted(each.id for each in found) == sorted(order)
            places = [(each.created_at, each.id) for each in found]
            assert places == sorted(places, reverse=True)

    async def test_a_wallet_sees_its_own_side_only(self, asking):
        await asking.asked("1")
        stranger = await asking.bank.wallet("stranger")
        assert await self.listed(asking, role=RequestRole.PAYEE) == []
        for role in RequestRole:
            assert await self.listed(asking, wallet=stranger, role=role) == []

    async def test_a_page_begins_after_an_own_request_only(self, asking):
        request = await asking.asked("1")
        stranger = await asking.bank.wallet("stranger")
        for wallet, before in ((stranger, request.id), (asking.payer, asking.new_id())):
            refusal = await refused(self.listed(asking, wallet=wallet, before=before))
            assert refusal.code is AskingCode.PAYMENT_REQUEST_NOT_FOUND


def test_an_order_has_no_field_that_replays_do_not_compare():
    # A field that is added must be compared, or the same id could mean two things.
    assert set(RequestOrder.__slots__) == {"id", "payee", "payer_handle", "amount", "seconds", "reference"}
