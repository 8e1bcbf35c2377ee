"""The chart is a picture of its own: well-formed, with every row, and nothing from elsewhere."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from ops.bench import Better, Row, Target
from ops.bench_chart import LEFT, LONGEST, WIDTH, chart_of, write_chart

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [
    Row("full batches <&>", 800_000.0, "transfers/s", 1_000_000.0, Target(0.7, of_ratio=True)),
    Row('"hot"', 100_000.0, "transfers/s", 900_000.0, Target(0.9, of_ratio=True)),
    Row("p99", 0.0, "ms", target=Target(15, Better.LOWER)),
]


def bars(root: ET.Element, kind: str) -> list[int]:
    """Widths of the bars of one kind; the legend's, twelve wide, stand left of all bars."""
    found = [each for each in root.iter(f"{SVG}rect") if each.get("class") == kind]
    return [int(each.get("width", "")) for each in found if int(each.get("x", "0")) == LEFT]


def test_chart_is_well_formed_and_has_every_row_and_unit(tmp_path: Path) -> None:
    write_chart(ROWS, tmp_path / "chart.svg", "nugpay bench ledger")
    root = ET.fromstring((tmp_path / "chart.svg").read_text())
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"full batches <&>", '"hot"', "p99", "transfers/s", "ms"} <= set(texts)
    assert "800,000 (0.80 ×)" in texts


def test_bars_are_as_long_as_their_figures_and_a_missed_target_shows() -> None:
    root = ET.fromstring(chart_of(ROWS, "t"))
    assert bars(root, "value") == [round(LONGEST * 0.8), 0]
    assert bars(root, "missed") == [LONGEST // 10]
    assert bars(root, "baseline") == [LONGEST, round(LONGEST * 0.9)]


def test_targets_stand_where_they_would_just_hold() -> None:
    root = ET.fromstring(chart_of(ROWS, "t"))
    strokes = [each for each in root.iter(f"{SVG}rect") if each.get("class") == "target"][:-1]
    assert [int(each.get("x", "")) - LEFT for each in strokes] == [
        round(LONGEST * 0.7), round(LONGEST * 0.81), LONGEST
    ]  # fmt: skip


def test_nothing_is_drawn_outside_of_the_picture() -> None:
    root = ET.fromstring(chart_of(ROWS, "t"))
    height = int(root.get("height", ""))
    for each in root.iter():
        assert int(each.get("y", "0")) <= height
        assert int(each.get("x", "0")) + int(each.get("width", "0")) <= WIDTH or each is root


def test_chart_loads_nothing_and_knows_light_and_dark() -> None:
    text = chart_of(ROWS, "t")
    assert re.findall(r"https?://\S+?(?=\")", text) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme: dark" in text
    assert "url(" not in text
    assert "<script" not in text


def test_no_rows_are_a_chart_too() -> None:
    assert ET.fromstring(chart_of([], "empty")).tag == f"{SVG}svg"
