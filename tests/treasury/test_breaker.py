"""The breaker: trips on what no order explains, and stops nothing that has left."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainOrder, ChainTrip
from chain.signer_policy import SignerPolicy
from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from tests.fixtures.contracts import CAPS
from tests.fixtures.officers import OfficerDevice, p256_officer
from tests.treasury.conftest import Treasury
from tests.treasury.moves import move_out_of, release, seen, signed_by, tripped
from treasury.breaker import breaker_trip, trip_breaker
from treasury.breaker_release import LISTED_MAX, list_trips, release_breaker
from treasury.custody import Custody
from treasury.errors import TreasuryCode
from treasury.models import TreasuryDeparture
from treasury.reserves import Reserves, read_reserves
from treasury.withdrawals import WithdrawalState


async def trip(treasury: Treasury, reason: str) -> None:
    async with treasury.database.session() as session:
        await trip_breaker(session, treasury.clock, treasury.custody.chain_id, reason=reason)


class TestTheBreaker:
    async def test_stops_what_is_not_signed_and_lets_go_on_what_is(self, treasury: Treasury) -> None:
        may, hla = OfficerDevice("may"), p256_officer("hla")
        for officer in (may, hla):
            await officer.enrol(treasury.database, treasury.clock)
        policy = SignerPolicy(caps=CAPS, officers=(may.in_policy(), hla.in_policy()))
        async with signed_by(treasury, policy):
            await self._stops_and_goes_on(treasury, may, hla)

    async def _stops_and_goes_on(self, treasury: Treasury, may: OfficerDevice, hla: OfficerDevice) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        first = await treasury.request(wallet_id, "10.000000")
        await treasury.advance()
        second = await treasury.request(wallet_id, "20.000000")
        async with treasury.database.session() as session:
            await trip_breaker(session, treasury.clock, treasury.custody.chain_id, reason="a drill")
        await treasury.finalize()
        report = await treasury.advance()
        assert (report.paid, report.approved, report.sent, report.waiting) == (1, 0, 0, 1)
        assert (await seen(treasury, wallet_id, first.id)).state is WithdrawalState.PAID
        assert (await seen(treasury, wallet_id, second.id)).state is WithdrawalState.HELD
        await release(treasury, may, hla)
        assert (await treasury.advance()).sent == 1

    async def test_released_by_a_row_it_holds_the_payment_until_the_signer_has_two_signatures(
        self, treasury: Treasury
    ) -> None:
        may, hla = OfficerDevice("may"), p256_officer("hla")
        for officer in (may, hla):
            await officer.enrol(treasury.database, treasury.clock)
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await treasury.request(wallet_id, "10.000000")
        async with treasury.database.session() as session:
            await trip_breaker(session, treasury.clock, treasury.custody.chain_id, reason="a drill")
        # This signer's policy names no officers: for treasury it is released, for the signer not.
        await release(treasury, may, hla)
        report = await treasury.advance()
        assert (report.sent, report.returned, report.waiting) == (0, 0, 1)
        assert any("signing_stopped" in trouble for trouble in report.troubles), report.troubles
        policy = SignerPolicy(caps=CAPS, officers=(may.in_policy(), hla.in_policy()))
        async with signed_by(treasury, policy):
            assert (await treasury.advance()).sent == 1

    async def test_trip_that_comes_while_another_is_released_is_not_lost(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        may, hla = OfficerDevice("may"), p256_officer("hla")
        for officer in (may, hla):
            await officer.enrol(treasury.database, treasury.clock)
        await treasury.finalize()
        await trip(treasury, "a drill")
        later: list[asyncio.Task[None]] = []

        async def look_and_be_overtaken(session: AsyncSession, custody: Custody) -> Reserves:
            found = await read_reserves(session, custody)
            later.append(asyncio.create_task(trip(treasury, "tokens left custody")))
            await asyncio.wait(later, timeout=0.5)
            return found

        monkeypatch.setattr("treasury.breaker_release.read_reserves", look_and_be_overtaken)
        await release(treasury, may, hla)
        await later[0]
        assert await tripped(treasury) == "tokens left custody"

    async def test_books_that_were_never_compared_release_nothing(self, treasury: Treasury) -> None:
        may, hla = OfficerDevice("may"), p256_officer("hla")
        await treasury.finalize()
        await trip(treasury, "a drill")
        deployment, clock = treasury.contracts.deployment, treasury.clock
        async with treasury.database.session() as session:
            open_trip = await breaker_trip(session, treasury.custody.chain_id)
        assert open_trip is not None
        for officer in (may, hla):
            await officer.enrol(treasury.database, clock)
            await officer.sign_release(treasury.database, clock, deployment, open_trip)
        with pytest.raises(Refusal) as refused:
            async with treasury.database.session() as session:
                await release_breaker(session, clock, treasury.custody, deployment, trip_id=open_trip.id)
        assert refused.value.code is TreasuryCode.RELEASE_BOOKS_NOT_COMPARED
        # Refused, it is as it was.
        assert await tripped(treasury) == "a drill"

    async def test_trip_that_stops_is_listed_first_by_a_clock_that_was_set_back(
        self, treasury: Treasury
    ) -> None:
        async with treasury.database.session() as session:
            for hours in range(1, LISTED_MAX + 1):
                at = treasury.clock.now() + timedelta(hours=hours)
                session.add(
                    ChainTrip(
                        id=uuid7(treasury.clock), chain_id=31337, reason="over", tripped_at=at, released_at=at
                    )
                )
        await trip(treasury, "a drill")
        async with treasury.database.session() as session:
            listed = await list_trips(session, treasury.clock, treasury.contracts.deployment)
        assert (listed[0].trip.reason, listed[0].released_at) == ("a drill", None)

    async def test_tokens_that_leave_without_an_order_trip_it(self, treasury: Treasury) -> None:
        await treasury.finalize()
        assert await tripped(treasury) is None
        await move_out_of(treasury, treasury.custody.vault, 5)
        await treasury.finalize()
        reason = await tripped(treasury)
        assert reason is not None
        assert "without an order" in reason
        usdt = next(result for result in await treasury.reconcile() if result.asset == USDT)
        assert usdt.unexplained_units == -5

    async def test_withdrawal_paid_in_other_terms_than_ordered_trips_it(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "10.000000")
        await treasury.advance()
        # Whoever can write to the database changes what was ordered after it was signed.
        async with treasury.database.session() as session:
            await session.execute(update(ChainOrder).where(ChainOrder.id == withdrawal.id).values(amount=1))
        await treasury.finalize()
        assert await tripped(treasury) is not None
        await treasury.advance()
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.SENT

    async def test_success_on_chain_that_left_no_transfer_trips_it(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "10.000000")
        await treasury.advance()
        await treasury.follow()
        await treasury.advance()
        assert await tripped(treasury) is None
        await treasury.finalize()
        # The mirror has lost the log: the node says that it was paid, our book does not.
        async with treasury.database.session() as session:
            await session.execute(delete(TreasuryDeparture))
        await treasury.advance()
        reason = await tripped(treasury)
        assert reason is not None
        assert "left no transfer" in reason
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.SENT
