"""Files of payments over HTTP: brought by one device, released by another, followed line by line."""

import asyncio
import hashlib
from typing import Any

import httpx
import pytest
from nugpay_client.keys import DeviceKey
from sqlalchemy import text

from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from wallet_api.gate import BODY_BYTES_MAX, FILE_BYTES_MAX
from wallets.bulk_execution import BulkTools, advance_bulk_payments
from wallets.bulk_files import LINES_MAX

HEADER = "handle,amount,reference\r\n"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
async def mill(api: API, ko: Phone) -> Phone:
    assert ko.handle == "@ko_ko"
    phone = await api.phone("the_mill", "1000")
    async with api.database.session() as session:
        await session.execute(text("UPDATE wallets_wallet SET tier = 'business' WHERE handle = 'the_mill'"))
    return phone


@pytest.fixture
async def checker(api: API, mill: Phone) -> Phone:
    """A second device of the mill."""
    wallet = await api.connections.wallets.by_handle("the_mill")
    assert wallet is not None
    phone = Phone(api, DeviceKey.generate(), mill.handle)
    body = {"code": await api.code(person_id=wallet.person_id), "public_key": phone.key.public_jwk}
    assert (await phone.post("/v1/enrolments", body)).status_code == 201
    return phone


def path(api: API, asset: str = "USDT") -> str:
    return f"/v1/bulk_payments?id={uuid7(api.clock)}&asset={asset}"


async def bring(phone: Phone, lines: str | bytes, target: str | None = None, **how) -> httpx.Response:
    content = lines if isinstance(lines, bytes) else (HEADER + lines).encode()
    how = {"headers": CSV, **how}
    return await phone.post(target or path(phone.api), raw=content, **how)


async def release(phone: Phone, bulk: dict[str, Any], **more: str) -> httpx.Response:
    body = {"digest": bulk["digest"], "total": bulk["total"], **more}
    return await phone.post(f"/v1/bulk_payments/{bulk['id']}/release", body)


async def advance(api: API) -> None:
    c = api.connections
    await advance_bulk_payments(BulkTools(api.database, api.ledger, api.clock, c.wallets, c.limits))


async def test_a_file_is_brought_released_paid_and_followed(api, ko, mill, checker):
    content = HEADER + "@ko_ko,25.00,November\r\nko_ko,1,December\r\n"
    target = path(api)
    made = await bring(mill, content.encode(), target)
    assert (made.status_code, made.json()["state"]) == (201, "checked")
    bulk = made.json()
    assert bulk["digest"] == hashlib.sha256(content.encode()).hexdigest()
    assert (bulk["lines"], bulk["total"], bulk["fees"]) == (2, "26.000000", "0.035000")
    again = await bring(mill, content.encode(), target)
    assert (again.json(), again.headers["idempotency-replayed"]) == (bulk, "true")

    assert (await release(mill, bulk)).json()["code"] == "bulk_released_by_maker"
    assert (await release(checker, bulk)).json()["state"] == "released"
    await advance(api)

    own = f"/v1/bulk_payments/{bulk['id']}"
    done = (await checker.get(own)).json()
    assert (done["state"], done["done"], done["paid"], done["paid_total"]) == ("finished", 2, 2, "26.000000")
    first = (await mill.get(f"{own}/lines?state=paid&limit=1")).json()
    (line,) = first["lines"]
    assert (line["number"], line["payee"], line["reference"]) == (2, "@ko_ko", "November")
    rest = (await mill.get(f"{own}/lines?after={first['next_after']}")).json()
    assert ([each["number"] for each in rest["lines"]], rest["next_after"]) == ([3], None)
    payment = (await ko.get(f"/v1/payments/{line['payment_id']}")).json()
    assert (payment["payer"], payment["amount"], payment["fee"]) == ("@the_mill", "25.000000", "0.025000")
    assert await ko.available() == "27.000000"
    assert [each["id"] for each in (await mill.get("/v1/bulk_payments")).json()["bulk_payments"]] == [
        bulk["id"]
    ]
    assert (await ko.get(own)).json()["code"] == "bulk_not_found"
    assert (await ko.get("/v1/bulk_payments")).json() == {"bulk_payments": [], "next_before": None}


