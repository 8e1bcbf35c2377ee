"""Rights: what each caller of the ledger may do.

A TOML file names every caller by its identity and lists what it is granted; what
is not granted is refused. The file is read once, at start, and one that has an
unknown word, ledger or code, or that others may write, is refused whole:

    [callers."nugpay:agents"]
    read = true

    [[callers."nugpay:agents".accounts]]        # accounts it may create
    ledgers = ["USDT"]
    codes = ["agent_float", "agent_own"]

    [[callers."nugpay:agents".transfers]]       # transfers it may create
    ledgers = ["USDT"]
    codes = ["payment", "payment_fee"]
    debit = ["agent_float"]                     # codes of accounts
    credit = ["wallet", "fees"]                 # left out: any

Ledgers are assets, codes are the chart's, by name or by number; ``"any"`` stands
for all. An event is allowed when one grant allows all of it.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from foundation.assets import ASSETS
from foundation.errors import NUGPayError
from ledger.chart import AccountCode, TransferCode

Numbers = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]
Choice = list[int | str] | Literal["any"]
"""What a file may write for ledgers and codes."""

OWNER = "unix:owner"
"""Identity of who asks over the Unix socket: the process' own user. No certificate can claim it."""

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
"""Bits of a file's mode that let others change what callers may do."""


_IDENTITY = re.compile(r"(?!unix:)[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}", re.ASCII)


def is_identity(name: str) -> bool:
    """Whether a certificate may name its holder so: plain signs, and not as a user of this machine."""
    return _IDENTITY.fullmatch(name) is not None


class RightsRefused(NUGPayError):
    """The rights file is none; nothing is served with half of it."""


class Rule(StrEnum):
    """Which rule refused a request to the ledger."""

    IDENTITY = "identity"
    """The connection has no identity: no certificate's name, or another user of the machine."""
    CERTIFICATE_EXPIRED = "certificate_expired"
    """The connection was made with a certificate whose time is over by now."""
    READ = "read"
    """The caller may not look anything up."""
    OPERATION = "operation"
    """The operation is for callers with full rights."""
    ACCOUNTS = "accounts"
    """The caller may not create accounts of that ledger and code."""
    TRANSFERS = "transfers"
    """The caller may not create transfers at all."""
    IMPORT = "import"
    """The caller may not create events with a timestamp of the past."""
    CLOSE = "close"
    """The caller may not close accounts."""
    PENDING = "pending"
    """A post or void leaves fields to a pending transfer that the ledger does not hold."""
    LEDGER = "ledger"
    """The caller may not use the ledger of the event."""
    CODE = "code"
    """The caller may not use the code of the transfer there."""
    DEBIT = "debit"
    """The debit account is none that the caller may debit so."""
    CREDIT = "credit"
    """The credit account is none that the caller may credit so."""


class LedgerForbidden(NUGPayError):
    """A caller asked for what it may not; nothing was done.

    ``index`` is that of the first event that ``rule`` refuses, None when no event
    is to blame.
    """

    def __init__(self, rule: str, detail: str, *, index: int | None = None) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail
        self.index = index


class _Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ledgers: Choice
    codes: Choice


class _TransferGrant(_Grant, frozen=True, forbid_unknown_fields=True):
    debit: Choice
    credit: Choice = "any"


class _Caller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    full: bool = False
    read: bool = False
    imports: bool = msgspec.field(name="import", default=False)
    close: bool = False
    accounts: list[_Grant] = []
    transfers: list[_TransferGrant] = []


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    callers: dict[str, _Caller]


@dataclass(frozen=True, slots=True)
class AccountGrant:
    """Accounts that may be created; None means any."""

    ledgers: Numbers | None
    codes: Numbers | None


@dataclass(frozen=True, slots=True)
class TransferGrant:
    """Transfers that may be created; None means any. ``debit`` and ``credit`` are accounts' codes."""

    ledgers: Numbers | None
    codes: Numbers | None
    debit: Numbers | None
    credit: Numbers | None


@dataclass(frozen=True, slots=True)
class Rights:
    """What one caller may do."""

    full: bool = False
    """Everything; the other fields say nothing then."""
    read: bool = False
    """Every look-up and query."""
    imports: bool = False
    """Events with a timestamp of the past."""
    close: bool = False
    """Transfers that close an account."""
    accounts: tuple[AccountGrant, ...] = ()
    transfers: tuple[TransferGrant, ...] = ()


FULL = Rights(full=True)
"""Everything."""
NONE = Rights()
"""Nothing."""


def load_rights(path: Path) -> dict[str, Rights]:
    """The callers of a rights file, by identity. Raises ``RightsRefused``."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & WRITABLE_BY_OTHERS:
                raise RightsRefused(f"{path} may be written by others than its owner (chmod go-w)")
            content = msgspec.convert(tomllib.load(file), _File)
        return {_identity(name): _rights(caller) for name, caller in content.callers.items()}
    except OSError as error:
        raise RightsRefused(f"{path} cannot be read: {error.strerror}") from None
    # The parser, the shape and the choices below all say what is wrong, and where.
    except ValueError as error:
        raise RightsRefused(f"{path}: {error}") from None


def _identity(name: str) -> str:
    if name != OWNER and not is_identity(name):
        raise ValueError(f"{name!r} is no identity that a certificate can have")
    return name


def _rights(caller: _Caller) -> Rights:
    if caller.full and caller != _Caller(full=True):
        raise ValueError("a caller with full rights has no others")
    return Rights(
        full=caller.full,
        read=caller.read,
        imports=caller.imports,
        close=caller.close,
        accounts=tuple(
            AccountGrant(_ledgers(grant.ledgers), _codes(AccountCode, grant.codes))
            for grant in caller.accounts
        ),
        transfers=tuple(
            TransferGrant(
                _ledgers(grant.ledgers),
                _codes(TransferCode, grant.codes),
                _codes(AccountCode, grant.debit),
                _codes(AccountCode, grant.credit),
            )
            for grant in caller.transfers
        ),
    )


def _ledgers(choice: Choice) -> Numbers | None:
    return _numbers("ledger", {asset.code: asset.ledger for asset in ASSETS}, choice)


def _codes(chart: type[AccountCode | TransferCode], choice: Choice) -> Numbers | None:
    names = {member.name.lower(): int(member) for member in chart}
    return _numbers("account code" if chart is AccountCode else "transfer code", names, choice)


def _numbers(what: str, known: Mapping[str, int], choice: Choice) -> Numbers | None:
    """The numbers that a choice means; ``ValueError`` for one that does not exist."""
    if choice == "any":
        return None
    if not choice:
        raise ValueError(f'an empty list grants no {what}; leave the grant out, or write "any"')
    numbers: set[int] = set()
    for item in choice:
        number = known.get(item) if isinstance(item, str) else item
        if number is None or number not in known.values():
            raise ValueError(f"there is no {what} {item!r}; known are {', '.join(known)}")
        numbers.add(number)
    return np.array(sorted(numbers), np.int64)


def allowed(values: Numbers, permitted: Numbers | None) -> Mask:
    """Which of the values a grant permits."""
    if permitted is None:
        return np.ones(len(values), bool)
    mask = np.zeros(len(values), bool)
    for number in permitted.tolist():
        mask |= values == number
    return mask


def first_refused(stages: Sequence[tuple[Rule, Mask]]) -> tuple[int, Rule] | None:
    """The first event that is not allowed in every stage, and the first stage that refuses it."""
    good = np.logical_and.reduce([mask for _, mask in stages])
    if good.all():
        return None
    index = int(np.argmin(good))
    return index, next(rule for rule, mask in stages if not mask[index])
