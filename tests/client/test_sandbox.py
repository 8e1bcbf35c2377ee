"""The client at a sandbox: it moves the clock, and settles what amounts force."""

from datetime import timedelta
from decimal import Decimal

import pytest
from nugpay_client import DeviceKey, InsufficientFunds, NotFound, Wallet

from ops.node import free_port
from tests.fixtures.served import Served, serving
from tests.wallet_api.test_sandbox import clock, settings

__all__ = ["clock", "settings"]


async def test_the_clock_is_moved_and_the_client_signs_by_it(wallets):
    aye = await wallets("@aye_aye", "100")
    before = (await aye.sandbox.state()).time
    moved = await aye.sandbox.advance(3_600)
    assert (moved.ahead_seconds, before.ahead_seconds) == (3_600, 0)
    assert (moved.now - before.now).total_seconds() >= 3_600
    assert (await aye.balances())["USDT"].available == 100


async def test_forced_refusals_are_raised_and_lost_answers_and_busy_ones_are_settled(wallets):
    aye, ko = await wallets("@aye_aye", "100"), await wallets("@ko_ko")
    state = await aye.sandbox.state()
    by_code = {magic.code: magic for magic in reversed(state.payments)}
    assert by_code["insufficient_funds"].example == Decimal("0.009911")
    with pytest.raises(InsufficientFunds):
        await aye.pay(aye.order("@ko_ko", by_code["insufficient_funds"].example, state.asset))
    got = Decimal(0)
    for code in ("ledger_unavailable", "database_unavailable", "ledger_busy"):
        paid = await aye.pay(aye.order("@ko_ko", by_code[code].example, state.asset))
        got += paid.amount
    assert (await ko.balances())["USDT"].available == got == Decimal("0.029707")
    with pytest.raises(NotFound):
        await aye.payment(aye.order("@ko_ko", 1, "USDT").id)


async def test_two_api_processes_and_the_ledgers_own_have_one_clock_and_a_restart_keeps_it(
    home, database_url
):
    bank = Served(home, database_url, free_port("127.0.0.1"), more={"NUGPAY_SANDBOX": "1"})
    second = free_port("127.0.0.1")
    async with serving(bank):
        bank.start("api-2", command="api", port=second)
        await bank.healthy(second)
        key = DeviceKey.generate()
        async with Wallet(bank.url, key) as aye, Wallet(bank.url, DeviceKey.generate()) as ko:
            for wallet, handle in ((aye, "@aye_aye"), (ko, "@ko_ko")):
                await wallet.enrol(await bank.code())
                await wallet.open(handle)
            await bank.fund("@aye_aye", "100")
            before = await aye.pay(aye.order("@ko_ko", 1, "USDT"))
            await aye.sandbox.advance(86_400)
            async with Wallet(f"http://127.0.0.1:{second}", key) as there:
                assert (await there.sandbox.state()).time.ahead_seconds == 86_400
                # The ledger's process writes the time of a payment, and it is a day later.
                after = await there.pay(there.order("@ko_ko", 1, "USDT"))
                assert after.created_at - before.created_at >= timedelta(days=1)
            bank.kill("ledger")
            bank.kill("api")
            for name in ("ledger", "api"):
                bank.start(name)
            await bank.healthy()
            later = await aye.pay(aye.order("@ko_ko", 1, "USDT"))
            assert later.created_at > after.created_at
            assert (await aye.sandbox.state()).time.ahead_seconds == 86_400
