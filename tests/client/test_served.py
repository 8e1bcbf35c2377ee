"""The API as it is served: granian and the ledger as processes, over real sockets.

What these tests add to those in one process: the wire itself, a shell client that
shares no code with ours, and the death of the ledger in the middle of payments.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nugpay_client import DeviceKey, InsufficientFunds, OutcomeUnknown, Payment, RetryPolicy, Wallet

from foundation.ids import uuid7
from tests.fixtures.served import ROOT, Served

SHELL_CLIENT = ROOT / "clients" / "shell" / "nugpay.sh"


def run_python(program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that has the client library and nothing else of ours."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT / "clients" / "python")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
async def wallets(served: Served) -> AsyncIterator[list[Wallet]]:
    """Two wallets: the first with 1,000 USDT, a P-256 key; the second empty, Ed25519."""
    retry = RetryPolicy(attempts=20, pause_seconds=0.05, pause_seconds_max=1.0)
    opened = [
        Wallet(served.url, DeviceKey.generate("ecdsa-p256-sha256"), retry=retry),
        Wallet(served.url, DeviceKey.generate("ed25519"), retry=retry),
    ]
    for wallet, handle in zip(opened, ("@aye_aye", "@ko_ko"), strict=True):
        await wallet.enrol(await served.code())
        await wallet.open(handle)
    await served.fund("@aye_aye", "1000")
    yield opened
    for wallet in opened:
        await wallet.close()


async def test_a_payment_over_real_sockets(wallets):
    aye, ko = wallets
    order = aye.order("@ko_ko", "25", "USDT")
    payment = await aye.pay(order)
    assert await aye.pay(order) == payment == await ko.payment(order.id)
    with pytest.raises(InsufficientFunds):
        await aye.pay(aye.order("@ko_ko", "5000", "USDT"))
    assert str((await ko.balances())["USDT"].available) == "25.000000"
    assert [line.kind async for line in aye.history()] == ["payment_fee", "payment", "deposit"]


async def test_the_shell_client_pays_too(served, wallets):
    def shell(*arguments: str) -> Any:
        done = subprocess.run(
            ["sh", SHELL_CLIENT, *arguments],
            env=os.environ | {"NUGPAY_API": served.url, "NUGPAY_KEY": str(served.home / "device.pem")},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return json.loads(done.stdout) if done.stdout.strip() else None

    for tool in ("openssl", "curl"):
        assert shutil.which(tool), f"the shell client needs {tool}"
    shell("key")
    assert "device_id" in shell("enrol", await served.code())
    assert shell("open", "@shell")["handle"] == "@shell"
    await served.fund("@shell", "10")
    payment_id = str(uuid7(served.clock))
    paid = shell("pay", "@ko_ko", "2.50", "USDT", payment_id)
    assert (paid["id"], paid["payee"], paid["total"]) == (payment_id, "@ko_ko", "2.510000")
    assert shell("pay", "@ko_ko", "2.50", "USDT", payment_id) == paid
    assert shell("get", f"/v1/payments/{payment_id}") == paid
    assert shell("pay", "@ko_ko", "1", "USDT")["amount"] == "1.000000"
    assert shell("pay", "@ko_ko", "1000", "USDT")["code"] == "insufficient_funds"
    assert len(shell("get", "/v1/history?limit=5")["lines"]) == 5
    assert str((await wallets[1].balances())["USDT"].available) == "3.500000"


async def test_the_example_in_the_librarys_readme_runs_as_printed(served, wallets, tmp_path):
    text = (ROOT / "clients" / "python" / "README.md").read_text()
    program = text.partition("```python\n")[2].partition("```")[0]
    # The code, the server and the handles are whatever the reader has.
    for printed, real in (
        ("K7QF2M9X-3JD8WZ-PQ4T7V-N2C5RA", await served.code()),
        ("http://127.0.0.1:8080", served.url),
        ("@aye_aye", "@reader"),
    ):
        assert printed in program
        program = program.replace(printed, real)
    done = run_python(program, tmp_path)
    assert done.returncode == 0, done.stderr
    # The reader has no money yet, and is told what to do.
    assert done.stdout.splitlines()[0].startswith("Nothing was paid.")
    assert "USDT 0.000000" in done.stdout


async def test_the_wire_refuses_what_no_client_of_ours_sends(served):
    async def raw(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(4096), timeout=10)
        writer.close()
        return answer

    host = f"Host: 127.0.0.1:{served.port}\r\n".encode()
    large = b"POST /v1/payments HTTP/1.1\r\n" + host + b"Content-Length: 99999999\r\n\r\n{"
    assert b" 413 " in (await raw(large)).split(b"\r\n")[0]
    twice = (
        b"GET /v1/wallet HTTP/1.1\r\n" + host + b"Signature: sig=:AA==:\r\nSignature: sig=:AA==:\r\n"
        b"Signature-Input: sig=()\r\nConnection: close\r\n\r\n"
    )
    assert b"signature_malformed" in await raw(twice)
    smuggled = (
        b"POST /v1/payments HTTP/1.1\r\n" + host + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n0\r\n\r\nGET /v1/time HTTP/1.1\r\n\r\n"
    )
    assert b"server_time" not in await raw(smuggled)


@pytest.mark.slow
async def test_every_acknowledged_payment_is_there_once_when_the_ledger_is_killed(served, wallets):
    aye, ko = wallets
    acknowledged: dict[str, Payment] = {}
    orders = [aye.order("@ko_ko", "1", "USDT") for _ in range(300)]
    halfway = asyncio.Event()

    async def pay_all(mine: list[Any]) -> None:
        for order in mine:
            try:
                payment = await aye.pay(order)
            except OutcomeUnknown:
                continue
            acknowledged[str(order.id)] = payment
            if len(acknowledged) >= 100:
                halfway.set()

    paying = [asyncio.create_task(pay_all(orders[start::12])) for start in range(12)]
    await asyncio.wait_for(halfway.wait(), timeout=60)
    served.kill("ledger")
    served.start("ledger")
    await asyncio.gather(*paying)
    await served.healthy()
    # Whoever got no answer sends the same order again; it happens once in any case.
    for order in orders:
        payment = await aye.pay(order)
        assert acknowledged.get(str(order.id), payment) == payment
    assert str((await ko.balances())["USDT"].available) == "300.000000"
    assert str((await aye.balances())["USDT"].available) == "697.000000"
