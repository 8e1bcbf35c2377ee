"""What touches the chain, as the API shows it: deposit addresses, and withdrawals until they are held.

Contracts are recorded as deployed; no node is needed to compute an address or to
set money aside. What follows on chain is tested with the treasury.
"""

import asyncio

import pytest

from chain.addresses import checksum
from chain.deployments import Deployment, TokenInfo, save_deployment
from foundation.assets import USDT
from foundation.ids import uuid7
from ledger.chart import AccountCode, system_account_id
from tests.wallet_api.conftest import API, Phone
from treasury.blocked_receivers import block_receiver

OUTSIDE = checksum("0x" + "ab" * 20)
BLOCKED = "0x" + "bb" * 20
VAULT = "0x" + "11" * 20
TOKEN = "0x" + "33" * 20


@pytest.fixture(autouse=True)
def deployment(settings):
    save_deployment(
        settings.home,
        Deployment(
            chain_id=settings.chain_id,
            genesis_hash="0x" + "00" * 32,
            block_number=1,
            vault=VAULT,
            implementation="0x" + "22" * 20,
            tokens={"USDT": TokenInfo(address=TOKEN, decimals=6)},
        ),
    )


def order(api: API, amount: str = "20", **more: str) -> dict[str, str]:
    made = {"id": str(uuid7(api.clock)), "asset": "USDT", "amount": amount, "to_address": OUTSIDE}
    return {**made, **more}


async def in_flight(api: API) -> int:
    (account,) = await api.ledger.lookup_accounts([system_account_id(AccountCode.WITHDRAWAL_IN_FLIGHT, USDT)])
    return account.credits_pending


class TestDepositAddress:
    async def test_it_is_always_the_same_and_everybody_has_another(self, aye, ko):
        path = "/v1/deposit_address?asset=USDT"
        first, again, other = await aye.get(path), await aye.get(path), await ko.get(path)
        assert first.json() == again.json()
        assert first.json()["address"] != other.json()["address"]
        assert checksum(first.json()["address"]) == first.json()["address"]
        assert first.json() | {"address": ""} == {
            "asset": "USDT",
            "address": "",
            "chain_id": 31337,
            "token": checksum(TOKEN),
            "token_decimals": 6,
        }
        assert (await aye.get("/v1/deposits")).json() == {"deposits": []}

    async def test_an_asset_without_a_token_has_none(self, aye):
        for path, code in (
            ("/v1/deposit_address?asset=XAU", "asset_not_on_chain"),
            ("/v1/deposit_address?asset=EUR", "unknown_asset"),
            ("/v1/deposit_address", "request_malformed"),
        ):
            assert (await aye.get(path)).json()["code"] == code


