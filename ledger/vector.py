"""Vector: many plain transfers in one step, with the answers of the exact function.

A stretch of events is decided at once when every one of them is an ordinary
transfer, linked or not, that breaks no rule. The first event that is anything
else, or that breaks a rule, ends the stretch (at the start of its chain), and
the exact sequential function decides from there. So this file never refuses:
it only says how many leading events it has accepted, and their rows.

The step: ids to slots; one stable sort of the 2n postings by account; segmented
running sums give each account's counters after each posting, and each posting's
predecessor; limits are masks over those sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.contract import AMOUNT_LIMIT, BATCH_MAX, AccountFlags, TransferFlags
from ledger.draft import Block
from ledger.id_filter import IDFilter
from ledger.row_blocks import PENDING_COUNTERS, encode_transfers, uuid_bytes
from ledger.slot_map import ABSENT
from ledger.state import CLOSED, State

Records = npt.NDArray[np.void]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LINKED = int(TransferFlags.LINKED)
_DEBIT_LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
_CREDIT_LIMITED = int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)
_LIMITED = _DEBIT_LIMITED | _CREDIT_LIMITED

_POSITION_BITS = (2 * BATCH_MAX - 1).bit_length()
_POSITION_MASK = (1 << _POSITION_BITS) - 1

SUM_LIMIT = 2**62
"""Above this the running sums could wrap; such amounts are left to the exact function."""
COUNTER_LIMIT = 2**61
"""Below this no sum overflows: posted stays below 2^61 + 2^61, with pending below 2^62 + 2^61."""


@dataclass(slots=True)
class _Postings:
    """The 2n postings of a stretch, sorted by account and then by event."""

    order: I64
    """Index of each: 2 * event + side (0 debit, 1 credit)."""
    account: I64
    start: I64
    """Where each account's postings begin."""
    group: I64
    """Which account's group each posting is in."""
    posted: tuple[I64, I64]
    """The account's posted debits and credits after each posting."""


def accept(state: State, ids: IDFilter, events: Records, first_timestamp: int) -> tuple[int, Block | None]:
    """Accept and apply leading events; how many, and their rows.

    The caller has flushed the accounts and says that event i gets
    ``first_timestamp + i``. What is accepted ends where a chain ends.
    """
    debit, credit, plain = _plain(state, ids, events)
    count = _chain_start(events, _first(~plain, len(events)))
    while count:
        stretch = events[:count]
        amount = stretch["amount"][:, 0].astype(np.int64)
        if int(amount.max()) * 2 * count >= SUM_LIMIT:
            return 0, None
        postings = _post(state, amount, debit[:count], credit[:count])
        if int(state.accounts.counters[postings.account[postings.start]].max()) >= COUNTER_LIMIT:
            return 0, None
        broken = _first_broken(state, postings, count)
        if broken == count:
            return count, _apply(state, ids, stretch, amount, postings, first_timestamp)
        # What precedes the broken event is as it would be without it; only the
        # sums of the shorter stretch are taken anew.
        count = _chain_start(events, broken)
    return 0, None


def _plain(state: State, ids: IDFilter, events: Records) -> tuple[I64, I64, Mask]:
    """Slots of both accounts, and which events break no rule but perhaps a limit."""
    accounts = state.accounts
    debit = _slots(state, events["debit_account_id"])
    credit = _slots(state, events["credit_account_id"])
    found = (debit != ABSENT) & (credit != ABSENT)
    ledger = accounts.ledger[debit]
    closed = (accounts.flags[debit] | accounts.flags[credit]) & CLOSED
    id_low = np.ascontiguousarray(events["id"][:, 0])
    id_high = np.ascontiguousarray(events["id"][:, 1])
    plain = (
        found
        & (debit != credit)
        & (events["flags"] & ~np.uint16(_LINKED) == 0)
        & (ledger == accounts.ledger[credit])
        & (ledger == events["ledger"])
        & (closed == 0)
        & (events["code"] != 0)
        & (events["timeout"] == 0)
        & (events["timestamp"] == 0)
        & ~events["pending_id"].any(axis=1)
        & (events["amount"][:, 1] == 0)
        & (events["amount"][:, 0] <= AMOUNT_LIMIT)
        & ((id_low | id_high) != 0)
        & ((id_low & id_high) != 2**64 - 1)
        & ~ids.may_contain(id_low, id_high)
        & ~_repeated(id_low, id_high)
    )
    return debit, credit, plain


def _slots(state: State, ids: npt.NDArray[np.uint64]) -> I64:
    low, high = np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1])
    return state.accounts.index.get(low, high).astype(np.int64)


def _repeated(low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]) -> Mask:
    """Which ids stand in the batch before; a rare false alarm only costs the exact path."""
    mixed = low * np.uint64(0x9E3779B97F4A7C15) ^ high * np.uint64(0xC2B2AE3D27D4EB4F)
    order = np.argsort(mixed, kind="stable")
    ordered = mixed[order]
    repeated = np.zeros(len(low), bool)
    repeated[order[1:]] = ordered[1:] == ordered[:-1]
    return repeated


def _first(mask: Mask, count: int) -> int:
    at = int(mask.argmax()) if count else 0
    return at if count and mask[at] else count


