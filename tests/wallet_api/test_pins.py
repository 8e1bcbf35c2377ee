"""PINs and sessions as a phone sees them: each refusal, and what a session opens."""

import pytest
from nugpay_client.keys import DeviceKey
from nugpay_client.keys import key_id as thumbprint
from sqlalchemy import select

from identity.models import PinRow, SessionRow
from identity.pepper import read_pepper
from identity.pin_hashes import CHECKS_MAX, WAITING_MAX
from tests.wallet_api.conftest import API, Phone

PIN, DURESS = "730512", "518274"


@pytest.fixture
async def pinned(aye: Phone) -> Phone:
    """A phone with both PINs, money in both wallets, and no session."""
    answer = await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle="@aye_two")
    assert answer.status_code == 200, answer.text
    await aye.log_in(PIN)
    paid = await aye.pay("@aye_two", "20")
    assert paid.status_code == 201, paid.text
    aye.token = None
    return aye


def code(answer) -> str:
    return str(answer.json()["code"])


class TestSettingAPin:
    @pytest.mark.parametrize("pin", ["12345", "1234567890123", "12345a", "၁၂၃၄၅၆", "", "73 0512"])
    async def test_what_is_no_pin_is_refused(self, refusals, aye, pin):
        got = await refusals.code(aye.set_pin(pin), nonces=1)
        assert got == ("pin_malformed" if pin else "request_malformed")

    @pytest.mark.parametrize(
        "pin", ["000000", "123456", "987654", "121212", "123123", "112233", "147258", "19881224", "24121988"]
    )
    async def test_what_is_tried_first_is_refused(self, refusals, aye, pin):
        assert await refusals.code(aye.set_pin(pin), nonces=1) == "pin_too_simple"
        twice = aye.set_pin(PIN, duress_pin=pin, decoy_handle="@aye_two")
        assert await refusals.code(twice, nonces=1) == "pin_too_simple"

    async def test_two_pins_that_are_one_are_refused(self, refusals, aye):
        same = aye.set_pin(PIN, duress_pin=PIN, decoy_handle="@aye_two")
        assert await refusals.code(same, nonces=1) == "pins_alike"

    async def test_a_duress_pin_and_its_handle_come_together(self, refusals, aye):
        for more in ({"duress_pin": DURESS}, {"decoy_handle": "@aye_two"}):
            assert await refusals.code(aye.set_pin(PIN, **more), nonces=1) == "decoy_handle_missing"

    async def test_a_handle_that_is_taken_sets_nothing(self, aye, ko):
        assert code(await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle=ko.handle)) == "handle_taken"
        assert code(await aye.log_in(PIN)) == "pin_not_set"
        # The person behind the decoy stands there without a wallet; the same request with
        # another handle goes on from there.
        assert (await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle="@aye_two")).status_code == 200
        await aye.log_in(DURESS)
        assert (await aye.read("/v1/wallet")).json()["handle"] == "@aye_two"

    async def test_another_pin_is_set_only_with_the_current_one(self, aye):
        assert code(await aye.set_pin("840613", current_pin=PIN)) == "pin_not_set"
        assert (await aye.set_pin(PIN)).status_code == 200
        assert code(await aye.set_pin("840613")) == "current_pin_missing"
        assert code(await aye.set_pin("840613", current_pin="840613")) == "pin_wrong"
        assert (await aye.set_pin("840613", current_pin=PIN)).status_code == 200
        assert code(await aye.log_in(PIN)) == "pin_wrong"
        assert (await aye.log_in("840613")).status_code == 201

    async def test_the_same_signed_bytes_set_no_pin_twice(self, aye):
        assert (await aye.put("/v1/pin", {"pin": PIN}, nonce="n" * 20)).status_code == 200
        assert code(await aye.put("/v1/pin", {"pin": PIN}, nonce="n" * 20)) == "nonce_replayed"

    async def test_the_pin_may_not_become_the_duress_pin_that_stays(self, pinned):
        assert code(await pinned.set_pin(DURESS, current_pin=PIN)) == "pins_alike"
        assert (await pinned.log_in(PIN)).status_code == 201

    @pytest.mark.usefixtures("pinned")
    async def test_neither_table_nor_file_alone_knows_a_pin(self, api):
        path = api.connections.settings.pin_pepper_path
        assert path.stat().st_mode & 0o777 == 0o600
        read_pepper(path)
        async with api.database.session() as session:
            (row,) = await session.scalars(select(PinRow))
            for hashed in (row.real_hash, row.duress_hash):
                assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
                assert PIN not in hashed
        assert path.read_text().strip() not in (row.real_hash + row.duress_hash)

    @pytest.mark.usefixtures("pinned")
    async def test_a_person_without_a_duress_pin_has_a_row_like_all_others(self, api, ko):
        await ko.set_pin(PIN)
        async with api.database.session() as session:
            first, second = await session.scalars(select(PinRow))
        for name in ("real_hash", "duress_hash", "alarm_mark"):
            one, other = getattr(first, name), getattr(second, name)
            assert len(one) == len(other)
            assert one != other


