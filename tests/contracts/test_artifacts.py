"""The committed ABI and bytecode are those of the committed sources."""

import re
from typing import Any

import pytest

from chain.artifacts import ARTIFACTS_DIR, CONTRACTS, load_artifact
from chain.calldata import EVENTS, SIGNATURES, calldata, topic
from ops.forge import build_artifacts, run_tests


def test_artifacts_rebuilt_from_the_sources_are_the_committed_ones_byte_for_byte() -> None:
    built = build_artifacts()

    assert sorted(built) == sorted(CONTRACTS)
    for contract, content in built.items():
        committed = (ARTIFACTS_DIR / f"{contract}.json").read_bytes()
        assert content == committed, f"{contract} differs: run ./nugpay contracts build and commit the result"


def test_forge_runs_the_contracts_own_tests_and_each_passes() -> None:
    done = run_tests()

    assert done.returncode == 0, done.stdout + done.stderr
    summary = re.search(r"(\d+) tests passed, (\d+) failed, (\d+) skipped", done.stdout)
    assert summary is not None, f"no test ran:\n{done.stdout}"
    passed, failed, skipped = (int(number) for number in summary.groups())
    # Forge exits 0 when it finds no test at all, which must not pass here.
    assert passed >= 130
    assert (failed, skipped) == (0, 0)


def kind(argument: dict[str, Any]) -> str:
    """An argument's type as it stands in a signature: a struct by its members."""
    if not argument["type"].startswith("tuple"):
        return str(argument["type"])
    return f"({','.join(map(kind, argument['components']))}){argument['type'].removeprefix('tuple')}"


def in_abi(contract: str, of: str) -> set[str]:
    return {
        f"{entry['name']}({','.join(map(kind, entry['inputs']))})"
        for entry in load_artifact(contract).abi
        if entry["type"] == of
    }


@pytest.mark.parametrize("contract", SIGNATURES)
def test_every_call_that_we_make_is_in_the_abi(contract: str) -> None:
    assert set(SIGNATURES[contract]) <= in_abi(contract, "function")


@pytest.mark.parametrize("contract", EVENTS)
def test_every_event_that_we_read_is_in_the_abi(contract: str) -> None:
    assert set(EVENTS[contract]) <= in_abi(contract, "event")


def test_calldata_is_the_selector_and_the_encoded_arguments() -> None:
    # The well-known selector of ERC-20 transfer.
    data = calldata("transfer(address,uint256)", "0x" + "11" * 20, 5)

    assert data.hex() == "a9059cbb" + "00" * 12 + "11" * 20 + f"{5:064x}"


def test_calldata_of_a_struct_takes_a_tuple() -> None:
    data = calldata("withdrawBatch(address,(address,uint256,bytes32)[])", "0x" + "11" * 20, [
        ("0x" + "22" * 20, 5, b"\x33" * 32),
    ])  # fmt: skip

    words = [data[4 + at : 36 + at].hex() for at in range(0, len(data) - 4, 32)]
    token, to = "00" * 12 + "11" * 20, "00" * 12 + "22" * 20
    assert words == [token, f"{64:064x}", f"{1:064x}", to, f"{5:064x}", "33" * 32]


def test_a_topic_is_the_hash_of_its_event() -> None:
    # The well-known topic of ERC-20 transfers.
    assert topic("Transfer(address,address,uint256)") == (
        "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    )
