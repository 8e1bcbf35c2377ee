"""Duress: another wallet behind another PIN, and nothing in any answer that tells which it is."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from foundation.assets import USDT
from foundation.ids import uuid7
from identity.decoys import decoy_of
from identity.models import Device, Person
from identity.pepper import PEPPER_BYTES, Pepper
from identity.views import View, view_mark, view_of_mark
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_officers import appointed
from tests.wallet_api.test_pins import DURESS, PIN, code
from tests.wallet_api.test_tills import open_shop
from wallets.invoices import OTHERS_MAX

READS = ("/v1/balances", "/v1/history?limit=3", "/v1/limits?asset=USDT", "/v1/wallet")
ASKS = ("/v1/withdrawals", "/v1/deposits", "/v1/payment_requests?role=payer", "/v1/sessions", "/v1/devices")


@pytest.fixture
async def pinned(api: API, aye: Phone) -> Phone:
    """A phone whose two wallets differ as much as they can: in money, history and handle."""
    await api.fund(aye, "240000", USDT)
    answer = await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle="@a_decoy_with_a_much_longer_na")
    assert answer.status_code == 200, answer.text
    await aye.log_in(PIN)
    for amount in ("20", "3", "0.5"):
        assert (await aye.pay("@a_decoy_with_a_much_longer_na", amount)).status_code == 201
    aye.token = None
    return aye


def form(answer: httpx.Response) -> tuple[object, ...]:
    """What an observer sees of an answer, and what a reader sees of its form."""
    shown = [(name, len(value)) for name, value in answer.headers.multi_items()]
    return answer.status_code, shown, len(answer.content), shape(answer.json())


def shape(value: object) -> object:
    """The names and kinds in a value; of lists of lines only the kind of line."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


class TestBothViews:
    async def test_the_duress_pin_opens_a_real_wallet_with_money_and_history_of_its_own(self, pinned, ko):
        await pinned.log_in(DURESS)
        assert (await pinned.read("/v1/wallet")).json()["handle"] == "@a_decoy_with_a_much_longer_na"
        assert await pinned.available() == "23.500000"
        paid = await pinned.pay(ko, "2")
        assert (paid.status_code, paid.json()["payer"]) == (201, "@a_decoy_with_a_much_longer_na")
        assert await pinned.available() == "21.490000"
        lines = (await pinned.read("/v1/history")).json()["lines"]
        assert [line["amount"] for line in lines] == [
            "0.010000",
            "2.000000",
            "0.500000",
            "3.000000",
            "20.000000",
        ]
        left = (await pinned.read("/v1/limits?asset=USDT")).json()["windows"][0]["left"]
        assert left == "19998.000000"

        await pinned.log_in(PIN)
        assert (await pinned.read("/v1/wallet")).json()["handle"] == "@aye_aye"
        assert code(await pinned.read(f"/v1/payments/{paid.json()['id']}")) == "payment_not_found"
        assert (await pinned.read("/v1/limits?asset=USDT")).json()["windows"][0]["left"] == "19976.500000"

    async def test_a_payment_under_duress_cannot_reach_the_real_money(self, pinned, ko):
        await pinned.log_in(DURESS)
        assert code(await pinned.pay(ko, "100")) == "insufficient_funds"

    async def test_the_same_payment_sent_in_the_other_view_pays_nothing(self, pinned, ko):
        await pinned.log_in(DURESS)
        body = pinned.payment(ko, "2")
        first = await pinned.post("/v1/payments", body)
        again = await pinned.post("/v1/payments", body)
        assert (again.status_code, again.content) == (201, first.content)
        await pinned.log_in(PIN)
        before = await pinned.available()
        assert code(await pinned.post("/v1/payments", body)) == "payment_id_taken"
        assert await pinned.available() == before

    async def test_sessions_of_one_view_are_not_seen_or_ended_in_the_other(self, pinned):
        real = (await pinned.log_in(PIN)).json()
        duress = (await pinned.log_in(DURESS)).json()
        listed = (await pinned.get("/v1/sessions")).json()["sessions"]
        assert [each["id"] for each in listed] == [duress["id"]]
        assert code(await pinned.delete(f"/v1/sessions/{real['id']}")) == "session_not_found"
        assert (await pinned.delete("/v1/sessions")).status_code == 200
        pinned.token = real["token"]
        assert (await pinned.read("/v1/balances")).status_code == 200


