"""The client asks payments back, once on bad networks too, and officers decide."""

from uuid import uuid4

import pytest
from nugpay_client import NotFound, RequestRefused

from tests.client.test_wallet import lost_answer, lost_request


async def test_a_payment_is_asked_back_once_whatever_the_network_does(wallets, network):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    payment = await aye.pay(aye.order("ko_ko", "25", "USDT"))
    order = aye.recalls.order(payment.id)
    network.accidents = [lost_request, lost_answer, lost_request]
    recall = await aye.recalls.ask(order)
    assert (recall.id, recall.payment_id, recall.amount, recall.state) == (order.id, payment.id, 25, "open")
    assert await aye.recalls.ask(order) == recall
    assert await ko.recalls.get(order.id) == recall
    assert [each async for each in ko.recalls.list("payee", state="open", page=1)] == [recall]
    assert [each async for each in ko.recalls.list("payer")] == []
    assert (await ko.recalls.decline(order.id)).state == "disputed"
    network.accidents = [lost_answer]
    assert (await ko.recalls.agree(order.id)).state == "agreed"
    assert (await ko.balances())["USDT"].available == 0
    with pytest.raises(RequestRefused) as refusal:
        await aye.recalls.withdraw(order.id)
    assert (refusal.value.code, refusal.value.problem.data["state"]) == ("recall_not_open", "agreed")
    with pytest.raises(NotFound):
        await aye.recalls.get(uuid4())


async def test_a_recall_is_withdrawn(wallets):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    payment = await aye.pay(aye.order("ko_ko", "25", "USDT"))
    recall = await aye.recalls.ask(aye.recalls.order(payment.id))
    assert (await aye.recalls.withdraw(recall.id)).state == "withdrawn"
    assert (await ko.balances())["USDT"].available == 25
