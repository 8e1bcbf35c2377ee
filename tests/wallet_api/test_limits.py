"""Limits over HTTP: what is left is shown, and a refusal says what to do."""

import psycopg
import pytest

from foundation.assets import USDT
from foundation.postgres import sync_url


@pytest.fixture
async def aye(api):
    phone = await api.phone("aye", "5000")
    set_tier(api, "aye", "starter")
    return phone


@pytest.fixture
async def ko(api):
    return await api.phone("ko_ko")


def set_tier(api, handle: str, tier: str) -> None:
    with psycopg.connect(sync_url(api.database.url)) as connection:
        connection.execute("UPDATE wallets_wallet SET tier = %s WHERE handle = %s", (tier, handle))


async def test_what_is_left_is_told(api, aye, ko):
    assert (await aye.pay(ko, "25")).status_code == 201
    told = (await aye.get("/v1/limits?asset=USDT")).json()
    assert (told["tier"], told["per_payment"]) == ("starter", "200.000000")
    assert [(one["window"], one["limit"], one["left"]) for one in told["windows"]] == [
        ("day", "500.000000", "475.000000"),
        ("week", "1500.000000", "1475.000000"),
        ("month", "4000.000000", "3975.000000"),
    ]
    assert all(one["full_at"] for one in told["windows"])
    # Filled to the brim by a deposit; 25 and the fee have left.
    assert told["ceiling"] == {"limit": "5000.000000", "left": "25.025000"}
    set_tier(api, "aye", "business")
    assert (await aye.get("/v1/limits?asset=USDT")).json()["ceiling"] is None


async def test_an_unused_limit_is_full(aye):
    windows = (await aye.get("/v1/limits?asset=DMMK")).json()["windows"]
    assert all(one["left"] == one["limit"] and one["full_at"] is None for one in windows)


async def test_a_payment_beyond_a_limit_says_which_what_is_left_and_when_it_is_full(aye, ko):
    for amount in ("200", "200", "90"):
        await aye.pay(ko, amount)
    answer = await aye.pay(ko, "20")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "daily_value_limit_exceeded")
    assert (problem["limit"], problem["left"], problem["asset"]) == ("500.000000", "10.000000", "USDT")
    assert problem["money_moved"] == "false"
    assert problem["new_id_needed"] is True
    assert problem["full_at"].endswith("Z")


async def test_a_single_payment_that_is_too_large_keeps_its_id(aye, ko):
    body = aye.payment(ko, "201")
    answer = await aye.post("/v1/payments", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "greater_than_transaction_max_value")
    assert (await aye.post("/v1/payments", {**body, "amount": "200"})).status_code == 201


async def test_an_asset_that_is_none_is_refused(aye):
    for path, code in (("/v1/limits?asset=XYZ", "unknown_asset"), ("/v1/limits", "request_malformed")):
        answer = await aye.get(path)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_limits_of_nobody_are_told_to_nobody(api):
    answer = await api.http.get("/v1/limits?asset=USDT")
    assert (answer.status_code, answer.json()["code"]) == (401, "signature_missing")


async def test_a_payment_above_the_payees_ceiling_says_nothing_of_what_they_hold(api, aye, ko):
    set_tier(api, "ko_ko", "starter")
    await api.fund(ko, "4999", USDT)
    problem = (await aye.pay(ko, "1.01")).json()
    assert (problem["code"], problem["new_id_needed"]) == ("payee_balance_limit_exceeded", True)
    assert not {"left", "limit", "balance"} & problem.keys()
    assert await aye.available() == "5000.000000"
