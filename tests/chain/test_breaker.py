"""The breaker as the signer believes it: a trip stops, and only two officers' signatures let it go on."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from chain.breaker import RELEASES_READ_MAX, BreakerTrip, release_statement, store_release
from chain.deployments import Deployment
from chain.errors import ChainCode
from chain.fees import Fees
from chain.models import ChainRelease, ChainTrip
from chain.signer_client import SignerClient
from chain.signer_policy import SignerPolicy, write_policy
from foundation.clock import SettableClock, SystemClock
from foundation.database import Database
from foundation.errors import Refusal, Retryable
from foundation.ids import uuid7
from tests.chain.test_signer import own_deposit_address
from tests.fixtures.contracts import CAPS, end_process, running_signer, start_signer_process, write_sweep
from tests.fixtures.officers import OfficerDevice, p256_officer
from tests.fixtures.signing import Orders, code_and_why
from treasury.breaker_release import restore_trip

STOPPED = ChainCode.SIGNING_STOPPED


class Bank:
    """A signer whose policy names two officers, and its database."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.database = orders.database
        self.clock: Any = orders.clock
        self.may, self.hla = OfficerDevice("may"), p256_officer("hla")
        self.nonce = 0

    @property
    def deployment(self) -> Deployment:
        return self.orders.contracts.deployment

    def policy(self, **fields: Any) -> SignerPolicy:
        return SignerPolicy(caps=CAPS, officers=(self.may.in_policy(), self.hla.in_policy()), **fields)

    @asynccontextmanager
    async def signer(self, **fields: Any) -> AsyncIterator[SignerClient]:
        contracts = self.orders.contracts
        async with running_signer(
            contracts, self.database, self.clock, policy=self.policy(**fields)
        ) as signer:
            yield signer

    async def trip(self, reason: str = "the books differ") -> BreakerTrip:
        """The breaker trips, as ``treasury`` writes it."""
        trip = BreakerTrip(uuid7(self.clock), reason, self.clock.now())
        async with self.database.session() as session:
            session.add(ChainTrip(id=trip.id, chain_id=31337, reason=reason, tripped_at=trip.tripped_at))
        return trip

    async def change(self, trip: BreakerTrip, **values: Any) -> None:
        """What whoever can write the database does to a trip's row."""
        async with self.database.session() as session:
            await session.execute(update(ChainTrip).where(ChainTrip.id == trip.id).values(values))

    async def mark_released(self, trip: BreakerTrip) -> None:
        await self.change(trip, released_at=self.clock.now(), released_by="may, hla")

    async def sign(self, trip: BreakerTrip, *officers: OfficerDevice, **lifetime: int) -> None:
        for officer in officers:
            await officer.sign_release(self.database, self.clock, self.deployment, trip, **lifetime)

    async def pays(self, signer: SignerClient) -> bool:
        """Whether a new withdrawal is signed; every other refusal than the breaker's fails."""
        order_id = await self.orders.withdrawal()
        try:
            await self.orders.sign(signer, order_id, nonce=self.nonce)
        except Refusal as refusal:
            if (refusal.code, refusal.retryable) != (STOPPED, Retryable.YES):
                raise
            return False
        self.nonce += 1
        return True

    async def why(self, signer: SignerClient) -> str:
        """Why a new withdrawal is not signed."""
        refusal = await self.orders.refusal(signer, await self.orders.withdrawal(), nonce=self.nonce)
        code, why = code_and_why(refusal)
        assert code is STOPPED
        return why

    def lines(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.orders.log_lines() if line["kind"] == kind]


@pytest.fixture
def bank(orders: Orders) -> Bank:
    return Bank(orders)


