"""The demo's breaker: tokens leave without an order, withdrawals stand still, two officers release them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from nugpay_client import DeviceKey, Officer, Wallet
from sqlalchemy import select

from chain.calldata import calldata, hexadecimal
from chain.signer_policy import OfficerText, load_policy, write_policy
from foundation.assets import USDT
from foundation.ids import uuid7
from foundation.money import Money
from identity.enrolment import issue_enrolment_code
from identity.models import Device
from identity.officers import appoint_officer, dismiss_officer
from identity.roles import Role
from ledger.chart import AccountCode, TransferCode, system_account_id
from ledger.contract import CreateTransferStatus, Transfer
from ops.demo_checks import expect, until
from ops.demo_stage import Stage
from ops.signer_reload import reload_signer
from treasury.reconciliation import last_reconciliations


async def trip_and_release(stage: Stage, aye: Wallet, tag: str) -> None:
    """Somebody takes tokens out past every order; nothing is paid until two officers have signed."""
    stage.chapter(9, "Tokens leave without an order: the breaker trips, and two officers sign")
    async with _officers(stage, tag) as (may, hla):
        lost = Money.parse("5", USDT)
        stage.asked("thief", "move 5 USDT out of the vault without an order")
        await _take(stage, lost)

        async def stopped() -> bool:
            return (await may.breaker()).stopped

        await until(stopped, "the breaker did not trip")
        trip = (await may.breaker()).trips[0]
        stage.answered(f"withdrawals are stopped: {trip.reason[:60]}…")
        await stage.books()
        outside = "0x" + secrets.token_hex(20)
        order = aye.withdrawal_order(outside, "2.00", "USDT")
        stage.asked("@aye", f"withdraw 2.00 USDT to {outside}; the phone asks again and again")
        waiting = asyncio.create_task(aye.withdraw(order))
        await asyncio.sleep(2)
        expect(not waiting.done(), "the withdrawal stands still")
        stage.answered("withdrawals_stopped: nothing is reserved, nothing is paid")
        await _write_down(stage, lost)
        await _reconciled(stage)
        await stage.books()
        for name, officer in (("may", may), ("hla", hla)):
            statement = await officer.release_statement(trip.id)
            stage.asked(name, "sign: " + " · ".join(statement.text.splitlines()[3:6])[:100])
            signed = await officer.sign_release(trip.id, statement)
            stage.answered(f"signed by {', '.join(signed.signed_by)}")
        released = await may.release(trip.id)
        stage.answered(f"released by {', '.join(released.released_by)}")
        await waiting
        done = await aye.wait_for_withdrawal(order.id)
    arrived = await stage.token_balance(USDT, outside)
    stage.answered(f"the signer has verified both signatures: {done.state}; the address holds {arrived}")
    expect(done.state == "paid" and arrived == Money.parse("2", USDT), "2 USDT arrived outside")
    await stage.books()


@asynccontextmanager
async def _officers(stage: Stage, tag: str) -> AsyncIterator[tuple[Officer, Officer]]:
    """Two officers whom the API and the signer's policy know meanwhile."""
    before = load_policy(stage.settings.home)
    trusted, opened = list(before.officers), list[Officer]()
    for name in (f"may_{tag}", f"hla_{tag}"):
        key = DeviceKey.generate()
        async with stage.database.session() as session:
            code = await issue_enrolment_code(session, stage.clock)
        officer = Officer(stage.api, key)
        opened.append(officer)
        async with Wallet(stage.api, key) as wallet:
            device_id = await wallet.enrol(code)
        async with stage.database.session() as session:
            person_id = await session.scalar(select(Device.person_id).where(Device.id == device_id))
            assert person_id is not None, "the device was enrolled a moment ago"
            await appoint_officer(session, stage.clock, person_id=person_id, name=name, roles=[Role.TREASURY])
        trusted.append(OfficerText(name, key.public_jwk, (person_id,)))
    try:
        write_policy(stage.settings.home, msgspec.structs.replace(before, officers=tuple(trusted)))
        stage.note("the signer's owner trusts two officers' keys; " + await _reload(stage))
        yield opened[0], opened[1]
    finally:
        write_policy(stage.settings.home, before)
        await _reload(stage)
        async with stage.database.session() as session:
            for name in (f"may_{tag}", f"hla_{tag}"):
                await dismiss_officer(session, stage.clock, name=name)
        for officer in opened:
            await officer.close()


async def _reload(stage: Stage) -> str:
    return await asyncio.to_thread(reload_signer, stage.settings)


async def _take(stage: Stage, lost: Money) -> None:
    """What only a development node does: a transaction in the vault's own name."""
    vault, token = stage.deployment.vault, stage.custody.token_of(lost.asset)
    data = calldata("transfer(address,uint256)", "0x" + secrets.token_hex(20), token.units_of(lost.minor))
    await stage.rpc.call("anvil_impersonateAccount", vault)
    await stage.rpc.call("anvil_setBalance", vault, hex(10**18))
    tx = {"from": vault, "to": token.address, "data": hexadecimal(data), "gas": hex(200_000)}
    await stage.rpc.call("eth_sendTransaction", tx)
    await stage.rpc.call("anvil_stopImpersonatingAccount", vault)


async def _write_down(stage: Stage, lost: Money) -> None:
    """The books are mended: the loss is the bank's claim on whoever has it, no longer in custody."""
    stage.asked("bank", f"correct the ledger: {lost} from custody to what is owed to the bank")
    (result,) = await stage.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(stage.clock).int,
                debit_account_id=system_account_id(AccountCode.RECEIVABLE, lost.asset),
                credit_account_id=system_account_id(AccountCode.CUSTODY, lost.asset),
                amount=lost.minor,
                ledger=lost.asset.ledger,
                code=TransferCode.CORRECTION,
            )
        ]
    )
    expect(result.status is CreateTransferStatus.CREATED, "the correction is in the ledger")


async def _reconciled(stage: Stage) -> None:
    head = int(await stage.rpc.call("eth_blockNumber"), 16) + 1

    async def agree() -> bool:
        async with stage.database.session() as session:
            results = await last_reconciliations(session, stage.custody)
        return bool(results) and all(one.block_number >= head and one.agrees for one in results)

    await until(agree, "the books do not agree again")
    stage.answered("both books are compared at a later final block, and agree")
