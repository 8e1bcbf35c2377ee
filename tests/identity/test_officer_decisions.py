"""Decisions on officers: made by two operators, none of themselves, and written where they stay."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from foundation.clock import SettableClock
from foundation.database import Database
from foundation.ids import uuid7
from foundation.postgres import sync_url
from identity.models import Person
from identity.officer_decisions import (
    DecisionKind,
    OfficerDecision,
    OfficerDecisionRefused,
    check_decisions,
    decide_appointment,
    decide_dismissal,
    decide_roles,
    officer_decisions,
)
from identity.officers import appoint_officer, list_officers
from identity.roles import DUTIES, Role

BOTH = ["hla", "may"]
WHY = "the bank needs them"


class Bank:
    """A database whose officers are decided on."""

    def __init__(self, database: Database, clock: SettableClock) -> None:
        self.database, self.clock = database, clock

    async def person(self) -> UUID:
        made = uuid7(self.clock)
        async with self.database.session() as session:
            session.add(Person(id=made, created_at=self.clock.now()))
        return made

    async def appoint(
        self, name: str, *roles: Role, by: list[str], person: UUID | None = None, reason: str = WHY
    ) -> OfficerDecision:
        who = person or await self.person()
        how: dict[str, Any] = {"roles": roles, "decided_by": by, "reason": reason}
        async with self.database.session() as session:
            return await decide_appointment(session, self.clock, person_id=who, name=name, **how)

    async def roles(self, name: str, *roles: Role, by: list[str]) -> OfficerDecision:
        async with self.database.session() as session:
            return await decide_roles(session, self.clock, name=name, roles=roles, decided_by=by, reason=WHY)

    async def dismiss(self, name: str, *, by: list[str], reason: str = WHY) -> OfficerDecision:
        async with self.database.session() as session:
            return await decide_dismissal(session, self.clock, name=name, decided_by=by, reason=reason)

    async def officers(self) -> dict[str, frozenset[Role]]:
        async with self.database.session() as session:
            return {one.name: one.roles for one in await list_officers(session)}

    async def wrong(self) -> list[str]:
        async with self.database.session() as session:
            return await check_decisions(session)

    def meddle(self, statement: str) -> None:
        """What somebody with every right in the database does."""
        with psycopg.connect(sync_url(self.database.url)) as connection:
            connection.execute("ALTER TABLE identity_officer_decision DISABLE TRIGGER append_only")
            connection.execute(statement.encode())


@pytest.fixture
def empty(database: Database, clock: SettableClock) -> Bank:
    return Bank(database, clock)


@pytest.fixture
async def bank(empty: Bank) -> Bank:
    """A bank with two operators, whom the command made."""
    for name in BOTH:
        await empty.appoint(name, Role.OPERATOR, by=[])
    return empty


async def test_the_command_alone_makes_two_operators_and_nobody_else(empty):
    for roles in ([Role.TREASURY], DUTIES, [Role.AUDITOR]):
        with pytest.raises(OfficerDecisionRefused, match="make them first"):
            await empty.appoint("su", *roles, by=[])
    with pytest.raises(OfficerDecisionRefused, match="nobody's name"):
        await empty.appoint("su", Role.OPERATOR, by=["su", "hla"])
    made = [await empty.appoint(name, Role.OPERATOR, by=[]) for name in BOTH]
    assert [(one.number, one.decided_by) for one in made] == [(1, ()), (2, ())]
    with pytest.raises(OfficerDecisionRefused, match="2 operators decide it"):
        await empty.appoint("su", Role.OPERATOR, by=[])
    assert await empty.officers() == {name: {Role.OPERATOR} for name in BOTH}


async def test_two_operators_appoint_change_and_dismiss_and_it_stands_written(bank):
    await bank.appoint("su", Role.TREASURY, by=BOTH)
    await bank.roles("su", Role.COMPLIANCE, Role.SUPPORT, by=BOTH)
    assert (await bank.officers())["su"] == {Role.COMPLIANCE, Role.SUPPORT}
    bank.clock.advance(60)
    await bank.dismiss("su", by=BOTH, reason=" left us ")
    assert set(await bank.officers()) == set(BOTH)
    async with bank.database.session() as session:
        made = (await officer_decisions(session))[2:]
    assert [(one.number, one.kind, one.roles, one.decided_by, one.reason) for one in made] == [
        (3, DecisionKind.APPOINTED, (Role.TREASURY,), ("hla", "may"), WHY),
        (4, DecisionKind.ROLES_CHANGED, (Role.COMPLIANCE, Role.SUPPORT), ("hla", "may"), WHY),
        (5, DecisionKind.DISMISSED, (), ("hla", "may"), "left us"),
    ]
    assert made[-1].decided_at == bank.clock.now()
    assert await bank.wrong() == []


async def test_what_two_operators_did_not_decide_is_not(bank, subtests):
    person = (await bank.appoint("su", Role.TREASURY, by=BOTH)).person_id
    await bank.appoint("nilar", Role.TREASURY, by=BOTH)
    before = await bank.officers()
    doings: dict[str, Callable[[], Awaitable[Any]]] = {
        "one alone": lambda: bank.appoint("zaw", Role.SUPPORT, by=["hla"]),
        "one twice": lambda: bank.appoint("zaw", Role.SUPPORT, by=["hla", " hla "]),
        "an officer who is no operator": lambda: bank.appoint("zaw", Role.SUPPORT, by=["hla", "su"]),
        "one who is nobody": lambda: bank.appoint("zaw", Role.SUPPORT, by=["hla", "nobody"]),
        "no reason": lambda: bank.appoint("zaw", Role.SUPPORT, by=BOTH, reason="  "),
        "no role": lambda: bank.appoint("zaw", by=BOTH),
        "an operator with money": lambda: bank.appoint("zaw", Role.OPERATOR, Role.TREASURY, by=BOTH),
        "an auditor who acts": lambda: bank.roles("su", Role.AUDITOR, Role.SUPPORT, by=BOTH),
        "a name of two": lambda: bank.appoint("a, b", Role.SUPPORT, by=BOTH),
        "no name": lambda: bank.appoint(" ", Role.SUPPORT, by=BOTH),
        "somebody else's name": lambda: bank.appoint("su", Role.SUPPORT, by=BOTH),
        "somebody who is one": lambda: bank.appoint("zaw", Role.SUPPORT, by=BOTH, person=person),
        "of oneself": lambda: bank.dismiss("hla", by=BOTH),
        "one's own roles": lambda: bank.roles("may", Role.TREASURY, by=BOTH),
        "roles of nobody": lambda: bank.roles("nobody", Role.TREASURY, by=BOTH),
        "by treasury": lambda: bank.dismiss("hla", by=["su", "nilar"]),
        "by the command": lambda: bank.dismiss("su", by=[]),
    }
    for name, doing in doings.items():
        with subtests.test(name), pytest.raises(OfficerDecisionRefused):
            await doing()
    assert await bank.officers() == before
    assert await bank.wrong() == []


async def test_a_bank_never_has_fewer_than_two_operators_again(bank):
    await bank.appoint("su", Role.OPERATOR, by=BOTH)
    await asyncio.gather(
        bank.dismiss("may", by=["hla", "su"]),
        bank.dismiss("hla", by=["may", "su"]),
        bank.roles("su", Role.AUDITOR, by=BOTH),
        return_exceptions=True,
    )
    assert len([name for name, roles in (await bank.officers()).items() if roles == {Role.OPERATOR}]) == 2
    assert await bank.wrong() == []


async def test_who_was_dismissed_can_be_an_officer_again(bank):
    person = (await bank.appoint("su", Role.TREASURY, by=BOTH)).person_id
    await bank.dismiss("su", by=BOTH)
    await bank.appoint("su", Role.SUPPORT, by=BOTH, person=person)
    assert (await bank.officers())["su"] == {Role.SUPPORT}
    assert await bank.wrong() == []


async def test_officers_of_before_go_on_and_are_decided_on_as_any_other(empty):
    async with empty.database.session() as session:
        person = uuid7(empty.clock)
        session.add(Person(id=person, created_at=empty.clock.now()))
        await session.flush()
        await appoint_officer(session, empty.clock, person_id=person, name="old", roles=DUTIES)
    assert await empty.wrong() == []
    for name in BOTH:
        await empty.appoint(name, Role.OPERATOR, by=[])
    await empty.roles("old", Role.TREASURY, by=BOTH)
    assert await empty.wrong() == []


async def test_the_database_itself_refuses_to_change_what_was_decided(bank):
    for statement in (
        "UPDATE identity_officer_decision SET reason = 'another'",
        "DELETE FROM identity_officer_decision",
        "TRUNCATE identity_officer_decision",
    ):
        with pytest.raises(DBAPIError, match="stays written"):
            async with bank.database.session() as session:
                await session.execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("DELETE FROM identity_officer_decision WHERE number = 1", "decision 1 is missing"),
        ("DELETE FROM identity_officer_decision WHERE number = 3", "decision 3 is missing"),
        ("UPDATE identity_officer_decision SET reason = 'x' WHERE number = 3", "decision 3 is not"),
        ("UPDATE identity_officer_decision SET decided_by = '{}' WHERE number = 3", "decision 3 is not"),
        (
            "UPDATE identity_officer_decision SET hash = sha256('x') WHERE number = 2",
            "decision 3 is not",
        ),
        ("DELETE FROM identity_officer_decision WHERE number = 4", "su is not what decision 3 says"),
        ("UPDATE identity_officer SET roles = '{treasury}' WHERE name = 'may'", "may is not what decision 2"),
        ("UPDATE identity_officer SET dismissed_at = NULL", "su is not what decision 4 says"),
    ],
)
async def test_whoever_takes_the_trigger_away_and_meddles_is_seen(bank, statement, seen):
    await bank.appoint("su", Role.TREASURY, by=BOTH)
    await bank.dismiss("su", by=BOTH)
    bank.meddle(statement)
    assert any(one.startswith(seen) for one in await bank.wrong())
