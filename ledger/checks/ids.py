"""Ids of a check: no transfer's or failed id stands twice, and the id filters know theirs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.checks.findings import Finding, FoundWrong, shown
from ledger.checks.row_layouts import FAILED
from ledger.checks.rows import table_rows, transfer_rows
from ledger.checks.tables import JournalTables
from ledger.id_filter import HEADER_SIZE, IDFilter, stored_key
from ledger.segments import table_of

U64 = npt.NDArray[np.uint64]
Pairs = npt.NDArray[Any]

_ROWS_AT_ONCE = 1 << 17


class IDs:
    """A keyed 64-bit hash of every id; ids whose hashes meet are looked at again, in full."""

    def __init__(self) -> None:
        self._key_low, self._key_high = (np.uint64(secrets.randbits(64) | 1) for _ in range(2))
        self._hashes: list[U64] = []

    def add(self, ids: Pairs) -> None:
        """Remember ids as (low, high) pairs."""
        if len(ids):
            self._hashes.append(self._hash(ids))

    def check(self, tables: JournalTables) -> None:
        """Each id stands once; the journal is read again only where two hashes are alike."""
        if not self._hashes:
            return
        hashes = np.concatenate(self._hashes)
        self._hashes = []
        hashes.sort()
        suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        if len(suspects):
            self._look_again(tables, suspects)

    def _look_again(self, tables: JournalTables, suspects: U64) -> None:
        seen: set[int] = set()
        for table, keys, ids in _all_ids(tables):
            for row in np.flatnonzero(np.isin(self._hash(ids), suspects)).tolist():
                low, high = ids[row].tolist()
                if high << 64 | low in seen:
                    key = f"timestamp {keys[row]}"
                    raise FoundWrong(Finding(table, key, "id", shown(ids[row]), "one that no row before has"))
                seen.add(high << 64 | low)

    def _hash(self, ids: Pairs) -> U64:
        h: U64 = ids[:, 0] * self._key_low
        h ^= h >> np.uint64(29)
        h += ids[:, 1] * self._key_high
        h ^= h >> np.uint64(32)
        h *= np.uint64(0xD6E8FEB86659FD93)
        return h


def _all_ids(tables: JournalTables) -> Iterator[tuple[str, Pairs, Pairs]]:
    """Table, timestamps and ids of all failed ids, and then of all transfers."""
    failed = table_rows(FAILED, tables.failed_ids())
    while (some := failed.take(_ROWS_AT_ONCE)).count:
        yield "ledger_failed_id", some.columns["timestamp"], some.columns["id"]
    for segment in tables.segments():
        transfers = transfer_rows(tables.transfers(segment))
        while (rows := transfers.take(_ROWS_AT_ONCE)).count:
            yield table_of(segment.number), rows.columns["timestamp"], rows.columns["id"]


class StoredFilter:
    """A sealed segment's id filter, as it is stored."""

    def __init__(self, number: int, pieces: list[bytes]) -> None:
        self._number = number
        self._filter = IDFilter(stored_key(pieces[0]))
        for piece in pieces:
            self._filter.add_stored(piece[:HEADER_SIZE], lambda piece=piece: piece)  # type: ignore[misc]  # the piece of this turn

    def check(self, timestamps: Pairs, ids: Pairs) -> None:
        """The filter may have each of these ids: "certainly not" would let one be created again."""
        low, high = np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1])
        missed = np.flatnonzero(~self._filter.may_contain(low, high))
        if len(missed):
            row = int(missed[0])
            raise FoundWrong(
                Finding(
                    "ledger_id_filter",
                    f"number {self._number}",
                    "data",
                    f"without {shown(ids[row])} of timestamp {timestamps[row]}",
                    "every id of its segment",
                )
            )
