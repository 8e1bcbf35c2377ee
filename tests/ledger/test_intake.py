"""Intake: callers who ask together are taken together; one who asks alone does not wait."""

import asyncio
import threading
import time

import pytest

from ledger.commands import Command, CreateTransfers, LookupAccounts, size_of
from ledger.contract import Transfer
from ledger.decisions import TransferRequest
from ledger.intake import GATHER_SECONDS, Intake


def lookup(number: int) -> Command:
    return LookupAccounts([number])


def payments(count: int) -> Command:
    """Requests of so many callers that came as one."""
    return CreateTransfers([TransferRequest(objects=[Transfer(id=number)]) for number in range(1, count + 1)])


def taken_in_thread(intake: Intake, expected: int) -> tuple[threading.Thread, list[list[Command]]]:
    """A thread that takes one group, and where it leaves it."""
    groups: list[list[Command]] = []
    thread = threading.Thread(target=lambda: groups.append(intake.take(5, expected)))
    thread.start()
    return thread, groups


async def test_a_lone_caller_is_taken_at_once_though_the_wait_is_long() -> None:
    intake = Intake()
    thread, groups = taken_in_thread(intake, 1)
    began = time.monotonic()
    intake.submit(lookup(1))
    await asyncio.to_thread(thread.join)
    assert time.monotonic() - began < 2
    assert len(groups[0]) == 1


async def test_callers_who_are_expected_are_taken_in_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    # A gathering that lasts as long as it likes: what ends it is the last caller, not the time.
    monkeypatch.setattr("ledger.intake.GATHER_SECONDS", 60)
    intake = Intake()
    thread, groups = taken_in_thread(intake, 64)
    for number in range(63):
        intake.submit(lookup(number))
    await asyncio.sleep(0.05)
    assert not groups, "the group was taken before the last of those who were expected came"
    intake.submit(lookup(63))
    await asyncio.to_thread(thread.join, 30)
    assert len(groups[0]) == 64


async def test_callers_who_do_not_come_are_waited_for_a_moment_only() -> None:
    intake = Intake()
    intake.submit(lookup(1))
    began = time.monotonic()
    assert len(intake.take(5, 64)) == 1
    assert GATHER_SECONDS / 2 < time.monotonic() - began < 2


async def test_a_group_that_is_not_to_wait_takes_what_is_there() -> None:
    intake = Intake()
    intake.submit(lookup(1))
    assert len(intake.take(0, 1_000_000)) == 1
    assert intake.take(0, 1_000_000) == []


async def test_a_close_ends_the_gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.intake.GATHER_SECONDS", 60)
    intake = Intake()
    thread, groups = taken_in_thread(intake, 64)
    intake.submit(lookup(1))
    await asyncio.sleep(0.05)
    intake.close()
    await asyncio.to_thread(thread.join, 30)
    assert len(groups[0]) == 1


async def test_what_travels_together_is_one_caller_for_whose_parts_nobody_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ledger.intake.GATHER_SECONDS", 60)
    intake = Intake()
    intake.submit(payments(13))
    thread, groups = taken_in_thread(intake, 2)
    await asyncio.sleep(0.05)
    assert not groups, "one caller was taken for two"
    intake.submit(payments(5))
    await asyncio.to_thread(thread.join, 30)
    assert len(groups[0]) == 2


async def test_what_travels_together_is_never_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.intake.BATCH_MAX", 10)
    intake = Intake()
    for count in (7, 4, 6, 1):
        intake.submit(payments(count))
    assert [[size_of(command) for command in intake.take(0)] for _ in range(3)] == [[7], [4, 6], [1]]
    assert (intake.waiting_callers, intake.waiting_events) == (0, 0)
