"""Theft: what somebody takes who has all of the API's and the worker's credentials and code.

The thief has the database with every right, the signer's socket, the node, and all of
our code. Not theirs: the signer's user (its key, log and policy file), officers'
devices, the vault's administrator. They try every trick that is listed here, hour
after hour, and what arrives at their addresses is counted on chain.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import delete, func, insert, select, update

from chain.approvals import Approval, read_approvals, store_approval
from chain.breaker import BreakerTrip, ReleaseSignature, store_release
from chain.calldata import calldata, hexadecimal
from chain.errors import ChainCode
from chain.fees import Fees
from chain.models import ChainApproval, ChainAttempt, ChainLane, ChainOrder, ChainRelease, ChainTrip
from chain.orders import withdrawal_word
from chain.signer_client import SignerClient
from chain.signer_policy import CapsText, SignerPolicy
from chain.transactions import Transaction
from foundation.clock import SettableClock
from foundation.errors import Refusal
from foundation.ids import uuid7
from identity.models import OfficerRow, Person
from tests.fixtures.contracts import WHOLE, running_signer
from tests.fixtures.officers import OfficerDevice
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.moves import administer
from treasury.breaker import breaker_trip, trip_breaker

HOUR = 3_600
CAPS = CapsText(
    per_transaction=str(1_000 * WHOLE),
    per_hour=str(2_500 * WHOLE),
    per_day=str(4_000 * WHOLE),
    without_officers=str(100 * WHOLE),
)
"""Caps in the proportions of a real policy."""

FEES = Fees(100_000_000_000, 1_000_000_000)
"""What the thief offers for gas: always enough on this chain."""

NEVER = "0x" + "bb" * 20
"""A receiver that the signer's policy blocks."""


SMALLEST = 10 * WHOLE
"""The smallest piece that whoever has the key itself tries."""


@dataclass
class Thief:
    """Everything that the API and the worker have, in the wrong hands."""

    treasury: Treasury
    signer: SignerClient
    officers: tuple[OfficerDevice, ...]
    """The officers that the thief appointed; the devices are the thief's own."""
    addresses: list[str] = field(default_factory=list)
    signed: list[UUID] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def receiver(self) -> str:
        """A fresh address of the thief's."""
        address = f"0x{0xBAD:04x}{next(self._numbers):036x}"
        self.addresses.append(address)
        return address

    def stolen(self) -> int:
        """Token units that have arrived."""
        return sum(self.treasury.contracts.balance(address) for address in self.addresses)

    async def order(self, units: int, **fields: Any) -> UUID:
        """Write an order, approved, past all that treasury checks."""
        treasury, now = self.treasury, self.treasury.clock.now()
        order_id = uuid7(treasury.clock)
        values = {
            "id": order_id,
            "kind": "withdrawal",
            "token": treasury.contracts.token(),
            "to_address": self.receiver(),
            "amount": units,
            "fee": 0,
            "requester": uuid7(treasury.clock),
            "created_at": now,
            "approved_at": now,
        }
        async with treasury.database.session() as session:
            await session.execute(insert(ChainOrder).values(values | fields))
        return order_id

    async def nonce(self) -> int:
        address = self.treasury.contracts.signer_key.address
        return int(self.treasury.contracts.node.call("eth_getTransactionCount", address, "pending"), 16)

    async def take(self, order_id: UUID, *, nonce: int | None = None) -> bool:
        """Have an order signed and mined; false if the signer refuses."""
        try:
            signed = await self.signer.sign(
                order_id=order_id,
                chain_id=31337,
                nonce=await self.nonce() if nonce is None else nonce,
                fees=FEES,
            )
        except Refusal as refusal:
            self.refusals[str(refusal.code)] = self.refusals.get(str(refusal.code), 0) + 1
            return False
        self.signed.append(order_id)
        await self.treasury.rpc.call("eth_sendRawTransaction", hexadecimal(signed.raw))
        self.treasury.contracts.receipt(signed.tx_hash)
        return True

    async def drain(self, *, largest: int = 1_000 * WHOLE) -> None:
        """Take as much as the signer signs now, in ever smaller pieces, down to about a dollar."""
        units = largest
        while units >= WHOLE:
            if not await self.take(await self.order(units)):
                units //= 2

    async def forge_approvals(self, order_id: UUID) -> None:
        """Officers by a row, approvals with the thief's own keys: all that a database can say."""
        treasury = self.treasury
        for device in self.officers:
            await device.approve(treasury.database, treasury.clock, treasury.contracts.deployment, order_id)

    async def copy_approvals(self, source: UUID, order_id: UUID) -> None:
        """Real officers' approvals of something else."""
        async with self.treasury.database.session() as session:
            for approval in await read_approvals(session, source):
                await store_approval(session, self.treasury.clock, order_id, approval)

    async def change(self, order_id: UUID, **values: Any) -> None:
        async with self.treasury.database.session() as session:
            await session.execute(update(ChainOrder).where(ChainOrder.id == order_id).values(values))

    async def trip(self, reason: str) -> BreakerTrip:
        """The breaker trips, as the worker has it trip: the thief could not keep that from happening."""
        treasury = self.treasury
        async with treasury.database.session() as session:
            await trip_breaker(session, treasury.clock, 31337, reason=reason)
            trip = await breaker_trip(session, 31337)
        assert trip is not None
        return trip

    async def write_of_trip(self, trip: BreakerTrip, **values: Any) -> None:
        async with self.treasury.database.session() as session:
            await session.execute(update(ChainTrip).where(ChainTrip.id == trip.id).values(values))

    async def forget_everything(self) -> None:
        """Wipe what our tables say of the past."""
        async with self.treasury.database.session() as session:
            for table in (ChainLane, ChainAttempt, ChainApproval):
                await session.execute(delete(table))


