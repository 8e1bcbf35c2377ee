"""The rows of a benchmark as a bar chart: plain SVG, readable on light and on dark ground.

Rows of one unit share a panel and a linear scale. A row is a bar with its figure;
the baseline that was measured beside it is a thin bar under it, and an upright
stroke stands where its target is. Nothing is loaded from elsewhere: no font, no
script, no picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from ops.bench import Row, shown

WIDTH = 1080
"""Width of the picture."""
LEFT = 470
"""Where the bars begin; the names stand before them."""
LONGEST = 400
"""Length of a panel's longest bar; its figure stands after it."""
LINE = 28
"""Height of a row."""
HEAD = 44
"""Height of a panel's title, and of the picture's."""

_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .title { font-size: 18px; font-weight: 600 }
    .panel { font-size: 14px; font-weight: 600 }
    .figure { font-variant-numeric: tabular-nums }
    .ground { fill: #ffffff }
    .value { fill: #2f6fde }
    .missed { fill: #c2410c }
    .baseline { fill: #9aa4b2 }
    .target { fill: #24292f }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .ground { fill: #0d1117 }
      .value { fill: #6ea8fe }
      .missed { fill: #fb923c }
      .baseline { fill: #6b7685 }
      .target { fill: #e6edf3 }
    }
"""


def chart_of(rows: Sequence[Row], title: str) -> str:
    """The whole picture as SVG."""
    panels: dict[str, list[Row]] = {}
    for row in rows:
        panels.setdefault(row.unit, []).append(row)
    parts: list[str] = []
    top = HEAD
    for unit, members in sorted(panels.items(), key=lambda panel: -len(panel[1])):
        parts += _panel(unit, members, top)
        top += HEAD + LINE * len(members)
    height = top + LINE + 12
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
            f'     width="{WIDTH}" height="{height}" role="img" aria-label="{_attribute(title)}">',
            f"  <title>{escape(title)}</title>",
            f"  <style>{_STYLE}  </style>",
            f'  <rect class="ground" width="{WIDTH}" height="{height}"/>',
            f'  <text class="title" x="16" y="30">{escape(title)}</text>',
            *parts,
            *_legend(top),
            "</svg>",
            "",
        ]
    )


def write_chart(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draw the rows into a file."""
    path.write_text(chart_of(rows, title))


def _panel(unit: str, rows: Sequence[Row], top: int) -> list[str]:
    longest = max(max(row.value, row.baseline or 0, _goal(row) or 0) for row in rows) or 1
    parts = [f'  <text class="panel" x="16" y="{top + 28}">{escape(unit)}</text>']
    for number, row in enumerate(rows):
        y = top + HEAD + number * LINE
        kind = "missed" if row.holds is False else "value"
        length = _length(row.value, longest)
        parts += [
            f'  <text x="{LEFT - 10}" y="{y + 12}" text-anchor="end">{escape(row.name)}</text>',
            f'  <rect class="{kind}" x="{LEFT}" y="{y}" width="{length}" height="14" rx="2"/>',
        ]
        after = length
        if row.baseline is not None:
            under = _length(row.baseline, longest)
            after = max(length, under)
            parts.append(
                f'  <rect class="baseline" x="{LEFT}" y="{y + 15}" width="{under}" height="4" rx="1"/>'
            )
        goal = _goal(row)
        if goal is not None:
            at = _length(goal, longest)
            after = max(after, at)
            parts.append(f'  <rect class="target" x="{LEFT + at}" y="{y - 3}" width="2" height="23"/>')
        parts.append(
            f'  <text class="figure" x="{LEFT + after + 8}" y="{y + 12}">{escape(_figure(row))}</text>'
        )
    return parts


def _goal(row: Row) -> float | None:
    """The value at which the row's target would just hold."""
    if row.target is None:
        return None
    if not row.target.of_ratio:
        return row.target.bound
    return row.target.bound * row.baseline if row.baseline is not None else None


def _figure(row: Row) -> str:
    ratio = f" ({row.ratio:.2f} ×)" if row.ratio is not None else ""
    return shown(row.value) + ratio


def _legend(top: int) -> list[str]:
    marks = (
        ("value", "measured"),
        ("missed", "measured, target missed"),
        ("baseline", "baseline"),
        ("target", "target"),
    )
    y = top + LINE
    parts = []
    for number, (kind, label) in enumerate(marks):
        x = 16 + 200 * number
        parts += [
            f'  <rect class="{kind}" x="{x}" y="{y - 10}" width="12" height="12" rx="2"/>',
            f'  <text x="{x + 18}" y="{y}">{label}</text>',
        ]
    return parts


def _length(value: float, longest: float) -> int:
    """Length of a bar; what is not nothing can be seen."""
    return max(round(LONGEST * value / longest), 1 if value > 0 else 0)


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