class TestLoggingIn:
    async def test_a_device_of_nobody_with_a_pin_needs_no_session(self, aye):
        assert code(await aye.log_in(PIN)) == "pin_not_set"
        assert (await aye.get("/v1/balances")).status_code == 200

    async def test_with_a_pin_a_signature_alone_neither_reads_nor_pays(self, pinned, ko):
        for sending in (
            pinned.get("/v1/balances"),
            pinned.get("/v1/withdrawals"),
            pinned.get("/v1/devices"),
            pinned.post("/v1/wallet", {"handle": "another_one"}),
        ):
            answer = await sending
            assert (answer.status_code, code(answer)) == (401, "session_missing")
        answer = await pinned.pay(ko, "1")
        assert (answer.status_code, code(answer)) == (401, "session_missing")

    async def test_the_token_alone_reads_and_does_not_pay(self, api, pinned, ko):
        await pinned.log_in(PIN)
        paid = (await pinned.pay(ko, "1")).json()
        for path in (
            "/v1/balances",
            "/v1/history",
            "/v1/limits?asset=USDT",
            "/v1/wallet",
            f"/v1/payments/{paid['id']}",
        ):
            assert (await pinned.read(path)).status_code == 200, path
            assert (await pinned.get(path)).status_code == 200, path
        for path in ("/v1/withdrawals", "/v1/deposits", "/v1/sessions", "/v1/devices"):
            assert code(await pinned.read(path)) == "signature_missing"
        headers = {"Authorization": f"Bearer {pinned.token}"}
        answer = await api.http.post("/v1/payments", json=pinned.payment(ko, "1"), headers=headers)
        assert (answer.status_code, code(answer)) == (401, "signature_missing")

    async def test_the_signature_covers_the_session(self, pinned, ko):
        await pinned.log_in(PIN)
        real = pinned.token
        await pinned.log_in(DURESS)
        body = pinned.payment(ko, "1")
        swapped = await pinned.post("/v1/payments", body, headers={"Authorization": f"Bearer {real}"})
        assert code(swapped) == "signature_wrong"
        dropped = pinned.signed("POST", "/v1/payments", b"{}")
        added = await pinned.send(
            "POST", "/v1/payments", headers={**dropped, "Content-Type": "application/json"}, sent=b"{}"
        )
        assert code(added) == "signature_components_not_accepted"

    async def test_a_session_is_of_one_device(self, api, pinned):
        await pinned.log_in(PIN)
        second = await further(api, pinned)
        second.token = pinned.token
        assert code(await second.get("/v1/balances")) == "session_over"

    @pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Basic abc", "Bearer " + "A" * 43, "bearer"])
    async def test_what_is_no_session_is_over(self, api, header):
        answer = await api.http.get("/v1/balances", headers={"Authorization": header})
        assert (answer.status_code, code(answer)) == (401, "session_over")

    async def test_a_session_ends_after_its_time(self, api, pinned):
        await pinned.log_in(PIN)
        api.clock.advance(899)
        assert (await pinned.read("/v1/balances")).status_code == 200
        api.clock.advance(1)
        assert code(await pinned.read("/v1/balances")) == "session_over"

    async def test_sessions_are_listed_and_end_one_by_one_or_all(self, api, pinned):
        first = (await pinned.log_in(PIN)).json()
        api.clock.advance(1)
        second = (await pinned.log_in(PIN)).json()
        listed = (await pinned.get("/v1/sessions")).json()["sessions"]
        assert listed[0]["id"] == second["id"]
        # The third one is of when the fixture paid, at the time of the first.
        assert first["id"] in {each["id"] for each in listed}
        assert len(listed) == 3
        assert (await pinned.delete(f"/v1/sessions/{first['id']}")).status_code == 200
        assert code(await pinned.delete(f"/v1/sessions/{first['id']}")) == "session_not_found"
        old = {"Authorization": f"Bearer {first['token']}"}
        assert code(await api.http.get("/v1/balances", headers=old)) == "session_over"
        assert (await pinned.delete("/v1/sessions")).status_code == 200
        assert code(await pinned.read("/v1/balances")) == "session_over"

    async def test_the_database_keeps_no_token(self, api, pinned):
        await pinned.log_in(PIN)
        async with api.database.session() as session:
            (row, *_) = await session.scalars(select(SessionRow).order_by(SessionRow.created_at.desc()))
        assert pinned.token.encode() not in row.token_hash + row.view_mark

    async def test_too_many_pins_at_once_are_turned_away_and_not_counted(self, api, pinned):
        hashes = api.connections.pins.hashes
        hashes._inside = CHECKS_MAX + WAITING_MAX
        answer = await pinned.log_in("000001")
        assert (answer.status_code, code(answer)) == (503, "pin_checks_busy")
        assert answer.headers["retry-after"] == "5"
        hashes._inside = 0
        assert (await pinned.log_in("000001")).json()["tries_left"] == 9