@dataclass
class Scene:
    """The bank, its signer with real officers, and the thief."""

    treasury: Treasury
    thief: Thief
    may: OfficerDevice
    hla: OfficerDevice

    async def approved(self, units: int) -> UUID:
        """A large order of an honest customer, which both officers approved."""
        order_id = await self.thief.order(units, to_address=OUTSIDE)
        treasury = self.treasury
        for officer in (self.may, self.hla):
            await officer.approve(treasury.database, treasury.clock, treasury.contracts.deployment, order_id)
        return order_id


def policy(may: OfficerDevice, hla: OfficerDevice) -> SignerPolicy:
    return SignerPolicy(
        caps={"USDT": CAPS}, officers=(may.in_policy(), hla.in_policy()), blocked_receivers=(NEVER,)
    )


@pytest.fixture
async def scene(treasury: Treasury, clock: SettableClock) -> AsyncIterator[Scene]:
    contracts = treasury.contracts
    may, hla = OfficerDevice("may"), OfficerDevice("hla")
    thieves = (OfficerDevice("may"), OfficerDevice("hla"))
    async with treasury.database.session() as session:
        for device in thieves:
            person = uuid7(clock)
            session.add(Person(id=person, created_at=clock.now()))
            await session.flush()
            session.add(
                OfficerRow(person_id=person, name=device.name, roles=["treasury"], appointed_at=clock.now())
            )
    contracts.home = contracts.home / "attacked"
    contracts.home.mkdir()
    async with running_signer(contracts, treasury.database, clock, policy=policy(may, hla)) as signer:
        yield Scene(treasury, Thief(treasury, signer, thieves), may, hla)


def pass_time(treasury: Treasury, seconds: int) -> None:
    """Time passes for the signer and for the vault."""
    treasury.clock.advance(seconds)
    treasury.contracts.node.call("evm_increaseTime", seconds)
    treasury.contracts.node.mine(1)


