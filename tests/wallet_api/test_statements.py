"""Statements over HTTP: one month as JSON, CSV and PDF, and the same figures in each."""

import csv
import io
from datetime import UTC, datetime

import pypdfium2
import pytest

from foundation.assets import USDT
from foundation.clock import SECOND_NS
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_pins import DURESS, PIN, code

PATH = "/v1/statements/USDT/2026-11"
CSV, PDF = {"Accept": "text/csv"}, {"Accept": "application/pdf"}
STEP = 64 * 1024


@pytest.fixture
def clock(clock):
    clock.set_ns(int(datetime(2026, 11, 3, tzinfo=UTC).timestamp()) * SECOND_NS)
    return clock


def over(api: API) -> None:
    api.clock.set_ns(int(datetime(2026, 12, 2, tzinfo=UTC).timestamp()) * SECOND_NS)


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("ascii"), newline=""), strict=True))


def text_of(content: bytes) -> str:
    """What a reader of PDFs finds on its pages; each must be drawn without a fault."""
    document = pypdfium2.PdfDocument(content)
    pages = []
    for page in document:
        textpage = page.get_textpage()
        pages.append(str(textpage.get_text_range()))
        textpage.close()
        picture = page.render(scale=1)
        # Paper with ink on it: neither blank nor black.
        ink = sum(1 for value in bytes(picture.buffer) if value < 128) / len(bytes(picture.buffer))
        assert 0.0002 < ink < 0.3
        picture.close()
        page.close()
    document.close()
    return "\n".join(pages)


async def test_json_csv_and_pdf_tell_the_same_month(api, aye, ko):
    await aye.pay(ko, "25")
    await ko.pay(aye, "1.5")
    over(api)
    told = (await aye.get(PATH)).json()
    assert (told["opening_balance"], told["closing_balance"], told["is_over"]) == (
        "0.000000", "76.475000", True,
    )  # fmt: skip
    assert [line["change"] for line in told["lines"]] == ["100.000000", "-25.000000", "-0.025000", "1.500000"]
    assert told["next_cursor"] is None

    answer = await aye.get(PATH, headers=CSV)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="statement-USDT-2026-11.csv"'
    assert answer.content.endswith(b"\r\n")
    assert answer.content.count(b"\n") == answer.content.count(b"\r\n")
    first, *lines, last = rows(answer.content)
    assert (first["kind"], first["balance"]) == ("opening_balance", "0.000000")
    assert (last["kind"], last["effect"], last["balance"]) == ("closing_balance", "", "76.475000")
    assert [(one["id"], one["at"], one["balance"]) for one in lines] == [
        (one["id"], one["at"], one["balance"]) for one in told["lines"]
    ]
    assert [(one["money_in"], one["money_out"]) for one in lines] == [
        ("100.000000", "0.000000"),
        ("0.000000", "25.000000"),
        ("0.000000", "0.025000"),
        ("1.500000", "0.000000"),
    ]
    assert [one["counterparty"] for one in lines] == ["", "ko_ko", "", "ko_ko"]

    answer = await aye.get(PATH, headers=PDF)
    assert answer.headers["content-type"] == "application/pdf"
    text = text_of(answer.content)
    assert "Statement of @aye_aye" in text
    assert "Closing balance on 2026-12-01 00:00 UTC: 76.475000 USDT" in text
    for line in told["lines"]:
        assert line["id"] in text
        assert line["balance"] in text
    assert (await aye.get(PATH, headers=PDF)).content == answer.content


async def test_no_cell_is_a_formula(api, aye, ko):
    await aye.pay(ko, "25")
    answer = await aye.get(PATH, headers=CSV)
    for row in csv.reader(io.StringIO(answer.text, newline="")):
        assert len(row) == 13
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


async def test_a_month_that_is_not_over_says_so_in_each_form(api, aye):
    assert (await aye.get(PATH)).json()["is_over"] is False
    last = rows((await aye.get(PATH, headers=CSV)).content)[-1]
    assert (last["kind"], last["effect"], last["at"]) == ("closing_balance", "month_not_over", "")
    text = text_of((await aye.get(PATH, headers=PDF)).content)
    assert "This month is not over" in text
    assert "Closing balance" not in text


async def test_a_long_month_is_written_in_pieces_and_none_of_its_lines_is_lost(api, aye, ko, monkeypatch):
    monkeypatch.setattr("wallets.statements.STREAM_LINES", 7)
    for _ in range(60):
        await aye.pay(ko, "0.01")
    lines = rows((await aye.get(PATH, headers=CSV)).content)[1:-1]
    assert len({line["id"] for line in lines}) == len(lines) == 121
    text = text_of((await aye.get(PATH, headers=PDF)).content)
    assert "Page 3" in text
    assert "Page 4" not in text
    assert all(line["id"] in text for line in lines)
    paged, cursor = [], ""
    while True:
        page = (await aye.get(f"{PATH}?limit=50{cursor}")).json()
        paged += [line["id"] for line in page["lines"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert paged == [line["id"] for line in lines]


async def test_in_a_session_sizes_say_nothing_of_whose_month_it_is(api, aye, ko):
    await api.fund(aye, "5000000", USDT)
    await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle="@a_decoy_with_a_much_longer_na")
    await aye.log_in(PIN)
    for _ in range(12):
        await aye.pay(ko, "3")
    for how in ({}, CSV, PDF):
        seen = set()
        for pin in (PIN, DURESS):
            await aye.log_in(pin)
            answer = await aye.get(PATH, headers=how)
            assert answer.status_code == 200
            if how:
                assert len(answer.content) == STEP
            if how == PDF:
                text_of(answer.content)
            if how == CSV:
                assert rows(answer.content)[-1]["kind"] == "closing_balance"
            seen.add((len(answer.content), *((name, len(text)) for name, text in answer.headers.items())))
        assert len(seen) == 1, how


async def test_what_is_no_statement_is_refused_by_name(api, aye, ko, refusals):
    for path, wanted in [
        ("/v1/statements/USDT/2026-12", "statement_month_malformed"),
        ("/v1/statements/USDT/2026-1", "statement_month_malformed"),
        ("/v1/statements/EUR/2026-11", "unknown_asset"),
        (f"{PATH}?cursor=nonsense", "cursor_malformed"),
        (f"{PATH}?limit=101", "request_malformed"),
    ]:
        answer = await aye.get(path, headers=CSV if "?" not in path else {})
        assert code(answer) == wanted, answer.text
    unsigned = await api.http.get(PATH)
    assert unsigned.status_code == 401


async def test_nobody_gets_another_s_month(api, aye, ko):
    await aye.pay(ko, "25")
    stranger: Phone = await api.phone("su_su")
    assert (await stranger.get(PATH)).json()["lines"] == []
    lines = rows((await ko.get(PATH, headers=CSV)).content)
    assert [line["kind"] for line in lines] == ["opening_balance", "deposit", "payment", "closing_balance"]
