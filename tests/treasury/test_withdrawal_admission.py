"""Admission on a real chain: refused and given back, looked at and paid, and neither lost by a death."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import select, update

from chain.models import ChainOrder
from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import Money
from ledger.chart import TransferCode, wallet_account_id
from ledger.contract import CreateTransferStatus, Transfer
from ledger.interface import LedgerUnavailable
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import mortal_treasury, seen
from treasury.errors import TreasuryCode
from treasury.models import TreasuryWithdrawal
from treasury.reviews import close_review, open_reviews
from treasury.withdrawal_transfers import hold_withdrawal, return_withdrawal
from treasury.withdrawals import WithdrawalState
from treasury.young_funds import young_rooms


async def receive(treasury: Treasury, wallet_id: UUID, text: str) -> None:
    """Money from somebody else's wallet, who has it from the chain."""
    friend = await treasury.wallet()
    await treasury.fund(friend, text)
    (result,) = await treasury.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(treasury.clock).int,
                debit_account_id=wallet_account_id(friend, USDT),
                credit_account_id=wallet_account_id(wallet_id, USDT),
                amount=Money.parse(text, USDT).minor,
                ledger=USDT.ledger,
                code=TransferCode.PAYMENT,
            )
        ]
    )
    assert result.status is CreateTransferStatus.CREATED


async def refusal(treasury: Treasury, wallet_id: UUID, text: str, withdrawal_id: UUID) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await treasury.request(wallet_id, text, withdrawal_id=withdrawal_id)
    return refused.value


async def left(treasury: Treasury, wallet_id: UUID) -> list[str]:
    rooms = await young_rooms(treasury.ledger, treasury.clock, wallet_id=wallet_id, asset=USDT)
    return [room.left.format() for room in rooms]


