"""Invoices and settlements over HTTP: what was paid is what the ledger says."""

import csv
import io
from decimal import Decimal

from foundation.clock import SECOND_NS
from foundation.ids import uuid7
from tests.wallet_api.test_tills import by_key, code_of, open_shop, shop
from wallets.invoices import OTHERS_MAX

__all__ = ["shop"]


async def test_an_invoice_is_paid_by_its_code_and_a_server_sees_it(api, aye, ko, shop):
    key = await shop.key("charge")
    order = shop.invoice("25.00", memo="Table 4")
    made = (await by_key(api, key, "POST", f"{shop.path}/invoices", order)).json()
    assert (made["state"], made["payment"], made["memo"]) == ("open", None, "Table 4")
    code = (await aye.post("/v1/payment_codes/read", {"code": made["qr_text"]})).json()
    assert (code["payee"], code["amount"], code["reference"]) == ("@ko_ko", "25.000000", order["id"])
    assert code["expires_at"] == made["expires_at"]
    payment = (await aye.post("/v1/payments", aye.payment(ko, "25", reference=code["reference"]))).json()
    seen = (await by_key(api, key, "GET", f"{shop.path}/invoices/{order['id']}")).json()
    assert (seen["state"], seen["payment"], seen["other_payments"]) == (
        "paid",
        {"id": payment["id"], "amount": "25.000000", "created_at": payment["created_at"]},
        [],
    )
    page = (await by_key(api, key, "GET", f"{shop.path}/invoices")).json()
    assert page == {"invoices": [seen], "next_before": None}


