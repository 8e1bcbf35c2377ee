"""Every operation of the OpenAPI document, asked rightly and wrongly: no failure, no fault of ours."""

import asyncio
import os

from nugpay_client import DeviceKey, Wallet

from ops.node import free_port
from tests.fixtures.contracts import ContractsOnChain
from tests.fixtures.served import Served, serving
from tests.wallet_api.fuzz import fuzz

EXAMPLES = int(os.environ.get("NUGPAY_FUZZ_EXAMPLES", "3"))
"""Requests for each operation in each of four ways; more for a longer look."""

SEED = int(os.environ.get("NUGPAY_FUZZ_SEED", "1"))


async def test_every_answer_to_whatever_is_asked_is_as_the_document_says(
    contracts: ContractsOnChain, database_url: str
) -> None:
    key = DeviceKey.generate()
    bank = Served(contracts.home, database_url, free_port("127.0.0.1"))
    bank.more = {"NUGPAY_RPC_URL": contracts.node.url}
    async with serving(bank) as served, Wallet(served.url, key) as wallet:
        await wallet.enrol(await served.code())
        await wallet.open("fuzzer")
        await served.fund("fuzzer", "1000000")
        report = await asyncio.to_thread(fuzz, served.url, key, examples=EXAMPLES, seed=SEED)

    assert report.failures == {}, "\n\n".join(f"{name}\n{what}" for name, what in report.failures.items())
    assert not [status for status in report.answers if status >= 500]
    # What every signed request was refused for would prove nothing.
    assert report.answers[200] >= 10
    assert len(report.operations) >= 30