async def test_of_a_release_and_a_cancellation_one_stands_for_good(api, ko, mill, checker):
    line = "@ko_ko,25.00,November\r\n"
    first, second = [(await bring(mill, line)).json() for _ in range(2)]
    wrong = (await bring(mill, "nobody_here,1,a\r\n")).json()
    for bulk in (first, wrong):
        cancel = f"/v1/bulk_payments/{bulk['id']}/cancel"
        assert (await ko.post(cancel)).json()["code"] == "bulk_not_found"
        done = await checker.post(cancel)
        assert (done.status_code, done.json()["state"]) == (200, "cancelled")
        again = await mill.post(cancel)
        assert (again.content, again.headers["idempotency-replayed"]) == (done.content, "true")
        assert (await release(checker, bulk)).json()["code"] == "bulk_cancelled"
    assert (await release(checker, second)).json()["state"] == "released"
    refused = await mill.post(f"/v1/bulk_payments/{second['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "bulk_released")
    await advance(api)
    assert await ko.available() == "26.000000"


async def test_a_release_and_a_cancellation_at_once_find_each_other(api, ko, mill, checker):
    bulks = [(await bring(mill, "@ko_ko,1.00,a\r\n")).json() for _ in range(10)]
    for bulk in bulks:
        answers = await asyncio.gather(
            release(checker, bulk), mill.post(f"/v1/bulk_payments/{bulk['id']}/cancel")
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
    await advance(api)
    listed = (await mill.get("/v1/bulk_payments")).json()["bulk_payments"]
    assert {bulk["state"] for bulk in listed} <= {"finished", "cancelled"}
    paid = sum(bulk["paid"] for bulk in listed)
    assert paid == sum(bulk["state"] == "finished" for bulk in listed)
    assert await ko.available() == f"{1 + paid}.000000"


async def test_wrong_lines_are_told_page_by_page_and_nothing_can_be_released(mill, checker):
    lines = "".join(f"nobody_{number},1,{number}\r\n" for number in range(30)) + "=1+1,1,a\r\n"
    bulk = (await bring(mill, lines)).json()
    assert (bulk["state"], bulk["wrong"]) == ("wrong", 31)
    page = (await mill.get(f"/v1/bulk_payments/{bulk['id']}/lines?state=wrong&after=31")).json()
    assert page["lines"] == [
        {
            "number": 32, "state": "wrong", "payee": "=1+1", "amount": None, "fee": None,
            "reference": "a", "code": "bulk_cell_formula", "payment_id": None,
        }
    ]  # fmt: skip
    assert (await release(checker, bulk)).json()["code"] == "bulk_lines_wrong"


async def test_the_most_lines_are_taken_at_once_and_one_more_is_not(mill):
    rows = [f"ko_ko,0.01,{number:040}\r\n" for number in range(LINES_MAX + 1)]
    made = await bring(mill, "".join(rows[:-1]))
    assert (made.status_code, made.json()["lines"], made.json()["wrong"]) == (201, LINES_MAX, 0)
    assert (await bring(mill, "".join(rows))).json()["code"] == "bulk_too_many_lines"


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "code", "line"),
        [
            (HEADER.encode() + b"ko_ko,1,caf\xe9\r\n", "bulk_encoding_broken", 2),
            (b"handle;amount\r\n", "bulk_file_malformed", 1),
            (HEADER.encode() + b'ko_ko,1,"\r\n', "bulk_file_malformed", 2),
        ],
    )
    async def test_a_file_that_cannot_be_read_names_its_line(self, mill, refusals, content, code, line):
        assert await refusals.code(bring(mill, content), nonces=1) == code
        assert (await bring(mill, content)).json()["line"] == line

    async def test_a_file_is_csv_and_short_enough_and_nothing_else_is_longer_for_it(self, mill, refusals):
        small = (HEADER + "ko_ko,1,a").encode()
        large = small + b"x" * FILE_BYTES_MAX
        for kind in ("application/json", "text/plain", "text/csv; charset=utf-16"):
            sending = bring(mill, small, headers={"Content-Type": kind})
            assert await refusals.code(sending) == "content_type_not_accepted"
        assert await refusals.code(bring(mill, large)) == "body_too_large"
        long = b"x" * (BODY_BYTES_MAX + 1)
        for target in ("/v1/payments", "/v1/bulk_payments/x/release", "/v1/bulk_payments/"):
            assert await refusals.code(mill.post(target, raw=long, headers=CSV)) == "body_too_large"
        assert (
            await refusals.code(mill.post("/v1/payments", raw=small, headers=CSV))
            == "content_type_not_accepted"
        )

    async def test_the_signature_holds_the_file_its_id_and_its_asset(self, api, mill, refusals):
        content = (HEADER + "ko_ko,1,a").encode()
        target = path(api)
        other = content.replace(b",1,", b",9,")
        assert await refusals.code(bring(mill, content, sent=other)) == "content_digest_mismatch"
        for signed in (path(api), target.replace("USDT", "THB")):
            assert await refusals.code(bring(mill, content, target, signed_path=signed)) == "signature_wrong"

    async def test_only_businesses_bring_files(self, ko, refusals):
        assert await refusals.code(bring(ko, "the_mill,1,a"), nonces=1) == "bulk_tier_needed"

    async def test_a_release_that_names_another_file_or_sum_is_refused(self, mill, checker, refusals):
        bulk = (await bring(mill, "ko_ko,1,a")).json()
        for change, code in [
            ({"digest": "0" * 64}, "bulk_released_differently"),
            ({"total": "2"}, "bulk_released_differently"),
            ({"total": "1.0000000"}, "amount_too_precise"),
            ({"digest": "A" * 64}, "request_malformed"),
        ]:
            assert await refusals.code(release(checker, bulk, **change), nonces=1) == code

    async def test_what_cannot_be_covered_is_told_before_it_is_begun(self, mill, checker, refusals):
        bulk = (await bring(mill, "ko_ko,1000,a")).json()
        assert await refusals.code(release(checker, bulk), nonces=1) == "bulk_exceeds_balance"
