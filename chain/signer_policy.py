"""Signer policy: what the signer allows, decided by its owner and by nobody else.

A JSON file beside the signer's log, which only the signer's user can write; one that
others could write, or could have put there, is refused. Caps are per token, in the
token's own units, as decimal text since they may exceed 64 bits. A token without caps
is not signed for at all, and what the file leaves out is the stricter choice.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from chain.addresses import parse_address
from chain.approvals import APPROVAL_SECONDS_MAX, Officer, ReadKey
from chain.batches import MEMBERS_MAX, PAYMENT_GAS, PAYOUT_BATCH_GAS, TRANSACTION_GAS_MAX
from chain.deployments import Deployment
from chain.models import OrderKind
from chain.orders import Order
from foundation.errors import NUGPayError, Refusal

HOUR_SECONDS: Final = 3_600
"""The window of the hourly cap: what was signed in the last 3,600 s counts."""

DAY_SECONDS: Final = 86_400
"""The window of the daily cap: what was signed in the last 86,400 s counts."""

SECONDS_MAX: Final = 2**40
"""A time in seconds since 1970 beyond which there is a mistake of unit."""

GWEI: Final = 10**9
"""A billion wei, the usual measure of fees."""


FEES_PER_DAY: Final = 10 * 10**18
"""Cap on a day's fees in wei where the policy has none: 10 ether, 100 withdrawals at the highest fee."""


class PolicyError(NUGPayError):
    """The policy's file is not there or cannot be understood; the signer does not start."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The most of a token that is signed for, in its units."""

    per_transaction: int
    """The most in one payment, whether it goes alone or in a batch."""
    per_hour: int
    per_day: int
    without_officers: int
    """The most in one payment that needs no officers' approval."""
    to_anyone: int
    """The most in one payment to a receiver that is not on the allow-list."""
    cold_per_day: int
    """The most that is moved to the cold address in a day, counted by itself."""


class CapsText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Caps as the file has them."""

    per_transaction: str
    per_hour: str
    per_day: str | None = None
    """Left out: no more in a day than in an hour."""
    without_officers: str | None = None
    """Left out: as much as in one transaction, so that officers are never asked."""
    to_anyone: str | None = None
    """Left out: as much as in one transaction, so that the allow-list is not asked."""
    cold_per_day: str | None = None
    """Left out: no more than may be paid in a day."""

    def amounts(self) -> list[str]:
        """Every amount that is given."""
        given = (self.per_transaction, self.per_hour, self.per_day, self.without_officers, self.to_anyone)
        return [amount for amount in (*given, self.cold_per_day) if amount is not None]


class OfficerText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An officer as the file has them."""

    name: str
    key: dict[str, str]
    """The public key of the officer's device, as a JSON Web Key."""
    known_as: tuple[UUID, ...] = ()
    """Ids of the officer's person and wallets: what one of these asked for, they cannot approve."""


class SignerPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the signer allows on one chain."""

    caps: dict[str, CapsText]
    """By the asset's code."""
    officers: tuple[OfficerText, ...] = ()
    """Who may approve what is above ``without_officers``; two of them must."""
    approval_seconds_max: int = APPROVAL_SECONDS_MAX
    """Longest time from an approval to its expiry."""
    allowed_receivers: tuple[str, ...] = ()
    """Who may be paid more than ``to_anyone`` in one transaction, such as the cold vault."""
    blocked_receivers: tuple[str, ...] = ()
    """Who is never paid: sanctioned, or known for theft."""
    max_fee_per_gas: int = 500 * GWEI
    """Wei per unit of gas beyond which nothing is signed: bounds what fees can burn."""
    withdrawal_gas: int = 200_000
    """Gas limit of a withdrawal; 101,230 measured with our token."""
    fees_per_day: str = str(FEES_PER_DAY)
    """Most wei that what is signed in a day may burn in fees, gas limit × fee per gas, each nonce once."""
    breaker_since: int = 0
    """Seconds since 1970: what the database says of trips before it is believed. 0: each needs officers."""
    sweep_gas: int = 300_000
    """Gas limit of a sweep of one address; 93,555 measured with the creation of its code."""
    batch_members_max: int = MEMBERS_MAX
    """Most orders in one transaction."""
    batch_sweep_gas: int = 120_000
    """Gas limit of each further address of a sweep; 57,563 measured with the creation of its code."""

    def caps_of(self, asset: str) -> Caps | None:
        """The caps of an asset's token, or None if nothing of it is signed for."""
        text = self.caps.get(asset)
        if text is None:
            return None
        per_transaction, per_hour = int(text.per_transaction), int(text.per_hour)
        per_day = per_hour if text.per_day is None else int(text.per_day)
        return Caps(
            per_transaction=per_transaction,
            per_hour=per_hour,
            per_day=per_day,
            without_officers=per_transaction if text.without_officers is None else int(text.without_officers),
            to_anyone=per_transaction if text.to_anyone is None else int(text.to_anyone),
            cold_per_day=per_day if text.cold_per_day is None else int(text.cold_per_day),
        )

    def gas_limit(self, order: Order) -> int:
        """The gas limit of an order's transaction.

        Of a payout batch so much that it never ends for want of gas: the vault spends no
        more on a payment than it wants to have left before it, whatever the token does.
        """
        if order.kind == OrderKind.PAYOUT_BATCH:
            return PAYOUT_BATCH_GAS + PAYMENT_GAS * len(order.members)
        if order.kind == OrderKind.SWEEP_BATCH:
            return self.sweep_gas + self.batch_sweep_gas * (len(order.members) - 1)
        # A move costs less than a withdrawal: it asks no bucket.
        return self.sweep_gas if order.kind == OrderKind.SWEEP else self.withdrawal_gas

    def officers_with(self, read_key: ReadKey) -> tuple[Officer, ...]:
        """The officers, their keys read. Raises ``PolicyError`` where one could count for two."""
        officers = []
        for text in self.officers:
            try:
                key = read_key(text.key)
            except Refusal as refusal:
                raise PolicyError(f"the key of officer {text.name}: {refusal.detail}") from refusal
            officers.append(Officer(text.name, key, frozenset(text.known_as)))
        _refuse_doubles("name", [officer.name for officer in officers])
        _refuse_doubles("key", [officer.key.key_id for officer in officers])
        _refuse_doubles("id", [str(one) for officer in officers for one in officer.known_as])
        return tuple(officers)


