"""Sessions are remembered as long as it is known that nobody ended them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import patch

import pytest
from sqlalchemy import select

from foundation.changes import Changes
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal
from identity import models
from identity.devices import Device, revoke_device
from identity.keys import PublicKey
from identity.pepper import PEPPER_BYTES, Pepper
from identity.pin_errors import PinCode
from identity.pins import Pins, PinWish
from identity.sessions import KEPT, SESSION_LIFETIME, Sessions, forget_old_sessions
from tests.identity.test_signed_requests import enrolled

PIN = "730512"


@dataclass
class Process:
    """What one process remembers."""

    changes: Changes
    sessions: Sessions

    async def is_over(self, token: str) -> bool:
        try:
            await self.sessions.find(token)
        except Refusal as refusal:
            return refusal.code is PinCode.SESSION_OVER
        return False


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def processes(database, database_url, clock) -> AsyncIterator[list[Process]]:
    """Two processes that follow changes."""
    found = []
    for _ in range(2):
        changes = Changes(database_url)
        pins = Pins(database, clock, Pepper(b"p" * PEPPER_BYTES), changes)
        found.append(Process(changes, Sessions(database, clock, pins, changes)))
    async with found[0].changes.followed(), found[1].changes.followed(), asyncio.timeout(60):
        while not all(process.changes.are_followed for process in found):
            await asyncio.sleep(0.01)
        yield found


@pytest.fixture
async def device(database, clock) -> Device:
    """The device of somebody who has a PIN."""
    key = await enrolled(database, clock)
    async with database.session() as session:
        row = (await session.scalars(select(models.Device))).one()
        device = Device(row.id, row.person_id, PublicKey.from_jwk(key.public_jwk))
    pins = Pins(database, clock, Pepper(b"p" * PEPPER_BYTES))

    async def no_decoy(_: object) -> None:
        raise AssertionError("there is no decoy")

    await pins.set(device, PinWish(PIN), no_decoy)
    return device


async def ends_by_itself(process: Process, token: str) -> None:
    async with asyncio.timeout(20):
        while not await process.is_over(token):
            await asyncio.sleep(0.005)


async def test_a_session_that_was_found_costs_no_question(processes, device, database):
    opened = await processes[0].sessions.open(device, PIN)
    for process in processes:
        found = await process.sessions.find(opened.token)
        with patch.object(database, "connection", side_effect=AssertionError("the database was asked")):
            assert await process.sessions.find(opened.token) == found
        assert (found.id, found.device_id, found.person_id) == (opened.id, device.id, device.person_id)


async def test_an_ended_session_is_over_at_once_here_and_by_itself_elsewhere(processes, device):
    opened, other = [await processes[0].sessions.open(device, PIN) for _ in range(2)]
    for process in processes:
        for each in (opened, other):
            await process.sessions.find(each.token)
    live = await processes[0].sessions.find(opened.token)
    await processes[0].sessions.revoke(live, opened.id)
    assert await processes[0].is_over(opened.token)
    await ends_by_itself(processes[1], opened.token)
    for process in processes:
        assert not await process.is_over(other.token)


async def test_a_revoked_device_ends_its_sessions_everywhere(processes, device, database, clock):
    opened = await processes[0].sessions.open(device, PIN)
    for process in processes:
        await process.sessions.find(opened.token)
    async with database.session() as session:
        assert await revoke_device(session, clock, person_id=device.person_id, device_id=device.id)
    for process in processes:
        await ends_by_itself(process, opened.token)


async def test_a_remembered_session_is_over_when_its_time_is(processes, device, clock: SettableClock):
    opened = await processes[0].sessions.open(device, PIN)
    await processes[0].sessions.find(opened.token)
    clock.advance(round((SESSION_LIFETIME - timedelta(seconds=1)).total_seconds()))
    assert not await processes[0].is_over(opened.token)
    clock.advance(1)
    assert await processes[0].is_over(opened.token)


async def test_while_changes_are_not_followed_the_database_is_asked_each_time(device, database, clock):
    changes = Changes(database.url)
    pins = Pins(database, clock, Pepper(b"p" * PEPPER_BYTES), changes)
    process = Process(changes, Sessions(database, clock, pins, changes))
    opened = await process.sessions.open(device, PIN)
    await process.sessions.find(opened.token)
    async with database.session() as session:
        await revoke_device(session, clock, person_id=device.person_id, device_id=device.id)
    assert await process.is_over(opened.token)


async def test_sessions_are_forgotten_a_month_after_their_end(device, database, clock):
    pins = Pins(database, clock, Pepper(b"p" * PEPPER_BYTES))
    sessions = Sessions(database, clock, pins)
    await sessions.open(device, PIN)
    clock.advance(round((SESSION_LIFETIME + KEPT).total_seconds()))
    late = await sessions.open(device, PIN)
    gone = []
    for _ in range(2):
        clock.advance(1)
        async with database.session() as session:
            gone.append(await forget_old_sessions(session, clock))
    assert gone == [1, 0]
    assert (await sessions.find(late.token)).id == late.id
