"""The client has a business: tills, people, keys, and a desk for a person or a server."""

from uuid import uuid4

import httpx
import pytest
from nugpay_client import NotAuthenticated, NotFound, RequestRefused, RetryPolicy, till_desk

from tests.client.test_wallet import lost_answer, lost_request
from tests.wallet_api.conftest import BASE
from wallets.webhook_events import write_events


async def test_a_shop_is_paid_and_gives_back_whatever_the_network_does(wallets, network):
    aye, ko, su = await wallets("aye_aye", "100"), await wallets("ko_ko", "1"), await wallets("su_su")
    await ko.business.name("Golden Tea House")
    order = ko.business.till_order("Counter 1", "USDT")
    network.accidents = [lost_answer, lost_request]
    till = await ko.business.open_till(order)
    assert await ko.business.open_till(order) == till
    assert (till.id, till.business, till.owner) == (order.id, "Golden Tea House", "@ko_ko")
    await ko.business.invite(till.id, "su_su", ["charge", "refund"])
    assert await su.business.invitations() == [till]
    await su.business.accept(till.id)
    assert await su.business.tills() == [till]
    (staff,) = await ko.business.staff(till.id)
    assert (staff.handle, list(staff.rights)) == ("@su_su", ["see", "charge", "refund"])
    desk = su.business.till(till.id)
    due = desk.invoice_order("25", memo="Table 4")
    network.accidents = [lost_answer, lost_request]
    assert (await desk.invoice(due)).state == "open"
    payment = await aye.pay(aye.order("ko_ko", "25", "USDT", reference=due.id))
    more = await aye.pay(aye.order("ko_ko", "3", "USDT", reference=due.id))
    paid = await desk.get(due.id)
    assert paid.payment is not None
    assert (paid.state, paid.payment.id, [each.id for each in paid.others]) == ("paid", payment.id, [more.id])
    back = desk.refund_order(more.id, "3")
    network.accidents = [lost_answer, lost_request, lost_answer]
    assert (await desk.refund(back)).amount == 3
    assert (await desk.refund(back)).id == back.id
    day = await desk.settlement()
    assert (day.payments, day.refunds, day.net) == (28, 3, 25)
    assert [each.id async for each in desk.invoices(page=1)] == [due.id]
    await ko.business.end_work(till.id, "su_su")
    with pytest.raises(NotFound):
        await desk.get(due.id)


async def test_a_server_has_a_desk_by_its_key_until_it_is_revoked(api, wallets, network):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    await ko.business.name("Golden Tea House")
    till = await ko.business.open_till(ko.business.till_order("Counter 1", "USDT"))
    made = await ko.business.make_key(till.id, "Web shop", ["charge"])
    assert made.key is not None
    assert made.key.endswith(made.last_four)
    transport = httpx.ASGITransport(api.http._transport.app)
    async with httpx.AsyncClient(transport=transport) as http:
        desk = till_desk(BASE, made.key, till.id, http=http, retry=RetryPolicy(attempts=1))
        due = desk.invoice_order("25")
        await desk.invoice(due)
        payment = await aye.pay(aye.order("ko_ko", "25", "USDT", reference=due.id))
        paid = await desk.get(due.id)
        assert (paid.state, getattr(paid.payment, "id", None)) == ("paid", payment.id)
        with pytest.raises(RequestRefused) as refusal:
            await desk.refund(desk.refund_order(payment.id, "1"))
        assert (refusal.value.code, refusal.value.problem.data["right"]) == ("till_right_missing", "refund")
        with pytest.raises(NotFound):
            await desk.get(uuid4())
        assert (await ko.business.revoke_key(till.id, made.id)).revoked_at is not None
        with pytest.raises(NotAuthenticated):
            await desk.get(due.id)
    (listed,) = await ko.business.keys(till.id)
    assert (listed.key, listed.last_four) == (None, made.last_four)


async def test_a_business_has_its_events_sent_and_reads_them_again(api, wallets, network):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    await ko.business.name("Golden Tea House")
    till = await ko.business.open_till(ko.business.till_order("Counter 1", "USDT"))
    made = await ko.business.register_webhook("http://127.0.0.1:8009/told")
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    payments = [await aye.pay(aye.order("ko_ko", "1", "USDT", reference=till.id)) for _ in range(3)]
    assert await write_events(api.connections.merchant_books()) == 3
    found = [each async for each in ko.business.events(page=2)]
    assert [each["content"]["data"]["payment_id"] for each in found] == [str(p.id) for p in payments[::-1]]
    await ko.business.resend(found[0]["id"])
    with pytest.raises(NotFound):
        await ko.business.resend(uuid4())
    assert (await ko.business.replace_secret(made.id)).secret not in {None, made.secret}
    (listed,) = await ko.business.webhooks()
    assert (listed.id, listed.secret, listed.disabled_at) == (made.id, None, None)
    await ko.business.end_webhook(made.id)
    assert await ko.business.webhooks() == []
