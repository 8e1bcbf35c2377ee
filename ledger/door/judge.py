"""Judge: who asks the ledger, and whether that caller may have what is asked.

Every request passes here before the engine sees anything of it. It is judged
event by event, whole requests at a time: one event that is forbidden refuses all
of them, whether they came packed or as JSON, and in whichever batch of a request
that carries several. Callers with full rights pass without a look at the events.

What cannot be judged is refused: an account that a grant must know and that the
ledger does not hold could be created by somebody else before the engine decides,
and so could a pending transfer that a post or void leaves its fields to. A post
or void that names a field is judged by it, since the engine refuses one that
differs from the pending transfer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import structlog

from foundation.clock import Clock, SystemClock
from ledger.contract import BATCH_MAX, Account, AccountFlags, Transfer, TransferFlags
from ledger.door.account_codes import AccountCodes
from ledger.door.rights import (
    FULL,
    NONE,
    OWNER,
    LedgerForbidden,
    Mask,
    Numbers,
    Rights,
    Rule,
    allowed,
    first_refused,
)
from ledger.interface import LedgerUnavailable
from ledger.records import ACCOUNT_DTYPE, pack_accounts, pack_transfers, transfer_records

log = structlog.get_logger()

Records = npt.NDArray[np.void]
Permitted = Sequence[Numbers | None]
"""What each grant permits; None is any."""

READS = ("lookup_", "get_", "query_", "search_")
"""How the names of operations that change nothing begin."""

_IMPORTED = int(TransferFlags.IMPORTED)
_CLOSING = int(TransferFlags.CLOSING_DEBIT | TransferFlags.CLOSING_CREDIT)
_RESOLUTION = int(TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER)

_DETAILS = {
    Rule.IDENTITY: "The connection names no caller that the ledger knows.",
    Rule.CERTIFICATE_EXPIRED: "The certificate that the connection was made with has expired.",
    Rule.READ: "The caller may not look anything up.",
    Rule.OPERATION: "The caller may not use this operation.",
    Rule.ACCOUNTS: "The caller may not create accounts of that ledger and code.",
    Rule.TRANSFERS: "The caller may not create transfers.",
    Rule.IMPORT: "The caller may not import events of the past.",
    Rule.CLOSE: "The caller may not close accounts.",
    Rule.PENDING: "The pending transfer is not stored: name its accounts, ledger and code.",
    Rule.LEDGER: "The caller may not create transfers in that ledger.",
    Rule.CODE: "The caller may not create transfers with that code there.",
    Rule.DEBIT: "The debit account is none that the caller may debit with that transfer.",
    Rule.CREDIT: "The credit account is none that the caller may credit with that transfer.",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of a connection."""

    identity: str
    rights: Rights
    expires_at_ns: int | None = None
    """When the certificate of the connection ends; a connection may outlive it."""


NOBODY = Caller("nobody", NONE)
"""A connection without an identity."""


class Books(Protocol):
    """What the door must know of the ledger to judge an event."""

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        """The accounts that exist."""

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        """The transfers that exist."""


class Door:
    """Knows the callers, and refuses them what they may not do."""

    def __init__(
        self,
        callers: Mapping[str, Rights] | None = None,
        *,
        clock: Clock | None = None,
        owner_uid: int | None = None,
    ) -> None:
        self._callers = callers or {}
        self._clock = clock or SystemClock()
        self.owner_uid = os.geteuid() if owner_uid is None else owner_uid
        """The one user who may ask over the Unix socket."""
        self.is_open = True
        """Whether anybody is let in; a process that starts opens it when its own accounts are there."""
        self.refusals: Counter[tuple[str, Rule]] = Counter()
        """Requests refused since the start, by identity and rule; unknown identities count as one."""

    def owner(self) -> Caller:
        """The caller over the Unix socket: full rights, unless the file says otherwise."""
        return Caller(OWNER, self._callers.get(OWNER, FULL))

    def holder(self, identity: str, expires_at_ns: int) -> Caller:
        """The holder of a certificate; without rights when the file does not name it."""
        return Caller(identity, self._callers.get(identity, NONE), expires_at_ns)

    def greet(self, caller: Caller | None) -> Caller:
        """Refuse a connection that names nobody, or does so no longer. Raises ``LedgerForbidden``."""
        if caller is None or caller is NOBODY:
            self.refuse(NOBODY, "connection", Rule.IDENTITY)
        if caller.expires_at_ns is not None and self._clock.now_ns() >= caller.expires_at_ns:
            self.refuse(caller, "connection", Rule.CERTIFICATE_EXPIRED)
        return caller

    def refuse(
        self, caller: Caller, operation: str, rule: Rule, *, index: int | None = None, events: int = 0
    ) -> NoReturn:
        """Log and count a refusal, and raise it."""
        known = caller.identity if caller.identity in self._callers or caller.identity == OWNER else "unknown"
        self.refusals[known, rule] += 1
        log.warning(
            "ledger_forbidden",
            identity=caller.identity,
            operation=operation,
            rule=rule.value,
            index=index,
            events=events,
        )
        raise LedgerForbidden(rule.value, _DETAILS[rule], index=index)


