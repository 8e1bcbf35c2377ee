"""History marks of a check: those that are stored of a sealed segment are those of its rows.

A mark that leads nowhere is noticed by whoever follows it; one that is missing is not,
and the account would seem to have had no transfers there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ledger.checks.findings import Finding, FoundWrong
from ledger.checks.stretch import Rows
from ledger.columns import TransferColumns
from ledger.history_marks import encode_marks

TABLE = "ledger_history_mark"

_WANTED = ("timestamp", "debit_account", "credit_account")
_PART = struct.Struct("!hiiii")
"""What a row begins with: fields, length and value of the part, and of the segment's number."""
_LENGTH = struct.Struct("!i")


class StoredMarks:
    """A sealed segment's marks, as they are stored, beside the rows that they are to be of."""

    def __init__(self, number: int, stored: bytes) -> None:
        self._number = number
        self._stored = stored
        self._rows: list[TransferColumns] = []

    def add(self, transfers: Rows) -> None:
        """Some more of the segment's rows, in their order."""
        columns = {name: transfers[name].copy() for name in _WANTED}
        self._rows.append(TransferColumns(len(transfers), columns))

    def check(self) -> None:
        """Compare, when all rows were there; ``FoundWrong`` names the first part that differs."""
        expected = encode_marks(self._number, TransferColumns.join(self._rows))
        if self._stored == expected:
            return
        found, wanted = dict(_parts(self._stored)), dict(_parts(expected))
        for part in sorted(found.keys() | wanted.keys()):
            if found.get(part) != wanted.get(part):
                column = "part" if part not in found or part not in wanted else "slots and timestamps"
                raise FoundWrong(
                    Finding(
                        TABLE, f"number {self._number}, part {part}", column,
                        "others" if part in found else "missing",
                        "those of the segment's rows" if part in wanted else "none",
                    )
                )  # fmt: skip
        raise FoundWrong(Finding(TABLE, f"number {self._number}", "form", "another", "the canonical one"))


def _parts(rows: bytes) -> Iterator[tuple[int, bytes]]:
    """Each row's part and its bytes; ends where they are those of no row."""
    at = 0
    while at + _PART.size <= len(rows):
        start, part = at, _PART.unpack_from(rows, at)[2]
        at += _PART.size
        for _ in range(2):
            if at + _LENGTH.size > len(rows):
                return
            (length,) = _LENGTH.unpack_from(rows, at)
            at += _LENGTH.size + max(length, 0)
        yield part, rows[start:at]
