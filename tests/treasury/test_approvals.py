"""Withdrawals that await officers: approved by two, refused to others, given back if nobody answers."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select

from chain.models import ChainApproval, ChainLane
from chain.signer_policy import CapsText, SignerPolicy
from foundation.clock import SECOND_NS
from foundation.errors import Refusal
from foundation.ids import uuid7
from identity.devices import Device
from identity.models import Person
from identity.officers import appoint_officer, dismiss_officer
from identity.roles import DUTIES
from tests.fixtures.contracts import CAPS, WHOLE
from tests.fixtures.officers import OfficerDevice, p256_officer
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.moves import seen, signed_by
from treasury.blocked_receivers import block_receiver, list_blocked, unblock_receiver
from treasury.errors import TreasuryCode
from treasury.payouts import UNAPPROVED_SECONDS_MAX
from treasury.withdrawal_approvals import approval_statement, approve_withdrawal, awaited_withdrawals
from treasury.withdrawals import WithdrawalState

CODES = TreasuryCode


class Office:
    """Officers with devices, who are officers of the bank and in the signer's policy."""

    def __init__(self, treasury: Treasury) -> None:
        self.treasury = treasury
        self.may, self.hla = OfficerDevice("may"), p256_officer("hla")
        self.persons: dict[str, UUID] = {}

    async def open(self) -> None:
        treasury = self.treasury
        async with treasury.database.session() as session:
            for name in ("may", "hla", "clerk"):
                self.persons[name] = uuid7(treasury.clock)
                session.add(Person(id=self.persons[name], created_at=treasury.clock.now()))
            await session.flush()
            for name in ("may", "hla"):
                await appoint_officer(
                    session, treasury.clock, person_id=self.persons[name], name=name, roles=DUTIES
                )
        self.may.known_as = (self.persons["may"],)
        self.hla.known_as = (self.persons["hla"],)

    def policy(self) -> SignerPolicy:
        caps: CapsText = msgspec.structs.replace(CAPS["USDT"], without_officers=str(100 * WHOLE))
        return SignerPolicy(caps={"USDT": caps}, officers=(self.may.in_policy(), self.hla.in_policy()))

    def device(self, officer: OfficerDevice, person: str | None = None) -> Device:
        return Device(uuid7(self.treasury.clock), self.persons[person or officer.name], officer.key)

    async def approve(
        self,
        withdrawal_id: UUID,
        officer: OfficerDevice,
        *,
        person: str | None = None,
        signed: UUID | None = None,
        seconds: int = 3_600,
        **changes: Any,
    ) -> int:
        """Sign the statement of a withdrawal (or of another, ``signed``) and hand it in."""
        treasury = self.treasury
        deployment = treasury.contracts.deployment
        async with treasury.database.session() as session:
            said, approved_at, expires_at = await approval_statement(
                session, treasury.clock, deployment, withdrawal_id=signed or withdrawal_id, seconds=seconds
            )
            given: dict[str, Any] = {
                "approved_at": approved_at,
                "expires_at": expires_at,
                "signature": officer.sign(said),
            }
            return await approve_withdrawal(
                session,
                treasury.clock,
                deployment,
                device=self.device(officer, person),
                withdrawal_id=withdrawal_id,
                **(given | changes),
            )

    async def refusal(self, approving: Awaitable[int]) -> TreasuryCode:
        with pytest.raises(Refusal) as refused:
            await approving
        async with self.treasury.database.session() as session:
            assert await session.scalar(select(ChainApproval.id)) is None
        assert isinstance(refused.value.code, TreasuryCode)
        return refused.value.code

    async def awaited(self) -> list[tuple[UUID, str, int]]:
        async with self.treasury.database.session() as session:
            found = await awaited_withdrawals(session, self.treasury.clock)
        return [(one.id, one.amount.format(), one.approvals) for one in found]


