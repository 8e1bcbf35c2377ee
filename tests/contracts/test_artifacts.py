"""The committed ABI and bytecode are those of the committed sources."""

import re

import pytest

from chain.artifacts import ARTIFACTS_DIR, CONTRACTS, load_artifact
from chain.calldata import SIGNATURES, calldata
from ops.forge import build_artifacts, run_forge


def test_artifacts_rebuilt_from_the_sources_are_the_committed_ones_byte_for_byte() -> None:
    built = build_artifacts()

    assert sorted(built) == sorted(CONTRACTS)
    for contract, content in built.items():
        committed = (ARTIFACTS_DIR / f"{contract}.json").read_bytes()
        assert content == committed, f"{contract} differs: run ./nugpay contracts build and commit the result"


def test_forge_runs_the_contracts_own_tests_and_each_passes() -> None:
    done = run_forge("test")

    assert done.returncode == 0, done.stdout + done.stderr
    summary = re.search(r"(\d+) tests passed, (\d+) failed, (\d+) skipped", done.stdout)
    assert summary is not None, f"no test ran:\n{done.stdout}"
    passed, failed, skipped = (int(number) for number in summary.groups())
    # Forge exits 0 when it finds no test at all, which must not pass here.
    assert passed >= 130
    assert (failed, skipped) == (0, 0)


@pytest.mark.parametrize("contract", SIGNATURES)
def test_every_call_that_we_make_is_in_the_abi(contract: str) -> None:
    in_abi = {
        f"{entry['name']}({','.join(argument['type'] for argument in entry['inputs'])})"
        for entry in load_artifact(contract).abi
        if entry["type"] == "function"
    }

    assert set(SIGNATURES[contract]) <= in_abi


def test_calldata_is_the_selector_and_the_encoded_arguments() -> None:
    # The well-known selector of ERC-20 transfer.
    data = calldata("transfer(address,uint256)", "0x" + "11" * 20, 5)

    assert data.hex() == "a9059cbb" + "00" * 12 + "11" * 20 + f"{5:064x}"
