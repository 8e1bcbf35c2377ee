"""The demo, played whole on a bank of its own: every chapter, and both books equal at the end."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chain.signer_policy import load_policy
from tests.ops.test_up import Bank

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PROMISED = (
    "is orphaned",
    "each is in the history exactly once",
    "the block leaves it out",
    "replaced under nonce",
    "the address holds 3.000000 USDT",
    "withdrawals are stopped: 5000000 units of",
    "USDT chain 232.000000 ≠ ledger 237.000000",
    "withdrawals_stopped: nothing is reserved, nothing is paid",
    "both books are compared at a later final block, and agree",
    "the signer has verified both signatures: paid; the address holds 2.000000 USDT",
    "unexplained 0",
    "Everything went as told",
)
"""What is said, in this order."""


def test_the_story_goes_as_told_and_leaves_the_signer_s_policy_as_it_was(
    make_home: Callable[[], Path],
) -> None:
    bank = Bank(make_home())
    played = subprocess.run(
        [sys.executable, "-P", "-m", "ops", "demo"],
        env=bank.environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    position = 0
    for words in PROMISED:
        found = played.stdout.find(words, position)
        assert found >= 0, f"{words!r} is not said where it was promised:\n{played.stdout}"
        position = found
    assert load_policy(bank.home).officers == ()
