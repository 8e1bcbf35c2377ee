"""A large withdrawal on a whole bank that is up: two officers sign it at a terminal, and it is paid."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nugpay_client import DeviceKey, Wallet, key_id

from tests.ops.test_up import Bank

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PASSPHRASE = "correct horse"


@pytest.fixture
def bank(make_home: Callable[[], Path]) -> Iterator[Bank]:
    bank = Bank(make_home())
    yield bank
    if bank.process is not None:
        bank.stop()


def run(bank: Bank, *command: str) -> str:
    ran = bank.run(*command)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


async def open_wallet(bank: Bank, handle: str, key: DeviceKey) -> Wallet:
    wallet = Wallet(f"http://127.0.0.1:{bank.environment['NUGPAY_API_PORT']}", key)
    code = await asyncio.to_thread(run, bank, "invite")
    await wallet.enrol(code.strip())
    await wallet.open(handle)
    return wallet


async def test_sixty_thousand_are_paid_once_two_officers_have_signed(bank: Bank) -> None:
    await asyncio.to_thread(bank.up)
    for name in ("zaw", "phyu"):
        await (await open_wallet(bank, f"@{name}_operator", DeviceKey.generate())).close()
        told = [
            "officers",
            "appoint",
            f"@{name}_operator",
            name,
            "--role",
            "operator",
            "--reason",
            "founds us",
        ]
        assert "appointed as operator" in await asyncio.to_thread(run, bank, *told)
    keys = {name: DeviceKey.generate() for name in ("may", "hla")}
    for name, key in keys.items():
        await (await open_wallet(bank, f"@{name}_officer", key)).close()
        key.save(bank.home / f"{name}.pem", PASSPHRASE.encode())
        how = ["--role", "treasury", "--by", "zaw", "--by", "phyu", "--reason", "pays for us"]
        told = ["officers", "appoint", f"@{name}_officer", name, *how]
        appointed = await asyncio.to_thread(run, bank, *told)
        (bank.home / f"{name}.json").write_text(json.dumps(key.public_jwk))
        asked = re.search(rf"signer trust {name} KEY.json (--known-as \S+ --known-as \S+)", appointed)
        assert asked is not None, appointed
        assert json.dumps(key.public_jwk)[:40] in appointed or key.public_jwk["x"] in appointed
        trust = ["signer", "trust", name, str(bank.home / f"{name}.json"), *asked[1].split()]
        assert key_id(key.public_jwk) in await asyncio.to_thread(run, bank, *trust)
    before = bank.child("signer")
    assert "decides by policy" in await asyncio.to_thread(run, bank, "signer", "reload")
    assert bank.child("signer") == before, "no restart"

    async with await open_wallet(bank, "@aye_aye", DeviceKey.generate()) as aye:
        await asyncio.to_thread(run, bank, "faucet", "@aye_aye", "70000", "USDT")
        quote = await aye.withdrawal_quote(60_000, "USDT")
        order = aye.withdrawal_order("0x" + "ab" * 20, 60_000, "USDT", quote=quote)
        assert (await aye.withdraw(order)).state == "held"
        listed = ""
        while str(order.id) not in listed:
            listed = await asyncio.to_thread(run, bank, "officers", "awaited")
        assert "60000.000000 USDT" in listed
        for count, name in enumerate(keys, start=1):
            pem = str(bank.home / f"{name}.pem")
            approve = ["officers", "approve", str(order.id), "--key", pem, "--passphrase", PASSPHRASE]
            said = await asyncio.to_thread(run_agreeing, bank, *approve)
            assert f"withdrawal: {order.id}" in said
            assert f"approved by {count}" in said
        paid = await aye.wait_for_withdrawal(order.id, seconds=90)
        assert (paid.state, paid.fee) == ("paid", quote.fee)
    await asyncio.to_thread(bank.until, lambda: bank.status()["well"])


def run_agreeing(bank: Bank, *command: str) -> str:
    """Run a command that asks whether one agrees."""
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "ops", *command],
        env=bank.environment,
        input="y\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
