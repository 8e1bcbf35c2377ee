"""Enrolment: one code, one device, one answer."""

import asyncio
from datetime import timedelta

import pytest
from nugpay_client.keys import DeviceKey
from nugpay_client.signing import signature_headers
from sqlalchemy import func, select

from foundation.clock import SECOND_NS, SettableClock
from foundation.database import Database
from foundation.errors import Refusal
from identity import models
from identity.devices import DeviceDirectory, list_devices, revoke_device
from identity.enrolment import (
    ALPHABET,
    CODE_LIFETIME,
    WRONG_TRIES_MAX,
    Enrolment,
    enrol_device,
    issue_enrolment_code,
)
from identity.errors import IdentityCode
from identity.keys import PublicKey
from identity.signatures import SignedRequest

URL = "https://api.example.org/v1/enrolments"
TABLES = (models.Person, models.Device, models.Nonce)


@pytest.fixture
async def database(database_url):
    database = Database(database_url)
    yield database
    await database.close()


async def issue(database: Database, clock: SettableClock, **how) -> str:
    async with database.session() as session:
        return await issue_enrolment_code(session, clock, **how)


async def enrol(
    database: Database, clock: SettableClock, code: str, key: DeviceKey, *, signer: DeviceKey | None = None
) -> Enrolment:
    body = b'{"some":"body"}'
    headers = signature_headers(
        signer or key, method="POST", url=URL, body=body, created=clock.now_ns() // SECOND_NS
    )
    request = SignedRequest(
        "POST",
        URL,
        [headers["Signature-Input"]],
        [headers["Signature"]],
        [headers["Content-Digest"]],
        body,
    )
    return await enrol_device(
        database, clock, request=request, code=code, key=PublicKey.from_jwk(key.public_jwk)
    )


async def refused(database: Database, clock: SettableClock, code: str, key: DeviceKey, **how) -> IdentityCode:
    before = await counts(database)
    with pytest.raises(Refusal) as refusal:
        await enrol(database, clock, code, key, **how)
    assert await counts(database) == before
    assert isinstance(refusal.value.code, IdentityCode)
    return refusal.value.code


async def counts(database: Database) -> list[int]:
    async with database.session() as session:
        return [await session.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES]


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256-sha256"])
async def test_a_code_enrols_a_device_for_a_new_person(database, clock, algorithm):
    key = DeviceKey.generate(algorithm)
    enrolled = await enrol(database, clock, await issue(database, clock), key)

    assert not enrolled.replayed
    assert enrolled.device.key == PublicKey.from_jwk(key.public_jwk)
    assert await counts(database) == [1, 1, 0]
    assert await DeviceDirectory(database).find(enrolled.device.key.key_id) == enrolled.device


async def test_the_same_code_with_the_same_key_gives_the_same_device_for_ever(database, clock):
    code, key = await issue(database, clock), DeviceKey.generate()
    first = await enrol(database, clock, code, key)
    clock.advance(10 * int(CODE_LIFETIME.total_seconds()))
    again = await enrol(database, clock, code, key)

    assert again.replayed
    assert again.device == first.device
    assert await counts(database) == [1, 1, 0]


async def test_a_code_for_an_existing_person_adds_a_device_to_it(database, clock):
    first = await enrol(database, clock, await issue(database, clock), DeviceKey.generate())
    code = await issue(database, clock, person_id=first.device.person_id)
    # Devices are listed by their time; those of one instant in no order that could be foretold.
    clock.advance(1)
    second = await enrol(database, clock, code, DeviceKey.generate("ecdsa-p256-sha256"))

    assert second.device.person_id == first.device.person_id
    assert await counts(database) == [1, 2, 0]
    async with database.session() as session:
        listed = await list_devices(session, first.device.person_id)
    assert [device.id for device in listed] == [first.device.id, second.device.id]


async def test_a_code_is_read_as_people_type_it(database, clock):
    code = await issue(database, clock)
    typed = " " + code.lower().replace("0", "o").replace("1", "l").replace("-", " ")
    assert not (await enrol(database, clock, typed, DeviceKey.generate())).replayed


async def test_a_used_code_is_refused_for_another_key(database, clock):
    code = await issue(database, clock)
    await enrol(database, clock, code, DeviceKey.generate())
    assert await refused(database, clock, code, DeviceKey.generate()) is IdentityCode.ENROLMENT_CODE_USED


async def test_an_expired_code_is_refused(database, clock):
    code = await issue(database, clock, lifetime=timedelta(minutes=5))
    clock.advance(300)
    assert await refused(database, clock, code, DeviceKey.generate()) is IdentityCode.ENROLMENT_CODE_EXPIRED


