"""The demo's chain: a reorg takes a deposit away, and a stuck payment is replaced and paid once."""

from __future__ import annotations

import asyncio
import secrets

from nugpay_client import Wallet
from sqlalchemy import select

from chain.models import ChainAttempt
from chain.sender import Sender
from chain.signer_client import SignerClient
from foundation.assets import USDT
from foundation.money import Money
from ops.demo_checks import expect, until
from ops.demo_stage import Stage


async def reorg(stage: Stage, ko: Wallet) -> None:
    """A deposit that a reorg takes away before it is final."""
    stage.chapter(5, "A reorg takes a deposit away before it is final: nothing was ever credited")
    address = await ko.deposit_address("USDT")
    async with stage.blocks_by_hand():
        stage.asked("outside", f"send 77 USDT to {address.address}")
        sending = asyncio.create_task(stage.issue(USDT, address.address, "77"))
        await until(lambda: _mine_unless(stage, sending), "the deposit was not mined")
        tx_hash = await sending
        await ko.wait_for_deposit(tx_hash, states={"seen"})
        stage.answered(f"{tx_hash[:10]}… is seen, and cannot be spent yet")
        await stage.rpc.call("anvil_reorg", 1, [])
        stage.note("the chain drops the block for another one without it")
        await ko.wait_for_deposit(tx_hash, states={"orphaned"})
        stage.answered(f"{tx_hash[:10]}… is orphaned")
    expect(str((await ko.balances())["USDT"].balance) == "25.000000", "the lost deposit is not credited")
    await stage.books()


async def _mine_unless(stage: Stage, sending: asyncio.Task[str]) -> bool:
    if not sending.done():
        pending = await stage.rpc.call("txpool_status")
        if int(pending["pending"], 16):
            await stage.rpc.call("evm_mine")
    return sending.done()


async def stuck(stage: Stage, ko: Wallet) -> None:
    """A payment that the base fee has left behind gets a higher fee under the same nonce."""
    stage.chapter(8, "A payment is stuck, is replaced under its nonce, and is paid once")
    outside = "0x" + secrets.token_hex(20)
    order = ko.withdrawal_order(outside, "3.00", "USDT")
    signer = SignerClient(stage.settings.signer_socket)
    sender = Sender(
        database=stage.database,
        rpc=stage.rpc,
        signer=signer,
        clock=stage.clock,
        deployment=stage.deployment,
        # The worker waits for two minutes; this is its very step, without the patience.
        stuck_seconds=0,
    )

    async def attempts() -> list[ChainAttempt]:
        async with stage.database.session() as session:
            rows = select(ChainAttempt).where(ChainAttempt.order_id == order.id)
            return list(await session.scalars(rows.order_by(ChainAttempt.max_fee_per_gas)))

    async def is_sent() -> bool:
        found = await attempts()
        return bool(found) and found[0].broadcast_at is not None

    async def is_replaced() -> bool:
        await sender.tend(order.id)
        return len(await attempts()) > 1

    async with stage.blocks_by_hand():
        stage.asked("@ko", f"withdraw 3.00 USDT to {outside}")
        await ko.withdraw(order)
        await until(is_sent, "the payment was not sent")
        first = (await attempts())[0]
        base = 3 * int(first.max_fee_per_gas)
        stage.answered(f"sent with nonce {first.nonce}, offering {int(first.max_fee_per_gas):,} wei a gas")
        await stage.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(base))
        await stage.rpc.call("evm_mine")
        expect((await stage.token_balance(USDT, outside)).minor == 0, "a block came and left it out")
        stage.note(f"the base fee rises to {base:,}: the block leaves it out")
        await until(is_replaced, "the payment was not replaced")
        last = (await attempts())[-1]
        expect(last.nonce == first.nonce, "the replacement has the same nonce")
        stage.answered(f"replaced under nonce {last.nonce}, offering {int(last.max_fee_per_gas):,}")
        await stage.rpc.call("evm_mine")
    done = await ko.wait_for_withdrawal(order.id)
    arrived = await stage.token_balance(USDT, outside)
    stage.answered(f"{done.state} in {(done.tx_hash or '')[:10]}…; the address holds {arrived}")
    expect(done.state == "paid" and arrived == Money.parse("3", USDT), "3 USDT arrived once")
    await stage.books()
