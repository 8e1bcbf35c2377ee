"""Pictures of payment codes: QR codes as SVG, and as blocks for a terminal.

Error correction is M, which bears a seventh of a printed code being dirty; a code with
everything in it is of QR version 5 at most, 37 modules a side, or 6 with a pass.
"""

from __future__ import annotations

from io import BytesIO
from itertools import zip_longest
from typing import Final

import segno

from wallets.payment_codes import PaymentCode, qr_text

QUIET_ZONE: Final = 4
"""Modules around the code that stay light, as ISO/IEC 18004 has it."""

_BLOCKS: Final = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
"""Two modules above one another, dark or not, as light text on a dark terminal shows them."""


def svg(code: PaymentCode) -> str:
    """An SVG document; it scales, and has no script, style or reference to anything outside."""
    out = BytesIO()
    bare = {"xmldecl": False, "svgclass": None, "lineclass": None}
    _made(code).save(out, kind="svg", scale=8, border=QUIET_ZONE, light="#fff", **bare)
    return out.getvalue().decode()


def blocks(code: PaymentCode) -> str:
    """Lines of block characters for a terminal that writes light on dark."""
    rows = [list(row) for row in _made(code).matrix_iter(border=QUIET_ZONE)]
    lines = []
    for upper, lower in zip_longest(rows[::2], rows[1::2]):
        below = lower or [0] * len(upper)
        lines.append("".join(_BLOCKS[above, under] for above, under in zip(upper, below, strict=True)))
    return "\n".join(lines) + "\n"


def _made(code: PaymentCode) -> segno.QRCode:
    return segno.make_qr(qr_text(code), error="m")