class Judge:
    """Judges requests to one ledger by their callers' rights."""

    def __init__(self, door: Door, books: Books) -> None:
        self._door = door
        self._books = books
        self._account_codes = AccountCodes(books.lookup_accounts)

    def greet(self, caller: Caller | None) -> Caller:
        """See :meth:`Door.greet`."""
        return self._door.greet(caller)

    async def check(self, caller: Caller, operation: str, question: Any) -> None:
        """Raise ``LedgerForbidden`` unless the caller may ask all of this.

        ``question`` is what the engine will be asked: events, records or a filter.
        Raises ``LedgerUnavailable`` while the door is not open yet.
        """
        if not self._door.is_open:
            raise LedgerUnavailable("The ledger is starting.", outcome_unknown=False)
        rights = caller.rights
        if rights.full:
            return
        if operation.startswith(READS):
            if not rights.read:
                self._door.refuse(caller, operation, Rule.READ)
            return
        if operation == "create_accounts":
            refused = _judge_accounts(rights, _account_records(question))
        elif operation == "create_transfers":
            refused = await self._judge_transfers(rights, _transfer_records(question))
        else:
            self._door.refuse(caller, operation, Rule.OPERATION)
        if refused is not None:
            index, rule = refused
            self._door.refuse(caller, operation, rule, index=index, events=len(question))

    async def _judge_transfers(self, rights: Rights, records: Records) -> tuple[int, Rule] | None:
        grants = rights.transfers
        if not len(records):
            return None
        refused = first_refused(
            [
                (Rule.TRANSFERS, np.full(len(records), bool(grants))),
                (Rule.IMPORT, _spared(records, _IMPORTED, granted=rights.imports)),
                (Rule.CLOSE, _spared(records, _CLOSING, granted=rights.close)),
            ]
        )
        if refused is not None:
            return refused
        records, is_clear = await self._with_pending_fields(records)
        in_ledger = _hold(records["ledger"], [grant.ledgers for grant in grants])
        in_code = in_ledger & _hold(records["code"], [grant.codes for grant in grants])
        refused = first_refused(
            [(Rule.PENDING, is_clear), (Rule.LEDGER, _some(in_ledger)), (Rule.CODE, _some(in_code))]
        )
        if refused is not None:
            return refused
        in_debit = await self._narrow(in_code, records["debit_account_id"], [g.debit for g in grants])
        in_credit = await self._narrow(in_debit, records["credit_account_id"], [g.credit for g in grants])
        return first_refused([(Rule.DEBIT, _some(in_debit)), (Rule.CREDIT, _some(in_credit))])

    async def _narrow(self, granted: Mask, ids: npt.NDArray[np.uint64], permitted: Permitted) -> Mask:
        """Which grants, a row each, still hold for which events, a column each."""
        if all(codes is None for codes in permitted):
            return granted
        account_codes = await self._account_codes.of(ids)
        return granted & _hold(account_codes, permitted)

    async def _with_pending_fields(self, records: Records) -> tuple[Records, Mask]:
        """The records with what posts and voids leave to their pending transfers, and which are known."""
        inherits: Mask = (records["flags"] & _RESOLUTION != 0) & (
            (records["ledger"] == 0)
            | (records["code"] == 0)
            | ~_some(records["debit_account_id"].T)
            | ~_some(records["credit_account_id"].T)
        )
        is_clear = np.ones(len(records), bool)
        places = np.flatnonzero(inherits)
        if not len(places):
            return records, is_clear
        pending_ids, which = np.unique(records["pending_id"][places], axis=0, return_inverse=True)
        pendings, is_stored = await self._find_transfers(pending_ids)
        source = pendings[which.reshape(-1)]
        is_clear[places] = is_stored[which.reshape(-1)]
        filled = records.copy()
        for name in ("ledger", "code"):
            own = filled[name][places]
            filled[name][places] = np.where(own == 0, source[name], own)
        for name in ("debit_account_id", "credit_account_id"):
            own = filled[name][places]
            filled[name][places] = np.where(_some(own.T)[:, None], own, source[name])
        return filled, is_clear

    async def _find_transfers(self, ids: npt.NDArray[np.uint64]) -> tuple[Records, Mask]:
        """The records of stored transfers, zeros for the others, and which are stored."""
        wanted = [high << 64 | low for low, high in ids.tolist()]
        found: dict[int, Transfer] = {}
        for start in range(0, len(wanted), BATCH_MAX):
            transfers = await self._books.lookup_transfers(wanted[start : start + BATCH_MAX])
            found |= {transfer.id: transfer for transfer in transfers}
        missing = Transfer()
        records = _transfer_records([found.get(transfer_id, missing) for transfer_id in wanted])
        return records, np.array([transfer_id in found for transfer_id in wanted], bool)


def _hold(values: Numbers, permitted: Permitted) -> Mask:
    """Which grants, a row each, permit the value of which events, a column each."""
    return np.array([allowed(values, numbers) for numbers in permitted])


def _some(rows: npt.NDArray[Any]) -> Mask:
    """Where at least one of the rows is true or not zero."""
    mask: Mask = np.logical_or.reduce(rows)
    return mask


def _judge_accounts(rights: Rights, records: Records) -> tuple[int, Rule] | None:
    granted = np.zeros(len(records), bool)
    for grant in rights.accounts:
        granted |= allowed(records["ledger"], grant.ledgers) & allowed(records["code"], grant.codes)
    imports = _spared(records, int(AccountFlags.IMPORTED), granted=rights.imports)
    return first_refused([(Rule.ACCOUNTS, granted), (Rule.IMPORT, imports)])


def _spared(records: Records, flags: int, *, granted: bool) -> Mask:
    """Which records a right is not needed for, or all where it is granted."""
    mask: Mask = np.full(len(records), granted)
    mask |= records["flags"] & flags == 0
    return mask


def _account_records(question: Sequence[Account]) -> Records:
    """Accounts as records; ``InvalidRequest`` when one has a field that no record can hold."""
    return np.frombuffer(pack_accounts(question), ACCOUNT_DTYPE)


def _transfer_records(question: Sequence[Transfer] | Records) -> Records:
    """Transfers as records; ``InvalidRequest`` when one has a field that no record can hold."""
    if isinstance(question, np.ndarray):
        return question
    return transfer_records(pack_transfers(question))
