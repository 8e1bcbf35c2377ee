"""The client speaks CBOR where bytes are dear, with the same outcomes."""

import pytest
from nugpay_client import InsufficientFunds, NotFound

from foundation.ids import uuid7
from tests.client.test_wallet import lost_answer, lost_request


async def test_a_compact_wallet_pays_reads_and_is_refused_as_any_other(api, wallets, network):
    aye = await wallets("aye_aye", "100", compact=True)
    ko = await wallets("ko_ko")
    network.accidents = [lost_request, lost_answer]
    order = aye.order("ko_ko", "25", "USDT")
    payment = await aye.pay(order)
    assert await aye.pay(order) == payment == await ko.payment(order.id)
    kinds: list[tuple[str | None, str]] = []

    async def noted(request, inner):
        answer = await inner.handle_async_request(request)
        kinds.append((request.headers.get("content-type"), answer.headers["content-type"]))
        return answer

    network.accidents = [noted] * 3
    with pytest.raises(InsufficientFunds):
        await aye.pay(aye.order("ko_ko", "100", "USDT"))
    with pytest.raises(NotFound):
        await aye.payment(uuid7(api.clock))
    assert (await aye.balances())["USDT"].available == (100 - 25 - payment.fee)
    assert kinds == [(form, "application/cbor") for form in ("application/cbor", None, None)]
    month = api.clock.now().strftime("%Y-%m")
    assert (await aye.statements.file("USDT", month, "pdf")).startswith(b"%PDF")
