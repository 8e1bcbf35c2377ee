"""Candidates: which events of a batch break no rule, but perhaps a limit.

One mask over the whole batch, and what the vectorised step needs of each event:
slots, the amount that moves, the amount that is released. An event that is not
a candidate is not refused: the exact function decides it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.contract import AMOUNT_LIMIT, BATCH_MAX, SECOND_NS, TIMESTAMP_MAX, TransferFlags
from ledger.id_filter import IDFilter
from ledger.slot_map import ABSENT
from ledger.state import CLOSED, State

Records = npt.NDArray[np.void]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_LINKED = np.uint16(TransferFlags.LINKED)
_PENDING = np.uint16(TransferFlags.PENDING)
_POST = np.uint16(TransferFlags.POST_PENDING_TRANSFER)
_VOID = np.uint16(TransferFlags.VOID_PENDING_TRANSFER)
_CLOSING = np.uint16(TransferFlags.CLOSING_DEBIT | TransferFlags.CLOSING_CREDIT)
_U64_MAX = np.uint64(2**64 - 1)
_POSITION_MASK = np.uint64((1 << (BATCH_MAX - 1).bit_length()) - 1)

TIMEOUT_REACH_NS = (2**32 - 1) * SECOND_NS
"""How far a timeout can reach; near the end of time the exact function looks at each."""


@dataclass(slots=True)
class Resolutions:
    """The posts and voids among the candidates, one entry for each."""

    event: I64
    """Which event it is."""
    is_void: Mask
    held: I64
    """Amount of its pending transfer, all of which is released."""
    pending_timestamp: I64
    row: I64
    """Row of its pending transfer in ``Pendings``; ``ABSENT`` if the batch itself creates it."""
    creator: I64
    """Else the event that creates it, -1 for none."""
    user_data_128: U64
    user_data_64: U64
    user_data_32: npt.NDArray[np.uint32]
    """User data that a field left at 0 inherits."""


@dataclass(slots=True)
class Candidates:
    """What the step needs of each event."""

    good: Mask
    debit: I64
    credit: I64
    amount: I64
    """What moves; of a void nothing does, it stands for what it releases."""
    ledger: npt.NDArray[np.uint32]
    code: npt.NDArray[np.uint16]
    is_pending: Mask | None
    """None when the batch has no pending transfer."""
    resolutions: Resolutions | None


def choose(state: State, ids: IDFilter, events: Records, first_timestamp: int) -> Candidates:
    """Which events could be accepted if all before them are."""
    kind = events["flags"] & ~_LINKED
    low, high = np.ascontiguousarray(events["id"][:, 0]), np.ascontiguousarray(events["id"][:, 1])
    order, ordered = _sorted_ids(low, high)
    good = (
        (events["timestamp"] == 0)
        & ((low | high) != 0)
        & ((low & high) != _U64_MAX)
        & ~ids.may_contain(low, high)
        & ~_repeated(order, ordered)
    )
    debit, credit = _slots(state, events["debit_account_id"]), _slots(state, events["credit_account_id"])
    amounts = events["amount"]
    amount = amounts[:, 0].astype(np.int64)
    pending_events = kind == _PENDING
    is_pending = pending_events if pending_events.any() else None
    usual = _usual(state, events, kind, debit, credit)
    if first_timestamp + len(events) > TIMESTAMP_MAX - TIMEOUT_REACH_NS:
        usual &= events["timeout"] == 0
    usual &= (amounts[:, 1] == 0) & (amounts[:, 0] <= AMOUNT_LIMIT)
    chosen = Candidates(
        good, debit, credit, amount, events["ledger"], events["code"], is_pending, resolutions=None
    )
    resolving = np.flatnonzero(good & ((kind == _POST) | (kind == _VOID)))
    if len(resolving):
        chosen.ledger, chosen.code = events["ledger"].copy(), events["code"].copy()
        creator = _creators(events, resolving, pending_events & usual, order, ordered)
        usual[_resolve(state, events, resolving, creator, first_timestamp, chosen)] = True
    chosen.good &= usual
    return chosen


def _slots(state: State, ids: U64) -> I64:
    low, high = np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1])
    slots: I64 = state.accounts.index.get(low, high).astype(np.int64)
    return slots


def _usual(state: State, events: Records, kind: npt.NDArray[np.uint16], debit: I64, credit: I64) -> Mask:
    """Plain and pending transfers between two open accounts of one ledger."""
    accounts = state.accounts
    ledger = accounts.ledger.take(debit)
    usual: Mask = (
        ((kind == 0) & (events["timeout"] == 0) | (kind == _PENDING))
        & (debit != ABSENT)
        & (credit != ABSENT)
        & (debit != credit)
        & (ledger == accounts.ledger.take(credit))
        & (ledger == events["ledger"])
        & ((accounts.flags.take(debit) | accounts.flags.take(credit)) & CLOSED == 0)
        & (events["code"] != 0)
        & ((events["pending_id"][:, 0] | events["pending_id"][:, 1]) == 0)
    )
    return usual


def _mix(low: U64, high: U64) -> U64:
    """A hash of each id, with room for a position in its low bits."""
    mixed = low * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= high * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed &= ~_POSITION_MASK
    return mixed


def _sorted_ids(low: U64, high: U64) -> tuple[I64, U64]:
    """The events in the order of their ids' hashes, and these hashes."""
    keys = _mix(low, high)
    # The position in the low bits makes every key unique, so that the fast
    # unstable sort is a stable one.
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    return (keys & _POSITION_MASK).view(np.int64), keys & ~_POSITION_MASK


