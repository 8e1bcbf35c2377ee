"""Memos over HTTP: kept before the payment, shown to its parties alone, and of one content for ever.

What is inside them is the devices' business (tests/client): here they are bytes.
"""

import asyncio
import base64
import hashlib
import json
import secrets
from uuid import UUID

import pytest
from sqlalchemy import event, text

from foundation.assets import USDT
from foundation.ids import uuid7
from ledger.interface import LedgerUnavailable
from tests.wallet_api.conftest import API, Phone
from wallets.memos import MEMO_BYTES, unpadded

KEY = "5kd3kbLkDbYEHDOX1bUFf3q9aIEWZwJyVIz2ZyqzvWA"
PIN, DURESS_PIN = "730512", "904418"


def memo(size: int = MEMO_BYTES[0]) -> str:
    return unpadded(secrets.token_bytes(size))


def memo_hash(content: str) -> str:
    return hashlib.sha256(base64.urlsafe_b64decode(content)).hexdigest()


class Statements:
    """The statements that the API's connections send."""

    def __init__(self, api: API) -> None:
        self.seen: list[str] = []
        self._engine = api.database.engine.sync_engine

    def _add(self, _connection, _cursor, statement, *_rest) -> None:
        self.seen.append(" ".join(statement.split()))

    def __enter__(self) -> list[str]:
        event.listen(self._engine, "before_cursor_execute", self._add)
        return self.seen

    def __exit__(self, *_) -> None:
        event.remove(self._engine, "before_cursor_execute", self._add)


async def kept(api: API) -> list[tuple[str, str]]:
    async with api.database.session() as session:
        rows = await session.execute(text("SELECT payment_id, sha256 FROM wallets_memo"))
        return [(str(each.payment_id), each.sha256.hex()) for each in rows]