@pytest.fixture
async def office(treasury: Treasury) -> AsyncIterator[Office]:
    office = Office(treasury)
    await office.open()
    async with signed_by(treasury, office.policy()):
        yield office


async def large(office: Office, text: str = "200.000000", **fields: Any) -> tuple[UUID, UUID]:
    """A withdrawal above the threshold, seen by the worker once: its wallet and id."""
    treasury = office.treasury
    wallet_id = await treasury.wallet()
    await treasury.fund(wallet_id, "900.000000")
    withdrawal = await treasury.request(wallet_id, text, **fields)
    report = await treasury.advance()
    assert (report.sent, report.returned) == (0, 0)
    return wallet_id, withdrawal.id


class TestApproval:
    async def test_a_large_withdrawal_is_paid_once_two_officers_have_signed_it(
        self, office: Office, treasury: Treasury
    ) -> None:
        wallet_id, withdrawal_id = await large(office)
        assert await office.awaited() == [(withdrawal_id, "200.000000", 0)]
        # It waits without a nonce: nothing behind it is held up.
        async with treasury.database.session() as session:
            assert await session.scalar(select(ChainLane.nonce)) is None
        small = await treasury.request(wallet_id, "100.000000")
        assert (await treasury.advance()).sent == 1

        assert await office.approve(withdrawal_id, office.may) == 1
        assert (await treasury.advance()).sent == 0
        assert await office.approve(withdrawal_id, office.hla) == 2
        assert await office.awaited() == [(withdrawal_id, "200.000000", 2)]
        assert (await treasury.advance()).sent == 1
        assert await office.awaited() == []
        await treasury.finalize()
        assert (await treasury.advance()).paid == 2
        assert (await seen(treasury, wallet_id, withdrawal_id)).state is WithdrawalState.PAID
        assert (await seen(treasury, wallet_id, small.id)).state is WithdrawalState.PAID
        await treasury.assert_books_agree()

    async def test_the_same_approval_again_is_one(self, office: Office) -> None:
        _, withdrawal_id = await large(office)

        assert await office.approve(withdrawal_id, office.may) == 1
        assert await office.approve(withdrawal_id, office.may) == 1

    async def test_what_no_officer_approves_in_time_is_given_back(
        self, office: Office, treasury: Treasury
    ) -> None:
        wallet_id, withdrawal_id = await large(office)
        await office.approve(withdrawal_id, office.may)
        treasury.clock.advance(seconds=UNAPPROVED_SECONDS_MAX - 1)
        assert (await treasury.advance()).returned == 0
        treasury.clock.advance(seconds=1)
        assert (await treasury.advance()).returned == 1

        assert (await seen(treasury, wallet_id, withdrawal_id)).state is WithdrawalState.RETURNED
        assert await treasury.balance(wallet_id) == "900.000000"
        assert await office.awaited() == []
        with pytest.raises(Refusal) as refused:
            await office.approve(withdrawal_id, office.hla)
        assert refused.value.code is CODES.APPROVAL_NOT_AWAITED


