"""Artifacts: what the compiler made of our contracts, committed beside their sources.

One JSON file a contract in ``contracts/artifacts``: its ABI and its creation
bytecode. They are committed so that nothing but a build needs the compiler; a
test builds them again and compares every byte.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec

ARTIFACTS_DIR = Path(__file__).parents[1] / "contracts" / "artifacts"
"""Where the artifacts are, in a clone."""

CONTRACTS = ("DepositAddress", "StableToken", "Vault")
"""The contracts that have artifacts."""


class Artifact(msgspec.Struct, frozen=True):
    """A compiled contract."""

    contract: str
    compiler: str
    """Version of solc, with its commit."""
    abi: list[dict[str, Any]]
    bytecode: str
    """Creation code as 0x and hex; constructor arguments are appended to it."""

    @property
    def creation_code(self) -> bytes:
        """The creation code's bytes."""
        return bytes.fromhex(self.bytecode.removeprefix("0x"))


@functools.cache
def load_artifact(contract: str) -> Artifact:
    """The artifact of one of ``CONTRACTS``."""
    return msgspec.json.decode((ARTIFACTS_DIR / f"{contract}.json").read_bytes(), type=Artifact)


def encode_artifact(artifact: Artifact) -> bytes:
    """The artifact's file, byte for byte: keys in order, one change a line in a diff."""
    return msgspec.json.format(msgspec.json.encode(artifact, order="deterministic"), indent=1) + b"\n"
