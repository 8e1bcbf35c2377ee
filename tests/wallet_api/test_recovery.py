"""Recovery over HTTP: who has lost every device is let in again by those they trust, and nobody else is."""

import asyncio
from collections import Counter

import psycopg
import pytest
from nugpay_client.keys import DeviceKey, key_id

from foundation.postgres import sync_url
from identity.recovery import KEYS_MAX, WAITING
from tests.wallet_api.conftest import API, Phone

PIN = "730512"


def code(answer) -> str:
    return str(answer.json()["code"])


@pytest.fixture
async def friends(api: API, aye: Phone) -> list[Phone]:
    """Three people whom aye trusts, two of whom are needed."""
    found = [await api.phone(f"friend_{name}") for name in ("one", "two", "six")]
    answer = await trust(aye, found)
    assert answer.status_code == 200, answer.text
    return found


async def trust(phone: Phone, people: list[Phone], needed: int = 2):
    return await phone.put("/v1/recovery", {"trusted": [one.handle for one in people], "needed": needed})


@pytest.fixture
def found_phone(api: API) -> Phone:
    """A new phone, whose key nobody has enrolled."""
    return Phone(api, DeviceKey.generate())


async def vouch(friend: Phone, new: Phone, handle: str = "@aye_aye"):
    return await friend.post("/v1/recovery/vouches", {"handle": handle, "key_id": key_id(new.key.public_jwk)})


async def complete(new: Phone, **how):
    return await new.post("/v1/recovery/completions", {"public_key": new.key.public_jwk}, **how)


