"""The same API in fewer bytes: CBOR, gzip and tags, and none of it where it would tell whose wallet it is."""

import gzip
import json
import secrets
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from foundation.assets import USDT
from foundation.cbor import decode, encode
from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_pins import DURESS, PIN
from tests.wallet_api.test_withdrawals import deployment, order
from treasury.models import TreasuryDeposit
from wallet_api.openapi import DOCUMENT
from wallet_api.padding import PADDING, STEP_BYTES, _fill_cbor

__all__ = ["deployment"]

CBOR = {"Accept": "application/cbor", "Content-Type": "application/cbor"}
PLAIN = {"Accept-Encoding": "identity"}


async def in_cbor(phone: Phone, method: str, path: str, body: Any = None) -> httpx.Response:
    raw = encode(body) if body is not None else None
    return await phone.send(method, path, raw=raw, headers=CBOR)


async def raw_bytes(phone: Phone, path: str, **headers: str) -> tuple[httpx.Headers, bytes]:
    """An answer as it is on the line."""
    made = phone.signed("GET", path) | headers
    async with phone.api.http.stream("GET", path, headers=made) as answer:
        return answer.headers, b"".join([piece async for piece in answer.aiter_raw()])


class TestCBOR:
    async def test_a_payment_in_cbor_is_the_payment_in_json(self, aye, ko):
        body = aye.payment(ko, "25")
        paid = await in_cbor(aye, "POST", "/v1/payments", body)
        assert (paid.status_code, paid.headers["content-type"]) == (201, "application/cbor")
        told = decode(paid.content)
        again = await aye.post("/v1/payments", body)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json() == told
        replayed = await in_cbor(aye, "POST", "/v1/payments", body)
        assert replayed.content == paid.content
        assert replayed.headers["idempotency-replayed"] == "true"
        assert len(paid.content) < len(again.content)

    @pytest.mark.parametrize("path", ["/v1/balances", "/v1/history", "/v1/limits?asset=USDT", "/v1/sync"])
    async def test_reads_in_cbor_have_what_json_has(self, aye, ko, path):
        await aye.pay(ko, "25")
        answer = await in_cbor(aye, "GET", path)
        assert encode(decode(answer.content)) == answer.content
        assert decode(answer.content) == (await aye.get(path)).json()

    async def test_a_refusal_has_the_same_members(self, aye, ko):
        refused = await in_cbor(aye, "POST", "/v1/payments", aye.payment(ko, "1000"))
        assert (refused.status_code, refused.headers["content-type"]) == (409, "application/cbor")
        told = decode(refused.content)
        assert (told["code"], told["money_moved"], told["status"]) == ("insufficient_funds", "false", 409)
        in_json = (await aye.post("/v1/payments", aye.payment(ko, "1000"))).json()
        assert told.keys() == in_json.keys()

    @pytest.mark.parametrize(
        ("raw", "wanted"),
        [
            (b"\xbf\x62id\x61x\xff", "cbor_malformed"),
            (b"\xa2\x61a\x01\x61a\x02", "cbor_malformed"),
            (b"\xa1\x01\x02", "cbor_malformed"),
            (b"\xa1\x62id\x41x", "cbor_malformed"),
            (b"\xa1\x62id\xc1\x01", "cbor_malformed"),
            (b"\xa1\x62id\x61x\x00", "cbor_malformed"),
            (b"\xa1\x62id\xf9\x00\x00", "cbor_malformed"),
            (encode({"id": "x" * 36}), "request_malformed"),
            (encode({"amount": 25}), "request_malformed"),
            (encode(["id"]), "content_type_not_accepted"),
            (b"{}", "content_type_not_accepted"),
        ],
    )
    async def test_what_is_no_request_is_refused_by_name(self, aye, refusals, raw, wanted):
        nonces = 0 if wanted == "content_type_not_accepted" else 1
        kind = {"Content-Type": "application/cbor"}
        sending = aye.post("/v1/payment_codes", raw=raw, headers=kind)
        assert await refusals.code(sending, nonces=nonces) == wanted

    async def test_a_body_is_never_read_as_another_type_than_was_said(self, aye, ko, refusals):
        """Content-Type is not signed: changed on the way, the same bytes must not mean anything else."""
        body = aye.payment(ko, "25")
        in_json = json.dumps(body).encode()
        for raw, kind in ((encode(body), "application/json"), (in_json, "application/cbor")):
            sending = aye.post("/v1/payments", raw=raw, headers={"Content-Type": kind})
            assert await refusals.code(sending) == "content_type_not_accepted"

    async def test_the_signature_is_over_the_bytes_of_cbor(self, aye, ko, refusals):
        body = aye.payment(ko, "25")
        kind = {"Content-Type": "application/cbor"}
        sent = encode(body | {"amount": "26"})
        sending = aye.post("/v1/payments", raw=encode(body), sent=sent, headers=kind)
        assert await refusals.code(sending) == "content_digest_mismatch"

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("application/cbor, application/json;q=0.5", "application/cbor"),
            ("application/json, application/cbor", "application/json"),
            ("application/cbor;q=0", "application/json"),
            ("*/*", "application/json"),
        ],
    )
    async def test_the_form_is_the_first_that_accept_names(self, aye, accept, kind):
        answer = await aye.get("/v1/balances", headers={"Accept": accept})
        assert answer.headers["content-type"] == kind

    async def test_in_a_session_cbor_is_filled_up_as_json_is(self, api, aye, ko):
        await api.fund(aye, "5000000", USDT)
        await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle="@a_decoy_with_a_much_longer_na")
        await aye.log_in(PIN)
        for _ in range(3):
            await aye.pay(ko, "3")
        paths = ["/v1/balances", "/v1/history?limit=3", "/v1/sync", "/v1/wallet"]
        for path in (*paths, f"/v1/payments/{uuid7(api.clock)}"):
            seen = set()
            for pin in (PIN, DURESS):
                await aye.log_in(pin)
                answer = await in_cbor(aye, "GET", path)
                assert len(answer.content) % STEP_BYTES == 0
                told = decode(answer.content)
                assert not any(told.pop(PADDING))
                if answer.status_code == 200:
                    assert told == (await aye.get(path)).json()
                names = [(name, len(text)) for name, text in answer.headers.items()]
                seen.add((answer.status_code, len(answer.content), *names))
            assert len(seen) == 1, path

    def test_every_size_is_filled_to_a_multiple(self):
        for least in (0, 3000, 70_000):
            for length in [*range(1500, 2100), *range(65_100, 65_600)]:
                body = encode({"a": "x" * length})
                filled = _fill_cbor(body, least)
                assert len(filled) % STEP_BYTES == 0
                assert len(filled) >= max(least, len(body))
                assert decode(filled).keys() == {"a", PADDING}


