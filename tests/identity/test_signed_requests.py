"""The doorkeeper: whose device it was, each request once, and no trace of a stranger."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from nugpay_client.keys import Algorithm, DeviceKey
from nugpay_client.signing import signature_headers
from sqlalchemy import func, select

from foundation.changes import Changes
from foundation.clock import SECOND_NS, SettableClock
from foundation.database import Database
from foundation.errors import Refusal, RefusalCode, Unavailable
from foundation.ids import uuid7
from identity import models
from identity.devices import DeviceDirectory, revoke_device
from identity.errors import IdentityCode
from identity.keys import PublicKey
from identity.nonces import NonceRecorder, forget_expired_nonces
from identity.signatures import WINDOW_SECONDS, SignedRequest
from identity.signed_requests import Doorkeeper

URL = "https://api.example.org/v1/payments"
BODY = b'{"amount":"1"}'


@pytest.fixture
async def database(database_url):
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def doorkeeper(database, clock):
    return Doorkeeper(DeviceDirectory(database), NonceRecorder(database), clock)


@pytest.fixture
async def key(database, clock):
    """The key of an enrolled device."""
    return await enrolled(database, clock)


async def enrolled(database: Database, clock: SettableClock, algorithm: Algorithm = "ed25519") -> DeviceKey:
    pair = DeviceKey.generate(algorithm)
    public = PublicKey.from_jwk(pair.public_jwk)
    now, person_id, code_id = clock.now(), uuid7(clock), uuid7(clock)
    async with database.session() as session:
        session.add(models.Person(id=person_id, created_at=now))
        session.add(
            models.EnrolmentCode(
                id=code_id,
                selector=str(code_id),
                code_hash=b"",
                created_at=now,
                expires_at=now,
                wrong_tries=0,
            )
        )
        await session.flush()
        session.add(
            models.Device(
                id=uuid7(clock),
                person_id=person_id,
                key_id=public.key_id,
                algorithm=public.algorithm.value,
                public_key=public.raw,
                enrolment_code_id=code_id,
                created_at=now,
            )
        )
    return pair


def signed(
    key: DeviceKey,
    clock: SettableClock,
    *,
    nonce: str | None = None,
    offset: int = 0,
    method: str = "POST",
    body: bytes = BODY,
) -> SignedRequest:
    headers = signature_headers(
        key,
        method=method,
        url=URL,
        body=body,
        created=clock.now_ns() // SECOND_NS + offset,
        nonce=nonce,
    )
    digest = [headers["Content-Digest"]] if body else []
    return SignedRequest(method, URL, [headers["Signature-Input"]], [headers["Signature"]], digest, body)


async def nonces(database: Database) -> int:
    async with database.session() as session:
        return await session.scalar(select(func.count()).select_from(models.Nonce)) or 0


async def refused(doorkeeper: Doorkeeper, request: SignedRequest) -> RefusalCode:
    with pytest.raises(Refusal) as refusal:
        await doorkeeper.admit(request)
    return refusal.value.code


async def test_a_signed_request_tells_its_device(doorkeeper, database, clock, key):
    device = await doorkeeper.admit(signed(key, clock))
    assert device.key == PublicKey.from_jwk(key.public_jwk)
    assert await nonces(database) == 1


async def test_a_request_without_a_body_is_admitted_too(doorkeeper, clock, key):
    await doorkeeper.admit(signed(key, clock, method="GET", body=b""))


async def test_the_same_request_again_is_refused(doorkeeper, clock, key):
    request = signed(key, clock)
    await doorkeeper.admit(request)
    assert await refused(doorkeeper, request) is IdentityCode.NONCE_REPLAYED


async def test_a_nonce_under_another_body_is_refused(doorkeeper, clock, key):
    await doorkeeper.admit(signed(key, clock, nonce="n" * 16))
    assert await refused(doorkeeper, signed(key, clock, nonce="n" * 16, body=b"{}")) is (
        IdentityCode.NONCE_REPLAYED
    )


async def test_a_nonce_is_refused_by_another_process_as_well(doorkeeper, database, clock, key):
    request = signed(key, clock)
    await doorkeeper.admit(request)
    other = Doorkeeper(DeviceDirectory(database), NonceRecorder(database), clock)
    assert await refused(other, request) is IdentityCode.NONCE_REPLAYED


async def test_the_same_nonce_of_another_device_is_admitted(doorkeeper, database, clock, key):
    other = await enrolled(database, clock, "ecdsa-p256-sha256")
    await doorkeeper.admit(signed(key, clock, nonce="n" * 16))
    await doorkeeper.admit(signed(other, clock, nonce="n" * 16))


async def test_one_request_sent_many_times_at_once_is_admitted_once(doorkeeper, database, clock, key):
    request = signed(key, clock)
    answers = await asyncio.gather(*(doorkeeper.admit(request) for _ in range(50)), return_exceptions=True)
    refusals = [answer.code for answer in answers if isinstance(answer, Refusal)]
    assert refusals == [IdentityCode.NONCE_REPLAYED] * 49
    assert await nonces(database) == 1


async def test_many_requests_at_once_are_each_admitted(doorkeeper, database, clock, key):
    answers = await asyncio.gather(*(doorkeeper.admit(signed(key, clock)) for _ in range(200)))
    assert len(answers) == 200
    assert await nonces(database) == 200


async def test_a_refused_signature_leaves_no_trace(doorkeeper, database, clock, key):
    good = signed(key, clock)
    stranger = DeviceKey.generate()
    # An enrolled key's id with a stranger's signature.
    forged = replace(good, signature=signed(stranger, clock).signature)
    refusals = [
        await refused(doorkeeper, request)
        for request in (
            signed(stranger, clock),
            forged,
            replace(good, body=b"changed"),
            replace(good, method="PUT"),
            replace(good, target_uri=URL + "/other"),
            replace(good, signature=[]),
            signed(key, clock, offset=-WINDOW_SECONDS - 1),
        )
    ]
    assert refusals == [
        IdentityCode.SIGNATURE_KEY_UNKNOWN,
        IdentityCode.SIGNATURE_WRONG,
        IdentityCode.CONTENT_DIGEST_MISMATCH,
        IdentityCode.SIGNATURE_WRONG,
        IdentityCode.SIGNATURE_WRONG,
        IdentityCode.SIGNATURE_MISSING,
        IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW,
    ]
    assert await nonces(database) == 0
    await doorkeeper.admit(good)


async def test_a_revoked_device_is_refused_at_once_though_its_key_is_in_memory(
    doorkeeper, database, clock, key
):
    device = await doorkeeper.admit(signed(key, clock))
    async with database.session() as session:
        await revoke_device(session, clock, person_id=device.person_id, device_id=device.id)
    assert await refused(doorkeeper, signed(key, clock)) is IdentityCode.DEVICE_REVOKED
    assert await nonces(database) == 1


async def test_a_nonce_is_kept_until_its_signature_is_refused_for_its_age(doorkeeper, database, clock, key):
    request = signed(key, clock, offset=WINDOW_SECONDS)
    await doorkeeper.admit(request)
    clock.advance(2 * WINDOW_SECONDS)
    async with database.session() as session:
        assert await forget_expired_nonces(session, clock) == 0
    assert await refused(doorkeeper, request) is IdentityCode.NONCE_REPLAYED
    clock.advance(2)
    async with database.session() as session:
        assert await forget_expired_nonces(session, clock) == 1
    assert await refused(doorkeeper, request) is IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW


async def test_a_database_that_is_away_refuses_nothing_and_admits_nothing(database_url, database, clock, key):
    gone = Database(database_url.replace("test_", "gone_"))
    doorkeeper = Doorkeeper(DeviceDirectory(database), NonceRecorder(gone), clock)
    with pytest.raises(Unavailable) as unavailable:
        await doorkeeper.admit(signed(key, clock))
    assert not unavailable.value.outcome_unknown
    await gone.close()


async def test_a_caller_that_gives_up_does_not_disturb_the_others(doorkeeper, clock, key):
    impatient = asyncio.create_task(doorkeeper.admit(signed(key, clock)))
    others = [asyncio.create_task(doorkeeper.admit(signed(key, clock))) for _ in range(5)]
    await asyncio.sleep(0)
    impatient.cancel()
    assert len(await asyncio.gather(*others)) == 5


class TestRequestsThatCarryAnId:
    """The same bytes again are the same thing, so they are let in again; a revoked device is not."""

    async def test_the_same_request_again_is_admitted_and_leaves_no_nonce(
        self, doorkeeper, database, clock, key
    ):
        request = signed(key, clock)
        first = await doorkeeper.admit(request, carries_id=True)
        assert await doorkeeper.admit(request, carries_id=True) == first
        assert await nonces(database) == 0

    async def test_it_is_too_old_like_any_other(self, doorkeeper, clock, key):
        request = signed(key, clock, offset=-WINDOW_SECONDS - 1)
        with pytest.raises(Refusal) as refusal:
            await doorkeeper.admit(request, carries_id=True)
        assert refusal.value.code is IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW

    async def test_a_device_that_another_process_revokes_is_refused_at_once_and_by_itself(
        self, database, database_url, clock, key
    ):
        changes = Changes(database_url)
        door = Doorkeeper(DeviceDirectory(database, changes), NonceRecorder(database), clock)
        async with changes.followed():
            await _until(lambda: changes.are_followed)
            device = await door.admit(signed(key, clock), carries_id=True)
            async with database.session() as session:
                assert await revoke_device(session, clock, person_id=device.person_id, device_id=device.id)

            async def is_refused() -> bool:
                try:
                    await door.admit(signed(key, clock), carries_id=True)
                except Refusal as refusal:
                    return refusal.code is IdentityCode.DEVICE_REVOKED
                return False

            async with asyncio.timeout(20):
                while not await is_refused():
                    await asyncio.sleep(0.005)

    async def test_while_changes_are_not_followed_the_database_is_asked_each_time(
        self, database, database_url, clock, key
    ):
        changes = Changes(database_url)
        door = Doorkeeper(DeviceDirectory(database, changes), NonceRecorder(database), clock)
        device = await door.admit(signed(key, clock), carries_id=True)
        async with database.session() as session:
            await revoke_device(session, clock, person_id=device.person_id, device_id=device.id)
        with pytest.raises(Refusal) as refusal:
            await door.admit(signed(key, clock), carries_id=True)
        assert refusal.value.code is IdentityCode.DEVICE_REVOKED


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
