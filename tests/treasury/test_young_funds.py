"""Young money leaves by the published rules, to the unit, however it is split, raced or repeated.

The real ledger decides; beside it stands a plain model, which keeps lists of lots and of
withdrawals and counts them over each time.
"""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.assets import DMMK, THB, USDC, USDT, XAU, Asset
from foundation.clock import SECOND_NS, SettableClock
from foundation.ids import uuid7
from foundation.money import Money
from ledger.chart import (
    AccountCode,
    TransferCode,
    new_account,
    open_accounts,
    system_account_id,
    wallet_account_id,
)
from ledger.contract import CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from treasury.lots import HOLDING, Parts
from treasury.models import TreasuryWithdrawal
from treasury.withdrawal_transfers import (
    HoldOutcome,
    hold_withdrawal,
    return_withdrawal,
    settle_withdrawal,
)
from treasury.young_funds import (
    DAY_SECONDS,
    EXCEEDED,
    Admission,
    YoungWindow,
    admit,
    give_room_back,
    young_part,
    young_refusal,
    young_rooms,
)

DOLLAR = 1_000_000
HOLDING_SECONDS = int(HOLDING.total_seconds())
OLD_SECONDS = HOLDING_SECONDS + 1
"""Enough to be old: the ledger's times differ by nanoseconds within a second that stands still."""


@dataclass
class Holder:
    """Somebody's wallet: money comes in from friends and from the chain, and leaves."""

    ledger: LedgerEngine
    clock: SettableClock
    asset: Asset = USDT
    id: UUID = field(init=False)
    friend: UUID = field(init=False)

    async def open(self) -> "Holder":
        self.id, self.friend = uuid7(self.clock), uuid7(self.clock)
        await open_accounts(
            self.ledger,
            [
                new_account(wallet_account_id(one, self.asset), AccountCode.WALLET, self.asset, owner=one)
                for one in (self.id, self.friend)
            ],
        )
        await self._move(system_account_id(AccountCode.CUSTODY, self.asset), self.friend, 10**15)
        return self

    async def _move(self, source: int | UUID, target: UUID, amount: int, code=TransferCode.DEPOSIT) -> None:
        debit = source if isinstance(source, int) else wallet_account_id(source, self.asset)
        (result,) = await self.ledger.create_transfers(
            [
                Transfer(
                    id=uuid7(self.clock).int,
                    debit_account_id=debit,
                    credit_account_id=wallet_account_id(target, self.asset),
                    amount=amount,
                    ledger=self.asset.ledger,
                    code=int(code),
                )
            ]
        )
        assert result.status is CreateTransferStatus.CREATED

    async def receive(self, amount: int) -> None:
        await self._move(self.friend, self.id, amount, TransferCode.PAYMENT)

    async def deposit(self, amount: int) -> None:
        await self._move(system_account_id(AccountCode.CUSTODY, self.asset), self.id, amount)

    async def given_back(self, amount: int) -> None:
        custody = system_account_id(AccountCode.CUSTODY, self.asset)
        await self._move(custody, self.id, amount, TransferCode.CORRECTION)

    async def pay(self, amount: int) -> None:
        await self._move(self.id, self.friend, amount, TransferCode.PAYMENT)

    async def hold(self, amount: int, fee: int = 0) -> TreasuryWithdrawal:
        row = TreasuryWithdrawal(
            id=uuid7(self.clock), wallet_id=self.id, asset=self.asset.code, amount=amount, fee=fee
        )
        assert await hold_withdrawal(self.ledger, row) is HoldOutcome.HELD
        return row

    async def withdraw(self, amount: int, fee: int = 0) -> tuple[TreasuryWithdrawal, Admission]:
        """Hold and ask the rules; what is refused is given back."""
        row = await self.hold(amount, fee)
        admission = await admit(self.ledger, row)
        if admission.refused_by is not None:
            await return_withdrawal(self.ledger, row)
        return row, admission

    async def left(self) -> list[str]:
        rooms = await young_rooms(self.ledger, self.clock, wallet_id=self.id, asset=self.asset)
        return [room.left.format() for room in rooms]