class TestStop:
    async def test_nothing_is_begun_after_a_trip_and_what_was_signed_is_followed_to_its_end(
        self, bank: Bank, database: Database, clock: SettableClock
    ) -> None:
        orders, salt = bank.orders, b"\x07" * 32
        signed, waiting = await orders.withdrawal(), await orders.withdrawal()
        address = own_deposit_address(bank.deployment, salt)
        sweep = await write_sweep(database, clock, orders.contracts, address=address, salt=salt)
        async with bank.signer() as signer:
            first = await orders.sign(signer, signed, nonce=0)
            trip = await bank.trip()

            refusal = await orders.refusal(signer, waiting, nonce=1)
            assert code_and_why(refusal) == (STOPPED, "too_few")
            assert refusal.data["signed_before"] is False
            assert str(trip.id) in refusal.detail
            with pytest.raises(Refusal) as checked:
                await signer.check(order_id=waiting, chain_id=31337)
            assert checked.value.code is STOPPED

            assert await orders.sign(signer, signed, nonce=0) == first
            dearer = await orders.sign(signer, signed, nonce=0, fees=Fees(4_000_000_000, 2_000_000_000))
            assert dearer != first
            await orders.sign(signer, sweep, nonce=1)
        assert [line["trip_id"] for line in bank.lines("trip")] == [str(trip.id)]

    async def test_a_release_written_into_the_database_releases_nothing(self, bank: Bank) -> None:
        async with bank.signer() as signer:
            trip = await bank.trip()
            # Written before the signer has ever looked, and without one signature.
            await bank.mark_released(trip)
            assert await bank.why(signer) == "too_few"
        async with bank.signer() as signer:
            assert not await bank.pays(signer)

    async def test_a_trip_that_was_seen_is_not_forgotten_when_its_row_is_taken_away(self, bank: Bank) -> None:
        trip = await bank.trip()
        async with bank.signer() as signer:
            assert not await bank.pays(signer)
            async with bank.database.session() as session:
                await session.execute(delete(ChainTrip))
            assert not await bank.pays(signer)
        async with bank.signer() as signer:
            assert not await bank.pays(signer)
        assert [line["trip_id"] for line in bank.lines("trip")] == [str(trip.id)]

    async def test_a_flood_of_trips_stops_as_one_does_and_the_log_stays_short(self, bank: Bank) -> None:
        async with bank.database.session() as session:
            for _ in range(200):
                now = bank.clock.now()
                session.add(
                    ChainTrip(
                        id=uuid7(bank.clock),
                        chain_id=31337,
                        reason="a flood",
                        tripped_at=now,
                        released_at=now,
                        released_by="a thief",
                    )
                )
        async with bank.signer() as signer:
            for _ in range(3):
                assert not await bank.pays(signer)
        assert len(bank.lines("trip")) == 64

    async def test_another_chain_s_trip_stops_nothing_here(self, bank: Bank) -> None:
        trip = await bank.trip()
        await bank.change(trip, chain_id=1)
        async with bank.signer() as signer:
            assert await bank.pays(signer)

    async def test_a_trip_of_before_signatures_counts_only_while_its_row_says_that_it_is_open(
        self, bank: Bank
    ) -> None:
        trip = await bank.trip()
        since = int(bank.clock.now().timestamp()) + 1
        await bank.mark_released(trip)
        async with bank.signer(breaker_since=since) as signer:
            assert await bank.pays(signer)
            await bank.change(trip, released_at=None)
            assert not await bank.pays(signer)


