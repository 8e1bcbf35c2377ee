"""What the contracts' tests reach, what the contracts cost and how large they are: held to figures."""

import re

import pytest

from chain.artifacts import CONTRACTS, load_artifact
from ops.forge import GAS_SNAPSHOT, ROOT, branch_coverage, decode_gas, encode_gas, measure_gas

BRANCHES_PERCENT_MIN = 95
"""Least share of a source file's branches that the contracts' own tests take."""

GAS_TOLERANCE_PERCENT = 2
"""How far an action's cost may move before the committed snapshot must be looked at again."""

CREATION_BYTES_MAX = 2 * 24_576
"""Longest creation code that a chain takes (EIP-3860)."""


@pytest.mark.slow
def test_the_contracts_own_tests_take_nearly_every_branch_of_every_source() -> None:
    coverage = branch_coverage()

    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "contracts" / "src").glob("*.sol")}
    assert set(coverage) == sources
    shares = {source: 100 * taken / total for source, (taken, total) in coverage.items()}
    assert {source: share for source, share in shares.items() if share < BRANCHES_PERCENT_MIN} == {}


def test_no_action_costs_another_amount_of_gas_than_the_committed_snapshot_says() -> None:
    committed, measured = decode_gas(GAS_SNAPSHOT.read_bytes()), measure_gas()

    assert set(measured) == set(committed), "run ./nugpay contracts gas and commit the result"
    moved = {
        action: (committed[action], gas)
        for action, gas in measured.items()
        if abs(gas - committed[action]) * 100 > GAS_TOLERANCE_PERCENT * committed[action]
    }
    assert moved == {}, "run ./nugpay contracts gas, look at what moved and why, and commit the result"


def test_the_gas_snapshot_is_written_as_it_is_read() -> None:
    content = GAS_SNAPSHOT.read_bytes()

    assert encode_gas(decode_gas(content)) == content


def test_the_readme_tells_the_snapshot_s_figures() -> None:
    rows = re.findall(
        r"^\| (.+?) \| ([\d,]+) \|$", (ROOT / "contracts" / "README.md").read_text(), re.MULTILINE
    )

    assert {action: int(gas.replace(",", "")) for action, gas in rows} == decode_gas(
        GAS_SNAPSHOT.read_bytes()
    )


def test_a_batch_of_two_costs_less_than_two_withdrawals() -> None:
    gas = decode_gas(GAS_SNAPSHOT.read_bytes())

    # One more payment in a batch costs what a batch of 40 says; the first carries the rest.
    single, batch = gas["withdraw, new holder"], gas["withdraw a batch of 40, new holders"]
    first = gas["withdraw a batch of 1, new holder"]
    assert first + (batch - first) / 39 < 2 * single
    assert batch / 40 < 0.65 * single


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_chain_takes_each_contract(contract: str) -> None:
    # Creation code holds the code that stays, which may be half as long (EIP-170).
    assert len(load_artifact(contract).creation_code) < CREATION_BYTES_MAX