class TestForms:
    async def test_answers_have_one_form_and_one_size(self, pinned, ko):
        seen: dict[str, list[tuple[object, ...]]] = {}
        for pin in (PIN, DURESS):
            seen[pin] = [form(await pinned.log_in(pin))]
            paid = await pinned.pay(ko, "1.5")
            seen[pin] += [form(paid), form(await pinned.read(f"/v1/payments/{paid.json()['id']}"))]
            seen[pin] += [form(await pinned.read(path)) for path in READS]
            seen[pin] += [form(await pinned.get(path)) for path in (*READS, *ASKS)]
        assert seen[PIN] == seen[DURESS]

    async def test_refusals_have_one_form_and_one_size(self, pinned, ko):
        seen: dict[str, list[tuple[object, ...]]] = {}
        for pin in (PIN, DURESS):
            await pinned.log_in(pin)
            answers = [
                await pinned.pay(ko, "9999.5" if pin == DURESS else "9999.4"),
                await pinned.pay("@nobody_at_all", "1"),
                await pinned.pay(ko, "10001"),
                await pinned.post("/v1/wallet", {"handle": "a_handle_of_mine"}),
                await pinned.read("/v1/payments/019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a"),
                await pinned.get("/v1/officers/withdrawals"),
                await pinned.read("/v1/nothing"),
            ]
            # What is spent of the real wallet is there to be spent: only the refusals are compared.
            seen[pin] = [form(answer) for answer in answers[1:]]
        assert seen[PIN] == seen[DURESS]

    async def test_a_business_is_as_large_on_the_line_as_nothing(self, pinned, ko):
        await pinned.log_in(PIN)
        shop = await open_shop(pinned, "\U0001f375" * 60)
        bill = shop.invoice("5", memo="\U0001f375" * 200)
        assert (await pinned.post(f"{shop.path}/invoices", bill)).status_code == 201
        await pinned.api.fund(ko, "50", USDT)
        await shop.key("refund")
        for _ in range(OTHERS_MAX):
            given = ko.payment(pinned, "0.01", reference=bill["id"])
            paid = await ko.post("/v1/payments", given)
            assert paid.status_code == 201, paid.text
        for _ in range(8):
            back = {"id": str(uuid7(pinned.api.clock)), "amount": "0.001"}
            refunded = await pinned.post(f"/v1/payments/{given['id']}/refunds", back)
            assert refunded.status_code == 201, refunded.text
        paths = [
            "/v1/merchant/tills",
            f"{shop.path}/invoices?limit=1",
            f"{shop.path}/invoices/{bill['id']}",
            f"{shop.path}/keys",
            f"{shop.path}/staff",
            f"{shop.path}/settlement",
            "/v1/merchant/webhooks",
            "/v1/merchant/events?limit=1",
            f"/v1/payments/{given['id']}/refunds",
            f"/v1/payments/{given['id']}/receipt",
            "/v1/bulk_payments?limit=1",
            f"/v1/splits/{bill['id']}",
            f"/v1/standing_orders/{bill['id']}/payments",
            "/v1/recalls?role=payer",
            "/v1/sync",
            "/v1/statements/USDT/2027-01",
        ]
        real = [(path, len((await pinned.get(path)).content)) for path in paths]
        assert (await pinned.get(f"{shop.path}/invoices?limit=1")).json()["invoices"][0]["memo"] == bill[
            "memo"
        ]
        await pinned.log_in(DURESS)
        assert (await pinned.get(shop.path)).json()["code"] == "till_not_found"
        assert [(path, len((await pinned.get(path)).content)) for path in paths] == real

    async def test_setting_a_pin_again_is_answered_the_same_in_both_views(self, pinned):
        wishes = [
            {"pin": "951620", "duress_pin": "840613", "decoy_handle": "@third_one"},
            {"pin": "951620", "duress_pin": "951620", "decoy_handle": "@third_one"},
            {"pin": "951620", "duress_pin": "840613", "decoy_handle": "@ko_ko_ko_"},
        ]
        await pinned.api.phone("kokoko")
        seen = {}
        for pin in (DURESS, PIN):
            seen[pin] = [code(await pinned.set_pin(current_pin=pin, **wish)) for wish in wishes[1:]]
        # The real one has its decoy already, which under duress is made for the first time.
        assert seen == {
            DURESS: ["pins_alike", "handle_too_similar"],
            PIN: ["pins_alike", "wallet_already_open"],
        }
        under_duress = await pinned.set_pin(current_pin=DURESS, **wishes[0])
        assert (await pinned.log_in("951620")).status_code == 201
        assert (await pinned.read("/v1/wallet")).json()["handle"] == "@a_decoy_with_a_much_longer_na"
        assert code(await pinned.log_in("840613")) == "pin_wrong"
        again = await pinned.set_pin("628401", current_pin=PIN)
        assert form(under_duress) == form(again)
        assert (await pinned.log_in("628401")).status_code == 201
        assert (await pinned.read("/v1/wallet")).json()["handle"] == "@aye_aye"

    async def test_a_pin_chosen_under_duress_that_is_the_real_one_opens_the_decoy(self, pinned):
        assert (await pinned.set_pin(PIN, current_pin=DURESS)).status_code == 200
        await pinned.log_in(PIN)
        assert (await pinned.read("/v1/wallet")).json()["handle"] == "@a_decoy_with_a_much_longer_na"

    async def test_both_pins_cost_the_same_work(self, api, pinned, monkeypatch):
        hashes = api.connections.pins.hashes
        verified: list[int] = []
        fit = hashes._fit_all

        def counting(secret, all_of):
            verified.append(len(all_of))
            return fit(secret, all_of)

        monkeypatch.setattr(hashes, "_fit_all", counting)
        for pin in (PIN, DURESS, "840613"):
            await pinned.log_in(pin)
        assert verified == [2, 2, 2]