def _chain_start(events: Records, at: int) -> int:
    """Where the chain that holds event ``at`` begins; a stretch must not cut it."""
    if at == len(events):
        # A request that ends inside a chain leaves that chain to the exact function.
        while at and events["flags"][at - 1] & _LINKED:
            at -= 1
        return at
    while at and events["flags"][at - 1] & _LINKED:
        at -= 1
    return at


def _post(state: State, amount: I64, debit: I64, credit: I64) -> _Postings:
    count = len(amount)
    keys = np.empty(2 * count, np.int64)
    keys[0::2], keys[1::2] = debit, credit
    # The position in the low bits makes every key unique, so that the fast
    # unstable sort is a stable one.
    keys <<= _POSITION_BITS
    keys |= np.arange(2 * count)
    keys.sort()
    order = keys & _POSITION_MASK
    account = keys >> _POSITION_BITS
    first = np.empty(2 * count, bool)
    first[0] = True
    np.not_equal(account[1:], account[:-1], out=first[1:])
    start = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    amounts = amount[order >> 1]
    debits = np.where(order & 1 == 0, amounts, 0)
    base = state.accounts.counters[account[start]]
    return _Postings(
        order,
        account,
        start,
        group,
        (
            _running(debits, start, group, base[:, 1]),
            _running(amounts - debits, start, group, base[:, 3]),
        ),
    )


def _running(change: I64, start: I64, group: I64, base: I64) -> I64:
    """Running sums within each group, on top of what the group had before."""
    total = np.cumsum(change)
    return total + (base - total[start] + change[start])[group]


def _first_broken(state: State, postings: _Postings, count: int) -> int:
    """Index of the first event that breaks a limit, ``count`` if none does."""
    accounts = state.accounts
    flags = accounts.flags[postings.account]
    if not (flags & _LIMITED).any():
        return count
    debits, credits_ = postings.posted
    is_debit = postings.order & 1 == 0
    debit_limited = is_debit & (flags & _DEBIT_LIMITED != 0)
    credit_limited = ~is_debit & (flags & _CREDIT_LIMITED != 0)
    if state.pendings:
        pending = accounts.counters[postings.account]
        debits_held, credits_held = debits + pending[:, 0], credits_ + pending[:, 2]
    else:
        debits_held, credits_held = debits, credits_
    broken = (debit_limited & (debits_held > credits_)) | (credit_limited & (credits_held > debits))
    return int((postings.order[broken] >> 1).min(initial=count))


def _apply(
    state: State, ids: IDFilter, events: Records, amount: I64, postings: _Postings, first_timestamp: int
) -> Block:
    """Write the new counters, and the rows of every event."""
    accounts, count = state.accounts, len(events)
    timestamps = first_timestamp + np.arange(count)
    at = timestamps[postings.order >> 1]
    touched = postings.account[postings.start]
    previous = np.empty(2 * count, np.int64)
    previous[1:] = at[:-1]
    previous[postings.start] = accounts.last_transfer[touched]
    place = np.empty(2 * count, np.int64)
    place[postings.order] = np.arange(2 * count)
    data = encode_transfers(
        count, _columns(state, events, amount, timestamps, postings, previous, place[0::2], place[1::2])
    )
    end = np.append(postings.start[1:], 2 * count) - 1
    accounts.counters[touched, 1] = postings.posted[0][end]
    accounts.counters[touched, 3] = postings.posted[1][end]
    accounts.last_transfer[touched] = at[end]
    accounts.forget_loaded()
    ids.add(np.ascontiguousarray(events["id"][:, 0]), np.ascontiguousarray(events["id"][:, 1]))
    last = int(timestamps[-1])
    state.last_transfer_timestamp = last
    return Block(events, first_timestamp, last, data)


def _columns(
    state: State,
    events: Records,
    amount: I64,
    timestamps: I64,
    postings: _Postings,
    previous: I64,
    debit_at: I64,
    credit_at: I64,
) -> dict[str, npt.NDArray[Any]]:
    debits, credits_ = postings.posted
    debit, credit = postings.account[debit_at], postings.account[credit_at]
    columns: dict[str, npt.NDArray[Any]] = {
        "timestamp": timestamps,
        "amount": amount,
        "debit_previous": previous[debit_at],
        "credit_previous": previous[credit_at],
        "debit_debits_posted": debits[debit_at],
        "debit_credits_posted": credits_[debit_at],
        "credit_debits_posted": debits[credit_at],
        "credit_credits_posted": credits_[credit_at],
        "debit_account": debit,
        "credit_account": credit,
        "ledger": events["ledger"].view(np.int32),
        "code": events["code"].view(np.int16),
        "flags": events["flags"].view(np.int16),
        "id": uuid_bytes(events["id"]),
    }
    if state.pendings:
        counters = state.accounts.counters
        pending = (counters[debit, 0], counters[debit, 2], counters[credit, 0], counters[credit, 2])
        columns |= dict(zip(PENDING_COUNTERS, pending, strict=True))
    if events["user_data_128"].any():
        columns["user_data_128"] = uuid_bytes(events["user_data_128"])
    if events["user_data_64"].any():
        columns["user_data_64"] = events["user_data_64"].view(np.int64)
    if events["user_data_32"].any():
        columns["user_data_32"] = events["user_data_32"].view(np.int32)
    return columns
