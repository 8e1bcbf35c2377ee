"""Statements as PDF, to be printed and shown: written page by page, in English.

The file is PDF 1.4 (ISO 32000-1) with two of the fonts that every reader has, Courier and
its bold, so that columns stand under one another and nothing is embedded. All that stands
in it is ASCII: words of ours, handles, ids, amounts, times. Burmese is not in it: its
letters must be shaped, which needs a shaping engine and a font in each file, and the same
statement as JSON is for apps, which show it in any language.

It is written as it is read: of pages that are done only their places are kept.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from foundation.clock import datetime_from_ns
from foundation.money import Money
from wallets.statements import MonthLine, MonthPage

WIDTH, HEIGHT, MARGIN = 842, 595, 36
"""A4 across, in points of 1/72 inch."""

SIZE: Final = 7
"""Of letters, in points; one is 0.6 of that wide."""

LINES_PER_PAGE: Final = 54
"""Lines that fit between the margins, head and foot left out."""

_COLUMNS: Final = (("At (UTC)", 20), ("Kind", 15), ("Effect", 9), ("Counterparty", 32), ("Id", 37))
_AMOUNTS: Final = (("In", 22), ("Out", 22), ("Balance", 23))
_CATALOG, _PAGES, _COURIER, _BOLD, _FIRST_FREE = range(1, 6)


async def statement_pdf(
    pages: AsyncIterator[MonthPage], *, handle: str, step_bytes: int = 1
) -> AsyncIterator[bytes]:
    """The file in pieces; its length is a multiple of ``step_bytes``."""
    writer = _Writer()
    yield writer.begin()
    waiting: list[str] = []
    first: MonthPage | None = None
    async for page in pages:
        if first is None:
            first = page
            waiting = list(_head(page, handle))
        waiting += [_line(each) for each in page.lines]
        while len(waiting) > LINES_PER_PAGE:
            yield writer.page(waiting[:LINES_PER_PAGE])
            waiting = waiting[LINES_PER_PAGE:]
    assert first is not None, "a statement has one page at least"
    foot = list(_foot(first))
    if len(waiting) + len(foot) > LINES_PER_PAGE:
        yield writer.page(waiting)
        waiting = []
    yield writer.page(waiting + foot)
    yield writer.end(step_bytes)


def _head(page: MonthPage, handle: str) -> Iterator[str]:
    yield f"*NUG Pay   Statement of @{handle}   {page.asset.code} ({page.asset.name})   {page.month}"
    yield ""
    yield f"*Opening balance on {page.month}-01 00:00 UTC: {page.opening.format()} {page.asset.code}"
    yield ""
    titles = "".join(title.ljust(width) for title, width in _COLUMNS)
    yield "*" + titles + "".join(title.rjust(width) for title, width in _AMOUNTS)


def _foot(page: MonthPage) -> Iterator[str]:
    yield ""
    if page.is_over:
        end = datetime_from_ns(page.month.end_ns).strftime("%Y-%m-%d")
        yield f"*Closing balance on {end} 00:00 UTC: {page.closing.format()} {page.asset.code}"
    else:
        yield f"*Balance after the last line: {page.closing.format()} {page.asset.code}"
        yield "*This month is not over: more lines may come, and this is no closing balance."


def _line(each: MonthLine) -> str:
    line, change = each.line, each.change
    zero = Money(0, change.asset)
    cells = (
        datetime_from_ns(line.at_ns).strftime("%Y-%m-%d %H:%M:%S"),
        line.kind.value.replace("_", " "),
        line.effect.value,
        f"@{line.counterparty}" if line.counterparty is not None else "",
        str(line.id),
    )
    amounts = (
        change.format() if change > zero else "",
        (zero - change).format() if change < zero else "",
        line.balance.format(),
    )
    return "".join(cell.ljust(width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True)) + "".join(
        amount.rjust(width) for amount, (_, width) in zip(amounts, _AMOUNTS, strict=True)
    )


class _Writer:
    """Objects one after the other, and where each begins."""

    def __init__(self) -> None:
        self._length = 0
        self._places: dict[int, int] = {}
        self._kids: list[int] = []

    def begin(self) -> bytes:
        # Four bytes above ASCII tell transports that this is no text (section 7.5.2).
        head = self._take(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
        fonts = [
            self._object(number, f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} >>".encode())
            for number, name in ((_COURIER, "Courier"), (_BOLD, "Courier-Bold"))
        ]
        return head + b"".join(fonts)

    def page(self, lines: list[str]) -> bytes:
        """A page; a line that begins with * is bold."""
        number = _FIRST_FREE + 2 * len(self._kids)
        self._kids.append(number)
        leading = (HEIGHT - 2 * MARGIN) // (LINES_PER_PAGE + 2)
        parts = [f"BT {leading} TL {MARGIN} {HEIGHT - MARGIN} Td"]
        for line in [*lines, *[""] * (LINES_PER_PAGE + 1 - len(lines)), f"Page {len(self._kids)}"]:
            font = "/B" if line.startswith("*") else "/C"
            text = line.removeprefix("*").replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
            parts.append(f"{font} {SIZE} Tf ({text}) '")
        data = zlib.compress("\n".join([*parts, "ET"]).encode("ascii"))
        stream = f"<< /Length {len(data)} /Filter /FlateDecode >>\nstream\n".encode() + data + b"\nendstream"
        page = (
            f"<< /Type /Page /Parent {_PAGES} 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] "
            f"/Resources << /Font << /C {_COURIER} 0 R /B {_BOLD} 0 R >> >> /Contents {number + 1} 0 R >>"
        )
        return self._object(number, page.encode()) + self._object(number + 1, stream)

    def end(self, step_bytes: int) -> bytes:
        """What binds the pages together; a comment of spaces fills the file up."""
        kids = " ".join(f"{number} 0 R" for number in self._kids)
        bound = self._object(_CATALOG, f"<< /Type /Catalog /Pages {_PAGES} 0 R >>".encode())
        pages = f"<< /Type /Pages /Kids [{kids}] /Count {len(self._kids)} >>"
        bound += self._object(_PAGES, pages.encode())
        count = max(self._places) + 1
        rows = [b"0000000000 65535 f \n"]
        rows += [f"{self._places[number]:010} 00000 n \n".encode() for number in range(1, count)]
        table = f"xref\n0 {count}\n".encode() + b"".join(rows)
        trailer = f"trailer\n<< /Size {count} /Root {_CATALOG} 0 R >>\nstartxref\n".encode()
        # The place of the table is written with ten digits, so that it does not move what it tells.
        whole = self._length + len(b"%\n") + len(table) + len(trailer) + len(b"0000000000\n%%EOF\n")
        filling = b"%" + b" " * (-whole % step_bytes) + b"\n"
        place = f"{self._length + len(filling):010}\n%%EOF\n".encode()
        return bound + filling + table + trailer + place

    def _object(self, number: int, content: bytes) -> bytes:
        self._places[number] = self._length
        return self._take(f"{number} 0 obj\n".encode() + content + b"\nendobj\n")

    def _take(self, data: bytes) -> bytes:
        self._length += len(data)
        return data
