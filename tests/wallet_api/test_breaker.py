"""The breaker's routes: two officers sign one trip, and only then it is released."""

import base64
from typing import Any

import pytest
from nugpay_client import key_id
from sqlalchemy import select

from chain.models import ChainRelease
from foundation.ids import uuid7
from identity.devices import list_devices, revoke_device
from identity.officers import dismiss_officer
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_officers import appointed
from tests.wallet_api.test_withdrawals import deployment
from treasury.breaker import breaker_trip, trip_breaker

__all__ = ["deployment"]

PATH = "/v1/officers/breaker"


@pytest.fixture
async def may(api: API) -> Phone:
    return await appointed(api, "may_may")


@pytest.fixture
async def hla(api: API) -> Phone:
    return await appointed(api, "hla_hla")


async def tripped(api: API, reason: str) -> str:
    """The breaker trips; the trip's id."""
    async with api.database.session() as session:
        await trip_breaker(session, api.clock, 31337, reason=reason)
        trip = await breaker_trip(session, 31337)
    assert trip is not None
    return str(trip.id)


async def signature(phone: Phone, trip_id: str) -> dict[str, Any]:
    """What a phone sends to sign a trip's release."""
    answer = await phone.get(f"{PATH}/{trip_id}/statement")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    signed = phone.key.sign(shown.pop("statement").encode())
    return {**shown, "signature": base64.b64encode(signed).decode()}


