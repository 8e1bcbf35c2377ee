"""Batches of a check: numbers, times, counts, ranges, and the chain of hashes."""

from __future__ import annotations

import hashlib
from functools import partial

import numpy as np
import numpy.typing as npt

from ledger.checks.findings import HASH, NUMBERS, Finding, Mask, Verdict
from ledger.checks.stretch import Rows, Stretch

COUNTS = ("account_count", "transfer_count", "expiry_count", "failed_count")

_HEADER = np.dtype(
    [("sequence", ">i8"), ("timestamp", ">i8"), ("transfer_first", ">i8"), ("transfer_last", ">i8")]
    + [(name, ">i4") for name in COUNTS]
)  # fmt: skip


def check_numbers(stretch: Stretch, verdict: Verdict) -> None:
    """Timestamps rise, and each batch has the rows that it counts, in the range that it names.

    That sequences are dense and counts not negative was seen when the stretch was cut.
    """
    columns = stretch.batches.columns

    def note(wrong: Mask, column: str, expected: str) -> None:
        verdict.note_first(
            wrong,
            lambda batch: (batch, NUMBERS, 0),
            lambda batch: stretch.batch_finding(batch, column, expected),
        )

    note(stretch.ends <= stretch.begins(), "timestamp", "one above that of the batch before")
    nothing = np.ones(stretch.batches.count, bool)
    for name in COUNTS:
        nothing &= columns[name] == 0
    note(nothing, "transfer_count", "rows: a batch has at least one of some kind")
    for rows, column in (
        (stretch.accounts, "account_count"), (stretch.expiries, "expiry_count"),
        (stretch.transfers, "transfer_count"), (stretch.failed, "failed_count"),
    ):  # fmt: skip
        missing = rows.ends > len(rows)
        note(missing, column, f"no more than the rows that {rows.table} has for it")
    _check_ranges(stretch, verdict)


def _check_ranges(stretch: Stretch, verdict: Verdict) -> None:
    rows = stretch.transfers
    timestamps = rows["timestamp"]
    count = np.minimum(rows.ends, len(rows)) - np.minimum(rows.ends - rows.counts, len(rows))
    padded = np.append(timestamps, 0)
    there = count > 0
    ends = np.minimum(rows.ends, len(rows))
    for column, expected in (
        ("transfer_first", np.where(there, padded[ends - count], 0)),
        ("transfer_last", np.where(there, padded[ends - 1], 0)),
    ):
        wrong = stretch.batches.columns[column] != expected

        def make(batch: int, column: str = column, expected: npt.NDArray[np.int64] = expected) -> Finding:
            return stretch.batch_finding(batch, column, expected[batch])

        verdict.note_first(wrong, lambda batch: (batch, NUMBERS, 0), make)


def check_times(stretch: Stretch, rows: Rows, last: int, verdict: Verdict, imported: Mask | None) -> None:
    """Rows of a table rise in time, and each belongs to its batch's time.

    An imported row has a time of its own, before its batch's. ``last`` is the
    timestamp of the table's row before.
    """
    if not len(rows):
        return
    timestamps = rows["timestamp"].astype(np.int64)
    before = np.append(np.int64(last), timestamps[:-1])
    rows.expect(verdict, timestamps <= before, "timestamp", "one above that of the row before")
    begins, ends = rows.since(stretch.begins()), rows.since(stretch.ends)
    early = timestamps <= begins
    if imported is not None:
        early &= ~imported
    rows.expect(verdict, early, "timestamp", "one after the batch before")
    rows.expect(verdict, timestamps > ends, "timestamp", "one that its batch has reached")


def check_hashes(stretch: Stretch, previous: bytes, verdict: Verdict) -> bytes:
    """Chain the batches' hashes; the last one."""
    columns = stretch.batches.columns
    headers = np.empty(stretch.batches.count, _HEADER)
    for name in _HEADER.names or ():
        headers[name] = columns[name]
    header_bytes, size = headers.tobytes(), _HEADER.itemsize
    tables = (stretch.accounts, stretch.expiries, stretch.transfers, stretch.failed)
    # Where the rows of each table end, as bytes, batch by batch; tables without a row are left out.
    slices = []
    for rows in tables:
        if len(rows):
            ends = rows.taken.starts[np.minimum(rows.ends, len(rows))].tolist()
            slices.append((rows.taken.data, [0, *ends]))
    hashes = columns["hash"]
    for batch in range(stretch.batches.count):
        digest = hashlib.sha256(previous)
        digest.update(header_bytes[batch * size : (batch + 1) * size])
        for data, at in slices:
            if at[batch] != at[batch + 1]:
                digest.update(data[at[batch] : at[batch + 1]])
        previous = digest.digest()
        if previous != hashes[batch].tobytes():
            expected = f"{previous.hex()}, by its rows and the batch before"
            verdict.note((batch, HASH, 0), partial(stretch.batch_finding, batch, "hash", expected))
            break
    return previous
