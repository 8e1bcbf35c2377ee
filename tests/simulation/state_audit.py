"""State audit: what an engine holds in memory, field by field, against the plain ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ledger.account_head import AccountHead
from ledger.columns import TransferColumns
from ledger.contract import Account
from ledger.id_filter import IDFilter
from ledger.recovery import Recovery
from ledger.rows import TRANSFER_COLUMNS
from ledger.state import State
from ledger.stored import find_in_tail, statuses_in_tail
from ledger.tail import Tail
from ledger.tail_view import TailView
from ledger.tenure import Tenure
from tests.simulation.memory_server import MemoryServer, Violation
from tests.simulation.memory_session import MemoryArchive, MemorySession
from tests.simulation.plain_ledger import PlainLedger, Row

if TYPE_CHECKING:
    from tests.simulation.auditor import Auditor

SECOND = 10**9
PENDINGS_MAX = 500
"""So many live pending transfers are compared in the middle of a run."""
IDS_MAX = 4000
"""So many ids are looked for at a load, and all of them at the end."""

U64 = npt.NDArray[np.uint64]


class QuietSession(MemorySession):
    """A session that never fails."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server, lambda _: None)

    def reach(self, call: str) -> None:
        """Begin a call."""


class WithoutCheckpoint(MemoryArchive):
    """The journal alone."""

    def checkpoint(self) -> None:
        """None."""


def compare_tenure(auditor: Auditor, tenure: Tenure, *, everything: bool = False) -> None:
    """State, tail and id filter of an engine that is at rest."""
    ledger = auditor.ledger
    compare_state(ledger, tenure.state, None if everything else len(ledger.rows))
    _same("timestamps", tenure.state.last_timestamp, ledger.last)
    _same("head", tenure.head, auditor.server.head)
    compare_tail(auditor, tenure.tail)
    compare_ids(auditor, tenure, everything=everything)


def compare_replay(auditor: Auditor, segment_rows: int) -> None:
    """The journal alone gives the same state as with a checkpoint."""
    archive = WithoutCheckpoint(QuietSession(auditor.server))
    loaded = Recovery(archive, auditor.server.head, segment_rows, beside=archive).load()
    compare_state(auditor.ledger, loaded.state)
    _same("rows replayed", loaded.rows_replayed, len(auditor.ledger.rows))
    auditor.counts["state: replayed without a checkpoint"] += 1


def compare_state(ledger: PlainLedger, state: State, start: int | None = None) -> None:
    """Accounts by slot, live pending transfers (all, or some from a number on), expiries, timestamps."""
    state.flush()
    accounts, slots = state.accounts, ledger.slots
    count = accounts.stored
    _same("accounts", count, len(slots))
    changing = [a.changing() for a in slots]
    for name, theirs in (
        ("counters", [list(c[:4]) for c in changing]),
        ("flags", [c[4] for c in changing]),
        ("last_transfer", [c[5] for c in changing]),
        ("timestamp", [a.timestamp for a in slots]),
        ("created_flags", [a.created_flags for a in slots]),
        ("ledger", [a.ledger for a in slots]),
        ("code", [a.code for a in slots]),
        ("ids", [_pair(a.id) for a in slots]),
        ("user_data_128", [_pair(a.user_data[0]) for a in slots]),
        ("user_data_64", [a.user_data[1] for a in slots]),
        ("user_data_32", [a.user_data[2] for a in slots]),
    ):
        ours = getattr(accounts, name)[:count].tolist()
        if ours != theirs:
            slot = next(n for n in range(count) if ours[n] != theirs[n])
            raise Violation(f"account in slot {slot}, {name}: ours {ours[slot]}, theirs {theirs[slot]}")
    if count:
        ids = accounts.ids[:count]
        found = accounts.index.get(np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1]))
        _same("slots by id", found.tolist(), list(range(count)))
    _same("newest account", state.last_account_timestamp, ledger.newest_account)
    _same("newest transfer", state.last_transfer_timestamp, ledger.newest_transfer)
    _compare_pendings(ledger, state, start)


