"""The client makes standing orders, once on bad networks too."""

from datetime import timedelta
from uuid import uuid4

import pytest
from nugpay_client import IdAlreadyUsed, NotFound, RequestRefused

from tests.client.test_wallet import lost_answer, lost_request
from tests.wallet_api.test_standing_orders import worked


async def test_an_order_is_made_once_and_told_what_became_of_it(api, wallets, network):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    tomorrow = (api.clock.now() + timedelta(days=1)).date()
    request = aye.standing_orders.request(
        "ko_ko", "60", "USDT", tomorrow, repeats="daily", times=2, fee_max="1", reference=uuid4()
    )
    network.accidents = [lost_request, lost_answer, lost_request]
    order = await aye.standing_orders.make(request)
    assert (order.id, order.state, order.amount, order.next_on) == (
        request.id,
        "active",
        60,
        tomorrow.isoformat(),
    )
    assert await aye.standing_orders.make(request) == order
    assert await aye.standing_orders.get(order.id) == order
    assert [each async for each in aye.standing_orders.list(page=1)] == [order]
    for _ in range(3):
        api.clock.advance(86_400)
        await worked(api)
    missed, paid = [each async for each in aye.standing_orders.payments(order.id, page=1)]
    assert (missed.number, missed.code, paid.number, paid.code) == (1, "insufficient_funds", 0, None)
    assert paid.payment_id is not None
    assert (await ko.payment(paid.payment_id)).amount == 60
    with pytest.raises(RequestRefused) as refusal:
        await aye.standing_orders.cancel(order.id)
    assert refusal.value.code == "standing_order_over"


async def test_an_order_is_cancelled_and_others_are_not_there(api, wallets):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    tomorrow = (api.clock.now() + timedelta(days=1)).date()
    request = aye.standing_orders.request("ko_ko", "5", "USDT", tomorrow, until=None)
    order = await aye.standing_orders.make(request)
    assert await aye.standing_orders.confirm(order.id) == order
    assert (await aye.standing_orders.cancel(order.id)).state == "cancelled"
    assert (await aye.standing_orders.cancel(order.id)).next_on is None
    with pytest.raises(NotFound):
        await ko.standing_orders.get(order.id)
    with pytest.raises(IdAlreadyUsed):
        await aye.standing_orders.make(type(request)(**{**request.to_json(), "id": order.id, "amount": "6"}))
