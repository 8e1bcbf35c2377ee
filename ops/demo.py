"""The demo: real money on a real node, mirrored, paid, withdrawn, and both books equal.

Every step says who asks what, what came back, and where both books stand. A step
whose outcome is not what the story promises ends it with that sentence.
"""

from __future__ import annotations

import asyncio
import secrets
import time

from nugpay_client import InsufficientFunds, NUGPayClientError, Payment, PaymentOrder, Wallet
from rich.console import Console
from rich.text import Text

from foundation.assets import DMMK, USDT
from foundation.errors import NUGPayError
from foundation.logs import configure_logging
from foundation.money import Money
from foundation.settings import Settings
from ops.demo_breaker import trip_and_release
from ops.demo_chain import reorg, stuck
from ops.demo_checks import StoryBrokeError, expect, until
from ops.demo_stage import Stage, open_stage
from treasury.reconciliation import last_reconciliations

PAYMENTS_UNDER_FIRE = 2_000
"""How many payments are on their way when the ledger process is killed."""
CALLERS = 24
"""How many of them at a time."""


def run(settings: Settings) -> int:
    """Play the story; 0 when it went as told, else 1 and what broke."""
    # The story steps into the worker's part once; what that logs is not the story.
    configure_logging("demo", "error")
    console = Console(highlight=False)
    began = time.monotonic()
    try:
        asyncio.run(_play(console, settings))
    except (NUGPayError, NUGPayClientError) as error:
        console.print(Text(f"\nThe story broke: {error}", "bold red"))
        return 1
    console.print(Text(f"\nEverything went as told, in {time.monotonic() - began:.0f} s.", "bold green"))
    return 0


async def _play(console: Console, settings: Settings) -> None:
    async with open_stage(console, settings) as stage:
        stage.chapter(1, "Contracts stand on the chain, two phones enrol")
        stage.note(f"vault {stage.deployment.vault} on chain {stage.deployment.chain_id}")
        # Names of their own, so that the story can be played again and again.
        tag = secrets.token_hex(3)
        async with (
            await stage.phone(f"aye_{tag}", algorithm="ed25519") as aye,
            await stage.phone(f"ko_{tag}", algorithm="p256") as ko,
        ):
            await _deposit(stage, aye)
            order = await _pay(stage, aye, f"@ko_{tag}")
            await _refuse_overdraft(stage, aye, f"@ko_{tag}")
            await reorg(stage, ko)
            await _pay_under_fire(stage, aye, ko, f"@ko_{tag}")
            await _withdraw(stage, ko)
            await stuck(stage, ko)
            await trip_and_release(stage, aye, tag)
            await _compare_books(stage, order)


async def _deposit(stage: Stage, aye: Wallet) -> None:
    stage.chapter(2, "Tokens arrive on chain, and are credited when nothing can take them back")
    address = await aye.deposit_address("USDT")
    stage.asked("outside", f"send 250 USDT and 1,000,000 DMMK to {address.address} on the chain")
    hashes = [
        await stage.issue(USDT, address.address, "250"),
        await stage.issue(DMMK, address.address, "1000000"),
    ]
    stage.answered(f"mined: {', '.join(h[:10] + '…' for h in hashes)}")
    seen: dict[str, list[str]] = {}

    async def credited() -> bool:
        for deposit in await aye.deposits():
            states = seen.setdefault(deposit.asset, [])
            if not states or states[-1] != deposit.state:
                states.append(deposit.state)
        return sum(states[-1] == "credited" for states in seen.values()) == 2

    await until(credited, "the deposits are not credited")
    stage.answered("; ".join(f"{asset}: {' → '.join(states)}" for asset, states in seen.items()))
    balances = await aye.balances()
    stage.answered(f"balance {balances['USDT'].available} USDT, {balances['DMMK'].available} DMMK")
    expect(str(balances["USDT"].available) == "250.000000", "250 USDT were deposited")
    expect(str(balances["DMMK"].available) == "1000000.00", "1,000,000 DMMK were deposited")
    await stage.books()


async def _pay(stage: Stage, aye: Wallet, payee: str) -> PaymentOrder:
    stage.chapter(3, "A signed payment with its fee; the same one again pays once")
    order = aye.order(payee, "25.00", "USDT")
    fee = await aye.payment_fee("25.00", "USDT")
    stage.asked("@aye", f"pay {payee} 25.00 USDT, fee {fee.fee}, id {order.id}")
    first = await aye.pay(order)
    stage.answered(f"paid at {first.created_at.isoformat()}, {first.total} in all")
    stage.asked("@aye", "the same order again, as after a lost answer")
    again = await aye.pay(order)
    stage.answered(f"the same payment of {again.created_at.isoformat()}; nothing moved")
    expect(again == first, "the second answer is the first")
    await stage.books()
    return order