async def test_two_of_three_friends_let_a_new_phone_in_and_the_lost_one_ends(
    api, aye, ko, friends, found_phone
):
    assert (await complete(found_phone)).json()["code"] == "recovery_not_found"
    first = await vouch(friends[0], found_phone)
    assert (first.status_code, first.json()["vouched"], first.json()["completes_at"]) == (200, 1, None)
    # One who vouches twice is one.
    assert (await vouch(friends[0], found_phone)).json() == first.json()
    assert code(await complete(found_phone)) == "recovery_not_found"
    second = await vouch(friends[2], found_phone)
    assert (second.json()["vouched"], second.json()["needed"]) == (2, 2)
    assert second.json()["completes_at"] == "2027-01-18T08:00:00.000000Z"
    shown = (await aye.get("/v1/recovery")).json()
    assert (shown["trusted"], shown["needed"], shown["claims"]) == (3, 2, [second.json()])
    waiting = await complete(found_phone)
    assert (waiting.status_code, code(waiting)) == (409, "recovery_waiting")
    assert waiting.json()["completes_at"] == "2027-01-18T08:00:00Z"
    api.clock.advance(int(WAITING.total_seconds()))
    answers = await asyncio.gather(*(complete(found_phone) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert Counter(answer.headers.get("idempotency-replayed") for answer in answers) == {None: 1, "true": 19}
    assert await found_phone.available() == "100.000000"
    assert (await found_phone.pay(ko, "5")).status_code == 201
    assert code(await aye.get("/v1/balances")) == "device_revoked"
    api.clock.advance(86_400 * 30)
    assert (await complete(found_phone)).content == answers[0].content
    assert (await found_phone.get("/v1/recovery")).json()["claims"] == []


async def test_a_device_of_the_person_refuses_a_key_for_ever(api, aye, friends, found_phone):
    for friend in friends[:2]:
        await vouch(friend, found_phone)
    assert (await aye.post("/v1/recovery/refusals")).json() == {"refused": 1}
    assert (await aye.post("/v1/recovery/refusals")).json() == {"refused": 0}
    api.clock.advance(int(WAITING.total_seconds()) * 2)
    assert code(await complete(found_phone)) == "recovery_not_found"
    assert code(await vouch(friends[2], found_phone)) == "recovery_key_refused"
    assert (await aye.get("/v1/balances")).status_code == 200


async def test_whoever_is_not_trusted_hears_what_they_hear_of_nobody(
    api, aye, ko, friends, found_phone, refusals
):
    answers = [
        await vouch(ko, found_phone),
        await vouch(ko, found_phone, "@nobody_here"),
        await vouch(friends[0], found_phone, "@ko_ko"),
        await vouch(aye, found_phone),
    ]
    assert {(answer.status_code, code(answer)) for answer in answers} == {(404, "recovery_not_trusted")}
    assert len({len(answer.content) for answer in answers}) == 1
    assert await refusals.code(vouch(ko, found_phone), nonces=1) == "recovery_not_trusted"


async def test_what_is_no_trust_is_refused(api, aye, ko, friends, refusals):
    for handles, needed, expected in (
        (["@ko_ko"], 1, "recovery_trust_malformed"),
        (["@ko_ko", "@friend_one"], 1, "recovery_trust_malformed"),
        (["@ko_ko", "@friend_one"], 3, "recovery_trust_malformed"),
        (["@ko_ko", "@KO_KO"], 2, "recovery_trust_malformed"),
        (["@ko_ko", "@nobody_here"], 2, "recovery_trusted_unknown"),
        (["@ko_ko", "@aye_aye"], 2, "recovery_trusted_unknown"),
        (["@ko_ko", "no handle"], 2, "handle_malformed"),
    ):
        asked = aye.put("/v1/recovery", {"trusted": handles, "needed": needed})
        assert await refusals.code(asked, nonces=1) == expected
    assert (await aye.get("/v1/recovery")).json()["trusted"] == 3
    assert (await trust(aye, [], 0)).json()["trusted"] == 0


async def test_others_who_are_trusted_from_now_on_end_what_was_begun(api, aye, ko, friends, found_phone):
    for friend in friends[:2]:
        await vouch(friend, found_phone)
    await trust(aye, [ko, friends[0]])
    api.clock.advance(int(WAITING.total_seconds()))
    assert code(await complete(found_phone)) == "recovery_not_found"
    assert code(await vouch(friends[1], found_phone)) == "recovery_not_trusted"


async def test_one_friend_vouches_for_a_few_keys_only(api, aye, friends):
    for _ in range(KEYS_MAX):
        assert (await vouch(friends[0], Phone(api, DeviceKey.generate()))).status_code == 200
    late = Phone(api, DeviceKey.generate())
    assert code(await vouch(friends[0], late)) == "recovery_too_many_keys"
    assert len((await aye.get("/v1/recovery")).json()["claims"]) == KEYS_MAX
    assert code(await friends[0].post("/v1/recovery/vouches", {"handle": "@aye_aye", "key_id": "x"})) == (
        "recovery_key_malformed"
    )


async def test_of_two_keys_that_may_come_in_the_first_refuses_the_other(api, aye, friends, found_phone):
    other = Phone(api, DeviceKey.generate("ecdsa-p256-sha256"))
    for new in (found_phone, other):
        for friend in friends[:2]:
            assert (await vouch(friend, new)).status_code == 200
    api.clock.advance(int(WAITING.total_seconds()))
    answers = await asyncio.gather(complete(found_phone), complete(other))
    assert sorted(answer.status_code for answer in answers) == [201, 404]


async def test_nobody_completes_with_a_key_that_they_do_not_hold(api, aye, friends, found_phone):
    for friend in friends[:2]:
        await vouch(friend, found_phone)
    api.clock.advance(int(WAITING.total_seconds()))
    thief = Phone(api, DeviceKey.generate())
    stolen = await thief.post("/v1/recovery/completions", {"public_key": found_phone.key.public_jwk})
    assert code(stolen) == "signature_key_unknown"
    assert code(await complete(aye)) == "recovery_not_found"
    assert (await complete(found_phone)).status_code == 201


async def test_the_pin_stays_and_a_stolen_phone_without_it_refuses_nothing(api, aye, friends, found_phone):
    await aye.set_pin(PIN)
    for friend in friends[:2]:
        await vouch(friend, found_phone)
    for method, path in (("GET", "/v1/recovery"), ("POST", "/v1/recovery/refusals")):
        assert code(await aye.send(method, path)) == "session_missing"
    api.clock.advance(int(WAITING.total_seconds()))
    assert (await complete(found_phone)).status_code == 201
    assert code(await found_phone.get("/v1/balances")) == "session_missing"
    assert (await found_phone.log_in(PIN)).status_code == 201
    assert await found_phone.available() == "100.000000"


async def test_a_database_tells_nobody_who_is_trusted(api, aye, friends, found_phone):
    await vouch(friends[0], found_phone)
    people = [
        (await api.connections.wallets.by_handle(one.handle.removeprefix("@"))).person_id for one in friends
    ]
    with psycopg.connect(sync_url(api.database.url)) as connection:
        told = "".join(
            str(row)
            for name in ("identity_trust", "identity_recovery", "identity_vouch")
            for row in connection.execute(f"SELECT t::text FROM {name} t").fetchall()
        )
    assert told
    for person in people:
        assert str(person) not in told
        assert person.hex not in told


async def test_both_views_of_a_pin_answer_alike(api, aye, friends):
    assert (await aye.set_pin(PIN, duress_pin="518274", decoy_handle="@aye_two")).status_code == 200
    seen = []
    for pin in (PIN, "518274"):
        await aye.log_in(pin)
        answer = await aye.get("/v1/recovery")
        again = [(await trust(aye, friends)).status_code, (await trust(aye, friends[:2])).status_code]
        seen.append((answer.status_code, len(answer.content), sorted(answer.headers), again))
    assert seen[0] == seen[1]
