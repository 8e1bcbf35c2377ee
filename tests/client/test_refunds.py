"""The client gives payments back, once on bad networks too."""

from uuid import uuid4

import pytest
from nugpay_client import NotFound, RequestRefused

from tests.client.test_wallet import lost_answer, lost_request


async def test_money_goes_back_once_whatever_the_network_does(wallets, network):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    payment = await aye.pay(aye.order("ko_ko", "25", "USDT"))
    order = ko.refunds.order(payment.id, "10")
    network.accidents = [lost_request, lost_request, lost_answer, lost_request]
    refund = await ko.refunds.give(order)
    assert (refund.id, refund.payment_id, refund.amount, refund.to) == (order.id, payment.id, 10, "@aye_aye")
    assert await ko.refunds.give(order) == refund
    assert await aye.refunds.get(order.id) == refund
    assert await aye.refunds.of(payment.id) == [refund]
    assert (await ko.balances())["USDT"].available == 15
    with pytest.raises(RequestRefused) as refusal:
        await ko.refunds.give(ko.refunds.order(payment.id, "15.01"))
    assert (refusal.value.code, refusal.value.problem.data["left"]) == ("refund_exceeds_payment", "15.000000")
    with pytest.raises(NotFound):
        await aye.refunds.get(uuid4())
