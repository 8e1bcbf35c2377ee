"""The client catches up after a time without a network, and misses nothing when answers are lost."""

from tests.client.test_wallet import lost_answer, lost_request
from tests.fixtures.snapshots import settled


async def test_all_that_changed_comes_once_whatever_the_network_does(api, wallets, network):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko", "10")
    for _ in range(4):
        await aye.pay(aye.order("ko_ko", "5", "USDT"))
    asked = await ko.requests.ask(ko.requests.order("aye_aye", "3", "USDT"))
    await settled(api.database)
    network.accidents = [lost_request, lost_answer]
    answers = [one async for one in aye.changes(limit=3)]
    assert len(answers) == 3
    lines = [line for one in answers for line in one.lines]
    assert lines == [line async for line in aye.history()][::-1]
    assert [one for answer in answers for one in answer.payment_requests] == [asked]
    assert answers[-1].balances == await aye.balances()
    await ko.pay(ko.order("aye_aye", "1", "USDT"))
    await settled(api.database)
    (after,) = [one async for one in aye.changes(answers[-1].cursor)]
    assert [line.amount for line in after.lines] == [1]