@pytest.fixture
async def aye(ledger: LedgerEngine, clock: SettableClock) -> Holder:
    return await Holder(ledger, clock).open()


class TestYoungMoney:
    """At most 1,000 a day and 5,000 a week of what is held for less than 30 days."""

    async def test_a_thousand_a_day_passes_and_a_unit_more_does_not(self, aye):
        await aye.receive(5_000 * DOLLAR)
        _, whole = await aye.withdraw(1_000 * DOLLAR)
        assert whole == Admission(None, Parts(1_000 * DOLLAR, 0))
        assert await aye.left() == ["0.000000", "4000.000000"]
        _, more = await aye.withdraw(1)
        assert more.refused_by is YoungWindow.DAY

    async def test_five_thousand_a_week_passes_day_by_day_and_a_unit_more_does_not(self, aye):
        await aye.receive(9_000 * DOLLAR)
        for _ in range(5):
            assert (await aye.withdraw(1_000 * DOLLAR))[1].refused_by is None
            aye.clock.advance(seconds=DAY_SECONDS + 1)
        _, more = await aye.withdraw(1)
        assert more.refused_by is YoungWindow.WEEK
        # The first day's thousand comes back seven days after it left, and no sooner.
        aye.clock.advance(seconds=2 * DAY_SECONDS - 6)
        assert (await aye.withdraw(1))[1].refused_by is YoungWindow.WEEK
        aye.clock.advance(seconds=2)
        assert (await aye.withdraw(1_000 * DOLLAR))[1].refused_by is None
        assert (await aye.withdraw(1))[1].refused_by is not None

    async def test_money_is_old_at_thirty_days_and_not_a_second_before(self, aye):
        await aye.receive(50_000 * DOLLAR)
        aye.clock.advance(seconds=HOLDING_SECONDS - 1)
        _, before = await aye.withdraw(20_000 * DOLLAR)
        assert before.refused_by is YoungWindow.DAY
        aye.clock.advance(seconds=2)
        _, at = await aye.withdraw(20_000 * DOLLAR)
        assert at == Admission(None, Parts(0, 0))

    async def test_the_oldest_money_leaves_first_whatever_it_leaves_as(self, aye):
        await aye.receive(3_000 * DOLLAR)
        aye.clock.advance(seconds=OLD_SECONDS)
        await aye.receive(3_000 * DOLLAR)
        # Of 3,000 old ones a payment takes 1,200: 1,800 are left, and the fee is paid after the amount.
        await aye.pay(1_200 * DOLLAR)
        _, old = await aye.withdraw(1_799 * DOLLAR, fee=DOLLAR)
        assert old.parts == Parts(0, 0)
        _, young = await aye.withdraw(600 * DOLLAR, fee=DOLLAR)
        assert young.parts == Parts(600 * DOLLAR, 0)
        _, rest = await aye.withdraw(400 * DOLLAR + 1)
        assert rest.refused_by is YoungWindow.DAY

    async def test_what_is_not_paid_gives_its_room_and_its_lots_back(self, aye):
        await aye.receive(2_000 * DOLLAR)
        row, _ = await aye.withdraw(1_000 * DOLLAR)
        await return_withdrawal(aye.ledger, row)
        await give_room_back(aye.ledger, row)
        await give_room_back(aye.ledger, row)
        assert await aye.left() == ["1000.000000", "5000.000000"]
        again, admitted = await aye.withdraw(1_000 * DOLLAR)
        assert admitted.parts == Parts(1_000 * DOLLAR, 0)
        # Given back only when a day is over: the day's room is there already, the week's comes back.
        aye.clock.advance(seconds=DAY_SECONDS + 1)
        await return_withdrawal(aye.ledger, again)
        await give_room_back(aye.ledger, again)
        assert await aye.left() == ["1000.000000", "5000.000000"]

    async def test_what_was_paid_keeps_its_room_for_its_time(self, aye):
        await aye.receive(2_000 * DOLLAR)
        row, _ = await aye.withdraw(1_000 * DOLLAR)
        await settle_withdrawal(aye.ledger, row)
        assert await aye.left() == ["0.000000", "4000.000000"]

    async def test_the_same_question_takes_the_room_once_and_a_refusal_stays(self, aye):
        await aye.receive(3_000 * DOLLAR)
        first = await aye.hold(700 * DOLLAR)
        assert [await admit(aye.ledger, first) for _ in range(3)] == [
            Admission(None, Parts(700 * DOLLAR, 0))
        ] * 3
        second = await aye.hold(700 * DOLLAR)
        assert (await admit(aye.ledger, second)).refused_by is YoungWindow.DAY
        # There is room again, and who was told no has been told for ever.
        aye.clock.advance(seconds=DAY_SECONDS + 1)
        assert (await admit(aye.ledger, second)).refused_by is YoungWindow.DAY
        assert await aye.left() == ["1000.000000", "4300.000000"]

    async def test_of_two_at_once_one_has_the_last_room(self, aye):
        await aye.receive(5_000 * DOLLAR)
        done = await asyncio.gather(*(aye.withdraw(600 * DOLLAR) for _ in range(6)))
        assert sorted(str(admission.refused_by) for _, admission in done) == ["None"] + ["day"] * 5
        assert (await aye.left())[0] == "400.000000"

    async def test_of_two_at_once_only_one_has_the_old_money(self, aye):
        await aye.receive(1_000 * DOLLAR)
        aye.clock.advance(seconds=OLD_SECONDS)
        await aye.receive(1_000 * DOLLAR)
        done = await asyncio.gather(*(aye.withdraw(1_000 * DOLLAR) for _ in range(2)))
        assert sorted(admission.parts.young for _, admission in done) == [0, 1_000 * DOLLAR]

    async def test_a_payment_between_hold_and_question_changes_nothing(self, aye):
        await aye.receive(500 * DOLLAR)
        aye.clock.advance(seconds=OLD_SECONDS)
        await aye.receive(5_000 * DOLLAR)
        row = await aye.hold(500 * DOLLAR)
        await aye.pay(3_000 * DOLLAR)
        assert (await admit(aye.ledger, row)).parts == Parts(0, 0)

    async def test_what_the_bank_gives_back_is_no_new_money(self, aye):
        await aye.given_back(20_000 * DOLLAR)
        _, admission = await aye.withdraw(20_000 * DOLLAR)
        assert admission == Admission(None, Parts(0, 0))

    async def test_who_is_refused_hears_what_is_left_and_when_there_is_more(self, aye):
        await aye.receive(5_000 * DOLLAR)
        begun = aye.clock.now_ns() // SECOND_NS
        await aye.withdraw(400 * DOLLAR)
        aye.clock.advance(seconds=3_600)
        await aye.withdraw(500 * DOLLAR)
        row, admission = await aye.withdraw(200 * DOLLAR)
        refusal = await young_refusal(aye.ledger, aye.clock, row, admission)
        assert refusal.code is EXCEEDED[YoungWindow.DAY]
        assert {name: refusal.data[name] for name in ("young", "limit", "left", "asset")} == {
            "young": "200.000000",
            "limit": "1000.000000",
            "left": "100.000000",
            "asset": "USDT",
        }
        rooms = await young_rooms(aye.ledger, aye.clock, wallet_id=aye.id, asset=USDT)
        assert rooms[0].more_at is not None
        assert int(rooms[0].more_at.timestamp()) == begun + DAY_SECONDS
        assert refusal.data["more_at"] == rooms[0].more_at.isoformat().replace("+00:00", "Z")


