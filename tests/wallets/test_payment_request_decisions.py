"""Decisions on requests: one of all that race wins, a death in between is made good, money moves once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.money import Money
from tests.treasury.mortality import Died, Fate, MortalDatabase, MortalLedger
from tests.wallets.asking import Asking, refused
from wallets.errors import WalletCode
from wallets.payment_requests import PaymentRequest, RequestState, change, load_request, payment_request_by_id
from wallets.payments import Paid
from wallets.request_errors import AskingCode

NOT_OPEN = AskingCode.PAYMENT_REQUEST_NOT_OPEN

USED_DIFFERENTLY = WalletCode.PAYMENT_ID_USED_DIFFERENTLY


@pytest.fixture
async def asking(bank):
    return await Asking.begin(bank)


@pytest.fixture
async def request_(asking):
    return await asking.asked("25")


class TestAccept:
    async def test_the_payee_is_paid_and_both_see_it(self, asking, request_):
        payment_id = asking.new_id()
        paid = await asking.accept(request_, payment_id)
        assert not paid.replayed
        assert (paid.payment.id, paid.payment.reference) == (payment_id, request_.id)
        assert await asking.received() == "25.000000"
        assert await asking.state(request_) == "accepted"
        found = await payment_request_by_id(asking.books, wallet=asking.payee, request_id=request_.id)
        assert found.payment_id == payment_id

    async def test_the_same_acceptance_again_gives_the_same_payment_for_ever(self, asking, request_):
        payment_id = asking.new_id()
        first = await asking.accept(request_, payment_id)
        asking.bank.clock.advance(100 * 86_400)
        assert await asking.accept(request_, payment_id) == Paid(first.payment, replayed=True)
        assert await asking.received() == "25.000000"
        assert await asking.state(request_) == "accepted"

    async def test_another_payment_for_it_is_refused_with_the_one_that_paid(self, asking, request_):
        payment_id = asking.new_id()
        await asking.accept(request_, payment_id)
        refusal = await refused(asking.accept(request_, asking.new_id()))
        assert refusal.code is NOT_OPEN
        assert refusal.data == {"state": "accepted", "payment_id": str(payment_id)}
        assert await asking.received() == "25.000000"

    async def test_after_a_refusal_a_new_id_pays_and_the_old_one_never(self, asking):
        request = await asking.asked("1000")
        first, second = asking.new_id(), asking.new_id()
        assert (await refused(asking.accept(request, first))).code is WalletCode.INSUFFICIENT_FUNDS
        assert await asking.state(request) == "open"
        await asking.bank.fund(asking.payer, "2000", USDT)
        assert (await refused(asking.accept(request, first))).code is WalletCode.PAYMENT_ALREADY_REFUSED
        assert await asking.state(request) == "open"
        await asking.accept(request, second)
        assert (await refused(asking.accept(request, first))).code is NOT_OPEN
        assert await asking.received() == "1000.000000"

    async def test_a_fee_above_what_was_agreed_to_can_be_agreed_to_with_the_same_id(self, asking, request_):
        payment_id = asking.new_id()
        small = Money.parse("0.024999", USDT)
        refusal = await refused(asking.accept(request_, payment_id, fee_max=small))
        assert refusal.code is WalletCode.FEE_ABOVE_MAXIMUM
        assert await asking.state(request_) == "open"
        await asking.accept(request_, payment_id, fee_max=Money.parse("0.025", USDT))
        assert await asking.state(request_) == "accepted"

    async def test_only_the_payer_accepts(self, asking, request_):
        stranger = await asking.bank.wallet("stranger")
        for wallet in (asking.payee, stranger):
            refusal = await refused(asking.accept(request_, asking.new_id(), payer=wallet))
            assert refusal.code is AskingCode.PAYMENT_REQUEST_NOT_FOUND
        unknown = replace(request_, id=asking.new_id())
        assert (await refused(asking.accept(unknown, asking.new_id()))).code is (
            AskingCode.PAYMENT_REQUEST_NOT_FOUND
        )
        assert (await refused(asking.accept(request_, uuid4()))).code is WalletCode.PAYMENT_ID_MALFORMED

    async def test_an_old_payment_does_not_answer_a_new_request(self, asking, request_):
        old = asking.bank.order(asking.payer, asking.payee, "25", USDT)
        await asking.bank.pay(old)
        refusal = await refused(asking.accept(request_, old.id))
        assert (refusal.code, refusal.data) == (
            WalletCode.PAYMENT_ID_USED_DIFFERENTLY,
            {"field": "reference"},
        )
        assert await asking.state(request_) == "open"
        await asking.accept(request_, asking.new_id())
        assert await asking.received() == "50.000000"

    async def test_an_own_payment_with_the_requests_number_but_less_money_does_not_answer_it(
        self, asking, request_
    ):
        cheap = asking.bank.order(asking.payer, asking.payee, "0.01", USDT, reference=request_.id)
        await asking.bank.pay(cheap)
        refusal = await refused(asking.accept(request_, cheap.id))
        assert (refusal.code, refusal.data["field"]) == (USED_DIFFERENTLY, "amount")
        assert await asking.state(request_) == "open"
        assert (await asking.decline(request_)).request.state is RequestState.DECLINED

    async def test_one_payment_answers_one_request(self, asking, request_):
        other, payment_id = await asking.asked("25"), asking.new_id()
        await asking.accept(request_, payment_id)
        assert (await refused(asking.accept(other, payment_id))).code is WalletCode.PAYMENT_ID_TAKEN
        assert await asking.state(other) == "open"

    async def test_after_its_time_an_acceptance_is_refused_and_pays_nothing(self, asking, request_):
        asking.bank.clock.advance(3_600)
        refusal = await refused(asking.accept(request_, asking.new_id()))
        assert (refusal.code, refusal.data["state"]) == (NOT_OPEN, "expired")
        assert await asking.received() == "0.000000"


class TestClose:
    @pytest.mark.parametrize("how", ["decline", "cancel"])
    async def test_it_stays_closed_and_again_is_the_same(self, asking, request_, how):
        state = {"decline": "declined", "cancel": "cancelled"}[how]
        close: Callable[[PaymentRequest], Any] = getattr(asking, how)
        first = await close(request_)
        again = await close(request_)
        assert (first.replayed, again.replayed, first.request) == (False, True, again.request)
        asking.bank.clock.advance(86_400)
        assert (await close(request_)).request == first.request
        assert await asking.state(request_) == state
        others = {"decline": asking.cancel, "cancel": asking.decline}
        for deciding in (others[how](request_), asking.accept(request_, asking.new_id())):
            refusal = await refused(deciding)
            assert (refusal.code, refusal.data["state"]) == (NOT_OPEN, state)
        assert await asking.received() == "0.000000"

    @pytest.mark.parametrize("how", ["decline", "cancel"])
    async def test_what_is_paid_or_over_cannot_be_closed(self, asking, request_, how):
        close: Callable[[PaymentRequest], Any] = getattr(asking, how)
        over = await asking.asked("1", seconds=60)
        await asking.accept(request_, asking.new_id())
        refusal = await refused(close(request_))
        assert (refusal.code, refusal.data["state"]) == (NOT_OPEN, "accepted")
        asking.bank.clock.advance(60)
        refusal = await refused(close(over))
        assert (refusal.code, refusal.data["state"]) == (NOT_OPEN, "expired")

    async def test_each_side_closes_in_its_own_way_only(self, asking, request_):
        stranger = await asking.bank.wallet("stranger")
        for deciding in (
            asking.decline(request_, payer=asking.payee),
            asking.decline(request_, payer=stranger),
            asking.cancel(request_, payee=asking.payer),
            asking.cancel(request_, payee=stranger),
            asking.decline(replace(request_, id=asking.new_id())),
        ):
            assert (await refused(deciding)).code is AskingCode.PAYMENT_REQUEST_NOT_FOUND
        assert await asking.state(request_) == "open"


async def meant(asking: Asking, request: PaymentRequest, payment_id: UUID) -> None:
    """What is left of an acceptance that died before its payment."""
    row = await load_request(asking.bank.database, request.id)
    assert row is not None
    assert await change(asking.bank.database, row, payment_id=payment_id) is not None


class TestOnItsWay:
    """An acceptance is written down and its payment is still to be submitted."""

    @pytest.mark.parametrize("how", ["decline", "cancel", "expire"])
    async def test_what_is_closed_meanwhile_is_not_paid_any_more(self, asking, request_, how):
        payment_id = asking.new_id()
        await meant(asking, request_, payment_id)
        if how == "expire":
            asking.bank.clock.advance(3_600)
        else:
            await getattr(asking, how)(request_)
        state = await asking.state(request_)
        assert state == {"decline": "declined", "cancel": "cancelled", "expire": "expired"}[how]
        # The other half comes now, straight to the ledger.
        order = asking.bank.order(
            asking.payer, asking.payee, "25", USDT, id=payment_id, reference=request_.id
        )
        refusal = await refused(asking.bank.pay(order))
        assert refusal.code is WalletCode.PAYMENT_ALREADY_REFUSED
        assert await asking.received() == "0.000000"
        assert await asking.state(request_) == state

    @pytest.mark.parametrize("how", ["decline", "cancel", "expire", "accept"])
    async def test_what_is_paid_first_cannot_be_closed_or_paid_again(self, asking, request_, how):
        payment_id = asking.new_id()
        await meant(asking, request_, payment_id)
        order = asking.bank.order(
            asking.payer, asking.payee, "25", USDT, id=payment_id, reference=request_.id
        )
        await asking.bank.pay(order)
        if how == "expire":
            asking.bank.clock.advance(3_600)
        elif how == "accept":
            assert (await refused(asking.accept(request_, asking.new_id()))).code is NOT_OPEN
        else:
            assert (await refused(getattr(asking, how)(request_))).code is NOT_OPEN
        assert await asking.state(request_) == "accepted"
        assert (await asking.accept(request_, payment_id)).replayed
        assert await asking.received() == "25.000000"

    async def test_another_device_takes_over_and_the_first_half_never_pays(self, asking, request_):
        first, second = asking.new_id(), asking.new_id()
        await meant(asking, request_, first)
        await asking.accept(request_, second)
        refusal = await refused(asking.accept(request_, first))
        assert (refusal.code, refusal.data["payment_id"]) == (NOT_OPEN, str(second))
        order = asking.payment(request_, first)
        refusal = await refused(asking.bank.pay(order))
        assert refusal.code is WalletCode.PAYMENT_ALREADY_REFUSED
        assert await asking.received() == "25.000000"


async def later(seconds: float, deciding: Awaitable[Any]) -> Any:
    await asyncio.sleep(seconds)
    return await deciding


class TestRaces:
    async def test_the_same_acceptance_a_hundred_times_at_once_pays_once(self, asking, request_):
        payment_id = asking.new_id()
        answers = await asyncio.gather(*(asking.accept(request_, payment_id) for _ in range(100)))
        assert len({repr(answer.payment) for answer in answers}) == 1
        assert sum(not answer.replayed for answer in answers) == 1
        assert await asking.received() == "25.000000"

    async def test_a_hundred_acceptances_with_an_id_each_pay_once(self, asking, request_):
        answers = await asyncio.gather(
            *(asking.accept(request_, asking.new_id()) for _ in range(100)), return_exceptions=True
        )
        paid = [answer for answer in answers if isinstance(answer, Paid)]
        assert len(paid) == 1
        codes = {answer.code for answer in answers if isinstance(answer, Refusal)}
        assert codes <= {NOT_OPEN, WalletCode.PAYMENT_ALREADY_REFUSED, AskingCode.PAYMENT_REQUEST_CONTESTED}
        assert len(answers) == 1 + sum(isinstance(answer, Refusal) for answer in answers)
        assert await asking.received() == "25.000000"
        found = await payment_request_by_id(asking.books, wallet=asking.payer, request_id=request_.id)
        assert found.payment_id == paid[0].payment.id

    async def test_of_acceptance_decline_and_cancel_at_once_exactly_one_wins(self, asking):
        ends = set()
        for number in range(24):
            # One begins, and the others a little later: at once, amid it, or when it is long done.
            asking.bank.clock.advance(60)
            pause_seconds = (0, 0.003, 0.006, 0.012, 0.025, 2.0)[number // 4]
            request = await asking.asked("1")
            before = Money.parse(await asking.received(), USDT)
            deciding = [
                asking.accept(request, asking.new_id()),
                asking.decline(request),
                asking.cancel(request),
                asking.accept(request, asking.new_id()),
            ]
            answers = await asyncio.gather(
                *(
                    later(0 if place == number % 4 else pause_seconds, each)
                    for place, each in enumerate(deciding)
                ),
                return_exceptions=True,
            )
            won = [answer for answer in answers if not isinstance(answer, BaseException)]
            lost = [answer for answer in answers if isinstance(answer, Refusal)]
            assert (len(won), len(lost)) == (1, 3)
            assert {each.code for each in lost} <= {NOT_OPEN, WalletCode.PAYMENT_ALREADY_REFUSED}
            state = await asking.state(request)
            received = Money.parse(await asking.received(), USDT) - before
            assert (state == "accepted", received.minor) in {(True, 1_000_000), (False, 0)}
            assert isinstance(won[0], Paid) == (state == "accepted")
            ends.add(state)
        assert ends == {"accepted", "declined", "cancelled"}


DECISIONS: dict[str, Callable[[Asking, PaymentRequest, UUID], Any]] = {
    "accept": lambda asking, request, payment_id: asking.accept(request, payment_id),
    "decline": lambda asking, request, _: asking.decline(request),
    "cancel": lambda asking, request, _: asking.cancel(request),
}


class TestDeaths:
    """The process dies after its n-th commit or transfer, for every n, and the request is sent again."""

    @pytest.mark.parametrize("before", ["nothing", "meant"])
    @pytest.mark.parametrize("how", DECISIONS)
    async def test_a_decision_that_died_is_completed_by_its_repetition(self, asking, how, before):
        deaths, number = 0, 0
        while True:
            number += 1
            request, payment_id = await asking.asked("1"), asking.new_id()
            received = Money.parse(await asking.received(), USDT)
            if before == "meant":
                await meant(asking, request, asking.new_id())
            fate = Fate(number)
            database: Any = MortalDatabase(asking.bank.database, fate)
            ledger: Any = MortalLedger(asking.bank.ledger, fate)
            dying = asking.with_books(database=database, ledger=ledger)
            try:
                await DECISIONS[how](dying, request, payment_id)
            except Died:
                deaths += 1
            else:
                break
            # Whatever was seen in between: open, or what the repetition says too.
            between = await asking.state(request)
            await DECISIONS[how](asking, request, payment_id)
            end = {"accept": "accepted", "decline": "declined", "cancel": "cancelled"}[how]
            assert between in {"open", end}
            assert await asking.state(request) == end
            moved = Money.parse(await asking.received(), USDT) - received
            assert moved.minor == (1_000_000 if how == "accept" else 0)
        assert deaths >= (3 if how == "accept" or before == "meant" else 2)

    async def test_asking_that_died_is_completed_by_its_repetition(self, asking):
        number = 0
        while True:
            number += 1
            order = asking.order("1")
            database: Any = MortalDatabase(asking.bank.database, Fate(number))
            try:
                await asking.with_books(database=database).ask(order)
            except Died:
                request = (await asking.ask(order)).request
                assert await asking.state(request) == "open"
                await asking.cancel(request)
            else:
                break
        assert number >= 3