class TestWithdrawal:
    async def test_the_money_is_set_aside_at_once(self, api, aye):
        quoted = (await api.http.get("/v1/fees/withdrawal?asset=USDT&amount=20")).json()
        body = order(api, fee_max=quoted["fee"])
        answer = await aye.post("/v1/withdrawals", body)
        assert answer.status_code == 201
        assert answer.json() == {
            "id": body["id"],
            "state": "held",
            "asset": "USDT",
            "amount": "20.000000",
            "fee": quoted["fee"],
            "total": quoted["total"],
            "to_address": OUTSIDE,
            "tx_hash": None,
            "created_at": "2027-01-15T08:00:00.000000Z",
            "refusal_code": None,
        }
        usdt = (await aye.get("/v1/balances")).json()["balances"][0]
        assert (usdt["balance"], usdt["reserved"], usdt["available"]) == (
            "100.000000",
            "21.000000",
            "79.000000",
        )
        assert (await aye.get(f"/v1/withdrawals/{body['id']}")).json() == answer.json()
        assert (await aye.get("/v1/withdrawals")).json() == {"withdrawals": [answer.json()]}

    async def test_the_same_withdrawal_many_times_at_once_is_one(self, api, aye):
        body = order(api)
        answers = await asyncio.gather(*(aye.post("/v1/withdrawals", body) for _ in range(12)))
        assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
        assert await in_flight(api) == 20_000_000

    async def test_of_two_that_race_for_one_balance_one_wins(self, api, aye):
        answers = await asyncio.gather(*(aye.post("/v1/withdrawals", order(api, "60")) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        assert await in_flight(api) == 60_000_000

    async def test_money_on_its_way_out_cannot_be_paid(self, api, aye, ko):
        await aye.post("/v1/withdrawals", order(api, "90"))
        assert (await aye.pay(ko, "20")).json()["code"] == "insufficient_funds"

    async def test_others_do_not_see_it(self, api, aye, ko):
        body = order(api)
        await aye.post("/v1/withdrawals", body)
        answer = await ko.get(f"/v1/withdrawals/{body['id']}")
        assert (answer.status_code, answer.json()["code"]) == (404, "withdrawal_not_found")
        assert (await ko.get("/v1/withdrawals")).json() == {"withdrawals": []}

    async def test_what_cannot_be_is_refused_and_nothing_is_written(self, api, aye, refusals, subtests):
        own = (await aye.get("/v1/deposit_address?asset=USDT")).json()["address"]
        async with api.database.session() as session:
            await block_receiver(session, api.clock, address=BLOCKED, reason="theft", blocked_by="may")
        for change, code in [
            ({"to_address": "0x" + "ab" * 19}, "address_malformed"),
            ({"to_address": "x" * 42}, "address_malformed"),
            ({"to_address": OUTSIDE[:-1] + OUTSIDE[-1].swapcase()}, "address_checksum_mismatch"),
            ({"to_address": "0x" + "00" * 20}, "receiver_is_zero"),
            ({"to_address": TOKEN}, "receiver_is_contract"),
            ({"to_address": VAULT}, "receiver_is_ours"),
            ({"to_address": own}, "receiver_is_ours"),
            ({"to_address": BLOCKED}, "receiver_is_blocked"),
            ({"amount": "100000.000001"}, "withdrawal_above_limit"),
            ({"amount": "0"}, "withdrawal_amount_not_positive"),
            ({"amount": "-1"}, "amount_malformed"),
            ({"amount": "1.0000001"}, "amount_too_precise"),
            ({"asset": "XAU"}, "asset_not_on_chain"),
            ({"asset": "EUR"}, "unknown_asset"),
            ({"id": "0198b0c4-6a2e-4c11-9d2b-3f6f0c1d2e4a"}, "withdrawal_id_malformed"),
            ({"id": "y" * 36}, "id_malformed"),
            ({"fee_max": "0.999999"}, "withdrawal_fee_above_maximum"),
            ({"to_address": "0x" + "ab" * 21}, "request_malformed"),
            ({"state": "paid"}, "request_malformed"),
        ]:
            with subtests.test(change=change):
                sending = aye.post("/v1/withdrawals", order(api, **change))
                assert await refusals.code(sending, nonces=1) == code

    async def test_more_than_one_has_stays_refused_under_its_id(self, api, aye):
        body = order(api, "100")
        first = await aye.post("/v1/withdrawals", body)
        await api.fund(aye, "1000", USDT)
        again = await aye.post("/v1/withdrawals", body)
        for answer in (first, again):
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (409, "withdrawal_exceeds_balance")
            assert (problem["money_moved"], problem["new_id_needed"]) == ("false", True)
        shown = (await aye.get(f"/v1/withdrawals/{body['id']}")).json()
        assert (shown["state"], shown["refusal_code"]) == ("refused", "withdrawal_exceeds_balance")
        assert await in_flight(api) == 0

    async def test_other_content_under_the_same_id_names_the_field(self, api, aye, ko, refusals, subtests):
        body = order(api)
        await aye.post("/v1/withdrawals", body)
        await api.fund(ko, "100", USDT)

        async def differs(phone: Phone, change: dict[str, str], field: str) -> None:
            assert await refusals.code(phone.post("/v1/withdrawals", {**body, **change}), nonces=1) == (
                f"withdrawal_exists_with_different_{field}"
            )

        for phone, change, field in [
            (aye, {"amount": "21"}, "amount"),
            (aye, {"to_address": "0x" + "cd" * 20}, "receiver"),
            (ko, {}, "wallet"),
        ]:
            with subtests.test(field=field):
                await differs(phone, change, field)

    async def test_a_payment_and_a_withdrawal_with_one_id_are_two_things(self, api, aye, ko):
        withdrawn, paid = order(api), aye.payment(ko, "1")
        await aye.post("/v1/withdrawals", withdrawn)
        await aye.post("/v1/payments", paid)
        crossed = await aye.post("/v1/payments", {**aye.payment(ko, "1"), "id": withdrawn["id"]})
        assert crossed.status_code == 201
        crossed = await aye.post("/v1/withdrawals", order(api, id=paid["id"]))
        assert crossed.json()["state"] == "held"
        assert await in_flight(api) == 40_000_000


class TestYoungMoney:
    """What is held for less than 30 days leaves by 1,000 a day and 5,000 a week."""

    async def test_a_quote_says_what_is_young_and_what_room_is_left(self, api, ko):
        rich = await api.phone("daw_rich", "9000")
        await rich.pay(ko, "3000")
        ask = {"asset": "USDT", "amount": "1200"}
        quoted = (await ko.post("/v1/withdrawals/quotes", ask)).json()
        # What ko deposited came first, and is free.
        assert quoted["young"] == "1199.000000"
        assert quoted["young_rooms"] == [
            {"window": "day", "limit": "1000.000000", "left": "1000.000000", "more_at": None},
            {"window": "week", "limit": "5000.000000", "left": "5000.000000", "more_at": None},
        ]
        assert (await ko.post("/v1/withdrawals", order(api, "500"))).status_code == 201
        quoted = (await ko.post("/v1/withdrawals/quotes", ask)).json()
        assert [(room["left"], room["more_at"][:19]) for room in quoted["young_rooms"]] == [
            ("501.000000", "2027-01-16T08:00:00"),
            ("4501.000000", "2027-01-22T08:00:00"),
        ]

    async def test_what_does_not_fit_is_refused_with_the_rule_and_given_back(self, api, ko):
        rich = await api.phone("daw_rich", "9000")
        await rich.pay(ko, "3000")
        body = order(api, "1001.000001")
        answer = await ko.post("/v1/withdrawals", body)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "young_funds_daily_limit_exceeded")
        assert (problem["left"], problem["young"], problem["new_id_needed"]) == (
            "1000.000000",
            "1000.000001",
            True,
        )
        assert await ko.available() == "3001.000000"
        assert await in_flight(api) == 0
        assert (await ko.post("/v1/withdrawals", body)).json()["code"] == problem["code"]
        assert (await ko.get(f"/v1/withdrawals/{body['id']}")).json()["state"] == "refused"
        assert (await ko.post("/v1/withdrawals", order(api, "1001"))).status_code == 201
