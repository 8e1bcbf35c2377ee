"""The client at a sandbox: it moves the clock, and settles what amounts force."""

from decimal import Decimal

import pytest
from nugpay_client import InsufficientFunds, NotFound

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