class TestTricks:
    async def test_no_trick_gets_a_unit_more_than_the_threshold_past_the_officers(self, scene: Scene) -> None:
        thief, beyond = scene.thief, 100 * WHOLE + 1
        genuine = await scene.approved(200 * WHOLE)

        forged = await thief.order(beyond)
        await thief.forge_approvals(forged)
        assert not await thief.take(forged)

        copied = await thief.order(200 * WHOLE)
        await thief.copy_approvals(genuine, copied)
        assert not await thief.take(copied)

        # The genuine order itself, turned to the thief after it was approved.
        for change in ({"to_address": thief.receiver()}, {"amount": 1_000 * WHOLE}):
            await thief.change(genuine, **change)
            assert not await thief.take(genuine)
        await thief.change(genuine, to_address=OUTSIDE, amount=200 * WHOLE)

        # A claim to be one of the real officers, with a signature of nobody's.
        claimed = await thief.order(beyond)
        async with scene.treasury.database.session() as session:
            now = scene.treasury.clock.now_ns() // 10**9
            for officer in (scene.may, scene.hla):
                lie = Approval(officer.key.key_id, now, now + 60, b"\x01" * 64)
                await store_approval(session, scene.treasury.clock, claimed, lie)
        assert not await thief.take(claimed)

        assert thief.refusals == {ChainCode.APPROVALS_MISSING: 5}
        assert thief.stolen() == 0
        assert await thief.take(genuine), "what both officers signed, to the letter, is paid"
        assert scene.treasury.contracts.balance(OUTSIDE) == 200 * WHOLE

    async def test_an_order_pays_once_whatever_is_done_to_its_rows(self, scene: Scene) -> None:
        thief = scene.thief
        order_id = await thief.order(50 * WHOLE)
        assert await thief.take(order_id)

        await thief.forget_everything()
        for change in ({"amount": 100 * WHOLE}, {"to_address": thief.receiver()}):
            await thief.change(order_id, **change)
            assert not await thief.take(order_id)
        # Asked for again with its own nonce it is the same payment, and the chain takes that once.
        await thief.change(order_id, to_address=thief.addresses[0], amount=50 * WHOLE)
        with contextlib.suppress(Exception):
            await thief.take(order_id, nonce=0)

        assert thief.stolen() == 50 * WHOLE

    async def test_no_trick_releases_the_breaker_for_the_signer(self, scene: Scene) -> None:
        thief, treasury = scene.thief, scene.treasury
        deployment = treasury.contracts.deployment
        earlier = await thief.trip("an earlier trip")
        for officer in (scene.may, scene.hla):
            await officer.sign_release(treasury.database, treasury.clock, deployment, earlier)
        assert await thief.take(await thief.order(WHOLE)), "what both officers signed is released"
        await thief.write_of_trip(earlier, released_at=treasury.clock.now(), released_by="may, hla")
        pass_time(treasury, 60)
        trip = await thief.trip("the books differ: somebody steals")

        # Marked as released before the signer has looked once, in real officers' names.
        await thief.write_of_trip(trip, released_at=treasury.clock.now(), released_by="may, hla")
        assert not await thief.take(await thief.order(WHOLE))
        # Officers that the thief appointed, by their rows and by their own good signatures.
        for device in thief.officers:
            await device.sign_release(treasury.database, treasury.clock, deployment, trip)
        assert not await thief.take(await thief.order(WHOLE))
        # The real officers' signatures under the earlier trip, carried over to this one.
        async with treasury.database.session() as session:
            await session.execute(update(ChainRelease).values(trip_id=trip.id))
        assert not await thief.take(await thief.order(WHOLE))
        # The earlier trip's content in this one's row, so that those signatures would be right.
        await thief.write_of_trip(trip, reason=earlier.reason, tripped_at=earlier.tripped_at)
        assert not await thief.take(await thief.order(WHOLE))
        # A lie in the real officers' names, and one real signature beside it.
        async with treasury.database.session() as session:
            now = treasury.clock.now_ns() // 10**9
            lie = ReleaseSignature(scene.hla.key.key_id, now, now + 60, b"\x01" * 64)
            await store_release(session, treasury.clock, trip.id, lie)
        await scene.may.sign_release(treasury.database, treasury.clock, deployment, trip)
        assert not await thief.take(await thief.order(WHOLE))
        # The trip's row taken away, moved to another chain or long ago: the signer has seen it.
        for change in ({"chain_id": 1}, {"tripped_at": datetime(1970, 1, 2, tzinfo=UTC)}):
            await thief.write_of_trip(trip, **change)
            assert not await thief.take(await thief.order(WHOLE))
        async with treasury.database.session() as session:
            await session.execute(delete(ChainRelease))
            await session.execute(delete(ChainTrip))
        await thief.drain()
        assert set(thief.refusals) == {ChainCode.SIGNING_STOPPED}
        assert thief.stolen() == WHOLE, "nothing but what was paid before the trip"

    async def test_sweeps_and_other_kinds_of_orders_pay_nobody(self, scene: Scene) -> None:
        thief = scene.thief
        salt = "0x" + "07" * 32
        sweep = {"kind": "sweep", "amount": 0, "salt": salt}
        held = scene.treasury.contracts.balance(scene.treasury.custody.vault)
        assert not await thief.take(await thief.order(0, **sweep))
        assert not await thief.take(await thief.order(WHOLE, token="0x" + "ab" * 20))
        assert not await thief.take(await thief.order(WHOLE, to_address=NEVER))
        assert thief.stolen() == 0
        assert scene.treasury.contracts.balance(scene.treasury.custody.vault) == held