async def _refuse_overdraft(stage: Stage, aye: Wallet, payee: str) -> None:
    stage.chapter(4, "More than there is, is refused")
    before = (await aye.balances())["USDT"].available
    stage.asked("@aye", f"pay {payee} 1,000.00 USDT")
    try:
        await aye.pay(aye.order(payee, "1000.00", "USDT"))
    except InsufficientFunds as refusal:
        stage.answered(f"{refusal.problem.code}: {refusal.problem.detail}")
    else:
        raise StoryBrokeError("a payment above the balance went through")
    expect((await aye.balances())["USDT"].available == before, "a refused payment moves nothing")


async def _pay_under_fire(stage: Stage, aye: Wallet, ko: Wallet, payee: str) -> None:
    stage.chapter(6, f"kill -9 of the ledger process in the middle of {PAYMENTS_UNDER_FIRE:,} payments")
    before = (await ko.balances())["DMMK"].balance
    orders = [aye.order(payee, "1.00", "DMMK") for _ in range(PAYMENTS_UNDER_FIRE)]
    waiting, paid = list(reversed(orders)), list[Payment]()
    stage.asked("@aye", f"pay {payee} 1.00 DMMK, {len(orders):,} times, {CALLERS} at once")

    async def caller() -> None:
        while waiting:
            paid.append(await aye.pay(waiting.pop()))

    async def killer() -> None:
        while len(paid) < PAYMENTS_UNDER_FIRE // 3:
            await asyncio.sleep(0.01)
        pid = stage.kill_ledger()
        stage.note(f"kill -9 {pid} after {len(paid):,} answers; the supervisor starts another one")

    began = time.monotonic()
    with stage.console.status("paying"):
        await asyncio.gather(killer(), *(caller() for _ in range(CALLERS)))
    rate = len(paid) / (time.monotonic() - began)
    stage.answered(f"{len(paid):,} acknowledged, {rate:,.0f} a second with the crash in between")
    in_history = [line.id async for line in ko.history(asset="DMMK", page=100)]
    acknowledged = {payment.id for payment in paid}
    expect(len(in_history) == len(set(in_history)), "no payment is in the history twice")
    expect(acknowledged == set(in_history), "every acknowledged payment is in the history, and no other")
    gained = (await ko.balances())["DMMK"].balance - before
    expect(gained == len(orders), "the balance rose by every payment exactly once")
    stage.answered(f"each is in the history exactly once; @ko has {gained} DMMK more")
    await stage.books()


async def _withdraw(stage: Stage, ko: Wallet) -> None:
    stage.chapter(7, "Back on chain: a withdrawal to an outside address")
    outside = "0x" + secrets.token_hex(20)
    order = ko.withdrawal_order(outside, "10.00", "USDT")
    fee = await ko.withdrawal_fee("10.00", "USDT")
    stage.asked("@ko", f"withdraw 10.00 USDT, fee {fee.fee}, to {outside}")
    asked = await ko.withdraw(order)
    stage.answered(f"{asked.state}: {asked.total} USDT are reserved")
    done = await ko.wait_for_withdrawal(order.id)
    arrived = await stage.token_balance(USDT, outside)
    stage.answered(f"{done.state} in {(done.tx_hash or '')[:10]}…; the address holds {arrived}")
    expect(done.state == "paid" and arrived == Money.parse("10", USDT), "10 USDT arrived outside")
    await stage.books()


async def _compare_books(stage: Stage, order: PaymentOrder) -> None:
    stage.chapter(10, "Reconciliation: both books agree to the last unit")
    head = int(await stage.rpc.call("eth_blockNumber"), 16)

    async def reconciled() -> bool:
        async with stage.database.session() as session:
            results = await last_reconciliations(session, stage.custody)
        return bool(results) and all(r.block_number >= head for r in results)

    await until(reconciled, "no final block was reconciled")
    async with stage.database.session() as session:
        results = await last_reconciliations(session, stage.custody)
    for result in results:
        token = stage.custody.token_of(result.asset)
        chain = Money(token.split_units(result.chain_units)[0], result.asset)
        ledger = Money(result.ledger_amount, result.asset)
        stage.answered(
            f"block {result.block_number}: {result.asset.code} on chain {chain.format()}, "
            f"in the ledger {ledger.format()}, unexplained {result.unexplained_units}"
        )
        expect(result.agrees and chain == ledger, f"the {result.asset.code} books are equal")
    await stage.books()
    (transfer,) = await stage.ledger.lookup_transfers([order.id.int])
    stage.note(f"payment {order.id} is transfer {transfer.timestamp} of the ledger, for ever")
