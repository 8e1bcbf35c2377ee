"""The client's memos against the real API: written by the payer, read by both, and by nobody else."""

import base64
import hashlib

import pytest
from nugpay_client import IdAlreadyUsed, MemoKeys, MemoRefused, PaymentOrder, RequestRefused
from sqlalchemy import text

from tests.client.test_wallet import lost_answer, lost_request

RICE = "ဆန်ဖိုး, for the rice of November"


@pytest.fixture
async def both(wallets):
    """Two wallets with published keys, and these keys."""
    made = []
    for handle, funds in (("@aye_aye", "100"), ("@ko_ko", "1")):
        wallet, keys = await wallets(handle, funds), MemoKeys.generate(handle)
        await wallet.publish_memo_key(keys)
        made.append((wallet, keys))
    return made


async def test_both_read_it_beside_the_payment_in_history_and_in_changes(both):
    (aye, ayes), (ko, kos) = both
    payment = await aye.pay(aye.order(await aye.payee("ko_ko"), "5", "USDT", memo=RICE, keys=ayes))
    hashed = hashlib.sha256(base64.urlsafe_b64decode(payment.memo)).hexdigest()
    for wallet, keys in both:
        assert (await wallet.payment(payment.id)).memo_text(keys) == RICE
        lines = [line async for line in wallet.history(memos=True)]
        assert [line.memo_text(keys) for line in lines if line.id == payment.id] == [RICE]
        assert {line.memo_text(keys) for line in lines if line.id != payment.id} == {None}
        assert [line.id async for line in wallet.history(memo_hash=hashed)] == [payment.id]
        changed = [line async for page in wallet.changes(memos=True) for line in page.lines]
        assert [line.memo_text(keys) for line in changed if line.memo] == [RICE]
        assert {line.memo async for line in wallet.history()} == {None}
    plain = await ko.pay(ko.order("@aye_aye", "1", "USDT"))
    assert plain.memo is None is plain.memo_text(kos)


async def test_whatever_is_lost_on_the_way_it_is_one_payment_with_one_memo(both, network):
    (aye, ayes), (ko, kos) = both
    order = aye.order(await aye.payee("ko_ko"), "5", "USDT", memo=RICE, keys=ayes)
    network.accidents = [lost_request, lost_answer, lost_request]
    payment = await aye.pay(order)
    assert await aye.pay(PaymentOrder.from_json(order.to_json())) == payment
    assert (await ko.payment(order.id)).memo_text(kos) == RICE
    other = aye.order(await aye.payee("ko_ko"), "5", "USDT", memo="something else", keys=ayes)
    with pytest.raises(IdAlreadyUsed) as refusal:
        await aye.pay(PaymentOrder.from_json(other.to_json() | {"id": str(order.id)}))
    assert refusal.value.problem.data["field"] == "memo"
    assert (await ko.balances())["USDT"].available == 6


async def test_the_server_has_nothing_but_ciphertext(both, api):
    (aye, ayes), _ = both
    payment = await aye.pay(aye.order(await aye.payee("ko_ko"), "5", "USDT", memo=RICE, keys=ayes))
    async with api.database.session() as session:
        row = (await session.execute(text("SELECT ciphertext FROM wallets_memo"))).one()
    assert row.ciphertext == base64.urlsafe_b64decode(payment.memo)
    assert not any(part.encode() in row.ciphertext for part in (RICE, "rice", "aye_aye", "ko_ko"))


async def test_a_payee_without_a_key_is_refused_before_anything_is_sent(wallets, network):
    aye, _ = await wallets("@aye_aye", "100"), await wallets("@ko_ko")
    keys = MemoKeys.generate("@aye_aye")
    payee = await aye.payee("ko_ko")
    assert payee.memo_key is None
    sent = len(network.seen)
    with pytest.raises(MemoRefused) as refusal:
        aye.order(payee, "5", "USDT", memo=RICE, keys=keys)
    assert refusal.value.code == "payee_has_no_memo_key"
    with pytest.raises(ValueError, match="as payee\\(\\) found it"):
        aye.order("@ko_ko", "5", "USDT", memo=RICE, keys=keys)
    assert len(network.seen) == sent


async def test_after_another_key_old_memos_are_read_with_the_old_one(both):
    (aye, ayes), (ko, kos) = both
    first = await aye.pay(aye.order(await aye.payee("ko_ko"), "5", "USDT", memo="one", keys=ayes))
    renewed = kos.renewed()
    await ko.publish_memo_key(renewed)
    then = await aye.pay(aye.order(await aye.payee("ko_ko"), "5", "USDT", memo="two", keys=ayes))
    assert [(await ko.payment(each.id)).memo_text(renewed) for each in (first, then)] == ["one", "two"]
    with pytest.raises(MemoRefused) as refusal:
        (await ko.payment(then.id)).memo_text(kos)
    assert refusal.value.code == "memo_not_readable"


async def test_a_memo_of_another_payment_is_carried_and_opens_for_nobody(both):
    (aye, ayes), (ko, kos) = both
    order = aye.order(await aye.payee("ko_ko"), "5", "USDT", memo=RICE, keys=ayes)
    moved = aye.order("@ko_ko", "5", "USDT").to_json() | {"memo": order.memo}
    payment = await aye.pay(PaymentOrder.from_json(moved))
    for found, keys in ((payment, ayes), (await ko.payment(payment.id), kos)):
        with pytest.raises(MemoRefused):
            found.memo_text(keys)


async def test_a_memo_over_cbor_is_the_same(wallets, both):
    _, (ko, kos) = both
    su = await wallets("@su_su", "10", compact=True)
    keys = MemoKeys.generate("@su_su")
    await su.publish_memo_key(keys)
    payment = await su.pay(su.order(await su.payee("ko_ko"), "1", "USDT", memo=RICE, keys=keys))
    assert (await su.payment(payment.id)).memo_text(keys) == RICE
    assert (await ko.payment(payment.id)).memo_text(kos) == RICE


async def test_a_key_that_is_none_is_refused_by_the_server(both, monkeypatch):
    (aye, ayes), _ = both
    monkeypatch.setattr(MemoKeys, "public_text", "A" * 43)
    with pytest.raises(RequestRefused) as refusal:
        await aye.publish_memo_key(ayes)
    assert refusal.value.code == "memo_key_malformed"
