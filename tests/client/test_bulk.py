"""The client brings, releases and follows files of payments, on bad networks too."""

import pytest
from nugpay_client import DeviceKey, NotFound, RequestRefused, Wallet
from sqlalchemy import text

from tests.client.test_wallet import QUICK, lost_answer, lost_request
from tests.wallet_api.conftest import BASE
from tests.wallet_api.test_bulk import advance

FILE = b"handle,amount,reference\r\n@ko_ko,25.00,November\r\n@ko_ko,1,December\r\n"


@pytest.fixture
async def office(api, wallets):
    """A business with two devices: one that brings files, one that releases them."""
    maker = await wallets("the_mill", "1000")
    async with api.database.session() as session:
        await session.execute(text("UPDATE wallets_wallet SET tier = 'business' WHERE handle = 'the_mill'"))
    wallet = await api.connections.wallets.by_handle("the_mill")
    checker = Wallet(BASE, DeviceKey.generate(), http=maker._http, clock=maker._connection.clock, retry=QUICK)
    await checker.enrol(await api.code(person_id=wallet.person_id))
    return maker, checker


async def test_lines_are_paid_once_whatever_the_network_does(api, wallets, network, office):
    maker, checker = office
    ko = await wallets("ko_ko")
    order = maker.bulk_payments.order(FILE, "USDT")
    network.accidents = [lost_answer, lost_request]
    bulk = await maker.bulk_payments.bring(order)
    assert (bulk.id, bulk.state, bulk.lines, str(bulk.total)) == (order.id, "checked", 2, "26.000000")
    network.accidents = [lost_answer, lost_request]
    assert (await checker.bulk_payments.release(bulk.id, FILE, "26")).state == "released"
    await advance(api)
    done = await checker.bulk_payments.get(bulk.id)
    assert (done.state, done.paid, done.paid_total) == ("finished", 2, bulk.total)
    lines = [line async for line in maker.bulk_payments.lines(bulk.id, state="paid", page=1)]
    assert [(line.number, line.reference) for line in lines] == [(2, "November"), (3, "December")]
    assert (await ko.payment(lines[0].payment_id)).amount == 25
    assert [each.id async for each in maker.bulk_payments.list(page=1)] == [bulk.id]
    with pytest.raises(NotFound):
        await ko.bulk_payments.get(bulk.id)


async def test_a_file_is_cancelled_by_either_device_and_never_released(wallets, network, office):
    maker, checker = office
    await wallets("ko_ko")
    bulk = await maker.bulk_payments.bring(maker.bulk_payments.order(FILE, "USDT"))
    network.accidents = [lost_answer, lost_request]
    cancelled = await maker.bulk_payments.cancel(bulk.id)
    assert (cancelled.state, cancelled.cancelled_at is not None) == ("cancelled", True)
    with pytest.raises(RequestRefused) as refusal:
        await checker.bulk_payments.release(bulk.id, FILE, "26")
    assert refusal.value.code == "bulk_cancelled"
    assert (await checker.bulk_payments.cancel(bulk.id)) == cancelled


async def test_another_file_or_the_same_device_releases_nothing(wallets, office):
    maker, checker = office
    await wallets("ko_ko")
    bulk = await maker.bulk_payments.bring(maker.bulk_payments.order(FILE, "USDT"))
    for device, content, code in [
        (maker, FILE, "bulk_released_by_maker"),
        (checker, FILE + b"x", "bulk_released_differently"),
    ]:
        with pytest.raises(RequestRefused) as refusal:
            await device.bulk_payments.release(bulk.id, content, "26")
        assert refusal.value.code == code


async def test_wrong_lines_are_told(wallets, office):
    maker, _checker = office
    await wallets("ko_ko")
    content = FILE + b"nobody_here,1,a\r\n"
    bulk = await maker.bulk_payments.bring(maker.bulk_payments.order(content, "USDT"))
    assert (bulk.state, bulk.wrong) == ("wrong", 1)
    (line,) = [line async for line in maker.bulk_payments.lines(bulk.id, state="wrong")]
    assert (line.number, line.code, line.payment_id) == (4, "payee_unknown", None)