class TestRefusals:
    async def test_who_is_no_officer_approves_nothing(self, office: Office, treasury: Treasury) -> None:
        _, withdrawal_id = await large(office)
        code = await office.refusal(office.approve(withdrawal_id, office.may, person="clerk"))
        assert code is CODES.APPROVER_IS_NO_OFFICER

        async with treasury.database.session() as session:
            assert await dismiss_officer(session, treasury.clock, name="may")
            assert not await dismiss_officer(session, treasury.clock, name="nobody")
        code = await office.refusal(office.approve(withdrawal_id, office.may))
        assert code is CODES.APPROVER_IS_NO_OFFICER

    async def test_the_requester_does_not_approve_their_own(self, office: Office) -> None:
        _, withdrawal_id = await large(office, requested_by=office.persons["may"])

        code = await office.refusal(office.approve(withdrawal_id, office.may))
        assert code is CODES.APPROVAL_OF_OWN_WITHDRAWAL

    async def test_an_approval_of_another_withdrawal_is_refused(self, office: Office) -> None:
        _, first = await large(office)
        _, second = await large(office)

        code = await office.refusal(office.approve(second, office.may, signed=first))
        assert code is CODES.APPROVAL_SIGNATURE_WRONG

    async def test_another_officer_s_signature_is_refused(self, office: Office) -> None:
        _, withdrawal_id = await large(office)
        for signature in (OfficerDevice("stranger").sign(b"the statement"), bytes(64), b""):
            approving = office.approve(withdrawal_id, office.may, signature=signature)
            assert await office.refusal(approving) is CODES.APPROVAL_SIGNATURE_WRONG

    async def test_times_that_are_none_are_refused(self, office: Office, treasury: Treasury) -> None:
        _, withdrawal_id = await large(office)
        now = treasury.clock.now_ns() // SECOND_NS
        for approved_at, expires_at, code in [
            (now + 301, now + 400, CODES.APPROVAL_TIMES_MALFORMED),
            (now, now, CODES.APPROVAL_TIMES_MALFORMED),
            (now, now + 86_401, CODES.APPROVAL_TIMES_MALFORMED),
            (now - 100, now, CODES.APPROVAL_EXPIRED),
        ]:
            approving = office.approve(
                withdrawal_id, office.may, approved_at=approved_at, expires_at=expires_at
            )
            assert await office.refusal(approving) is code

    async def test_what_awaits_no_officers_is_not_approved(self, office: Office, treasury: Treasury) -> None:
        wallet_id, _ = await large(office)
        small = await treasury.request(wallet_id, "10.000000")
        for withdrawal_id, code in [
            (small.id, CODES.APPROVAL_NOT_AWAITED),
            (uuid7(treasury.clock), CODES.WITHDRAWAL_NOT_FOUND),
        ]:
            assert await office.refusal(office.approve(withdrawal_id, office.may)) is code


class TestBlockedReceivers:
    async def test_a_blocked_receiver_is_refused_until_it_is_unblocked(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "50.000000")
        known = await treasury.request(wallet_id, "10.000000")
        async with treasury.database.session() as session:
            for reason in ("stolen coins", "again"):
                await block_receiver(
                    session, treasury.clock, address=OUTSIDE, reason=reason, blocked_by="may"
                )
            assert [one.reason for one in await list_blocked(session)] == ["stolen coins"]
        with pytest.raises(Refusal) as refused:
            await treasury.request(wallet_id, "10.000000")
        assert refused.value.code is CODES.RECEIVER_IS_BLOCKED
        # What was asked for before is still answered.
        assert (await treasury.request(wallet_id, "10.000000", withdrawal_id=known.id)).id == known.id
        async with treasury.database.session() as session:
            assert await unblock_receiver(session, address=OUTSIDE)
            assert not await unblock_receiver(session, address=OUTSIDE)
        await treasury.request(wallet_id, "10.000000")

    async def test_what_was_asked_for_before_its_receiver_was_blocked_is_given_back_unless_signed(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "100.000000")
        treasury.contracts.node.set_automine(on=False)
        gone = await treasury.request(wallet_id, "10.000000")
        assert (await treasury.advance()).sent == 1
        waiting = await treasury.request(wallet_id, "20.000000")
        async with treasury.database.session() as session:
            await block_receiver(session, treasury.clock, address=OUTSIDE, reason="theft", blocked_by="may")
        assert (await treasury.advance()).returned == 1
        treasury.contracts.node.set_automine(on=True)
        await treasury.finalize()
        assert (await treasury.advance()).paid == 1
        states = [(await seen(treasury, wallet_id, one.id)).state for one in (gone, waiting)]
        assert states == [WithdrawalState.PAID, WithdrawalState.RETURNED]
        assert await treasury.balance(wallet_id) == "89.000000"
        await treasury.assert_books_agree()