class TestAssets:
    """Which money the rules speak of."""

    @pytest.mark.parametrize(("asset", "minor"), [(USDC, 1_000_000), (THB, 3_500)])
    async def test_dollars_and_baht_are_held_to_it_even_if_they_came_in_on_chain(
        self, ledger, clock, asset, minor
    ):
        aye = await Holder(ledger, clock, asset).open()
        await aye.deposit(2_000 * minor)
        assert (await aye.withdraw(1_000 * minor))[1].refused_by is None
        assert (await aye.withdraw(1))[1].refused_by is YoungWindow.DAY

    @pytest.mark.parametrize("asset", [DMMK, XAU])
    async def test_kyat_and_gold_are_not(self, ledger, clock, asset):
        aye = await Holder(ledger, clock, asset).open()
        await aye.receive(10**12)
        assert (await aye.withdraw(10**12))[1] == Admission(None, Parts(0, 0))
        assert await young_rooms(ledger, clock, wallet_id=aye.id, asset=asset) == []
        everything = Money(10**12, asset)
        assert await young_part(ledger, clock, wallet_id=aye.id, amount=everything) == Money(0, asset)


class TestPassing:
    """USDT that came in on chain leaves freely, and is looked at above 10,000 a week."""

    async def test_ten_thousand_a_week_pass_unseen_and_a_unit_more_is_seen_and_paid(self, aye):
        await aye.deposit(30_000 * DOLLAR)
        _, quiet = await aye.withdraw(10_000 * DOLLAR)
        assert quiet == Admission(None, Parts(0, 10_000 * DOLLAR), None)
        _, seen = await aye.withdraw(1)
        assert seen == Admission(None, Parts(0, 1), 10_000 * DOLLAR + 1)
        assert await aye.left() == ["1000.000000", "5000.000000"]

    async def test_a_week_later_it_is_quiet_again(self, aye):
        await aye.deposit(30_000 * DOLLAR)
        await aye.withdraw(10_000 * DOLLAR)
        aye.clock.advance(seconds=7 * DAY_SECONDS + 1)
        _, quiet = await aye.withdraw(10_000 * DOLLAR)
        assert quiet.passed_in_week is None

    async def test_a_deposit_is_a_lot_in_the_row_and_covers_no_other(self, aye):
        await aye.receive(600 * DOLLAR)
        await aye.deposit(400 * DOLLAR)
        await aye.receive(700 * DOLLAR)
        _, first = await aye.withdraw(800 * DOLLAR)
        assert first.parts == Parts(600 * DOLLAR, 200 * DOLLAR)
        _, second = await aye.withdraw(601 * DOLLAR)
        assert second == Admission(YoungWindow.DAY, Parts(401 * DOLLAR, 200 * DOLLAR))

    async def test_what_was_paid_away_does_not_cover_what_comes_after(self, aye):
        await aye.deposit(5_000 * DOLLAR)
        await aye.pay(5_000 * DOLLAR)
        await aye.receive(5_000 * DOLLAR)
        _, admission = await aye.withdraw(5_000 * DOLLAR)
        assert admission == Admission(YoungWindow.DAY, Parts(5_000 * DOLLAR, 0))

    async def test_old_deposits_pass_through_no_more(self, aye):
        await aye.deposit(50_000 * DOLLAR)
        aye.clock.advance(seconds=OLD_SECONDS)
        assert (await aye.withdraw(50_000 * DOLLAR))[1] == Admission(None, Parts(0, 0))