class TestRelease:
    async def test_two_officers_signatures_release_it_once_and_for_all(self, bank: Bank) -> None:
        trip = await bank.trip()
        async with bank.signer() as signer:
            assert not await bank.pays(signer)
            await bank.sign(trip, bank.may)
            assert await bank.why(signer) == "too_few"
            await bank.sign(trip, bank.hla)
            assert await bank.pays(signer)
            # What was verified stays so, whatever becomes of the rows and the lifetime.
            async with bank.database.session() as session:
                await session.execute(delete(ChainRelease))
            bank.clock.advance(100_000)
            assert await bank.pays(signer)
        async with bank.signer() as signer:
            assert await bank.pays(signer)
        [line] = bank.lines("release")
        assert (line["trip_id"], line["officers"]) == (str(trip.id), ["hla", "may"])

    async def test_what_is_not_two_living_signatures_of_officers_under_this_trip_releases_nothing(
        self, bank: Bank, subtests: Any
    ) -> None:
        deployment, clock = bank.deployment, bank.clock
        earlier = await bank.trip("another reason")
        await bank.change(earlier, chain_id=1)
        bank.clock.advance(10)
        trip = await bank.trip()
        same_name = OfficerDevice("hla")

        async def store(signed: Any) -> None:
            async with bank.database.session() as session:
                await store_release(session, clock, trip.id, signed)

        of_hla = bank.hla.release_of
        changed = BreakerTrip(trip.id, "an easier reason", trip.tripped_at)
        later = BreakerTrip(trip.id, trip.reason, trip.tripped_at + timedelta(microseconds=1))
        cases: list[tuple[str, str, Any]] = [
            ("one officer twice", "too_few", bank.may.release_of(trip, deployment, clock, lasts=1_800)),
            ("expired", "expired", of_hla(trip, deployment, clock, since=-3_601)),
            ("from the future", "from_the_future", of_hla(trip, deployment, clock, since=400)),
            ("too long", "too_long", of_hla(trip, deployment, clock, lasts=86_401)),
            ("under another trip", "signature", of_hla(earlier, deployment, clock)),
            ("with another reason", "signature", of_hla(changed, deployment, clock)),
            ("with another time", "signature", of_hla(later, deployment, clock)),
            ("a stranger's key", "unknown_key", same_name.release_of(trip, deployment, clock)),
        ]
        async with bank.signer() as signer:
            for name, why, signed in cases:
                with subtests.test(name=name):
                    async with bank.database.session() as session:
                        await session.execute(delete(ChainRelease))
                    await bank.sign(trip, bank.may)
                    await store(signed)
                    assert await bank.why(signer) == why
            with subtests.test(name="a key that the policy does not name"):
                async with bank.database.session() as session:
                    await session.execute(delete(ChainRelease))
                await store(same_name.release_of(trip, deployment, clock))
                assert await bank.why(signer) == "unknown_key"
        assert bank.lines("release") == []

    async def test_signatures_under_one_trip_do_nothing_after_the_next(self, bank: Bank) -> None:
        first = await bank.trip()
        await bank.sign(first, bank.may, bank.hla)
        async with bank.signer() as signer:
            assert await bank.pays(signer)
            await bank.mark_released(first)
            bank.clock.advance(5)
            second = await bank.trip()
            assert not await bank.pays(signer)
            # The same signatures again, under the first trip and carried over to the second.
            async with bank.database.session() as session:
                await session.execute(update(ChainRelease).values(trip_id=second.id))
            assert await bank.why(signer) == "signature"
            await bank.sign(second, bank.may, bank.hla, lasts=3_000)
            assert await bank.pays(signer)

    async def test_a_release_lets_nothing_through_while_a_later_trip_is_open(self, bank: Bank) -> None:
        first = await bank.trip()
        async with bank.signer() as signer:
            assert not await bank.pays(signer)
            await bank.mark_released(first)
            bank.clock.advance(5)
            second = await bank.trip()
            await bank.sign(first, bank.may, bank.hla)
            assert not await bank.pays(signer)
            assert [line["trip_id"] for line in bank.lines("trip")] == [str(first.id), str(second.id)]

    async def test_officers_who_sign_a_row_that_was_changed_release_nothing(self, bank: Bank) -> None:
        trip = await bank.trip()
        async with bank.signer() as signer:
            assert not await bank.pays(signer)
            # The officers are shown another reason than the one that the signer has seen.
            await bank.change(trip, reason="a false alarm")
            await bank.sign(BreakerTrip(trip.id, "a false alarm", trip.tripped_at), bank.may, bank.hla)
            assert await bank.why(signer) == "signature"
            # Put back as the signer tells it, they release it.
            refusal = await bank.orders.refusal(signer, await bank.orders.withdrawal(), nonce=9)
            at = trip.tripped_at.isoformat(timespec="microseconds")
            assert f"{trip.id} of the breaker at {at}: {trip.reason}." in refusal.detail
            async with bank.database.session() as session:
                await restore_trip(session, bank.clock, bank.deployment, trip)
            await bank.sign(trip, bank.may, bank.hla, lasts=1_800)
            assert await bank.pays(signer)

    async def test_an_officer_who_signs_many_times_keeps_nobody_elses_signature_out(self, bank: Bank) -> None:
        trip = await bank.trip()
        for more in range(RELEASES_READ_MAX + 1):
            await bank.sign(trip, bank.may, lasts=80_000 + more)
        await bank.sign(trip, bank.hla)
        async with bank.signer() as signer:
            assert await bank.pays(signer)

    async def test_an_officer_taken_out_of_the_policy_releases_nothing_any_more(self, bank: Bank) -> None:
        trip = await bank.trip()
        await bank.sign(trip, bank.may, bank.hla)
        policy = SignerPolicy(caps=CAPS, officers=(bank.may.in_policy(),))
        async with running_signer(bank.orders.contracts, bank.database, bank.clock, policy=policy) as signer:
            assert not await bank.pays(signer)
        async with bank.signer() as signer:
            assert await bank.pays(signer)