class TestYoungFunds:
    """What does not fit the rules is never paid."""

    async def test_what_is_refused_is_back_at_once_and_never_signed(self, treasury: Treasury) -> None:
        wallet_id, withdrawal_id = await treasury.wallet(), uuid7(treasury.clock)
        await receive(treasury, wallet_id, "3000.000000")
        refused = await refusal(treasury, wallet_id, "1000.000001", withdrawal_id)
        assert refused.code is TreasuryCode.YOUNG_FUNDS_DAILY_LIMIT_EXCEEDED
        assert refused.data["left"] == "1000.000000"
        assert await treasury.balance(wallet_id) == "3000.000000"
        again = await refusal(treasury, wallet_id, "1000.000001", withdrawal_id)
        assert again.code is refused.code
        assert (await seen(treasury, wallet_id, withdrawal_id)).state is WithdrawalState.REFUSED
        await treasury.advance()
        await treasury.finalize()
        await treasury.advance()
        assert treasury.contracts.balance(OUTSIDE) == 0
        await treasury.request(wallet_id, "1000.000000")
        assert await left(treasury, wallet_id) == ["0.000000", "4000.000000"]
        await treasury.assert_books_agree()

    async def test_what_is_returned_gives_its_room_back(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await receive(treasury, wallet_id, "3000.000000")
        withdrawal = await treasury.request(wallet_id, "900.000000")
        assert await left(treasury, wallet_id) == ["100.000000", "4100.000000"]
        async with treasury.database.session() as session:
            await session.execute(
                update(ChainOrder)
                .where(ChainOrder.id == withdrawal.id)
                .values(revoked_at=treasury.clock.now())
            )
        await treasury.advance()
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.RETURNED
        assert await left(treasury, wallet_id) == ["1000.000000", "5000.000000"]

    async def test_a_ledger_that_is_away_while_room_is_given_back_holds_up_that_withdrawal_alone(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wallet_id = await treasury.wallet()
        await receive(treasury, wallet_id, "3000.000000")
        returned = await treasury.request(wallet_id, "900.000000")
        async with treasury.database.session() as session:
            row = await session.get_one(TreasuryWithdrawal, returned.id)
        # What a process leaves that died between the void and the room.
        await return_withdrawal(treasury.ledger, row)
        other = await treasury.request(wallet_id, "50.000000")

        async def away(*_: object) -> None:
            raise LedgerUnavailable("The ledger does not answer.", outcome_unknown=True)

        with monkeypatch.context() as outage:
            outage.setattr("treasury.payouts.give_room_back", away)
            report = await treasury.advance()
        assert (report.sent, report.troubles) == (1, ["ledger_unavailable: The ledger does not answer."])
        assert await left(treasury, wallet_id) == ["50.000000", "4050.000000"]
        await treasury.finalize()
        await treasury.advance()
        assert (await seen(treasury, wallet_id, other.id)).state is WithdrawalState.PAID
        assert await left(treasury, wallet_id) == ["950.000000", "4950.000000"]

    async def test_the_worker_asks_the_rules_where_the_request_died_after_its_hold(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await receive(treasury, wallet_id, "5000.000000")
        ids = [uuid7(treasury.clock) for _ in range(3)]
        for one in ids:
            await intend_and_hold(treasury, wallet_id, one, 600_000_000)
        await treasury.advance()
        await treasury.finalize()
        await treasury.advance()
        states = [(await seen(treasury, wallet_id, one)).state for one in ids]
        assert sorted(states) == [WithdrawalState.PAID, WithdrawalState.REFUSED, WithdrawalState.REFUSED]
        assert treasury.contracts.balance(OUTSIDE) == 600_000_000
        for one, state in zip(ids, states, strict=True):
            if state is WithdrawalState.REFUSED:
                told = await refusal(treasury, wallet_id, "600.000000", one)
                assert told.code is TreasuryCode.YOUNG_FUNDS_DAILY_LIMIT_EXCEEDED
        await treasury.assert_books_agree()

    async def test_killed_after_any_effect_a_refusal_gives_back_once_and_takes_no_room(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await receive(treasury, wallet_id, "3000.000000")
        last = 0
        while True:
            last += 1
            withdrawal_id = uuid7(treasury.clock)
            fate = Fate(last)
            rpc = MortalRPC(treasury.contracts.node.url, fate)
            mortal = mortal_treasury(treasury, fate, rpc)
            died = False
            try:
                await mortal.request(wallet_id, "1500.000000", withdrawal_id=withdrawal_id)
            except Died:
                died = True
            except Refusal:
                pass
            finally:
                await rpc.close()
            await treasury.advance()
            await refusal(treasury, wallet_id, "1500.000000", withdrawal_id)
            assert await treasury.balance(wallet_id) == "3000.000000", (last, fate.what)
            assert await left(treasury, wallet_id) == ["1000.000000", "5000.000000"]
            if not died:
                break
        # At least: intent, hold, accounts, their room, the refusal's row, revoking, giving back, closing.
        assert last > 6
        assert treasury.contracts.balance(OUTSIDE) == 0

    async def test_many_requests_at_once_pay_out_no_more_than_the_day_allows(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await receive(treasury, wallet_id, "5000.000000")
        done = await asyncio.gather(
            *(treasury.request(wallet_id, "300.000000") for _ in range(8)), return_exceptions=True
        )
        held = [one for one in done if not isinstance(one, BaseException)]
        assert len(held) == 3
        assert {one.code for one in done if isinstance(one, Refusal)} == {
            TreasuryCode.YOUNG_FUNDS_DAILY_LIMIT_EXCEEDED
        }
        assert await treasury.balance(wallet_id) == "4097.000000"


class TestReviews:
    """What passes through in large amounts is paid, and looked at."""

    async def test_more_than_ten_thousand_a_week_is_paid_and_put_before_officers(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "12000.000000")
        await treasury.request(wallet_id, "10000.000000")
        async with treasury.database.session() as session:
            assert await open_reviews(session) == []
        seen_one = await treasury.request(wallet_id, "500.000000")
        # The same request again, and the worker, ask again and open nothing more.
        await treasury.request(wallet_id, "500.000000", withdrawal_id=seen_one.id)
        await treasury.advance()
        await treasury.finalize()
        await treasury.advance()
        assert (await seen(treasury, wallet_id, seen_one.id)).state is WithdrawalState.PAID
        async with treasury.database.session() as session:
            (review,) = await open_reviews(session)
        assert (review.withdrawal_id, review.wallet_id) == (seen_one.id, wallet_id)
        assert (review.passing.format(), review.passed_in_week.format()) == ("500.000000", "10500.000000")

    async def test_an_officer_closes_it_with_a_reason_and_it_stays_closed(self, treasury: Treasury) -> None:
        withdrawal_id = await looked_at(treasury)

        async def close(name: str, reason: str) -> str | None:
            async with treasury.database.session() as session:
                closed = await close_review(
                    session,
                    treasury.clock,
                    withdrawal_id=withdrawal_id,
                    person_id=uuid7(treasury.clock),
                    name=name,
                    reason=reason,
                )
            return closed.closed_by

        with pytest.raises(Refusal) as refused:
            await close("may", "  ")
        assert refused.value.code is TreasuryCode.REVIEW_WITHOUT_REASON
        assert await close("may", "known trader") == "may"
        assert await close("zaw", "another word") == "may"
        async with treasury.database.session() as session:
            assert await open_reviews(session) == []

    async def test_nobody_closes_the_review_of_their_own_withdrawal(self, treasury: Treasury) -> None:
        officer = uuid7(treasury.clock)
        withdrawal_id = await looked_at(treasury, requested_by=officer)
        async with treasury.database.session() as session:
            for asked, code in (
                (withdrawal_id, TreasuryCode.REVIEW_OF_OWN),
                (uuid7(treasury.clock), TreasuryCode.REVIEW_NOT_FOUND),
            ):
                with pytest.raises(Refusal) as refused:
                    await close_review(
                        session,
                        treasury.clock,
                        withdrawal_id=asked,
                        person_id=officer,
                        name="may",
                        reason="mine",
                    )
                assert refused.value.code is code


async def looked_at(treasury: Treasury, requested_by: UUID | None = None) -> UUID:
    wallet_id = await treasury.wallet()
    await treasury.fund(wallet_id, "12000.000000")
    made = await treasury.request(wallet_id, "10000.000001", requested_by=requested_by)
    return made.id


async def intend_and_hold(treasury: Treasury, wallet_id: UUID, withdrawal_id: UUID, amount: int) -> None:
    """What a request leaves that died right after its hold."""
    async with treasury.database.session() as session:
        token = treasury.custody.token_of(USDT)
        session.add(
            ChainOrder(
                id=withdrawal_id,
                kind="withdrawal",
                token=token.address,
                to_address=OUTSIDE,
                amount=token.units_of(amount),
                fee=token.units_of(1_000_000),
                requester=wallet_id,
                created_at=treasury.clock.now(),
            )
        )
        await session.flush()
        session.add(
            TreasuryWithdrawal(
                id=withdrawal_id,
                wallet_id=wallet_id,
                asset="USDT",
                amount=amount,
                fee=1_000_000,
                to_address=OUTSIDE,
                created_at=treasury.clock.now(),
            )
        )
    async with treasury.database.session() as session:
        row = await session.scalar(select(TreasuryWithdrawal).where(TreasuryWithdrawal.id == withdrawal_id))
    assert row is not None
    await hold_withdrawal(treasury.ledger, row)