class TestWhatTheDatabaseTells:
    @pytest.mark.usefixtures("pinned")
    async def test_a_decoy_is_a_person_like_any_other_and_stands_beside_nobody(self, api):
        async with api.database.session() as session:
            people = {row.id: row for row in await session.scalars(select(Person))}
            devices = (await session.scalars(select(Device))).all()
        owner = next(each.person_id for each in devices if each.person_id in people)
        assert {person.version for person in people} == {7}
        assert len(people) == 2
        assert {each.person_id for each in devices} == set(people)
        decoy = next(person for person in people if person != owner)
        assert decoy in {decoy_of(api.connections.pins.pepper, one) for one in people}
        assert decoy_of(Pepper(b"x" * PEPPER_BYTES), owner) != decoy

    def test_a_mark_says_nothing_under_another_pepper(self):
        one, other = Pepper(b"1" * PEPPER_BYTES), Pepper(b"2" * PEPPER_BYTES)
        session_id = uuid4()
        for view in View:
            mark = view_mark(one, session_id, view)
            assert view_of_mark(one, session_id, mark) is view
            assert view_of_mark(other, session_id, mark) is None

    async def test_a_session_written_under_another_pepper_is_over(self, api, pinned):
        await pinned.log_in(PIN)
        api.connections.pins.pepper = Pepper(b"x" * PEPPER_BYTES)
        assert code(await pinned.read("/v1/balances")) == "session_over"

    async def test_officers_hear_of_duress_only_where_it_was_wished(self, api, pinned, ko):
        may = await appointed(api, "may_may")
        await ko.set_pin(PIN, duress_pin=DURESS, decoy_handle="@ko_decoy", alarm=True)
        before = api.rows()
        for phone in (pinned, ko):
            for pin in (PIN, DURESS):
                await phone.log_in(pin)
                api.clock.advance(60)
        # A login writes the same rows for everybody: a session, a nonce, and the first time tries.
        after = api.rows()
        grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name)}
        assert grown == {"identity_session": 4, "identity_nonce": 4, "identity_pin_tries": 1}
        (login,) = (await may.get("/v1/officers/duress_logins")).json()["duress_logins"]
        assert login["at"] == "2027-01-15T08:03:00.000000Z"
        await ko.log_in(PIN)
        for phone in (pinned, ko):
            await phone.log_in(PIN)
            assert code(await phone.get("/v1/officers/duress_logins")) == "approver_is_no_officer"
        api.clock.advance(8 * 86_400)
        assert (await may.get("/v1/officers/duress_logins")).json() == {"duress_logins": []}


async def test_many_guesses_at_once_are_counted_one_by_one(pinned):
    answers = await asyncio.gather(
        *(pinned.post("/v1/sessions", {"pin": f"84061{digit}"}) for digit in range(8))
    )
    assert sorted(code(answer) for answer in answers) == ["pin_delayed"] * 3 + ["pin_wrong"] * 5