class TestTags:
    async def test_what_has_not_changed_is_not_sent_again(self, aye, ko):
        first = await aye.get("/v1/history")
        tag = first.headers["etag"]
        again = await aye.get("/v1/history", headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-type" not in again.headers
        several = await aye.get("/v1/history", headers={"If-None-Match": f'"other", {tag}'})
        assert several.status_code == 304
        await aye.pay(ko, "1")
        changed = await aye.get("/v1/history", headers={"If-None-Match": tag})
        assert (changed.status_code, changed.headers["etag"] == tag) == (200, False)

    async def test_another_form_has_another_tag_and_another_s_tag_tells_nothing(self, aye, ko):
        tag = (await aye.get("/v1/wallet")).headers["etag"]
        asked = {"If-None-Match": tag, "Accept": "application/cbor"}
        in_other_form = await aye.get("/v1/wallet", headers=asked)
        assert in_other_form.status_code == 200
        assert (await ko.get("/v1/wallet", headers={"If-None-Match": tag})).status_code == 200

    async def test_a_refusal_is_never_called_unchanged(self, api, aye):
        for headers in ({"If-None-Match": "*"}, {}):
            answer = await aye.get(f"/v1/payments/{uuid7(api.clock)}", headers=headers)
            assert answer.status_code == 404
            assert "etag" not in answer.headers
        unsigned = await api.http.get("/v1/history", headers={"If-None-Match": "*"})
        assert unsigned.status_code == 401


class TestCompression:
    async def test_what_is_read_is_compressed_for_whoever_takes_it(self, aye, ko):
        await aye.pay(ko, "1")
        path = "/v1/history"
        plain_headers, plain = await raw_bytes(aye, path, **PLAIN)
        assert "content-encoding" not in plain_headers
        headers, packed = await raw_bytes(aye, path, **{"Accept-Encoding": "br, gzip;q=0.8"})
        assert headers["content-encoding"] == "gzip"
        assert int(headers["content-length"]) == len(packed) < len(plain) / 2
        assert gzip.decompress(packed) == plain
        refused, _ = await raw_bytes(aye, path, **{"Accept-Encoding": "gzip;q=0"})
        assert "content-encoding" not in refused

    async def test_a_file_that_is_sent_in_pieces_is_compressed_as_well(self, api, aye, ko, monkeypatch):
        monkeypatch.setattr("wallets.statements.STREAM_LINES", 4)
        for _ in range(10):
            await aye.pay(ko, "1")
        path = f"/v1/statements/USDT/{api.clock.now().strftime('%Y-%m')}"
        _, plain = await raw_bytes(aye, path, Accept="text/csv", **PLAIN)
        headers, packed = await raw_bytes(aye, path, **{"Accept": "text/csv", "Accept-Encoding": "gzip"})
        assert headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed) == plain
        assert len(packed) < len(plain) / 2

    async def test_nothing_is_saved_in_a_session_nor_of_what_changes_something(self, aye, ko):
        await aye.set_pin(PIN)
        opened = await aye.log_in(PIN)
        paid = await aye.pay(ko, "1")
        listed = await aye.get("/v1/history", headers={"If-None-Match": "*"})
        assert listed.status_code == 200
        for answer in (opened, paid, listed):
            assert "gzip" in str(answer.request.headers["accept-encoding"])
            assert "content-encoding" not in answer.headers
            assert "etag" not in answer.headers