def _repeated(order: I64, ordered: U64) -> Mask:
    """Which ids stand in the batch before; a rare false alarm only costs the exact path."""
    repeated = np.zeros(len(order), bool)
    repeated[order[1:]] = ordered[1:] == ordered[:-1]
    return repeated


def _creators(events: Records, resolving: I64, creates: Mask, order: I64, ordered: U64) -> I64:
    """For each post and void, the earlier event of the batch that creates its pending transfer, or -1."""
    creator = np.full(len(resolving), -1, np.int64)
    if not creates.any():
        return creator
    wanted = events["pending_id"][resolving]
    at = np.searchsorted(ordered, _mix(wanted[:, 0], wanted[:, 1]))
    at[at == len(order)] = 0
    found = order[at]
    same = (events["id"][found] == wanted).all(axis=1) & creates[found] & (found < resolving)
    creator[same] = found[same]
    return creator


def _resolve(
    state: State, events: Records, resolving: I64, creator: I64, first_timestamp: int, chosen: Candidates
) -> I64:
    """Enter the posts and voids that hold; gives their events."""
    pendings, accounts = state.pendings, state.accounts
    asked = events[resolving]
    wanted = asked["pending_id"]
    rows = pendings.find(np.ascontiguousarray(wanted[:, 0]), np.ascontiguousarray(wanted[:, 1]))
    inside = creator >= 0
    known = (rows != ABSENT) | inside
    # A row for each, whatever it is worth: what is not known is left out below.
    safe_row, safe_creator = np.where(rows != ABSENT, rows, 0), np.where(inside, creator, 0)

    def source(name: str, from_event: npt.NDArray[Any]) -> npt.NDArray[Any]:
        stored = pendings.values(name)[safe_row]
        chosen_inside = inside[:, None] if stored.ndim == 2 else inside
        return np.where(chosen_inside, from_event[safe_creator].astype(stored.dtype), stored)

    debit, credit = source("debit_account", chosen.debit), source("credit_account", chosen.credit)
    held = source("amount", chosen.amount)
    ledger, code = source("ledger", events["ledger"]), source("code", events["code"])
    pending_timestamp = source("timestamp", first_timestamp + np.arange(len(events)))
    timeout = source("timeout", events["timeout"]).astype(np.int64)
    is_void = asked["flags"] & _VOID != 0
    amount, fits = _amount(asked["amount"], held, is_void)
    holds = (
        known
        & fits
        & (asked["timeout"] == 0)
        & _zero_or_same(asked["debit_account_id"], accounts.ids[debit])
        & _zero_or_same(asked["credit_account_id"], accounts.ids[credit])
        & ((asked["ledger"] == 0) | (asked["ledger"] == ledger))
        & ((asked["code"] == 0) | (asked["code"] == code))
        & (source("flags", events["flags"]) & _CLOSING == 0)
        & ((accounts.flags[debit] | accounts.flags[credit]) & CLOSED == 0)
        & ((timeout == 0) | (first_timestamp + resolving < pending_timestamp + timeout * SECOND_NS))
        & ~_seen_before(np.where(inside, -1 - creator, rows))
    )
    at: I64 = resolving[holds]
    chosen.debit[at], chosen.credit[at] = debit[holds], credit[holds]
    chosen.amount[at] = amount[holds]
    chosen.ledger[at], chosen.code[at] = ledger[holds], code[holds]
    chosen.resolutions = Resolutions(
        at, is_void[holds], held[holds], pending_timestamp[holds], np.where(inside, ABSENT, rows)[holds],
        creator[holds], source("user_data_128", events["user_data_128"])[holds],
        source("user_data_64", events["user_data_64"])[holds],
        source("user_data_32", events["user_data_32"])[holds],
    )  # fmt: skip
    return at


def _amount(asked: U64, held: I64, is_void: Mask) -> tuple[I64, Mask]:
    """What a post moves or a void releases, and whether it may."""
    low, high = asked[:, 0], asked[:, 1]
    everything = np.where(is_void, (low == 0) & (high == 0), (low == _U64_MAX) & (high == _U64_MAX))
    small = (high == 0) & (low <= AMOUNT_LIMIT)
    amount: I64 = np.where(everything, held, low.astype(np.int64))
    fits = everything | small & np.where(is_void, amount == held, amount <= held)
    return amount, fits


def _zero_or_same(asked: U64, stored: U64) -> Mask:
    return np.asarray(~asked.any(axis=1) | (asked == stored).all(axis=1))


def _seen_before(keys: I64) -> Mask:
    """Which keys stand in the list before: a pending transfer is resolved once."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    seen = np.zeros(len(keys), bool)
    seen[order[1:]] = ordered[1:] == ordered[:-1]
    return seen