@dataclass
class Lots:
    """The same rules over lists: every lot, and every withdrawal, one by one."""

    lots: list[list[int]] = field(default_factory=list)
    """When it came, whether on chain, and what is left of it; the oldest first."""
    young: list[tuple[int, int]] = field(default_factory=list)
    passed: list[tuple[int, int]] = field(default_factory=list)

    def come(self, now: int, amount: int, on_chain: bool) -> None:
        self.lots.append([now, int(on_chain), amount])

    @property
    def balance(self) -> int:
        return sum(left for _, _, left in self.lots)

    def take(self, now: int, amount: int) -> tuple[int, int]:
        young = passing = 0
        for lot in self.lots:
            taken = min(amount, lot[2])
            lot[2] -= taken
            amount -= taken
            if now - lot[0] < HOLDING_SECONDS:
                young, passing = (young, passing + taken) if lot[1] else (young + taken, passing)
        return young, passing

    def withdraw(self, now: int, amount: int) -> tuple[YoungWindow | None, int, int, int | None]:
        before = [list(lot) for lot in self.lots]
        young, passing = self.take(now, amount)
        for window, seconds, limit in (
            (YoungWindow.DAY, DAY_SECONDS, 1_000 * DOLLAR),
            (YoungWindow.WEEK, 7 * DAY_SECONDS, 5_000 * DOLLAR),
        ):
            used = sum(each for at, each in self.young if now - at < seconds)
            if young and used + young > limit:
                self.lots = before
                return window, young, passing, None
        self.young.append((now, young))
        self.passed.append((now, passing))
        week = sum(each for at, each in self.passed if now - at < 7 * DAY_SECONDS)
        return None, young, passing, week if passing and week > 10_000 * DOLLAR else None


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["receive", "deposit", "pay", "withdraw", "withdraw", "withdraw"]),
        st.one_of(st.integers(1, 1_500 * DOLLAR), st.sampled_from([1, 1_000 * DOLLAR, 9_000 * DOLLAR])),
        st.one_of(
            st.integers(0, 3 * DAY_SECONDS // 100),
            st.sampled_from(
                [seconds // 100 for seconds in (0, DAY_SECONDS, 7 * DAY_SECONDS, HOLDING_SECONDS)]
            ),
            st.just(HOLDING_SECONDS // 100 - 1),
        ),
    ),
    min_size=4,
    max_size=25,
)
"""What happens, how much of it, and how many times a hundred seconds nothing happens after it."""


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
async def test_any_life_is_held_to_what_lists_of_lots_allow(ledger, clock, events):
    # The ledger's time only goes on, by nanoseconds while the second stands still.
    clock.set_ns((clock.now_ns() // SECOND_NS + 1) * SECOND_NS)
    aye, lots = await Holder(ledger, clock).open(), Lots()
    for kind, amount, pause in events:
        now = clock.now_ns() // SECOND_NS
        match kind:
            case "receive":
                await aye.receive(amount)
                lots.come(now, amount, on_chain=False)
            case "deposit":
                await aye.deposit(amount)
                lots.come(now, amount, on_chain=True)
            case _ if amount > lots.balance:
                continue
            case "pay":
                await aye.pay(amount)
                lots.take(now, amount)
            case _:
                told = await young_part(ledger, clock, wallet_id=aye.id, amount=Money(amount, USDT))
                _, admission = await aye.withdraw(amount)
                refused_by, young, passing, week = lots.withdraw(now, amount)
                assert told.minor == young
                assert admission == Admission(refused_by, Parts(young, passing), week)
        # Windows are whole hundreds of seconds and no two events lie so far apart, so that
        # nanoseconds decide nothing.
        clock.advance(seconds=100 * pause + 1)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=st.integers(1, 3_000 * DOLLAR),
    parts=st.lists(st.integers(1, 700 * DOLLAR), min_size=2, max_size=8),
)
async def test_an_amount_that_is_split_over_a_day_passes_exactly_where_it_passes_whole(
    ledger, clock, old, parts
):
    split, whole = await Holder(ledger, clock).open(), await Holder(ledger, clock).open()
    for holder in (split, whole):
        await holder.receive(old)
    clock.advance(seconds=OLD_SECONDS)
    for holder in (split, whole):
        await holder.receive(10_000 * DOLLAR)
    _, at_once = await whole.withdraw(sum(parts))
    one_by_one = []
    for part in parts:
        _, admission = await split.withdraw(part)
        one_by_one.append(admission)
        clock.advance(seconds=DAY_SECONDS // len(parts) - 1)
    passed = [one.refused_by is None for one in one_by_one]
    assert all(passed) == (at_once.refused_by is None)
    # Of young money never more than a day's limit left, however it was cut.
    young = sum(one.parts.young for one in one_by_one if one.refused_by is None)
    assert young <= 1_000 * DOLLAR
    if all(passed):
        assert young == at_once.parts.young
