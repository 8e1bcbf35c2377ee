"""Forge: builds and tests the contracts, offline, with the compiler from npm.

Forge wants the compiler as an absolute path, which no committed file may hold:
it is given here as FOUNDRY_SOLC. Everything else is in ``foundry.toml``.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from chain.artifacts import CONTRACTS, Artifact, encode_artifact
from ops.errors import OperationError

ROOT = Path(__file__).parents[1]
"""The clone's root, where foundry.toml and node_modules are."""

COMPILER = ROOT / "contracts" / "solc"
"""The wrapper that answers forge as solc does."""

STATE = ROOT / ".nugpay"
"""The clone's ignored folder."""

GAS_SNAPSHOT = ROOT / "contracts" / "snapshots" / "Gas.json"
"""What each action cost when somebody last looked, committed; a test compares."""

BUILD_SECONDS_MAX = 600
"""How long a build or a run of the tests may take; a build takes about 5 s, the tests some 15 s."""


class ForgeError(OperationError):
    """Forge is not there, or its work failed."""


def run_forge(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run forge in the clone's root and return what it said, whatever its exit code.

    ``environment`` is added to ours. Raises ``ForgeError`` when forge is not installed.
    """
    return subprocess.run(
        [str(forge_binary()), *arguments],
        cwd=ROOT,
        env=forge_environment() | (environment or {}),
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS_MAX,
        check=False,
    )


def run_tests(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the contracts' own tests and return what forge said; one run at a time in a clone.

    Runs share what is compiled, which forge itself does not guard.
    """
    STATE.mkdir(exist_ok=True)
    with (STATE / "forge.lock").open("w") as turn:
        # The kernel gives the turn back if we die.
        fcntl.flock(turn, fcntl.LOCK_EX)
        return run_forge("test", *arguments, environment=environment)


def build_artifacts() -> dict[str, bytes]:
    """Compile the sources as they stand: the file of each contract in ``CONTRACTS``.

    Writes nowhere but in a temporary directory, so several may build at once.
    """
    with TemporaryDirectory(prefix="nugpay-forge-") as directory:
        out, cache = Path(directory) / "out", Path(directory) / "cache"
        done = run_forge("build", "--out", str(out), "--cache-path", str(cache), "--skip", "test")
        if done.returncode != 0:
            raise ForgeError(
                f"forge build failed:\n{done.stdout}{done.stderr}", "Mend the contract and build again."
            )
        return {contract: encode_artifact(_compiled(out, contract)) for contract in CONTRACTS}


def branch_coverage() -> dict[str, tuple[int, int]]:
    """Branches that the contracts' own tests take, and all there are, by source file."""
    with TemporaryDirectory(prefix="nugpay-forge-") as directory:
        done = run_forge(
            "coverage", "--report", "summary", "--no-match-coverage", "contracts/test|node_modules",
            environment={
                # Coverage is of unoptimised code, which is compiled apart and warns of its size.
                "FOUNDRY_OUT": str(Path(directory) / "out"),
                "FOUNDRY_CACHE_PATH": str(Path(directory) / "cache"),
                "FOUNDRY_DENY": "never",
                # The examples reach every branch; random play would only make it slow.
                "FOUNDRY_FUZZ_RUNS": "8",
                "FOUNDRY_INVARIANT_RUNS": "1",
            },
        )  # fmt: skip
    if done.returncode != 0:
        raise ForgeError(f"forge coverage failed:\n{done.stdout}{done.stderr}", "Mend the test it names.")
    rows = re.findall(r"^\| (contracts/\S+) +((?:\|[^|\n]*){4})\|$", done.stdout, re.MULTILINE)
    branches = {source: re.findall(r"\((\d+)/(\d+)\)", cells)[2] for source, cells in rows}
    return {source: (int(taken), int(total)) for source, (taken, total) in branches.items()}


def measure_gas() -> dict[str, int]:
    """What each action costs, as the contracts' gas tests measure it: gas by the action's words."""
    with TemporaryDirectory(prefix="nugpay-forge-") as directory:
        done = run_tests(
            "--isolate", "--match-contract", "^GasTest$",
            environment={"FOUNDRY_SNAPSHOTS": directory, "FOUNDRY_GAS_SNAPSHOT_EMIT": "true"},
        )  # fmt: skip
        if done.returncode != 0:
            raise ForgeError(f"forge test failed:\n{done.stdout}{done.stderr}", "Mend the test it names.")
        return decode_gas((Path(directory) / GAS_SNAPSHOT.name).read_bytes())


def decode_gas(content: bytes) -> dict[str, int]:
    """The figures of a gas snapshot, as forge writes it and as it is committed."""
    return {action: int(gas) for action, gas in msgspec.json.decode(content, type=dict[str, str]).items()}


def encode_gas(figures: dict[str, int]) -> bytes:
    """The snapshot's file, byte for byte."""
    text = {action: str(gas) for action, gas in sorted(figures.items())}
    return msgspec.json.format(msgspec.json.encode(text), indent=1) + b"\n"


def forge_environment() -> dict[str, str]:
    """Our own environment, with the compiler that forge shall use."""
    return {**os.environ, "FOUNDRY_SOLC": str(COMPILER)}


def forge_binary() -> Path:
    """The native forge that npm brought for this machine."""
    system = {"darwin": "darwin"}.get(sys.platform, "linux")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    path = ROOT / "node_modules" / "@foundry-rs" / f"forge-{system}-{machine}" / "bin" / "forge"
    if not path.is_file():
        raise ForgeError("forge is not installed", "Run ./nugpay test once, or npm ci --ignore-scripts.")
    return path


def _compiled(out: Path, contract: str) -> Artifact:
    content: dict[str, Any] = msgspec.json.decode((out / f"{contract}.sol" / f"{contract}.json").read_bytes())
    return Artifact(
        contract=contract,
        compiler=content["metadata"]["compiler"]["version"],
        abi=content["abi"],
        bytecode=content["bytecode"]["object"],
    )