class TestLoss:
    async def test_two_days_of_theft_take_what_the_signer_caps_allow_and_no_more(
        self, scene: Scene, record_property: Any
    ) -> None:
        thief, treasury = scene.thief, scene.treasury
        genuine = await scene.approved(200 * WHOLE)
        taken: list[int] = []
        for _hour in range(48):
            before = thief.stolen()
            await thief.drain()
            # The past is wiped, other orders' approvals are tried, and it is drained once more.
            await thief.forget_everything()
            beyond = await thief.order(1_000 * WHOLE)
            await thief.copy_approvals(genuine, beyond)
            await thief.forge_approvals(beyond)
            assert not await thief.take(beyond)
            await thief.drain(largest=100 * WHOLE)
            taken.append(thief.stolen() - before)
            pass_time(treasury, HOUR)
        days = [sum(taken[start : start + 24]) for start in range(25)]
        record_property("stolen_units_first_hour", taken[0])
        record_property("stolen_units_worst_day", max(days))
        record_property("stolen_units_two_days", sum(taken))
        # A thief who knows the caps takes them to the last unit: the bound is also what is lost.
        assert taken[0] == max(taken) == 2_500 * WHOLE
        assert max(days) == 4_000 * WHOLE
        assert sum(taken) == 8_000 * WHOLE
        async with treasury.database.session() as session:
            largest = await session.scalar(
                select(func.max(ChainOrder.amount)).where(ChainOrder.id.in_(thief.signed))
            )
        assert int(largest or 0) <= 100 * WHOLE

    async def test_a_signer_restarted_and_a_database_restored_give_nothing_back(
        self, scene: Scene, clock: SettableClock
    ) -> None:
        thief, treasury = scene.thief, scene.treasury
        await thief.drain()
        assert thief.stolen() == 2_500 * WHOLE
        await thief.forget_everything()
        home = treasury.contracts.home
        again = home / "again"
        again.mkdir()
        # The same log, key and policy in a new process, as after a kill.
        (again / "signer").mkdir()
        for path in (home / "signer").iterdir():
            (again / "signer" / path.name).write_bytes(path.read_bytes())
        treasury.contracts.home = again
        own = policy(scene.may, scene.hla)
        async with running_signer(treasury.contracts, treasury.database, clock, policy=own) as signer:
            thief.signer = signer
            await thief.drain()
        assert thief.stolen() == 2_500 * WHOLE

    async def test_a_vault_with_a_smaller_bucket_than_the_signer_s_caps_bounds_the_loss(
        self, scene: Scene, record_property: Any
    ) -> None:
        thief, treasury = scene.thief, scene.treasury
        limit = "setRateLimit(address,uint208,uint48)"
        token = treasury.contracts.token()
        await administer(treasury, treasury.custody.vault, limit, token, 300 * WHOLE, HOUR)
        await thief.drain(largest=100 * WHOLE)
        record_property("stolen_units_past_the_vault", thief.stolen())
        # What the signer signed beyond the bucket reverted on chain. A few seconds refill a little.
        assert 300 * WHOLE <= thief.stolen() <= 310 * WHOLE
        assert sum(1 for _ in thief.signed) >= 25

    async def test_even_with_the_signer_s_key_no_more_leaves_than_the_vault_s_bucket(
        self, scene: Scene, record_property: Any
    ) -> None:
        thief, treasury, node = scene.thief, scene.treasury, scene.treasury.contracts.node
        limit = "setRateLimit(address,uint208,uint48)"
        token, vault = treasury.contracts.token(), treasury.custody.vault
        await administer(treasury, vault, limit, token, 5_000 * WHOLE, HOUR)
        begun = int(node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        units = 4_000 * WHOLE
        # Some 1.4 a second trickle in: on a slow machine much smaller pieces would fit for ever.
        while units >= SMALLEST:
            receiver = thief.receiver()
            word = withdrawal_word(uuid7(treasury.clock))
            stolen = treasury.contracts.signer_key.sign(
                Transaction(
                    chain_id=31337,
                    nonce=await thief.nonce(),
                    max_priority_fee_per_gas=FEES.max_priority_fee_per_gas,
                    max_fee_per_gas=FEES.max_fee_per_gas,
                    gas_limit=200_000,
                    to=vault,
                    data=calldata("withdraw(address,address,uint256,bytes32)", token, receiver, units, word),
                )
            )
            await treasury.rpc.call("eth_sendRawTransaction", hexadecimal(stolen.raw))
            receipt = treasury.contracts.receipt(stolen.tx_hash)
            if int(receipt["status"], 16) == 0:
                units //= 2
        now = int(node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        refilled = 5_000 * WHOLE * (now - begun) // HOUR
        record_property("stolen_units_with_the_key", thief.stolen())
        assert 5_000 * WHOLE - SMALLEST <= thief.stolen() <= 5_000 * WHOLE + refilled


def test_the_thief_s_policy_is_the_bank_s() -> None:
    """The caps of this test are in force as written, so that the measure means something."""
    caps = SignerPolicy(caps={"USDT": CAPS}).caps_of("USDT")
    assert caps is not None
    assert msgspec.structs.asdict(CAPS)["without_officers"] == str(caps.without_officers)