async def arrived(api: API, phone: Phone, count: int) -> None:
    """Deposits that were written down, each from somebody else."""
    wallet = await api.connections.wallets.by_handle(phone.handle.removeprefix("@"))
    assert wallet is not None
    async with api.database.session() as session:
        session.add_all(
            TreasuryDeposit(
                id=uuid4(),
                chain_id=31337,
                tx_hash="0x" + secrets.token_hex(32),
                log_index=number,
                block_number=1000 + number,
                block_hash="0x" + secrets.token_hex(32),
                token="0x" + secrets.token_hex(20),
                asset="USDT",
                from_address="0x" + secrets.token_hex(20),
                to_address="0x" + secrets.token_hex(20),
                units=Decimal(1_000_000),
                wallet_id=wallet.id,
                amount=Decimal(1_000_000),
                dust_amount=0,
                created_at=api.clock.now(),
            )
            for number in range(count)
        )


async def filled(api: API, aye: Phone, ko: Phone) -> dict[str, str]:
    """A wallet with more of everything than a page has; what paths need to name."""
    for _ in range(5):
        body = aye.payment(ko, "1.23", reference=str(uuid7(api.clock)))
        assert (await aye.post("/v1/payments", body)).status_code == 201
    for _ in range(12):
        api.clock.advance(17)
        paid = await aye.pay(ko, "0.57")
        back = await ko.pay(aye, "0.11")
    refund = {"id": str(uuid7(api.clock)), "amount": "0.01"}
    assert (await aye.post(f"/v1/payments/{back.json()['id']}/refunds", refund)).status_code == 201
    for _ in range(21):
        asked = {"id": str(uuid7(api.clock)), "payer": "@aye_aye", "asset": "USDT", "amount": "1.17"}
        made = await ko.post("/v1/payment_requests", asked)
        assert made.status_code == 201
        assert (await aye.post(f"/v1/payment_requests/{asked['id']}/decline")).status_code == 200
    for _ in range(11):
        address = "0x" + secrets.token_hex(20)
        withdrawal = await aye.post("/v1/withdrawals", order(api, amount="0.5", to_address=address))
        assert withdrawal.status_code == 201, withdrawal.text
    await arrived(api, aye, 11)
    return {
        "payment_id": paid.json()["id"],
        "refund_id": refund["id"],
        "request_id": made.json()["id"],
        "withdrawal_id": withdrawal.json()["id"],
        "handle": "@ko_ko",
        "asset": "USDT",
        "month": api.clock.now().strftime("%Y-%m"),
    }


NEEDED = {"asset": "USDT", "amount": "12.50", "role": "payer"}
OF_OTHERS = (
    "officers", "bulk_payments", "devices", "sessions", "recovery", "merchant", "standing_orders", "recall",
    "splits",
)  # fmt: skip
"""What no phone reads every day: officers' and businesses' work, security, and what is seldom."""


@pytest.mark.parametrize("form", ["application/cbor", "application/json"])
async def test_every_mobile_read_is_under_2_kb_with_its_default_page(api, aye, ko, deployment, form):
    names = await filled(api, aye, ko)
    description = json.loads(DOCUMENT.read_text())
    sizes: dict[str, int] = {}
    for path, operations in description["paths"].items():
        if "get" not in operations or any(word in path for word in OF_OTHERS):
            continue
        needed = [
            f"{each['name']}={NEEDED[each['name']]}"
            for each in operations["get"].get("parameters", ())
            if each["in"] == "query" and each.get("required")
        ]
        target = path.format(**names) + (f"?{'&'.join(needed)}" if needed else "")
        headers, packed = await raw_bytes(aye, target, **{"Accept": form, "Accept-Encoding": "gzip"})
        if path != "/v1/reserves":
            # Without a comparison of both books there is nothing to tell.
            assert headers["content-type"] == form, (target, packed)
        sizes[path] = len(packed)
    assert len(sizes) >= 20
    assert {path: size for path, size in sizes.items() if size >= 2048} == {}
