"""Refunds: at most what was paid, by whom it was paid to, once, and linked to the payment for ever."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from ledger.chart import TransferCode
from tests.wallets.conftest import Bank
from wallets.history import history
from wallets.history_filters import HistoryFilter, HistoryKind
from wallets.refunds import (
    LISTED_MAX,
    RefundOrder,
    refund_by_id,
    refund_payment,
    refunds_of_payment,
)


class Death(Exception):
    """The process dies here."""


@pytest.fixture
async def paid(bank: Bank):
    aye, ko = await bank.wallet("aye_aye"), await bank.wallet("ko_ko")
    await bank.fund(aye, "100", USDT)
    return (await bank.pay(bank.order(aye, ko, "25", USDT))).payment


def order(bank: Bank, payment, amount: str, **more) -> RefundOrder:
    made = {"id": uuid7(bank.clock), "payee": payment.payee, "payment_id": payment.id, "amount": amount}
    return RefundOrder(**{**made, **more})


async def give(bank: Bank, payment, amount: str, **more):
    return await refund_payment(bank.ledger, bank.directory, order(bank, payment, amount, **more))


async def refused(doing) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await doing
    return caught.value


async def held(bank: Bank, payment) -> tuple[str, str]:
    return await bank.available(payment.payer, USDT), await bank.available(payment.payee, USDT)


async def test_parts_are_given_back_until_nothing_is_left(bank, paid):
    first = (await give(bank, paid, "20")).refund
    assert (first.payment, first.amount.format()) == (paid, "20.000000")
    told = await refused(give(bank, paid, "5.000001"))
    assert (told.code, told.data["left"]) == ("refund_exceeds_payment", "5.000000")
    second = (await give(bank, paid, "5")).refund
    assert (await refused(give(bank, paid, "0.000001"))).data["left"] == "0.000000"
    assert await held(bank, paid) == ("99.975000", "0.000000")
    for wallet in (paid.payer, paid.payee):
        seen = await refunds_of_payment(bank.ledger, bank.directory, wallet=wallet, payment_id=paid.id)
        assert (seen.refunded, list(seen.refunds)) == (paid.amount, [second, first])
        assert await refund_by_id(bank.ledger, bank.directory, wallet=wallet, refund_id=first.id) == first


async def test_it_names_its_payment_in_the_ledger_and_in_both_histories(bank, paid):
    refund = (await give(bank, paid, "5")).refund
    (transfer,) = await bank.ledger.lookup_transfers([refund.id.int])
    assert (transfer.code, transfer.user_data_128) == (TransferCode.PAYMENT_REFUND, paid.id.int)
    for wallet, other in ((paid.payer, "ko_ko"), (paid.payee, "aye_aye")):
        line = (
            await history(bank.ledger, bank.directory, wallet=wallet, only=HistoryFilter(asset=USDT))
        ).lines[0]
        assert (line.kind, line.counterparty, line.reference) == (HistoryKind.REFUND, other, paid.id)


async def test_the_same_refund_again_is_the_same_and_another_is_named(bank, paid):
    asked = order(bank, paid, "5")
    first = await refund_payment(bank.ledger, bank.directory, asked)
    second = await refund_payment(bank.ledger, bank.directory, asked)
    assert (first.replayed, second.replayed, second.refund) == (False, True, first.refund)
    again = await bank.pay(bank.order(paid.payer, paid.payee, "5", USDT))
    for change, field in [({"amount": "6"}, "amount"), ({"payment_id": again.payment.id}, "payment")]:
        told = await refused(refund_payment(bank.ledger, bank.directory, replace(asked, **change)))
        assert (told.code, told.data) == ("payment_id_used_differently", {"field": field})
    assert (await refused(give(bank, paid, "5", id=paid.id))).code == "payment_id_taken"
    spent = bank.order(paid.payer, paid.payee, "5", USDT, id=asked.id)
    assert (await refused(bank.pay(spent))).code == "payment_id_taken"
    assert await held(bank, paid) == ("74.965000", "25.000000")


async def test_the_same_refund_many_times_at_once_happens_once(bank, paid):
    asked = order(bank, paid, "25")
    done = await asyncio.gather(*(refund_payment(bank.ledger, bank.directory, asked) for _ in range(20)))
    assert sorted(each.replayed for each in done) == [False] + [True] * 19
    assert await held(bank, paid) == ("99.975000", "0.000000")


async def test_many_refunds_at_once_are_never_more_than_the_payment(bank, paid):
    await bank.fund(paid.payee, "100", USDT)
    done = await asyncio.gather(*(give(bank, paid, "2") for _ in range(30)), return_exceptions=True)
    given = [each for each in done if not isinstance(each, BaseException)]
    assert len(given) == 12
    assert {each.code.value for each in done if isinstance(each, Refusal)} == {"refund_exceeds_payment"}
    assert await held(bank, paid) == ("98.975000", "101.000000")
    seen = await refunds_of_payment(bank.ledger, bank.directory, wallet=paid.payer, payment_id=paid.id)
    assert (seen.refunded.format(), len(seen.refunds)) == ("24.000000", 12)
    assert len(seen.refunds) <= LISTED_MAX


async def test_only_who_was_paid_gives_back_and_nobody_else_sees_it(bank, paid):
    refund = (await give(bank, paid, "5")).refund
    assert (await refused(give(bank, paid, "5", payee=paid.payer))).code == "refund_not_by_payee"
    su = await bank.wallet("su_su")
    assert (await refused(give(bank, paid, "5", payee=su))).code == "payment_not_found"
    look = refund_by_id(bank.ledger, bank.directory, wallet=su, refund_id=refund.id)
    assert (await refused(look)).code == "refund_not_found"
    look = refund_by_id(bank.ledger, bank.directory, wallet=paid.payer, refund_id=paid.id)
    assert (await refused(look)).code == "refund_not_found"
    listed = refunds_of_payment(bank.ledger, bank.directory, wallet=su, payment_id=paid.id)
    assert (await refused(listed)).code == "payment_not_found"


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("0", "amount_not_positive"),
        ("-1", "amount_malformed"),
        ("1e3", "amount_malformed"),
        ("0.0000001", "amount_too_precise"),
        ("26", "refund_exceeds_payment"),
    ],
)
async def test_amounts_that_cannot_be_given_back_are_refused(bank, paid, amount, code):
    assert (await refused(give(bank, paid, amount))).code == code
    assert await held(bank, paid) == ("74.975000", "25.000000")


async def test_ids_that_no_client_may_use_and_refunds_of_refunds_are_refused(bank, paid):
    assert (await refused(give(bank, paid, "1", id=uuid4()))).code == "payment_id_malformed"
    refund = (await give(bank, paid, "1")).refund
    assert (await refused(give(bank, paid, "1", payment_id=refund.id))).code == "payment_not_found"


async def test_money_that_was_spent_cannot_be_given_back_and_the_id_stays_refused(bank, paid):
    su = await bank.wallet("su_su")
    await bank.pay(bank.order(paid.payee, su, "20", USDT))
    asked = order(bank, paid, "25")
    assert (await refused(refund_payment(bank.ledger, bank.directory, asked))).code == "insufficient_funds"
    await bank.fund(paid.payee, "100", USDT)
    told = await refused(refund_payment(bank.ledger, bank.directory, asked))
    assert told.code == "payment_already_refused"
    # What failed has used up nothing of the room.
    assert not (await give(bank, paid, "25")).replayed


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("after", [False, True])
async def test_wherever_it_dies_the_same_request_completes_it_once(bank, paid, at, after):
    class Mortal:
        left = at

        def __getattr__(self, name: str):
            doing = getattr(bank.ledger, name)
            if not name.startswith("create_"):
                return doing

            async def mortal(events):
                self.left -= 1
                if self.left == 0 and not after:
                    raise Death
                answers = await doing(events)
                if self.left == 0:
                    raise Death
                return answers

            return mortal

    asked = order(bank, paid, "10")
    with pytest.raises(Death):
        await refund_payment(Mortal(), bank.directory, asked)
    done = await refund_payment(bank.ledger, bank.directory, asked)
    assert done.replayed == (at == 3 and after)
    assert await held(bank, paid) == ("84.975000", "15.000000")
    seen = await refunds_of_payment(bank.ledger, bank.directory, wallet=paid.payee, payment_id=paid.id)
    assert (seen.refunded.format(), len(seen.refunds)) == ("10.000000", 1)