async def test_a_key_is_not_enrolled_twice(database, clock):
    key = DeviceKey.generate()
    await enrol(database, clock, await issue(database, clock), key)
    code = await issue(database, clock)
    assert await refused(database, clock, code, key) is IdentityCode.DEVICE_ALREADY_ENROLLED


@pytest.mark.parametrize("code", ["", "x", "K7QF2M9X-3JD8WZ-PQ4T7V-N2C5RA", "é" * 26, "0" * 26, "0" * 10_000])
async def test_a_code_that_never_was_is_refused(database, clock, code):
    assert await refused(database, clock, code, DeviceKey.generate()) is IdentityCode.ENROLMENT_CODE_WRONG


async def test_a_code_dies_after_five_wrong_secrets(database, clock):
    code = await issue(database, clock)
    wrong = code[:-1] + ALPHABET[(ALPHABET.index(code[-1]) + 1) % 32]
    for _ in range(WRONG_TRIES_MAX):
        assert await refused(database, clock, wrong, DeviceKey.generate()) is (
            IdentityCode.ENROLMENT_CODE_WRONG
        )
    assert await refused(database, clock, code, DeviceKey.generate()) is IdentityCode.ENROLMENT_CODE_WRONG


async def test_a_code_survives_fewer_wrong_secrets(database, clock):
    code = await issue(database, clock)
    wrong = code[:-1] + ALPHABET[(ALPHABET.index(code[-1]) + 1) % 32]
    for _ in range(WRONG_TRIES_MAX - 1):
        await refused(database, clock, wrong, DeviceKey.generate())
    await enrol(database, clock, code, DeviceKey.generate())


async def test_a_key_that_its_sender_does_not_hold_is_refused(database, clock):
    code, somebody, mine = await issue(database, clock), DeviceKey.generate(), DeviceKey.generate()
    assert await refused(database, clock, code, somebody, signer=mine) is IdentityCode.SIGNATURE_KEY_UNKNOWN


async def test_one_code_sent_by_many_devices_at_once_enrols_one(database, clock):
    code = await issue(database, clock)
    answers = await asyncio.gather(
        *(enrol(database, clock, code, DeviceKey.generate()) for _ in range(12)), return_exceptions=True
    )
    enrolled = [answer for answer in answers if isinstance(answer, Enrolment)]
    codes = {answer.code for answer in answers if isinstance(answer, Refusal)}
    assert len(enrolled) == 1
    assert codes == {IdentityCode.ENROLMENT_CODE_USED}
    assert await counts(database) == [1, 1, 0]


async def test_one_device_that_repeats_itself_at_once_gets_one_answer(database, clock):
    code, key = await issue(database, clock), DeviceKey.generate()
    answers = await asyncio.gather(*(enrol(database, clock, code, key) for _ in range(12)))
    assert len({answer.device.id for answer in answers}) == 1
    assert await counts(database) == [1, 1, 0]


async def test_one_key_with_two_codes_at_once_is_enrolled_once(database, clock):
    codes, key = [await issue(database, clock) for _ in range(6)], DeviceKey.generate()
    answers = await asyncio.gather(
        *(enrol(database, clock, code, key) for code in codes), return_exceptions=True
    )
    refusals = [answer.code for answer in answers if isinstance(answer, Refusal)]
    assert refusals == [IdentityCode.DEVICE_ALREADY_ENROLLED] * 5
    assert await counts(database) == [1, 1, 0]


async def test_a_code_is_kept_only_as_a_hash(database, clock):
    code = (await issue(database, clock)).replace("-", "")
    async with database.session() as session:
        row = (await session.scalars(select(models.EnrolmentCode))).one()
    assert row.selector == code[:8]
    assert code.encode() not in row.code_hash
    assert code[8:] not in repr(vars(row))


async def test_a_device_is_revoked_by_its_owner_only_and_once(database, clock):
    mine = await enrol(database, clock, await issue(database, clock), DeviceKey.generate())
    other = await enrol(database, clock, await issue(database, clock), DeviceKey.generate())
    async with database.session() as session:
        assert not await revoke_device(
            session, clock, person_id=other.device.person_id, device_id=mine.device.id
        )
        assert await revoke_device(session, clock, person_id=mine.device.person_id, device_id=mine.device.id)
    first = clock.now()
    clock.advance(60)
    async with database.session() as session:
        assert await revoke_device(session, clock, person_id=mine.device.person_id, device_id=mine.device.id)
        (listed,) = await list_devices(session, mine.device.person_id)
    assert listed.revoked_at == first
