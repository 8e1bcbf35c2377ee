"""The client's own handle against the real API: changed, unlisted, and with memos from before."""

import pytest
from nugpay_client import MemoKeys, NotFound, PaymentOrder, RequestRefused

from tests.client.test_wallet import lost_answer


async def test_a_change_whose_answer_is_lost_is_made_once(wallets, network, api):
    ko = await wallets("@ko_ko")
    api.clock.advance(1)
    network.accidents = [lost_answer]
    made = await ko.handles.change("@ko_min")
    assert (made.handle, made.listed) == ("@ko_min", True)
    assert [each.handle for each in made.former] == ["@ko_ko"]
    assert made.former[0].given_up_at < made.former[0].pays_until
    assert await ko.handles.own() == made
    assert (await ko.info()).handle == "@ko_min"


async def test_an_unlisted_wallet_is_paid_by_its_own_code(wallets, api):
    aye, ko = await wallets("@aye_aye", "10"), await wallets("@ko_ko")
    api.clock.advance(1)
    hidden = await ko.handles.set_listed(listed=False)
    assert not hidden.listed
    with pytest.raises(NotFound):
        await aye.payee("@ko_ko")
    with pytest.raises(RequestRefused) as refusal:
        await aye.pay(aye.order("@ko_ko", "1", "USDT"))
    assert refusal.value.code == "payee_unknown"
    made = (await ko._connection.send("POST", "/v1/payment_codes", {"asset": "USDT"})).content
    code = aye.read_code(made["qr_text"])
    assert (await aye.payee(code.payee, payee_pass=code.payee_pass)).handle == "@ko_ko"
    order = aye.order_of_code(code, amount="2")
    assert (await aye.pay(PaymentOrder.from_json(order.to_json()))).payee == "@ko_ko"


async def test_memos_from_before_open_after_both_have_other_handles(wallets, api):
    found = {}
    for handle, funds in (("@aye_aye", "100"), ("@ko_ko", "1")):
        wallet, keys = await wallets(handle, funds), MemoKeys.generate(handle)
        await wallet.publish_memo_key(keys)
        found[handle] = wallet, keys
    (aye, ayes), (ko, kos) = found.values()
    first = await aye.pay(aye.order(await aye.payee("@ko_ko"), "5", "USDT", memo="one", keys=ayes))
    api.clock.advance(1)
    await aye.handles.change("@aye_chan")
    await ko.handles.change("@ko_min")
    api.clock.advance(1)
    ayes, kos = ayes.renamed("@aye_chan"), kos.renamed("@ko_min")
    # Named as before, it is looked up, and sealed for the handle of now.
    then = await aye.pay(aye.order(await aye.payee("@ko_ko"), "5", "USDT", memo="two", keys=ayes))
    assert (first.payee, then.payee) == ("@ko_ko", "@ko_min")
    for wallet, keys in ((aye, ayes), (ko, MemoKeys.from_json(kos.to_json()))):
        assert [(await wallet.payment(each.id)).memo_text(keys) for each in (first, then)] == ["one", "two"]
        lines = [line async for line in wallet.history(memos=True) if line.memo]
        assert [line.memo_text(keys) for line in lines] == ["two", "one"]
