"""Files of bulk payments: CSV as RFC 4180 has it, in UTF-8, read strictly.

    handle,amount,reference
    @ko_ko,25.00,November
    @ma_hla,12.50,"Smith, A."

The header is exactly that. Lines end with CR LF or LF, the last one with or without; a
byte order mark at the start, which spreadsheets write, is left out. What is wrong with the
file as a whole refuses all of it, with the line's number: an encoding or a quote that is
broken makes every line after it uncertain. What is wrong with a line alone is told of that
line (``BulkLine.fault``), so that everything can be corrected at once.

A cell that begins with =, +, -, @, a tab or a carriage return is a formula to a spreadsheet
(OWASP, CSV injection) and is refused, save for the one @ that a handle may begin with. Line
breaks inside quotes are refused too: no handle, amount or reference has one, and so a
line's number is that of its row in any editor.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from foundation.assets import Asset
from foundation.errors import Refusal, RefusalCode
from foundation.money import Money
from wallets.bulk_errors import BulkCode
from wallets.errors import WalletCode
from wallets.handles import parse_handle

BYTES_MAX: Final = 1024 * 1024
"""Longest file."""

LINES_MAX: Final = 10_000
"""Most payments in a file."""

HEADER: Final = ["handle", "amount", "reference"]
"""The first line's cells."""

REFERENCE_LENGTH_MAX: Final = 64
"""Longest reference, in characters."""

SHOWN_LENGTH_MAX: Final = 40
"""How much is kept of a cell that is no handle."""

_FORMULA_BEGINS: Final = ("=", "+", "-", "@", "\t", "\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# Invisible signs that Burmese and its neighbours are written with; other formats, such as those
# that turn the order of reading around, are control characters here.
_JOINERS = dict.fromkeys((0x200B, 0x200C, 0x200D))

# A comma before each cell makes them all alike.
_CELL = re.compile(r',(?:"((?:[^"]|"")*)"|([^",]*))')
_ROW = re.compile(r'(?:,(?:"(?:[^"]|"")*"|[^",]*))+')


@dataclass(slots=True)
class BulkLine:
    """A line of a file."""

    number: int
    """As a spreadsheet counts: the header is line 1."""
    payee: str
    """The handle, normalised where it is one."""
    amount: Money | None
    reference: str
    fault: RefusalCode | None = None
    """What is wrong with it; a line without is well formed, whoever its payee may be."""


@dataclass(frozen=True, slots=True)
class BulkFile:
    """A file that was read."""

    digest: bytes
    """SHA-256 of its bytes."""
    lines: list[BulkLine]


def read_bulk_file(content: bytes, asset: Asset) -> BulkFile:
    """Read a file of payments in ``asset``.

    Refused as ``bulk_encoding_broken``, ``bulk_file_malformed`` or ``bulk_too_many_lines``;
    whatever else is wrong stands with its line.
    """
    rows = _rows(content)
    if next(rows, None) != HEADER:
        raise _malformed(1, f"the first line must be {','.join(HEADER)}")
    lines: list[BulkLine] = []
    seen: set[tuple[str, int, str]] = set()
    for number, cells in enumerate(rows, start=2):
        if len(lines) == LINES_MAX:
            raise Refusal(
                BulkCode.BULK_TOO_MANY_LINES, f"A file has at most {LINES_MAX} payments.", limit=LINES_MAX
            )
        line = _read_line(number, cells, asset)
        if line.fault is None and line.amount is not None:
            said = (line.payee, line.amount.minor, line.reference)
            if said in seen:
                line.fault = BulkCode.BULK_LINE_REPEATED
            seen.add(said)
        lines.append(line)
    if not lines:
        raise _malformed(2, "there is no payment")
    return BulkFile(hashlib.sha256(content).digest(), lines)


def _rows(content: bytes) -> Iterator[list[str]]:
    bare = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        text = bare.decode("utf-8")
    except UnicodeDecodeError as error:
        number = bare.count(b"\n", 0, error.start) + 1
        raise Refusal(BulkCode.BULK_ENCODING_BROKEN, f"Line {number} is not UTF-8.", line=number) from None
    # Only these two end a line; str.splitlines() would also break at signs that a name may hold.
    rows = text.removesuffix("\n").removesuffix("\r").split("\n")
    for number, row in enumerate(rows, start=1):
        yield _cells(number, row.removesuffix("\r"))


def _cells(number: int, row: str) -> list[str]:
    if '"' not in row:
        return row.split(",")
    row = "," + row
    if not _ROW.fullmatch(row):
        raise _malformed(number, "a quote stands alone, or a cell holds a line break")
    return [
        quoted.replace('""', '"') if plain is None else plain
        for quoted, plain in (cell.groups() for cell in _CELL.finditer(row))
    ]


def _read_line(number: int, cells: list[str], asset: Asset) -> BulkLine:
    payee, text, reference = [*cells, "", "", ""][:3]
    line = BulkLine(number, _shown(payee), None, _shown(reference))
    if len(cells) != len(HEADER):
        line.fault = BulkCode.BULK_LINE_MALFORMED
        return line
    if any(cell.startswith(_FORMULA_BEGINS) for cell in (payee.removeprefix("@"), text, reference)):
        line.fault = BulkCode.BULK_CELL_FORMULA
        return line
    try:
        line.payee = parse_handle(payee)
        line.amount = Money.parse(text, asset)
    except Refusal as refusal:
        line.fault = refusal.code
        return line
    if line.amount.minor == 0:
        line.fault = WalletCode.AMOUNT_NOT_POSITIVE
    elif len(reference) > REFERENCE_LENGTH_MAX or not reference.translate(_JOINERS).isprintable():
        line.fault = BulkCode.BULK_LINE_MALFORMED
    else:
        line.reference = reference
    return line


def _shown(cell: str) -> str:
    # PostgreSQL holds no NUL, and nobody wants to read control characters back.
    return "".join(sign if sign.isprintable() else "?" for sign in cell[:SHOWN_LENGTH_MAX])


def _malformed(line: int, why: str) -> Refusal:
    return Refusal(BulkCode.BULK_FILE_MALFORMED, f"Line {line}: {why}.", line=line)