class TestPaying:
    @pytest.mark.parametrize("size", MEMO_BYTES)
    async def test_a_memo_is_shown_to_payer_and_payee_alone(self, api: API, aye: Phone, ko: Phone, size):
        order = aye.payment(ko, "5", memo=memo(size))
        paid = await aye.post("/v1/payments", order)
        assert (paid.status_code, paid.json()["memo"]) == (201, order["memo"])
        for phone in (aye, ko):
            path = f"/v1/payments/{order['id']}"
            assert (await phone.get(path)).json() == paid.json()
            lines = (await phone.get("/v1/history?memos=true&kind=payment")).json()["lines"]
            assert [line["memo"] for line in lines] == [order["memo"]]
            lines = (await phone.get("/v1/history?memos=true")).json()["lines"]
            assert [line.get("memo") for line in lines if line["kind"] == "payment"] == [order["memo"]]
            lines = (await phone.get("/v1/sync?memos=true&limit=50")).json()["lines"]
            assert [line["memo"] for line in lines if "memo" in line] == [order["memo"]]
        stranger = await api.phone("su_su", "1")
        answer = await stranger.get(f"/v1/payments/{order['id']}")
        assert (answer.status_code, answer.json()["code"]) == (404, "payment_not_found")
        assert order["memo"] not in answer.text
        assert await kept(api) == [(order["id"], memo_hash(order["memo"]))]

    async def test_without_one_answers_are_as_they_were_and_nothing_more_is_asked(self, api, aye, ko):
        await aye.pay(ko, "1")
        order = aye.payment(ko, "2")
        with Statements(api) as plain:
            paid = await aye.post("/v1/payments", order)
            read = await aye.get(f"/v1/payments/{order['id']}")
            history = await ko.get("/v1/history?memos=true")
            sync = await ko.get("/v1/sync?memos=true")
        assert list(paid.json()) == [
            "id", "payer", "payee", "asset", "amount", "fee", "total", "reference", "created_at",
        ]  # fmt: skip
        assert read.content == paid.content
        assert "memo" not in history.text + sync.text
        assert [statement for statement in plain if "wallets_memo" in statement] == []
        with Statements(api) as with_memo:
            await aye.post("/v1/payments", aye.payment(ko, "2", memo=memo()))
        writes = [statement for statement in with_memo if "wallets_memo" in statement]
        assert len(writes) == 1
        assert writes[0].startswith("INSERT")

    async def test_lines_bring_memos_only_where_they_are_asked_for(self, api, aye, ko):
        await aye.post("/v1/payments", aye.payment(ko, "2", memo=memo()))
        with Statements(api) as seen:
            for path in ("/v1/history", "/v1/history?memos=false", "/v1/sync"):
                assert "memo" not in (await ko.get(path)).text
        assert [statement for statement in seen if "wallets_memo" in statement] == []

    async def test_sent_again_it_is_the_same_payment(self, api, aye, ko):
        order = aye.payment(ko, "5", memo=memo())
        first = await aye.post("/v1/payments", order)
        again = await aye.post("/v1/payments", order)
        assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
        answers = await asyncio.gather(*(aye.post("/v1/payments", order) for _ in range(30)))
        assert {answer.content for answer in answers} == {first.content}
        assert await ko.available() == "6.000000"
        assert len(await kept(api)) == 1

    @pytest.mark.parametrize(
        ("first", "then"), [(1, 2), (1, None), (None, 1)], ids=["another", "none then", "one then"]
    )
    async def test_another_memo_is_refused_by_its_name(self, aye, ko, first, then):
        memos = {None: {}, 1: {"memo": memo()}, 2: {"memo": memo()}}
        order = aye.payment(ko, "5")
        assert (await aye.post("/v1/payments", order | memos[first])).status_code == 201
        answer = await aye.post("/v1/payments", order | memos[then])
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "payment_id_used_differently")
        assert problem["field"] == "memo"
        assert (await aye.get(f"/v1/payments/{order['id']}")).json().get("memo") == memos[first].get("memo")
        lines = (await ko.get("/v1/history?memos=true&kind=payment")).json()["lines"]
        assert [line.get("memo") for line in lines] == [memos[first].get("memo")]
        assert await ko.available() == "6.000000"

    async def test_of_many_memos_at_once_one_pays_and_is_shown(self, aye, ko):
        order = aye.payment(ko, "5")
        orders = [order | {"memo": memo()} for _ in range(20)] + [order] * 5
        answers = await asyncio.gather(*(aye.post("/v1/payments", each) for each in orders))
        paid = {answer.text for answer in answers if answer.status_code == 201}
        assert len(paid) == 1
        refused = {
            (answer.json()["code"], answer.json()["field"]) for answer in answers if answer.status_code != 201
        }
        assert refused == {("payment_id_used_differently", "memo")}
        assert (await ko.get(f"/v1/payments/{order['id']}")).text in paid
        assert await ko.available() == "6.000000"

    async def test_somebody_else_s_id_is_taken(self, api, aye, ko):
        order = aye.payment(ko, "5", memo=memo())
        assert (await aye.post("/v1/payments", order)).status_code == 201
        await api.fund(ko, "50", USDT)
        theirs = ko.payment(aye, "5", memo=memo()) | {"id": order["id"]}
        assert (await ko.post("/v1/payments", theirs)).json()["code"] == "payment_id_taken"
        assert (await aye.get(f"/v1/payments/{order['id']}")).json()["memo"] == order["memo"]

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            ("A" * 511, "request_malformed"),
            ("A" * 1537, "request_malformed"),
            ("A" * 513, "memo_malformed"),
            ("A" * 516, "memo_malformed"),
            ("A" * 511 + "=", "memo_malformed"),
            ("A" * 511 + "+", "memo_malformed"),
            ("A" * 511 + "\N{KELVIN SIGN}", "memo_malformed"),
            (7, "request_malformed"),
        ],
    )
    async def test_what_is_no_memo_is_refused_and_nothing_is_kept(self, refusals, aye, ko, wrong, code):
        order = aye.payment(ko, "5", memo=wrong)
        assert await refusals.code(aye.post("/v1/payments", order)) == code

    async def test_what_is_refused_before_the_ledger_keeps_no_memo(self, refusals, aye, ko):
        for bent in ({"amount": "0"}, {"payee": "nobody_here"}, {"fee_max": "0"}, {"payee": aye.handle}):
            order = aye.payment(ko, "5", memo=memo()) | bent
            await refusals.code(aye.post("/v1/payments", order))