def _refuse_doubles(what: str, values: list[str]) -> None:
    doubled = {value for value in values if values.count(value) > 1}
    if doubled:
        raise PolicyError(f"two officers have one {what}: {', '.join(sorted(doubled))}")


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
        _refuse_writable_by_others(path.parent)
        _refuse_writable_by_others(path)
        policy = msgspec.json.decode(path.read_bytes(), type=SignerPolicy)
    except FileNotFoundError as error:
        raise PolicyError(f"{path} does not exist: write the signer's caps there") from error
    except msgspec.DecodeError as error:
        raise PolicyError(f"{path} is not a policy: {error}") from error
    for asset, text in policy.caps.items():
        # A cap that is misread must not become a larger one.
        if not all(amount.isascii() and amount.isdigit() for amount in text.amounts()):
            raise PolicyError(f"{path}: the caps of {asset} are whole numbers of token units")
    if policy.sweep_gas + policy.batch_sweep_gas * (MEMBERS_MAX - 1) > TRANSACTION_GAS_MAX:
        raise PolicyError(f"{path}: a sweep of {MEMBERS_MAX} would have more gas than a transaction may")
    if not (policy.fees_per_day.isascii() and policy.fees_per_day.isdigit()):
        raise PolicyError(f"{path}: fees_per_day is a whole number of wei, as text")
    if not 0 <= policy.breaker_since <= SECONDS_MAX:
        raise PolicyError(f"{path}: breaker_since is in seconds since 1970")
    for address in (*policy.allowed_receivers, *policy.blocked_receivers):
        try:
            parse_address(address)
        except Refusal as refusal:
            raise PolicyError(f"{path}: {address}: {refusal.detail}") from refusal
    return policy


def _refuse_writable_by_others(path: Path) -> None:
    """Whoever can write the policy, or put another in its place, decides what is signed."""
    found = path.stat()
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PolicyError(f"{path} can be written by others: chmod go-w it, and read it before you trust it")
    if found.st_uid not in {0, os.geteuid()}:
        raise PolicyError(f"{path} belongs to another user than the signer's")


def write_policy(home: Path, policy: SignerPolicy) -> None:
    """Put a policy in place, whole or not at all; a running signer reads it when it is told to."""
    path = policy_path(home)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(policy), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def policy_hash(policy: SignerPolicy) -> str:
    """SHA-256 of what the policy says, in hex: by it one knows whether a signer has it."""
    return hashlib.sha256(msgspec.json.encode(policy, order="sorted")).hexdigest()


WHOLE_TOKENS: Final[Mapping[str, int]] = {
    "per_transaction": 100_000,
    "per_hour": 1_000_000,
    "per_day": 5_000_000,
    "without_officers": 50_000,
}
"""The caps of a development machine, in whole tokens; of kyat 4,000 times as many."""


def development_policy(home: Path, deployment: Deployment) -> SignerPolicy:
    """The policy of a development machine, written where there is none."""
    if not policy_path(home).exists():
        caps = {}
        for asset, token in deployment.tokens.items():
            whole = 10**token.decimals * (4_000 if asset == "DMMK" else 1)
            caps[asset] = CapsText(**{name: str(amount * whole) for name, amount in WHOLE_TOKENS.items()})
        write_policy(home, SignerPolicy(caps=caps))
    return load_policy(home)