class TestTries:
    async def test_tries_are_delayed_and_the_tenth_stops_the_device_and_not_the_person(self, api, pinned):
        await pinned.log_in(PIN)
        second = await further(api, pinned)
        wait = 0
        for wrong in range(1, 11):
            api.clock.advance(wait)
            answer = await pinned.log_in("840613")
            assert (answer.status_code, code(answer)) == (403, "pin_wrong")
            assert answer.json()["tries_left"] == 10 - wrong
            wait = 30 * 2 ** (wrong - 5) if wrong >= 5 else 0
            if wait > 0 and wrong < 10:
                # The right one is not looked at either.
                api.clock.advance(wait - 1)
                delayed = await pinned.log_in(PIN)
                assert (delayed.status_code, code(delayed)) == (429, "pin_delayed")
                assert delayed.headers["retry-after"] == "1"
                wait = 1
        assert code(await pinned.log_in(PIN)) == "device_revoked"
        assert (await second.log_in(PIN)).status_code == 201

    @pytest.mark.parametrize("between", [PIN, DURESS])
    async def test_no_login_in_between_forgives_a_wrong_try(self, pinned, between):
        for left in (9, 8, 7, 6):
            assert (await pinned.log_in("840613")).json()["tries_left"] == left
            assert (await pinned.log_in(between)).status_code == 201

    async def test_time_forgives_wrong_tries(self, api, pinned):
        for _ in range(3):
            await pinned.log_in("840613")
        api.clock.advance(12 * 3600)
        assert (await pinned.log_in("840613")).json()["tries_left"] == 8

    async def test_wrong_current_pins_are_counted_with_the_others(self, pinned):
        await pinned.log_in("840613")
        answer = await pinned.set_pin("951620", current_pin="840613")
        assert (code(answer), answer.json()["tries_left"]) == ("pin_wrong", 8)


class TestDevices:
    async def test_a_further_device_is_let_in_by_one_that_is_there(self, api, pinned):
        await pinned.log_in(PIN)
        second = await further(api, pinned)
        await second.log_in(PIN)
        assert (await second.read("/v1/wallet")).json()["handle"] == "@aye_aye"
        listed = (await second.get("/v1/devices")).json()["devices"]
        assert [each["key_id"] for each in listed] == [key_id(pinned), key_id(second)]

    async def test_a_revoked_device_and_its_sessions_are_over_at_once(self, api, pinned, ko):
        await pinned.log_in(PIN)
        second = await further(api, pinned)
        await second.log_in(PIN)
        device_id = (await pinned.get("/v1/devices")).json()["devices"][1]["id"]
        assert (await pinned.delete(f"/v1/devices/{device_id}")).status_code == 200
        assert code(await second.read("/v1/balances")) == "session_over"
        assert code(await second.pay(ko, "1")) == "device_revoked"
        await ko.set_pin(PIN)
        await ko.log_in(PIN)
        assert code(await ko.delete(f"/v1/devices/{device_id}")) == "device_not_found"

    async def test_codes_for_devices_are_few_and_die_soon(self, api, pinned):
        await pinned.log_in(PIN)
        codes = [(await pinned.post("/v1/devices/codes")).json()["code"] for _ in range(3)]
        assert code(await pinned.post("/v1/devices/codes")) == "too_many_device_codes"
        api.clock.advance(15 * 60)
        phone = Phone(api, DeviceKey.generate())
        body = {"code": codes[0], "public_key": phone.key.public_jwk}
        assert code(await phone.post("/v1/enrolments", body)) == "enrolment_code_expired"


async def further(api: API, phone: Phone) -> Phone:
    """A further device of the same person, enrolled with a code that the first one gave."""
    api.clock.advance(1)
    given = await phone.post("/v1/devices/codes")
    assert given.status_code == 201, given.text
    second = Phone(api, DeviceKey.generate())
    body = {"code": given.json()["code"], "public_key": second.key.public_jwk}
    assert (await second.post("/v1/enrolments", body)).status_code == 201
    return second


def key_id(phone: Phone) -> str:
    return thumbprint(phone.key.public_jwk)
