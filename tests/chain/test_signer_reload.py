"""A running signer reads its policy again, whole or not at all: on the real process, by SIGHUP."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chain.errors import ChainCode
from chain.signer_client import SignerClient
from chain.signer_policy import CapsText, SignerPolicy, policy_hash, policy_path, write_policy
from tests.fixtures.contracts import CAPS, WHOLE, end_process, start_signer_process
from tests.fixtures.officers import OfficerDevice
from tests.fixtures.signing import Orders


class Running:
    """A signer process and its policy's file."""

    def __init__(self, orders: Orders, process: subprocess.Popen[bytes]) -> None:
        self.home = orders.contracts.home
        self.process = process
        self.client = SignerClient(self.home / "run" / "signer.sock")

    def tell(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def said(self) -> str:
        return (self.home / "signer.said").read_text()

    async def until_said(self, what: str, times: int = 1) -> None:
        deadline = time.monotonic() + 20
        while self.said().count(what) < times:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            await asyncio.sleep(0.02)

    async def policy(self) -> str:
        return (await self.client.identity()).policy


@pytest.fixture
def running(orders: Orders, database_url: str) -> Iterator[Running]:
    write_policy(orders.contracts.home, SignerPolicy(caps=CAPS))
    process = start_signer_process(orders.contracts.home, database_url)
    yield Running(orders, process)
    end_process(process)


def smaller() -> SignerPolicy:
    return SignerPolicy(caps={"USDT": CapsText(str(WHOLE), str(10 * WHOLE))})


async def test_told_to_it_decides_by_the_new_policy_without_a_restart(
    orders: Orders, running: Running
) -> None:
    order_id = await orders.withdrawal(2 * WHOLE)
    write_policy(running.home, smaller())
    # Written is not yet read: it decides by what it has read.
    await running.client.check(order_id=order_id, chain_id=31337)
    assert await running.policy() == policy_hash(SignerPolicy(caps=CAPS))
    running.tell()
    await running.until_said("policy read again")
    assert await running.policy() == policy_hash(smaller())
    refusal = await orders.refusal(running.client, order_id)
    assert refusal.code is ChainCode.CAP_PER_TRANSACTION_EXCEEDED
    assert running.process.poll() is None


def two_officers_of_one_key() -> bytes:
    may = OfficerDevice("may")
    policy = SignerPolicy(
        caps=CAPS, officers=(may.in_policy(), OfficerDevice("hla", private=may.private).in_policy())
    )
    return msgspec.json.encode(policy)


REFUSED: dict[str, Any] = {
    "half a file": lambda: msgspec.json.encode(smaller())[:-20],
    "an unknown field": lambda: b'{"caps":{},"cap":{}}',
    "a cap that is no number": lambda: b'{"caps":{"USDT":{"per_transaction":"1","per_hour":"all"}}}',
    "one key for two officers": two_officers_of_one_key,
    "a key that is none": lambda: b'{"caps":{},"officers":[{"name":"may","key":{"kty":"OKP"}}]}',
}


async def test_an_invalid_policy_is_refused_whole_the_old_one_stays_and_the_log_tells(
    orders: Orders, running: Running, subtests: Any
) -> None:
    before = await running.policy()
    for count, (name, content) in enumerate(REFUSED.items(), start=1):
        with subtests.test(name=name):
            policy_path(running.home).write_bytes(content())
            running.tell()
            await running.until_said("policy refused, the old one stays", count)
            assert await running.policy() == before
    policy_path(running.home).chmod(0o666)
    running.tell()
    await running.until_said("can be written by others")
    policy_path(running.home).unlink()
    running.tell()
    await running.until_said("does not exist")
    assert await running.policy() == before
    await orders.sign(running.client, await orders.withdrawal(2 * WHOLE))
    write_policy(running.home, smaller())
    running.tell()
    await running.until_said("policy read again")
    assert await running.policy() == policy_hash(smaller())
