"""Signer policy: what the signer allows, decided by its owner and by nobody else.

A JSON file beside the signer's log, which only the signer's user can write. Caps
are per token, in the token's own units, as decimal text since they may exceed 64
bits. A token without caps is not signed for at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from chain.deployments import Deployment
from foundation.errors import NUGPayError

HOUR_SECONDS: Final = 3600
"""The window of the hourly cap: what was signed in the last 3,600 s counts."""

GWEI: Final = 10**9
"""A billion wei, the usual measure of fees."""


class PolicyError(NUGPayError):
    """The policy's file is not there or cannot be understood; the signer does not start."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The most of a token that is signed for, in its units."""

    per_transaction: int
    per_hour: int


class CapsText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Caps as the file has them."""

    per_transaction: str
    per_hour: str


class SignerPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the signer allows on one chain."""

    caps: dict[str, CapsText]
    """By the asset's code."""
    max_fee_per_gas: int = 500 * GWEI
    """Wei per unit of gas beyond which nothing is signed: bounds what fees can burn."""
    withdrawal_gas: int = 200_000
    """Gas limit of a withdrawal; 101,230 measured with our token."""
    sweep_gas: int = 300_000
    """Gas limit of a sweep of one address; 93,555 measured with the creation of its code."""

    def caps_of(self, asset: str) -> Caps | None:
        """The caps of an asset's token, or None if nothing of it is signed for."""
        text = self.caps.get(asset)
        return None if text is None else Caps(int(text.per_transaction), int(text.per_hour))


def signer_dir(home: Path) -> Path:
    """Where the signer keeps its policy and its logs; nobody else's."""
    return home / "signer"


def policy_path(home: Path) -> Path:
    """Where the policy is."""
    return signer_dir(home) / "policy.json"


def load_policy(home: Path) -> SignerPolicy:
    """The policy as its owner wrote it. Raises ``PolicyError``."""
    path = policy_path(home)
    try:
        policy = msgspec.json.decode(path.read_bytes(), type=SignerPolicy)
    except FileNotFoundError as error:
        raise PolicyError(f"{path} does not exist: write the signer's caps there") from error
    except msgspec.DecodeError as error:
        raise PolicyError(f"{path} is not a policy: {error}") from error
    for asset, text in policy.caps.items():
        for amount in (text.per_transaction, text.per_hour):
            # A cap that is misread must not become a larger one.
            if not (amount.isascii() and amount.isdigit()):
                raise PolicyError(f"{path}: the caps of {asset} are whole numbers of token units")
    return policy


def development_policy(home: Path, deployment: Deployment) -> SignerPolicy:
    """The policy of a development machine, written where there is none.

    100,000 whole tokens a transaction and a million an hour; of kyat 4,000 times as many.
    """
    path = policy_path(home)
    if not path.exists():
        caps = {}
        for asset, token in deployment.tokens.items():
            whole = 10**token.decimals * (4_000 if asset == "DMMK" else 1)
            caps[asset] = CapsText(str(100_000 * whole), str(1_000_000 * whole))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(SignerPolicy(caps=caps)), indent=2) + b"\n")
        draft.replace(path)
    return load_policy(home)
