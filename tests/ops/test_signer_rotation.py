"""The rotation of the signer's key on a whole development bank that is up."""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain.signer_client import SignerClient
from foundation.errors import Unavailable
from foundation.settings import Settings
from tests.ops.test_up import Bank

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def bank(make_home: Callable[[], Path]) -> Iterator[Bank]:
    bank = Bank(make_home())
    yield bank
    if bank.process is not None:
        bank.stop()


def signer_address(bank: Bank) -> str | None:
    """Whom the signer that runs signs for; None while none answers."""
    try:
        return asyncio.run(SignerClient(Settings(home=bank.home).signer_socket).identity()).address
    except Unavailable:
        return None


def test_the_signer_of_a_bank_that_is_up_gets_a_new_key_and_goes_on(bank: Bank) -> None:
    bank.up()
    old = signer_address(bank)
    rotated = bank.run("signer", "rotate")
    assert rotated.returncode == 0, rotated.stderr
    found = re.search(r"rotated from (0x\w+) to (0x\w+)", rotated.stdout)
    assert found is not None, rotated.stdout
    assert found[1] == old
    bank.until(lambda: signer_address(bank) == found[2])
    bank.until(lambda: bank.status()["well"])
    assert bank.stop() == 0
    # The next start has it still, and gives the old key no role back.
    bank.up()
    assert signer_address(bank) == found[2]
