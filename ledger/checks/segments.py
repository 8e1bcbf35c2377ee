"""Segments of a check: the catalog says where every batch is, and the seals what the segments hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.checks.findings import Finding, FoundWrong
from ledger.segments import SEALED, Segment, table_of


def check_catalog(
    segments: Sequence[Segment], bounds: Mapping[int, tuple[int, int]], strays: Sequence[str]
) -> None:
    """Numbers and first batches rise; sealed are the oldest, and only they are attached."""
    if not segments:
        raise _wrong("ledger_segment", 1, "number", "missing", "the first segment")
    for number, segment in enumerate(segments, 1):
        if segment.number != number:
            raise _wrong("ledger_segment", segment.number, "number", segment.number, number)
    previous = 0
    sealed_until = sum(segment.seal is not None for segment in segments)
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        if (segment.number == 1) != (segment.first_sequence == 1) or segment.first_sequence <= previous:
            expected = 1 if segment.number == 1 else f"above {previous}"
            raise _wrong("ledger_segment", segment.number, "first_sequence", segment.first_sequence, expected)
        previous = segment.first_sequence
        if (segment.seal is not None) != (segment.number <= sealed_until):
            raise _wrong(
                "ledger_seal", segment.number, "number", segment.number, "the segments before it to be sealed"
            )
        if segment.seal is not None:
            last = segment.seal.last_sequence
            if following is None:
                raise _wrong(
                    "ledger_seal",
                    segment.number,
                    "number",
                    segment.number,
                    "that of a segment that is not the last",
                )
            if last != following.first_sequence - 1:
                raise _wrong(
                    "ledger_seal", segment.number, "last_sequence", last, following.first_sequence - 1
                )
    _check_bounds(segments, bounds)
    if strays:
        raise FoundWrong(
            Finding(strays[0], "any row", "number", "in no catalog", "that of a segment in ledger_segment")
        )


def _check_bounds(segments: Sequence[Segment], bounds: Mapping[int, tuple[int, int]]) -> None:
    for segment in segments:
        seal = segment.seal
        expected = None if seal is None else (seal.first_timestamp, seal.last_timestamp + 1)
        if bounds.get(segment.number) != expected:
            found = bounds.get(segment.number, "missing")
            raise _wrong(
                "ledger_seal", segment.number, f"bounds of {table_of(segment.number)} in {SEALED}",
                found, "none" if expected is None else expected,
            )  # fmt: skip
    unknown = set(bounds) - {segment.number for segment in segments}
    if unknown:
        raise _wrong("ledger_segment", min(unknown), "number", "missing", f"that of a part of {SEALED}")


def check_seal(segment: Segment, count: int, first_timestamp: int, last_timestamp: int) -> None:
    """A sealed segment has the rows that its seal says."""
    seal = segment.seal
    if seal is None:
        return
    for column, found, expected in (
        ("transfer_count", seal.transfer_count, count),
        ("first_timestamp", seal.first_timestamp, first_timestamp),
        ("last_timestamp", seal.last_timestamp, last_timestamp),
    ):
        if found != expected:
            raise _wrong("ledger_seal", segment.number, column, found, expected)


def _wrong(table: str, number: int, column: str, found: object, expected: object) -> FoundWrong:
    return FoundWrong(Finding(table, f"number {number}", column, str(found), str(expected)))