async def sign(phone: Phone, trip_id: str) -> Any:
    answer = await phone.post(f"{PATH}/{trip_id}/signatures", await signature(phone, trip_id))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_two_officers_sign_one_trip_and_it_is_released_once(api, may, hla):
    assert (await may.get(PATH)).json() == {"stopped": False, "trips": []}
    trip_id = await tripped(api, "the USDT books differ")
    shown = (await may.get(PATH)).json()
    assert (shown["stopped"], shown["trips"][0]["id"]) == (True, trip_id)
    assert shown["trips"][0]["reason"] == "the USDT books differ"
    statement = (await may.get(f"{PATH}/{trip_id}/statement")).json()["statement"]
    assert f"trip: {trip_id}\n" in statement
    assert 'reason: "the USDT books differ"\n' in statement

    body = {"trip_id": trip_id}
    for names, officer in ((["may_may"], may), (["hla_hla", "may_may"], hla)):
        early = await officer.post(f"{PATH}/releases", body)
        assert (early.status_code, early.json()["code"]) == (409, "release_signatures_missing")
        for _ in range(2):
            assert (await sign(officer, trip_id))["signed_by"] == names
    answers = [await officer.post(f"{PATH}/releases", body) for officer in (may, hla)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["released_by"] == ["hla_hla", "may_may"]
    assert (await may.get(PATH)).json()["stopped"] is False


async def test_a_release_and_its_signatures_say_nothing_about_the_next_trip(api, may, hla):
    first = await tripped(api, "first")
    old = [await signature(officer, first) for officer in (may, hla)]
    for officer in (may, hla):
        await sign(officer, first)
    assert (await may.post(f"{PATH}/releases", {"trip_id": first})).status_code == 200
    api.clock.advance(1)
    second = await tripped(api, "second")
    for officer, body in zip((may, hla), old, strict=True):
        answer = await officer.post(f"{PATH}/{second}/signatures", body)
        assert answer.json()["code"] == "release_signature_wrong"
        # Under its own trip the same signature is still right, and moves nothing.
        assert (await officer.post(f"{PATH}/{first}/signatures", body)).status_code == 201
    again = await may.post(f"{PATH}/releases", {"trip_id": first})
    assert again.json()["released_by"] == ["hla_hla", "may_may"]
    shown = (await may.get(PATH)).json()
    assert (shown["stopped"], shown["trips"][0]["id"]) == (True, second)
    refused = await may.post(f"{PATH}/releases", {"trip_id": second})
    assert refused.json()["code"] == "release_signatures_missing"


async def test_for_others_there_is_nothing(api, ko, may):
    trip_id = await tripped(api, "a drill")
    body = await signature(may, trip_id)
    for answer in (
        await ko.get(PATH),
        await ko.get(f"{PATH}/{trip_id}/statement"),
        await ko.post(f"{PATH}/{trip_id}/signatures", body),
        await ko.post(f"{PATH}/releases", {"trip_id": trip_id}),
        await ko.get("/v1/officers/blocked_receivers"),
        await ko.post("/v1/officers/blocked_receivers", {"address": "0x" + "ab" * 20, "reason": "mine"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "approver_is_no_officer")
    async with api.database.session() as session:
        assert await session.scalar(select(ChainRelease.id)) is None


async def test_what_is_no_signature_is_refused_and_nothing_is_kept(api, may, hla, subtests):
    trip_id = await tripped(api, "a drill")
    good, theirs = await signature(may, trip_id), await signature(hla, trip_id)
    for whose, body, code in [
        (trip_id, theirs, "release_signature_wrong"),
        (trip_id, {**good, "signature": "!" * 88}, "release_signature_wrong"),
        (trip_id, {**good, "signature": "A" * 86 + "=="}, "release_signature_wrong"),
        (trip_id, {**good, "expires_at": good["expires_at"] + 1}, "release_signature_wrong"),
        (trip_id, {**good, "signed_at": good["signed_at"] + 301}, "release_times_malformed"),
        (trip_id, {**good, "expires_at": good["expires_at"] + 86_400}, "release_times_malformed"),
        (trip_id, {**good, "expires_at": good["signed_at"]}, "release_times_malformed"),
        (trip_id, {**good, "signature": "A"}, "request_malformed"),
        (str(uuid7(api.clock)), good, "trip_not_found"),
        ("x", good, "id_malformed"),
    ]:
        with subtests.test(code=code):
            answer = await may.post(f"{PATH}/{whose}/signatures", body)
            assert answer.json()["code"] == code
    api.clock.advance(3_600)
    answer = await may.post(f"{PATH}/{trip_id}/signatures", good)
    assert answer.json()["code"] == "release_expired"
    async with api.database.session() as session:
        assert await session.scalar(select(ChainRelease.id)) is None


async def test_only_living_signatures_of_those_who_are_officers_now_release(api, may, hla, subtests):
    trip_id = await tripped(api, "a drill")
    zaw = await appointed(api, "zaw_zaw")
    for officer in (may, hla):
        await sign(officer, trip_id)
    async with api.database.session() as session:
        await dismiss_officer(session, api.clock, name="hla_hla")

    async def code() -> str:
        return str((await may.post(f"{PATH}/releases", {"trip_id": trip_id})).json()["code"])

    with subtests.test(condition="one of the two was dismissed"):
        assert await code() == "release_signatures_missing"
    await sign(zaw, trip_id)
    async with api.database.session() as session:
        signer = await api.connections.doorkeeper._devices.find(_key_id(zaw))
        assert signer is not None
        (device,) = await list_devices(session, signer.person_id)
        await revoke_device(session, api.clock, person_id=signer.person_id, device_id=device.id)
    with subtests.test(condition="the other's device was revoked"):
        assert await code() == "release_signatures_missing"
    win = await appointed(api, "win_win")
    await sign(win, trip_id)
    api.clock.advance(3_600)
    with subtests.test(condition="the signatures have expired"):
        assert await code() == "release_signatures_missing"
    for officer in (may, win):
        await sign(officer, trip_id)
    assert (await may.post(f"{PATH}/releases", {"trip_id": trip_id})).status_code == 200


def _key_id(phone: Phone) -> str:
    return key_id(phone.key.public_jwk)


async def test_an_officer_blocks_a_receiver_in_their_own_name(api, may, hla, aye):
    path, address = "/v1/officers/blocked_receivers", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert (await may.get(path)).json() == {"receivers": []}
    for officer, reason in ((may, "stolen"), (hla, "said again")):
        answer = await officer.post(path, {"address": address, "reason": reason})
        assert answer.status_code == 201
        (blocked,) = answer.json()["receivers"]
        assert (blocked["address"], blocked["reason"], blocked["blocked_by"]) == (
            address,
            "stolen",
            "may_may",
        )
    for bad, code in (
        ({"address": address.lower().replace("5a", "5A", 1), "reason": "x"}, "address_checksum_mismatch"),
        ({"address": "0x12", "reason": "x"}, "address_malformed"),
        ({"address": address, "reason": ""}, "request_malformed"),
        ({"address": address, "reason": "a\x00b"}, "request_malformed"),
    ):
        assert (await may.post(path, bad)).json()["code"] == code
    order = {
        "id": str(uuid7(api.clock)),
        "asset": "USDT",
        "amount": "20",
        "to_address": address,
    }
    assert (await aye.post("/v1/withdrawals", order)).json()["code"] == "receiver_is_blocked"