class TestDying:
    async def test_a_payment_whose_process_died_after_the_memo_is_made_by_the_same_request(
        self, api, aye, ko, monkeypatch
    ):
        order = aye.payment(ko, "5", memo=memo())
        real = api.ledger.create_transfers

        async def dies(transfers):
            if order["id"] not in {str(UUID(int=each.id)) for each in transfers}:
                return await real(transfers)
            assert await kept(api) == [(order["id"], memo_hash(order["memo"]))], "the memo comes first"
            raise LedgerUnavailable("the ledger is away", outcome_unknown=True)

        monkeypatch.setattr(api.ledger, "create_transfers", dies)
        lost = await aye.post("/v1/payments", order)
        assert (lost.status_code, lost.json()["money_moved"]) == (503, "unknown")
        monkeypatch.setattr(api.ledger, "create_transfers", real)
        # Nobody sees a memo without its payment, by whatever way.
        for phone in (aye, ko):
            assert (await phone.get(f"/v1/payments/{order['id']}")).status_code == 404
            hashed = memo_hash(order["memo"])
            for path in ("history?memos=true", f"history?memos=true&memo_hash={hashed}", "sync?memos=true"):
                assert order["memo"] not in (await phone.get(f"/v1/{path}")).text
        other = await aye.post("/v1/payments", order | {"memo": memo()})
        assert (other.json()["code"], other.json()["field"]) == ("payment_id_used_differently", "memo")
        assert (await aye.post("/v1/payments", order)).status_code == 201
        assert (await ko.get(f"/v1/payments/{order['id']}")).json()["memo"] == order["memo"]
        assert await ko.available() == "6.000000"

    async def test_a_payment_that_the_ledger_refuses_leaves_a_memo_that_nobody_sees(self, api, aye, ko):
        order = aye.payment(ko, "500", memo=memo())
        assert (await aye.post("/v1/payments", order)).json()["code"] == "insufficient_funds"
        assert [each for each, _ in await kept(api)] == [order["id"]]
        for phone in (aye, ko):
            assert (await phone.get(f"/v1/payments/{order['id']}")).status_code == 404
            assert order["memo"] not in (await phone.get("/v1/history?memos=true")).text