async def test_an_invoice_is_made_once_under_its_id(api, ko, shop):
    order = shop.invoice("5", memo="One", expires_in_seconds=600)
    made = await ko.post(f"{shop.path}/invoices", order)
    api.clock.advance(ns=SECOND_NS // 3)
    again = await ko.post(f"{shop.path}/invoices", order)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    for other in ({"amount": "6"}, {"memo": "Two"}, {"expires_in_seconds": 601}):
        answer = await ko.post(f"{shop.path}/invoices", {**order, **other})
        assert code_of(answer) == (409, "merchant_id_taken")
    second = await open_shop(ko, "Counter 2")
    assert code_of(await ko.post(f"{second.path}/invoices", order)) == (409, "merchant_id_taken")
    missing = await ko.get(f"{second.path}/invoices/{order['id']}")
    assert code_of(missing) == (404, "invoice_not_found")
    for body, code in [
        ({"amount": "0"}, "amount_not_positive"),
        ({"amount": "0.0000001"}, "amount_too_precise"),
        ({"id": "00000000-0000-4000-8000-000000000000"}, "payment_id_malformed"),
        ({"expires_in_seconds": 59}, "request_malformed"),
        ({"memo": "x" * 201}, "request_malformed"),
    ]:
        assert code_of(await ko.post(f"{shop.path}/invoices", shop.invoice("5") | body))[1] == code


async def test_what_is_not_exactly_the_amount_in_time_is_listed_and_pays_nothing(api, aye, ko, shop):
    order = shop.invoice("5", expires_in_seconds=600)
    await ko.post(f"{shop.path}/invoices", order)

    async def pay(amount: str) -> str:
        return str(
            (await aye.post("/v1/payments", aye.payment(ko, amount, reference=order["id"]))).json()["id"]
        )

    async def look() -> tuple[str, str | None, list[str]]:
        seen = (await ko.get(f"{shop.path}/invoices/{order['id']}")).json()
        paid = seen["payment"]["id"] if seen["payment"] else None
        return seen["state"], paid, [each["id"] for each in seen["other_payments"]]

    # More payments than are ever listed do not hide the one that counts.
    crumbs = [await pay("0.01") for _ in range(OTHERS_MAX + 1)]
    more = await pay("6")
    assert await look() == ("open", None, [more, *reversed(crumbs)][:OTHERS_MAX])
    exact, second = await pay("5"), await pay("5")
    expected = ("paid", exact, [second, more, *reversed(crumbs)][:OTHERS_MAX])
    assert await look() == expected
    api.clock.advance(seconds=700)
    assert await look() == expected


async def test_an_invoice_that_nobody_paid_in_time_stays_expired(api, aye, ko, shop):
    order = shop.invoice("5", expires_in_seconds=600)
    path = f"{shop.path}/invoices/{order['id']}"
    await ko.post(f"{shop.path}/invoices", order)
    api.clock.advance(seconds=601)
    late = (await aye.post("/v1/payments", aye.payment(ko, "5", reference=order["id"]))).json()["id"]
    # For a minute a payment that was made in time may still become visible.
    assert (await ko.get(path)).json()["state"] == "open"
    api.clock.advance(seconds=60)
    seen = (await ko.get(path)).json()
    assert (seen["state"], seen["payment"]) == ("expired", None)
    assert [each["id"] for each in seen["other_payments"]] == [late]
    # What comes much later is the till's still, to be given back, and no longer the invoice's.
    api.clock.advance(seconds=31 * 86_400)
    later = (await aye.post("/v1/payments", aye.payment(ko, "5", reference=order["id"]))).json()["id"]
    assert [each["id"] for each in (await ko.get(path)).json()["other_payments"]] == [late]
    body = {"id": str(uuid7(api.clock)), "amount": "5"}
    assert (await ko.post(f"{shop.path}/payments/{later}/refunds", body)).status_code == 201


async def test_a_payment_to_somebody_else_pays_no_invoice(api, aye, ko, shop):
    su = await api.phone("su_su")
    order = shop.invoice("5")
    await ko.post(f"{shop.path}/invoices", order)
    assert (await aye.post("/v1/payments", aye.payment(su, "5", reference=order["id"]))).status_code == 201
    seen = (await ko.get(f"{shop.path}/invoices/{order['id']}")).json()
    assert (seen["state"], seen["other_payments"]) == ("open", [])


async def test_invoices_are_read_page_by_page_newest_first(api, ko, shop):
    orders = []
    for _ in range(5):
        orders.append(shop.invoice("1"))
        await ko.post(f"{shop.path}/invoices", orders[-1])
        api.clock.advance(seconds=1)
    found, before = [], ""
    for size in (2, 2, 1):
        page = (await ko.get(f"{shop.path}/invoices?limit=2{before}")).json()
        assert len(page["invoices"]) == size
        found += [each["id"] for each in page["invoices"]]
        before = f"&before={page['next_before']}"
    assert page["next_before"] is None
    assert found == [order["id"] for order in reversed(orders)]
    other = await open_shop(ko, "Counter 2")
    answer = await ko.get(f"{other.path}/invoices?before={orders[0]['id']}")
    assert code_of(answer) == (404, "invoice_not_found")


async def test_a_settlement_is_what_the_ledger_has_of_the_day_and_the_till(api, aye, ko, shop):
    day = 86_400 * SECOND_NS
    api.clock.set_ns((api.clock.now_ns() // day + 1) * day + 3600 * SECOND_NS)
    other = await open_shop(ko, "Counter 2")
    order, elsewhere = shop.invoice("5"), shop.invoice("3")
    assert (await ko.post(f"{shop.path}/invoices", order)).status_code == 201
    assert (await ko.post(f"{other.path}/invoices", elsewhere)).status_code == 201

    async def paid(amount: str, **more: str) -> str:
        return str((await aye.post("/v1/payments", aye.payment(ko, amount, **more))).json()["id"])

    async def given_back(payment_id: str, amount: str) -> None:
        body = {"id": str(uuid7(api.clock)), "amount": amount}
        assert (await ko.post(f"/v1/payments/{payment_id}/refunds", body)).status_code == 201

    by_code, by_invoice = await paid("10", reference=shop.id), await paid("5", reference=order["id"])
    at_other = await paid("3", reference=elsewhere["id"])
    plain = await paid("2")
    for payment_id in (by_code, at_other, plain):
        await given_back(payment_id, "1")
    assert (await ko.post("/v1/payments", ko.payment(aye, "1", reference=shop.id))).status_code == 201
    first_day = api.clock.now().date()
    found = (await ko.get(f"{shop.path}/settlement")).json()
    assert (found["day"], found["is_over"], found["is_whole"]) == (first_day.isoformat(), False, True)
    assert (found["payments"], found["refunds"], found["net"]) == ("15.000000", "1.000000", "14.000000")
    assert [(each["kind"], each["payment_id"], each["invoice_id"]) for each in found["lines"]] == [
        ("payment", by_code, None),
        ("payment", by_invoice, order["id"]),
        ("refund", by_code, None),
    ]
    # A refund on the next day is of that day, though the payment is not.
    api.clock.advance(seconds=86_400)
    await given_back(by_invoice, "4")
    key = await shop.key("see")
    second = (await by_key(api, key, "GET", f"{shop.path}/settlement")).json()
    assert (second["payments"], second["refunds"], second["net"]) == ("0.000000", "4.000000", "-4.000000")
    assert [each["payment_id"] for each in second["lines"]] == [by_invoice]
    again = (await by_key(api, key, "GET", f"{shop.path}/settlement?day={first_day}")).json()
    assert again == {**found, "is_over": True}
    # Both tills and what was at neither are together what the wallet's history says.
    rest = (await ko.get(f"{other.path}/settlement?day={first_day}")).json()
    history = (await ko.get("/v1/history?asset=USDT&limit=100")).json()["lines"]
    held = sum(
        Decimal(line["amount"]) * (1 if line["direction"] == "in" else -1)
        for line in history
        if line["kind"] in {"payment", "refund"} and line["at"].startswith(first_day.isoformat())
    )
    assert held == Decimal(found["net"]) + Decimal(rest["net"]) + 2 - 1 - 1


async def test_what_was_recalled_of_a_till_is_in_its_settlement_and_what_is_only_held_is_not(
    api, aye, ko, shop
):
    paid = [
        str((await aye.post("/v1/payments", aye.payment(ko, amount, reference=shop.id))).json()["id"])
        for amount in ("10", "7", "3")
    ]
    recalls = [str(uuid7(api.clock)) for _ in paid]
    for payment_id, recall_id in zip(paid, recalls, strict=True):
        assert (await aye.post(f"/v1/payments/{payment_id}/recall", {"id": recall_id})).status_code == 201
    assert (await ko.post(f"/v1/recalls/{recalls[0]}/agree")).json()["state"] == "agreed"
    assert (await aye.post(f"/v1/recalls/{recalls[1]}/withdraw")).json()["state"] == "withdrawn"
    found = (await ko.get(f"{shop.path}/settlement")).json()
    assert (found["payments"], found["refunds"], found["net"]) == ("20.000000", "10.000000", "10.000000")
    (recalled,) = [each for each in found["lines"] if each["kind"] != "payment"]
    assert (recalled["kind"], recalled["payment_id"], recalled["amount"]) == ("recall", paid[0], "10.000000")


async def test_a_settlement_comes_as_csv_too(api, aye, ko, shop):
    payment = (await aye.post("/v1/payments", aye.payment(ko, "10", reference=shop.id))).json()
    answer = await ko.get(f"{shop.path}/settlement", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    (line,) = csv.DictReader(io.StringIO(answer.text))
    assert line == {
        "id": payment["id"],
        "kind": "payment",
        "asset": "USDT",
        "amount": "10.000000",
        "invoice_id": "",
        "payment_id": payment["id"],
        "created_at": payment["created_at"],
        "by": "",
        "by_key_id": "",
    }


async def test_who_gave_back_at_a_till_stands_in_its_settlement(api, aye, ko, shop):
    su = await api.phone("su_su")
    await shop.hire(su, "refund")
    made = (await ko.post(f"{shop.path}/keys", {"name": "Web shop", "rights": ["refund"]})).json()
    payment = (await aye.post("/v1/payments", aye.payment(ko, "10", reference=shop.id))).json()
    path = f"{shop.path}/payments/{payment['id']}/refunds"

    def body() -> dict[str, str]:
        return {"id": str(uuid7(api.clock)), "amount": "1"}

    by_person, by_server, too_much = body(), body(), {**body(), "amount": "11"}
    assert (await su.post(path, by_person)).status_code == 201
    # The same order again is the first one's, whoever sends it.
    again = await by_key(api, made["key"], "POST", path, by_person)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert (await by_key(api, made["key"], "POST", path, by_server)).status_code == 201
    assert code_of(await su.post(path, too_much)) == (409, "refund_exceeds_payment")
    assert (await ko.post(f"/v1/payments/{payment['id']}/refunds", body())).status_code == 201
    lines = (await ko.get(f"{shop.path}/settlement")).json()["lines"]
    assert [(each["kind"], each["by"], each["by_key_id"]) for each in lines] == [
        ("payment", None, None),
        ("refund", "@su_su", None),
        ("refund", None, made["id"]),
        ("refund", None, None),
    ]
    answer = await ko.get(f"{shop.path}/settlement", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["by"], row["by_key_id"]) for row in rows] == [
        ("", ""), ("su_su", ""), ("", made["id"]), ("", ""),
    ]  # fmt: skip


async def test_a_day_that_is_none_is_refused(ko, shop):
    for day in ("2026-02-30", "20260223", "1969-12-31", "2026-1-1", "today"):
        assert code_of(await ko.get(f"{shop.path}/settlement?day={day}")) == (422, "request_malformed")
