"""Sync over HTTP: one question after a time without a network."""

from foundation.assets import USDT
from foundation.ids import uuid7
from tests.fixtures.snapshots import settled
from tests.wallet_api.test_pins import DURESS, PIN, code
from tests.wallet_api.test_withdrawals import deployment, order

__all__ = ["deployment"]


async def test_one_question_brings_all_that_changed_and_the_balances(api, aye, ko, deployment):
    await settled(api.database)
    first = (await aye.get("/v1/sync?limit=50")).json()
    assert ([line["kind"] for line in first["lines"]], first["has_more"]) == (["deposit"], False)
    await aye.pay(ko, "5")
    back = (await ko.pay(aye, "3")).json()
    refund = {"id": str(uuid7(api.clock)), "amount": "1"}
    assert (await aye.post(f"/v1/payments/{back['id']}/refunds", refund)).status_code == 201
    body = {"id": str(uuid7(api.clock)), "payer": "@aye_aye", "asset": "USDT", "amount": "2"}
    asked = (await ko.post("/v1/payment_requests", body)).json()
    withdrawal = (await aye.post("/v1/withdrawals", order(api))).json()
    await settled(api.database)
    found = (await aye.get(f"/v1/sync?limit=50&cursor={first['next_cursor']}")).json()
    assert [line["kind"] for line in found["lines"]] == [
        "payment", "payment_fee", "payment", "refund", "withdrawal", "withdrawal_fee",
    ]  # fmt: skip
    assert found["payment_requests"] == [asked]
    assert found["withdrawals"] == [(await aye.get(f"/v1/withdrawals/{withdrawal['id']}")).json()]
    assert found["balances"] == (await aye.get("/v1/balances")).json()["balances"]
    again = (await aye.get(f"/v1/sync?cursor={found['next_cursor']}")).json()
    assert (again["lines"], again["payment_requests"]) == ([], [])
    assert again["withdrawals"] == found["withdrawals"], "what is under way comes each time"
    history = (await aye.get("/v1/history")).json()["lines"]
    assert [*first["lines"], *found["lines"]] == history[::-1]


async def test_in_a_session_sizes_and_cursors_say_nothing_of_whose_wallet_it_is(api, aye, ko):
    await api.fund(aye, "5000000", USDT)
    await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle="@a_decoy_with_a_much_longer_na")
    await aye.log_in(PIN)
    for _ in range(9):
        await aye.pay(ko, "3")
    stored = (await aye.get("/v1/sync?limit=50")).json()["next_cursor"]
    seen = set()
    for pin in (PIN, DURESS):
        await aye.log_in(pin)
        for path in ("/v1/sync", f"/v1/sync?cursor={stored}"):
            answer = await aye.get(path)
            assert answer.status_code == 200
            seen.add((len(answer.content), *((name, len(text)) for name, text in answer.headers.items())))
            assert len(answer.json()["next_cursor"]) == len(stored)
    assert len(seen) == 1


async def test_what_is_no_cursor_is_refused_by_name(api, aye):
    assert code(await aye.get("/v1/sync?cursor=nonsense")) == "cursor_malformed"
    assert code(await aye.get("/v1/sync?limit=51")) == "request_malformed"