def _compare_pendings(ledger: PlainLedger, state: State, start: int | None) -> None:
    columns = state.pendings.columns()
    _same(
        "live pending transfers", (len(state.pendings), len(columns["timestamp"])), (ledger.live, ledger.live)
    )
    names = (
        "id", "debit_account_id", "credit_account_id", "amount", "user_data_128", "user_data_64",
        "user_data_32", "timeout", "ledger", "code", "flags", "timestamp", "debit_account", "credit_account",
    )  # fmt: skip
    part = slice(None)
    if start is not None and ledger.live > PENDINGS_MAX:
        first = start % (ledger.live - PENDINGS_MAX)
        part = slice(first, first + PENDINGS_MAX)
    lists = [_joined(columns[name][part].tolist()) for name in names]
    for own_id, debit, credit, *others in zip(*lists, strict=True):
        stored = ledger.transfers.get(own_id)
        if stored is None or ledger.fates.get(own_id) != "pending":
            fate = ledger.fates.get(own_id)
            raise Violation(f"the pending transfer {own_id} is alive for us, {fate} for the plain ledger")
        slots = (ledger.accounts[stored[1]].slot, ledger.accounts[stored[2]].slot)
        _same("a pending transfer", (debit, credit, *others), (*stored[1:4], *stored[5:], *slots))
    queued = set(state.pendings.expiries.entries())
    lasting = zip(lists[0], lists[7], lists[11], strict=True)
    missing = {(at + timeout * SECOND, at, own) for own, timeout, at in lasting if timeout} - queued
    _same("expiries that nobody waits for", missing, set())


def compare_tail(auditor: Auditor, tail: Tail) -> None:
    """Rows of the segments that the tail holds, and that all others are sealed."""
    ledger, segments = auditor.ledger, auditor.server.segments
    stored = {segment.number: sum(map(len, segment.parts)) for segment in segments}
    _same(
        "segments of the tail",
        [s.number for s in tail.segments],
        [s.number for s in segments][-len(tail.segments) :],
    )
    unheld = [s.number for s in segments[: len(segments) - len(tail.segments)] if s.seal is None]
    _same("segments that are neither sealed nor in the tail", unheld, [])
    at = sum(stored[s.number] for s in segments[: len(segments) - len(tail.segments)])
    for segment in tail.segments:
        # What is durable was compared with the plain ledger when it was stored.
        durable = TransferColumns.join(segments[segment.number - 1].parts)
        at += len(durable)
        ours = segment.columns()
        _same("rows of the tail", (segment.number, len(ours)), (segment.number, len(durable)))
        for name in TRANSFER_COLUMNS:
            if not np.array_equal(ours[name], durable[name]):
                raise Violation(f"rows of the tail differ in segment {segment.number}, {name}")
        ids = durable["id"]
        found = segment._index.get(np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1]))
        _same("tail by id", found.tolist(), list(range(len(ids))))
    _same("rows", at, len(ledger.rows))


