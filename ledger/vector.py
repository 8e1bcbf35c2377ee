"""Vector: many transfers in one step, with the answers of the exact function.

A stretch of events is decided at once when every one of them is a plain or
pending transfer, a post or a void, linked or not, that breaks no rule. The first
event that is anything else, or that breaks a rule, ends the stretch (at the
start of its chain), and the exact sequential function decides from there. So
this file never refuses: it only says how many leading events it has accepted,
and their rows.

The step: ids to slots (``candidates``); one stable sort of the 2n postings by
account; segmented running sums give each account's counters after each posting,
and each posting's predecessor; limits are masks over those sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.candidates import Candidates, Resolutions, choose
from ledger.columns import PENDING_COUNTERS, TransferColumns, empty_column
from ledger.contract import BATCH_MAX, AccountFlags, TransferFlags
from ledger.id_filter import IDFilter
from ledger.pendings import as_pendings
from ledger.slot_map import ABSENT
from ledger.state import State

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
"""Below this no sum overflows: posted and pending stay below 2^61 + 2^61 each, together below 2^63."""


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
    before: I64
    """The four counters of each account before all of its postings."""
    posted: tuple[I64, I64]
    """The account's posted debits and credits after each posting."""
    pending: tuple[I64, I64] | None
    """Likewise what is pending; None when nothing pending is created or resolved."""


def accept(
    state: State, ids: IDFilter, events: Records, first_timestamp: int
) -> tuple[int, TransferColumns | None]:
    """Accept and apply leading events; how many, and their rows.

    The caller has flushed the state and says that event i gets
    ``first_timestamp + i``. What is accepted ends where a chain ends.
    """
    chosen = choose(state, ids, events, first_timestamp)
    count = _chain_start(events, _first(~chosen.good, len(events)))
    while count:
        if int(chosen.amount[:count].max()) * 2 * count >= SUM_LIMIT:
            return 0, None
        postings = _post(state, chosen, count)
        if int(postings.before.max()) >= COUNTER_LIMIT:
            return 0, None
        broken = _first_broken(state, chosen, postings, count)
        if broken == count:
            return count, _apply(state, ids, events[:count], chosen, postings, first_timestamp)
        # What precedes the broken event is as it would be without it; only the
        # sums of the shorter stretch are taken anew.
        count = _chain_start(events, broken)
    return 0, None


def _first(mask: Mask, count: int) -> int:
    at = int(mask.argmax()) if count else 0
    return at if count and mask[at] else count


def _chain_start(events: Records, at: int) -> int:
    """Where the chain that holds event ``at`` begins; a stretch must not cut it.

    A request that ends inside a chain leaves that chain to the exact function.
    """
    while at and events["flags"][at - 1] & _LINKED:
        at -= 1
    return at


def _post(state: State, chosen: Candidates, count: int) -> _Postings:
    keys = np.empty(2 * count, np.int64)
    keys[0::2], keys[1::2] = chosen.debit[:count], chosen.credit[:count]
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
    before = state.accounts.counters.take(account.take(start), axis=0)
    posted, pending = _changes(chosen, count)
    event, is_debit = order >> 1, order & 1 == 0

    def sides(change: I64, debits: I64, credits_: I64) -> tuple[I64, I64]:
        changes = change.take(event)
        debit_changes = changes * is_debit
        return (
            _running(debit_changes, start, group, debits),
            _running(changes - debit_changes, start, group, credits_),
        )

    return _Postings(
        order, account, start, group, before, sides(posted, before[:, 1], before[:, 3]),
        None if pending is None else sides(pending, before[:, 0], before[:, 2]),
    )  # fmt: skip


def _changes(chosen: Candidates, count: int) -> tuple[I64, I64 | None]:
    """By how much each event changes posted and pending counters, on its side of both accounts."""
    posted = chosen.amount[:count]
    if chosen.is_pending is None and chosen.resolutions is None:
        return posted, None
    posted, pending = posted.copy(), np.zeros(count, np.int64)
    if chosen.is_pending is not None:
        created = chosen.is_pending[:count]
        pending[created] = posted[created]
        posted[created] = 0
    if chosen.resolutions is not None:
        resolutions = chosen.resolutions
        inside = resolutions.event < count
        pending[resolutions.event[inside]] = -resolutions.held[inside]
        posted[resolutions.event[inside & resolutions.is_void]] = 0
    return posted, pending


def _running(change: I64, start: I64, group: I64, base: I64) -> I64:
    """Running sums within each group, on top of what the group had before."""
    total = np.cumsum(change)
    return total + (base - total.take(start) + change.take(start)).take(group)


def _pending_after(state: State, postings: _Postings) -> tuple[I64, I64] | None:
    """Pending debits and credits of the account after each posting; None where all are zero."""
    if postings.pending is not None:
        return postings.pending
    if not len(state.pendings):
        return None
    return postings.before[:, 0].take(postings.group), postings.before[:, 2].take(postings.group)


def _first_broken(state: State, chosen: Candidates, postings: _Postings, count: int) -> int:
    """Index of the first event that breaks a limit, ``count`` if none does."""
    flags = state.accounts.flags.take(postings.account.take(postings.start))
    if not (flags & _LIMITED).any():
        return count
    flags = flags.take(postings.group)
    debits, credits_ = postings.posted
    is_debit = postings.order & 1 == 0
    debit_limited = is_debit & (flags & _DEBIT_LIMITED != 0)
    credit_limited = ~is_debit & (flags & _CREDIT_LIMITED != 0)
    pending = _pending_after(state, postings)
    debits_held, credits_held = debits, credits_
    if pending is not None:
        debits_held, credits_held = debits + pending[0], credits_ + pending[1]
    broken = (debit_limited & (debits_held > credits_)) | (credit_limited & (credits_held > debits))
    if chosen.resolutions is not None:
        # What a post moves was within the limits when it was reserved.
        exempt = np.zeros(len(chosen.amount), bool)
        exempt[chosen.resolutions.event] = True
        broken &= ~exempt[postings.order >> 1]
    return int((postings.order[broken] >> 1).min(initial=count))