class TestSearching:
    async def test_a_payment_is_found_by_its_memo_s_hash(self, api, aye, ko):
        orders = [aye.payment(ko, "1", memo=memo()) for _ in range(3)]
        for order in orders:
            assert (await aye.post("/v1/payments", order)).status_code == 201
        await aye.pay(ko, "1")
        for order in orders:
            for phone in (aye, ko):
                path = f"/v1/history?memo_hash={memo_hash(order['memo'])}"
                lines = (await phone.get(path)).json()["lines"]
                assert [(line["id"], line["memo"]) for line in lines] == [(order["id"], order["memo"])]
        nothing = f"/v1/history?memo_hash={memo_hash(memo())}"
        assert (await aye.get(nothing)).json()["lines"] == []
        stranger = await api.phone("su_su", "1")
        theirs = f"/v1/history?memo_hash={memo_hash(orders[0]['memo'])}"
        assert (await stranger.get(theirs)).json()["lines"] == []

    async def test_two_memos_alike_in_what_the_ledger_knows_are_told_apart(self, aye, ko, monkeypatch):
        monkeypatch.setattr("wallets.memos.memo_mark", lambda _: 7)
        monkeypatch.setattr("wallets.history_filters.memo_mark", lambda _: 7)
        orders = [aye.payment(ko, "1", memo=memo()) for _ in range(2)]
        for order in orders:
            assert (await aye.post("/v1/payments", order)).status_code == 201
        for order in orders:
            path = f"/v1/history?memo_hash={memo_hash(order['memo'])}"
            assert [line["id"] for line in (await ko.get(path)).json()["lines"]] == [order["id"]]
            again = await aye.post("/v1/payments", order | {"memo": memo()})
            assert (again.json()["code"], again.json()["field"]) == ("payment_id_used_differently", "memo")

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("memo_hash=" + "g" * 64, "history_filter_malformed"),
            ("memo_hash=" + "A" * 64, "history_filter_malformed"),
            ("kind=deposit&memo_hash=" + "a" * 64, "history_filter_malformed"),
            ("memo_hash=" + "a" * 63, "request_malformed"),
            ("memos=perhaps", "request_malformed"),
        ],
    )
    async def test_a_wrong_search_is_refused(self, aye, query, code):
        answer = await aye.get(f"/v1/history?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, code)


class TestKeys:
    async def test_a_key_is_published_seen_with_the_handle_and_replaced(self, aye, ko):
        assert (await aye.get("/v1/handles/ko_ko")).json()["memo_key"] is None
        answer = await ko.put("/v1/memo_key", {"memo_key": KEY})
        assert (answer.status_code, answer.json()["memo_key"]) == (200, KEY)
        assert (await ko.put("/v1/memo_key", {"memo_key": KEY})).status_code == 200
        assert (await aye.get("/v1/handles/ko_ko")).json()["memo_key"] == KEY
        other = unpadded(secrets.token_bytes(32))
        await ko.put("/v1/memo_key", {"memo_key": other})
        assert (await aye.get("/v1/handles/@KO_KO")).json()["memo_key"] == other
        assert (await ko.get("/v1/handles/aye_aye")).json()["memo_key"] is None

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            ("A" * 42, "request_malformed"),
            ("A" * 43, "memo_key_malformed"),
            ("AQ" + "A" * 41, "memo_key_malformed"),
            (KEY[:-1] + "B", "memo_key_malformed"),
            (KEY[:-1] + "!", "memo_key_malformed"),
        ],
        ids=["short", "zero", "one", "not canonical", "no base64url"],
    )
    async def test_what_is_no_key_is_refused(self, refusals, aye, wrong, code):
        assert await refusals.code(aye.put("/v1/memo_key", {"memo_key": wrong}), nonces=1) == code

    async def test_both_views_of_a_duress_pin_are_alike(self, api, aye, ko):
        await api.fund(aye, "10", USDT)
        pins = await aye.set_pin(PIN, duress_pin=DURESS_PIN, decoy_handle="@mya_mya")
        assert pins.status_code in {200, 201, 204}, pins.text
        missing = await aye.put("/v1/memo_key", {"memo_key": KEY})
        assert missing.json()["code"] == "session_missing"
        sizes = {}
        for pin, key in ((PIN, KEY), (DURESS_PIN, unpadded(secrets.token_bytes(32)))):
            await aye.log_in(pin)
            if pin == PIN:
                paid = await aye.post("/v1/payments", aye.payment(ko, "5", memo=memo(MEMO_BYTES[-1])))
                assert paid.status_code == 201, paid.text
            published = await aye.put("/v1/memo_key", {"memo_key": key})
            assert published.json()["memo_key"] == key
            answers = [published] + [
                await aye.get(path)
                for path in (
                    "/v1/history",
                    "/v1/history?memos=true",
                    "/v1/sync?memos=true",
                    f"/v1/history?memos=true&limit=1&memo_hash={'a' * 64}",
                    f"/v1/payments/{uuid7(api.clock)}",
                    "/v1/handles/ko_ko",
                )
            ]
            sizes[pin] = [(answer.status_code, len(answer.content)) for answer in answers]
        assert sizes[PIN] == sizes[DURESS_PIN]
        handles = [
            (await ko.get(f"/v1/handles/{name}")).json()["memo_key"] for name in ("aye_aye", "mya_mya")
        ]
        assert handles[0] == KEY != handles[1]
        assert handles[1] is not None

    async def test_in_a_session_a_payment_with_a_memo_is_as_large_as_one_without(self, api, aye, ko):
        await aye.set_pin(PIN)
        await aye.log_in(PIN)
        answers = [
            await aye.post("/v1/payments", aye.payment(ko, "5", reference=str(uuid7(api.clock)), **more))
            for more in ({}, {"memo": memo(MEMO_BYTES[0])}, {"memo": memo(MEMO_BYTES[-1])})
        ]
        assert [answer.status_code for answer in answers] == [201, 201, 201]
        assert len({len(answer.content) for answer in answers}) == 1

    async def test_the_longest_page_of_memos_is_as_large_as_an_empty_one(self, api, aye, ko):
        for _ in range(6):
            paid = await aye.post("/v1/payments", aye.payment(ko, "1", memo=memo(MEMO_BYTES[-1])))
            assert paid.status_code == 201, paid.text
        await aye.set_pin(PIN)
        await aye.log_in(PIN)
        for path in ("history", "sync"):
            full = await aye.get(f"/v1/{path}?memos=true&limit=6")
            lines = json.loads(full.content)["lines"]
            assert len(lines) == 6
            stranger = await api.phone(f"su_{path}")
            await stranger.set_pin(PIN)
            await stranger.log_in(PIN)
            empty = await stranger.get(f"/v1/{path}?memos=true&limit=6")
            assert json.loads(empty.content)["lines"] == []
            assert len(full.content) == len(empty.content)