class TestStatement:
    def test_it_names_all_that_the_release_is_about(self, bank: Bank) -> None:
        trip = BreakerTrip(uuid7(bank.clock), "the USDT books differ", bank.clock.now())
        said = release_statement(trip, bank.deployment, signed_at=1, expires_at=2).decode()
        assert said == (
            "NUG Pay breaker release, version 1\n"
            "chain: 31337\n"
            f"vault: {bank.deployment.vault}\n"
            f"trip: {trip.id}\n"
            'reason: "the USDT books differ"\n'
            f"tripped: {trip.tripped_at.astimezone(UTC).isoformat(timespec='microseconds')}\n"
            "signed: 1\n"
            "expires: 2\n"
        )

    def test_no_reason_can_write_another_field(self, bank: Bank) -> None:
        at = bank.clock.now()
        reason = 'x"\ntripped: 2020-01-01T00:00:00.000000+00:00\r\u2028signed: 9'
        trip = BreakerTrip(uuid7(bank.clock), reason, at)
        said = release_statement(trip, bank.deployment, signed_at=1, expires_at=2).decode()
        assert len(said.splitlines()) == 8
        assert json.loads(said.splitlines()[4].removeprefix("reason: ")) == reason


@contextmanager
def signer_process(bank: Bank, database_url: str) -> Iterator[SignerClient]:
    home = bank.orders.contracts.home
    write_policy(home, bank.policy())
    process = start_signer_process(home, database_url)
    try:
        yield SignerClient(home / "run" / "signer.sock")
    finally:
        end_process(process)


async def until_log_has(bank: Bank, kind: str) -> None:
    deadline = time.monotonic() + 20
    while not bank.lines(kind):
        assert time.monotonic() < deadline, f"no {kind} in the log"
        await asyncio.sleep(0.02)


async def test_a_signer_whom_nobody_asks_sees_a_trip_before_its_row_is_gone_and_a_release_before_it_expires(
    orders: Orders, database_url: str
) -> None:
    bank = Bank(orders)
    bank.clock = SystemClock()
    with signer_process(bank, database_url) as signer:
        first = await bank.trip()
        await until_log_has(bank, "trip")
        async with bank.database.session() as session:
            await session.execute(delete(ChainTrip))
        assert not await bank.pays(signer)
        async with bank.database.session() as session:
            session.add(
                ChainTrip(id=first.id, chain_id=31337, reason=first.reason, tripped_at=first.tripped_at)
            )
        await bank.sign(first, bank.may, bank.hla, lasts=15)
        await until_log_has(bank, "release")
        assert await bank.pays(signer)