def _apply(
    state: State,
    ids: IDFilter,
    events: Records,
    chosen: Candidates,
    postings: _Postings,
    first_timestamp: int,
) -> TransferColumns:
    """Write the new counters and pending transfers; the rows of every event."""
    accounts, count = state.accounts, len(events)
    timestamps = first_timestamp + np.arange(count)
    at = timestamps.take(postings.order >> 1)
    touched = postings.account.take(postings.start)
    previous = np.empty(2 * count, np.int64)
    previous[1:] = at[:-1]
    previous[postings.start] = accounts.last_transfer.take(touched)
    columns = _columns(state, events, chosen, timestamps, postings, previous)
    end = np.append(postings.start[1:], 2 * count) - 1
    after = postings.before.copy()
    for counter, values in zip((1, 3), postings.posted, strict=True):
        after[:, counter] = values.take(end)
    for counter, values in zip((0, 2), postings.pending or (), strict=False):
        after[:, counter] = values.take(end)
    accounts.counters[touched] = after
    accounts.last_transfer[touched] = at.take(end)
    accounts.forget_loaded()
    ids.add(np.ascontiguousarray(events["id"][:, 0]), np.ascontiguousarray(events["id"][:, 1]))
    _keep_pendings(state, events, chosen, columns)
    state.last_transfer_timestamp = int(timestamps[-1])
    return columns


def _keep_pendings(state: State, events: Records, chosen: Candidates, columns: TransferColumns) -> None:
    """Hold the pending transfers that the stretch leaves alive, let go of those it resolves."""
    count = len(events)
    alive = np.zeros(count, bool) if chosen.is_pending is None else chosen.is_pending[:count].copy()
    if chosen.resolutions is not None:
        resolutions = chosen.resolutions
        inside = resolutions.event < count
        state.pendings.resolve(resolutions.row[inside & (resolutions.row != ABSENT)])
        # What is created and resolved in one stretch was never seen alive.
        alive[resolutions.creator[inside & (resolutions.creator >= 0)]] = False
    created = np.flatnonzero(alive)
    if not len(created):
        return
    state.pendings.add_columns(len(created), as_pendings(columns.take(created), state.accounts.ids))


def _columns(
    state: State,
    events: Records,
    chosen: Candidates,
    timestamps: I64,
    postings: _Postings,
    previous: I64,
) -> TransferColumns:
    count = len(events)
    place = np.empty(2 * count, np.int64)
    place[postings.order] = np.arange(2 * count)
    debit_at, credit_at = place[0::2], place[1::2]
    debits, credits_ = postings.posted
    arrays: dict[str, npt.NDArray[Any]] = {
        "timestamp": timestamps,
        "amount": chosen.amount[:count],
        "debit_previous": previous.take(debit_at),
        "credit_previous": previous.take(credit_at),
        "debit_debits_posted": debits.take(debit_at),
        "debit_credits_posted": credits_.take(debit_at),
        "credit_debits_posted": debits.take(credit_at),
        "credit_credits_posted": credits_.take(credit_at),
        "debit_account": chosen.debit[:count].astype(np.int32),
        "credit_account": chosen.credit[:count].astype(np.int32),
        "ledger": np.ascontiguousarray(chosen.ledger[:count]).view(np.int32),
        "code": np.ascontiguousarray(chosen.code[:count]).view(np.int16),
        "flags": np.ascontiguousarray(events["flags"]).view(np.int16),
        "id": np.ascontiguousarray(events["id"]),
    }
    pending = _pending_after(state, postings)
    if pending is not None:
        after = (pending[0][debit_at], pending[1][debit_at], pending[0][credit_at], pending[1][credit_at])
        arrays |= dict(zip(PENDING_COUNTERS, after, strict=True))
    for name, kind in (("user_data_64", np.int64), ("user_data_32", np.int32), ("timeout", np.int32)):
        if events[name].any():
            arrays[name] = np.ascontiguousarray(events[name]).view(kind)
    if events["user_data_128"].any():
        arrays["user_data_128"] = np.ascontiguousarray(events["user_data_128"])
    columns = TransferColumns(count, arrays)
    if chosen.resolutions is not None:
        _enter_resolutions(columns, events, chosen.resolutions)
    return columns


def _enter_resolutions(columns: TransferColumns, events: Records, resolutions: Resolutions) -> None:
    """What posts and voids say of their pending transfer, and what they inherit from it."""
    inside = resolutions.event < columns.count
    event = resolutions.event[inside]
    if not len(event):
        return
    arrays = columns.arrays
    arrays["pending_timestamp"] = empty_column("pending_timestamp", columns.count)
    arrays["pending_timestamp"][event] = resolutions.pending_timestamp[inside]
    arrays["pending_id"] = empty_column("pending_id", columns.count)
    arrays["pending_id"][event] = events["pending_id"][event]
    for name, kind in (("user_data_64", np.int64), ("user_data_32", np.int32)):
        inherited = np.where(
            events[name][event] == 0, getattr(resolutions, name)[inside], events[name][event]
        )
        if inherited.any():
            arrays[name] = columns[name].copy()
            arrays[name][event] = inherited.view(kind)
    wide = events["user_data_128"][event]
    empty = ~np.asarray(wide.any(axis=1))
    wide[empty] = resolutions.user_data_128[inside][empty]
    if wide.any():
        arrays["user_data_128"] = columns["user_data_128"].copy()
        arrays["user_data_128"][event] = wide
