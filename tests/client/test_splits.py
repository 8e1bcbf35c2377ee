"""The client asks several people for one amount, once on bad networks too."""

import pytest
from nugpay_client import NotFound, RequestRefused

from tests.client.test_wallet import lost_answer, lost_request


async def test_everybody_is_asked_once_and_one_read_tells_who_has_paid(wallets, network):
    aye, su, ko = await wallets("aye_aye", "100"), await wallets("su_su", "100"), await wallets("ko_ko")
    order = ko.splits.equal_order("10.000001", "USDT", ["@aye_aye", "@su_su"], remainder_to="@su_su")
    network.accidents = [lost_request, lost_answer, lost_request]
    split = await ko.splits.ask(order)
    assert [str(each.amount) for each in split.requests] == ["5.000000", "5.000001"]
    assert await ko.splits.ask(order) == split
    await su.requests.accept(su.requests.acceptance(split.requests[1]))
    now = await ko.splits.get(order.id)
    assert (str(now.total), str(now.paid)) == ("10.000001", "5.000001")
    assert [each.state for each in now.requests] == ["open", "accepted"]
    with pytest.raises(NotFound):
        await aye.splits.get(order.id)
    with pytest.raises(RequestRefused) as refusal:
        await ko.splits.ask(ko.splits.order("10", "USDT", {"@aye_aye": "4", "@su_su": "5"}))
    assert refusal.value.code == "split_shares_wrong"
