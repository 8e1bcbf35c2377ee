"""Payments that make no sense, or are not the caller's to make.

Each is a typed refusal, and nothing is written: the number of rows of every table
and the balances of both parties are compared before and after.
"""

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.assets import USDT
from foundation.ids import uuid7


class TestPayment:
    async def test_content_that_makes_no_sense(self, aye, ko, refusals, subtests):
        for change, code in [
            ({"asset": "EUR"}, "unknown_asset"),
            ({"asset": "usdt"}, "unknown_asset"),
            ({"amount": "0"}, "amount_not_positive"),
            ({"amount": "0.000000"}, "amount_not_positive"),
            ({"amount": "-1"}, "amount_malformed"),
            ({"amount": "+1"}, "amount_malformed"),
            ({"amount": "1e3"}, "amount_malformed"),
            ({"amount": "1,000"}, "amount_malformed"),
            ({"amount": "01"}, "amount_malformed"),
            ({"amount": "1."}, "amount_malformed"),
            ({"amount": ".5"}, "amount_malformed"),
            ({"amount": " 1"}, "amount_malformed"),
            ({"amount": "NaN"}, "amount_malformed"),
            ({"amount": "Infinity"}, "amount_malformed"),
            ({"amount": "١٢"}, "amount_malformed"),
            ({"amount": "1.0000001"}, "amount_too_precise"),
            ({"amount": "1.0000000"}, "amount_too_precise"),
            ({"amount": "9223372036854.775808"}, "amount_out_of_range"),
            ({"amount": "9223372036854.775807"}, "greater_than_transaction_max_value"),
            ({"amount": "100.000001"}, "insufficient_funds"),
            ({"amount": "100"}, "insufficient_funds"),
            ({"payee": "@nobody_here"}, "payee_unknown"),
            ({"payee": "no body"}, "handle_malformed"),
            ({"payee": "@"}, "handle_malformed"),
            ({"payee": "@AYE_aye"}, "payee_is_payer"),
            ({"fee_max": "0.000001"}, "fee_above_maximum"),
            ({"fee_max": "x"}, "amount_malformed"),
            ({"id": "0198b0c4-6a2e-4c11-9d2b-3f6f0c1d2e4a"}, "payment_id_malformed"),
            ({"id": "x" * 36}, "id_malformed"),
            ({"id": "00000000-0000-0000-0000-000000000000"}, "payment_id_malformed"),
            ({"id": "ffffffff-ffff-ffff-ffff-ffffffffffff"}, "payment_id_malformed"),
            ({"reference": "x" * 36}, "id_malformed"),
        ]:
            with subtests.test(change=change):
                body = {**aye.payment(ko, "1"), **change}
                assert await refusals.code(aye.post("/v1/payments", body)) == code

    async def test_fields_of_another_form_or_unknown_ones_or_too_long_ones(self, aye, ko, refusals, subtests):
        changes: list[dict[str, Any]] = [
            {"amount": 1},
            {"amount": 1.5},
            {"amount": None},
            {"amount": True},
            {"amount": ["1"]},
            {"amount": ""},
            {"amount": "1" * 41},
            {"amount": "1" * 5000},
            {"asset": "U" * 17},
            {"asset": 1},
            {"payee": "a" * 32},
            {"payee": {"$ne": ""}},
            {"id": "1"},
            {"id": "a" * 37},
            {"reference": "a" * 37},
            {"fee": "0"},
            {"payer": "@ko_ko"},
            {"created_at": "2020-01-01T00:00:00Z"},
            {"__proto__": {}},
        ]
        for change in changes:
            with subtests.test(change=change):
                body = {**aye.payment(ko, "1"), **change}
                assert await refusals.code(aye.post("/v1/payments", body)) == "request_malformed"

    async def test_a_missing_field_is_named(self, aye, ko):
        for field in ("id", "payee", "asset", "amount"):
            body = aye.payment(ko, "1")
            del body[field]
            problem = (await aye.post("/v1/payments", body)).json()
            assert (problem["code"], problem["field"]) == ("request_malformed", field)

    async def test_the_id_of_somebody_elses_payment(self, aye, ko, refusals):
        body = aye.payment(ko, "5")
        assert (await aye.post("/v1/payments", body)).status_code == 201
        stolen = {**ko.payment(aye, "0.5"), "id": body["id"]}
        assert await refusals.code(ko.post("/v1/payments", stolen)) == "payment_id_taken"

    async def test_an_id_with_other_content_names_the_field_that_differs(
        self, api, aye, ko, refusals, subtests
    ):
        await api.phone("third")
        body = aye.payment(ko, "5")
        assert (await aye.post("/v1/payments", body)).status_code == 201
        for field, value in [
            ("amount", "5.000001"),
            ("asset", "USDC"),
            ("payee", "@third"),
            ("reference", "0198b0c4-6a2e-4c11-9d2b-3f6f0c1d2e4a"),
        ]:
            with subtests.test(field=field):
                changed = {**body, field: value}
                assert await refusals.code(aye.post("/v1/payments", changed)) == (
                    "payment_id_used_differently"
                )
                answer = await aye.post("/v1/payments", changed)
                assert (answer.status_code, answer.json()["field"]) == (422, field)

    async def test_a_refused_id_needs_a_new_one_and_says_so(self, aye, ko, refusals):
        body = aye.payment(ko, "1000")
        first = await aye.post("/v1/payments", body)
        assert first.json()["code"] == "insufficient_funds"
        assert first.json()["new_id_needed"] is True
        assert await refusals.code(aye.post("/v1/payments", body)) == "payment_already_refused"


class TestOtherPeoplesThings:
    async def test_a_payment_of_others_is_not_found(self, api, aye, ko, refusals):
        body = aye.payment(ko, "5")
        await aye.post("/v1/payments", body)
        stranger = await api.phone("stranger")
        path = f"/v1/payments/{body['id']}"
        assert await refusals.code(stranger.get(path), nonces=1) == "payment_not_found"
        unknown = f"/v1/payments/{uuid7(api.clock)}"
        problems = [(await stranger.get(each)).json() for each in (path, unknown)]
        for problem in problems:
            del problem["request_id"], problem["instance"]
        assert problems[0] == problems[1]

    async def test_a_device_without_a_wallet_gets_told_to_open_one(self, api, refusals):
        phone = await api.enrolled()
        for path in ("/v1/wallet", "/v1/balances", "/v1/history"):
            assert await refusals.code(phone.get(path), nonces=1) == "wallet_not_open"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(
        st.sampled_from(["id", "payee", "asset", "amount", "fee_max", "reference", "more"]),
        JSON_VALUES,
        min_size=1,
        max_size=4,
    )
)
async def test_no_payment_that_is_made_up_is_answered_with_a_fault_or_moves_money(api, aye, ko, changes):
    body = {**aye.payment(ko, "1"), "reference": None, **changes}
    before = api.rows()["ledger_transfer"]
    answer = await aye.post("/v1/payments", body)
    harmless = {key: value for key, value in changes.items() if value is not None}
    if answer.status_code == 201:
        assert not harmless.keys() - {"amount"}
        assert re.fullmatch(r"[0-9.]+", str(changes.get("amount", "1")))
    else:
        assert 400 <= answer.status_code < 500
        assert answer.json()["money_moved"] == "false"
        assert api.rows()["ledger_transfer"] == before


async def test_funds_stay_where_they_are_after_all_this(api, aye, ko):
    await api.fund(aye, "1", USDT)
    assert await aye.available() == "101.000000"
    assert await ko.available() == "1.000000"