def compare_ids(auditor: Auditor, tenure: Tenure, *, everything: bool) -> None:
    """Every id that the journal has is one that the filter may know; of very many ids some stretch."""
    ids = auditor.server.ids.pairs
    if not everything and len(ids) > IDS_MAX:
        # Another one each time: what one load forgets it forgets of a whole segment.
        start = auditor.server.head.hash[0] * (len(ids) - IDS_MAX) // 255
        ids = np.concatenate([ids[start : start + IDS_MAX], ids[-IDS_MAX // 8 :]])
    unknown = unknown_to(tenure.ids, ids)
    if unknown:
        raise Violation(f"the filter takes {len(unknown)} stored ids for new ones: {unknown[:3]}")


def unknown_to(ids: IDFilter, pairs: U64) -> list[int]:
    """Which of these ids the filter takes for new."""
    low, high = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    return _joined(pairs[~ids.may_contain(low, high)].tolist())


def compare_lookups(auditor: Auditor, tenure: Tenure, ids: list[int]) -> None:
    """Transfers by id, and what became of the pending ones, through tail and sealed segments."""
    ledger, server = auditor.ledger, auditor.server
    found = {s.transfer.id: s for s in find_in_tail(tenure.tail, tenure.state, ids)}
    auditor.counts["read: transfer in the tail"] += len(found)
    sealed = server.find_transfers([i for i in ids if i not in found])
    auditor.counts["read: sealed transfer"] += len(sealed)
    found |= {s.transfer.id: s for s in sealed}
    theirs = {i: ledger.transfers[i] for i in ids if i in ledger.transfers}
    _same("transfers by id", {i: _record(s.transfer) for i, s in found.items()}, theirs)
    dead = {
        ledger.transfers[i][12]: ledger.fates[i]
        for i in theirs
        if ledger.fates.get(i, "pending") != "pending"
    }
    statuses = statuses_in_tail(tenure.tail, dead) if dead else {}
    statuses |= server.find_statuses(dead.keys() - statuses.keys())
    _same("fates", {t: s.name.lower() for t, s in statuses.items()}, dead)
    auditor.counts["read: fate"] += len(dead)
    for i in ids:
        if (i in tenure.state.pendings) != (ledger.fates.get(i) == "pending"):
            raise Violation(f"{i}: alive or not? {ledger.fates.get(i)} for the plain ledger")


def compare_history(auditor: Auditor, view: TailView, account_id: int, head: AccountHead) -> None:
    """An account's whole history: through the tail, then along the pointers of sealed rows."""
    ledger = auditor.ledger
    ours: list[tuple[int, ...]] = []
    at = head.last_transfer
    for row in view.history(head.slot, head.last_transfer):
        ours.append((*_record(view.transfer(row)), *row.counters(head.slot)))
        found = view.at(row.timestamp)
        if found is None or found.index != row.index:
            raise Violation(f"the tail does not find its own row of {row.timestamp}")
        at = row.previous(head.slot)
    auditor.counts["read: history in the tail"] += len(ours)
    slot_rows = [ledger.rows[number] for number in ledger.postings[head.slot]]
    while at:
        sealed = _sealed_row(auditor.server, at)
        ours.append((at, *_side(sealed, head.slot)))
        at = sealed[2] if sealed[8] == head.slot else sealed[3]
        auditor.counts["read: history in sealed segments"] += 1
    newest_first = [row for row in reversed(slot_rows) if row[0] <= head.last_transfer]
    in_tail = sum(len(line) > 5 for line in ours)
    theirs = [
        (*ledger.transfers[row[13]], *_side(row, head.slot))
        if n < in_tail
        else (row[0], *_side(row, head.slot))
        for n, row in enumerate(newest_first)
    ]
    _same(f"history of account {account_id}", ours, theirs)


def _side(row: Row, slot: int) -> Row:
    """Counters of one of a row's accounts after it."""
    return (row[14], row[4], row[15], row[5]) if row[8] == slot else (row[16], row[6], row[17], row[7])


def _sealed_row(server: MemoryServer, timestamp: int) -> Row:
    if timestamp not in server.by_timestamp:
        raise Violation(f"a pointer leads to {timestamp}, where there is no sealed transfer")
    segment, number = server.by_timestamp[timestamp]
    return segment.as_tuples[number]


def records(accounts: Iterable[Account]) -> list[tuple[int, ...]]:
    """Accounts as tuples."""
    return [_record(account) for account in accounts]


def _record(item: Any) -> tuple[int, ...]:
    return tuple(getattr(item, name) for name in item.__dataclass_fields__)


def _pair(value: int) -> list[int]:
    return [value & 2**64 - 1, value >> 64]


def _joined(values: list[Any]) -> list[int]:
    return [v[1] << 64 | v[0] if isinstance(v, list) else v for v in values]


def _same(what: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise Violation(f"{what}\n  ours:             {ours}\n  the plain ledger: {theirs}")
