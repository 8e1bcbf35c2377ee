"""Roles: the matrix of rights, as the table says it and as the database's officers have it."""

from itertools import product
from uuid import UUID

import pytest

from chain.approvals import OFFICERS_NEEDED
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import uuid7
from identity.models import OfficerRow, Person
from identity.officers import (
    appoint_officer,
    deciders,
    dismiss_officer,
    list_officers,
    names_who_may,
    officer_name,
    officers_who_may,
)
from identity.role_errors import RoleCode
from identity.roles import DUTIES, HELD_ALONE, RIGHTS, Action, Role, may, may_be_held

WRITTEN = """
    see_withdrawals        treasury auditor             1
    approve_withdrawal     treasury                     2  no subject
    see_breaker            treasury operator auditor    1
    release_breaker        treasury                     2
    see_blocked_receivers  treasury compliance auditor  1
    block_receiver         treasury compliance          1
    see_duress_logins      support                      1
    see_recalls            compliance auditor           1
    decide_recall          compliance                   2  no subject
    see_reviews            compliance auditor           1
    close_review           compliance                   1  no subject
    change_tier            compliance                   2  no subject
    record_cold_address    treasury                     2
    write_off_debt         treasury                     2  no subject
    read_personal_data     compliance                   1  no subject
    see_personal_accesses  auditor                      1
    decide_on_officers     operator                     2  no subject
"""
"""The rights once more, by hand: who changes the table changes it here too, and means it."""

SEEING = {action for action in Action if action.value.startswith("see_")}


@pytest.fixture
async def officers(database: Database, clock: SettableClock) -> dict[str, UUID]:
    """Two officers of each role, and one without any."""
    made = {f"{role}_{number}": [role] for role, number in product(Role, (1, 2))} | {"none_1": []}
    found = {}
    async with database.session() as session:
        for name, roles in made.items():
            found[name] = uuid7(clock)
            session.add(Person(id=found[name], created_at=clock.now()))
            await session.flush()
            await appoint_officer(session, clock, person_id=found[name], name=name, roles=roles)
    return found


def test_the_table_is_what_is_written_here():
    lines = {words[0]: words[1:] for words in (line.split() for line in WRITTEN.strip().splitlines())}
    assert set(lines) == set(Action) == set(RIGHTS)
    for action, rule in RIGHTS.items():
        about = [] if rule.subjects_may else ["no", "subject"]
        roles, rest = set(lines[action][: len(rule.roles)]), lines[action][len(rule.roles) :]
        assert (roles, rest) == (set(rule.roles), [str(rule.persons), *about])


def test_what_hurts_takes_two_and_seeing_takes_one():
    alone = {Action.BLOCK_RECEIVER, Action.CLOSE_REVIEW, Action.READ_PERSONAL_DATA}
    for action, rule in RIGHTS.items():
        assert rule.persons == (1 if action in SEEING | alone else 2), action


def test_an_auditor_only_sees_and_an_operator_touches_neither_money_nor_customers():
    assert {action for action in Action if may([Role.AUDITOR], action)} < SEEING
    assert {action for action in Action if may([Role.OPERATOR], action)} == {
        Action.SEE_BREAKER,
        Action.DECIDE_ON_OFFICERS,
    }


def test_the_signer_asks_for_as_many_as_the_table_does():
    assert RIGHTS[Action.APPROVE_WITHDRAWAL].persons == OFFICERS_NEEDED
    assert RIGHTS[Action.RELEASE_BREAKER].persons == OFFICERS_NEEDED


def test_operators_and_auditors_are_nothing_else():
    assert all(may_be_held([role]) for role in Role)
    assert may_be_held(DUTIES)
    assert not may_be_held([])
    for alone, other in product(HELD_ALONE, Role):
        assert may_be_held([alone, other]) == (alone is other)


@pytest.mark.parametrize("action", Action)
async def test_each_role_may_exactly_what_the_table_says(database, officers, action):
    rule = RIGHTS[action]
    async with database.session() as session:
        for name, person in officers.items():
            allowed = name.partition("_")[0] in rule.roles
            if allowed:
                assert await officer_name(session, person, action) == name
            else:
                with pytest.raises(Refusal) as refusal:
                    await officer_name(session, person, action)
                assert refusal.value.code is RoleCode.OFFICER_ROLE_MISSING
            assert (name in await officers_who_may(session, [name], action)) is allowed
            assert (await names_who_may(session, [person], action) == {person: name}) is allowed
        assert await officer_name(session, uuid7(SettableClock()), action) is None


@pytest.mark.parametrize("action", Action)
async def test_each_pair_decides_exactly_what_the_table_says(database, officers, action):
    rule = RIGHTS[action]
    async with database.session() as session:
        for one, other in product(officers, repeat=2):
            roles = {one.partition("_")[0], other.partition("_")[0]}
            enough = len({one, other}) >= rule.persons and roles <= rule.roles
            found = await deciders(session, action, [one, f" {other} ", ""])
            assert found == (tuple(sorted({one, other})) if enough else None)
            about = await deciders(session, action, [one, other], subjects=[None, officers[one]])
            assert (about is not None) == (enough and rule.subjects_may)


async def test_who_is_dismissed_or_unknown_decides_nothing(database, clock, officers):
    async with database.session() as session:
        await dismiss_officer(session, clock, name="treasury_2")
        assert "treasury_2" not in {one.name for one in await list_officers(session)}
        assert await officer_name(session, officers["treasury_2"], Action.SEE_WITHDRAWALS) is None
        for names in (["treasury_1", "treasury_2"], ["treasury_1", "nobody"], ["treasury_1"], []):
            assert await deciders(session, Action.WRITE_OFF_DEBT, names) is None


async def test_an_officer_whom_a_process_of_before_appoints_may_do_nothing(database, clock):
    person = uuid7(clock)
    async with database.session() as session:
        session.add(Person(id=person, created_at=clock.now()))
        await session.flush()
        session.add(OfficerRow(person_id=person, name="may", appointed_at=clock.now()))
        await session.flush()
        for action in Action:
            with pytest.raises(Refusal, match="officer_role_missing"):
                await officer_name(session, person, action)
