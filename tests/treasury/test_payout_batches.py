"""Payout batches: several withdrawals in one transaction, each paid once or given back once."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select

from chain.batches import write_batch
from chain.models import ChainAttempt, ChainBatchMember, ChainLane, ChainOrder, OrderKind
from chain.orders import revoke_order
from chain.signer_policy import CapsText, SignerPolicy
from tests.fixtures.contracts import CAPS, WHOLE
from tests.treasury.conftest import Treasury
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import (
    administer,
    call_first,
    mortal_treasury,
    pause_first,
    seen,
    signed_by,
    tripped,
)
from treasury.blocked_receivers import block_receiver
from treasury.models import TreasuryDeparture, TreasuryWithdrawal
from treasury.open_withdrawals import open_page
from treasury.payout_batches import PAYOUTS_PER_BATCH, grouped
from treasury.withdrawals import Withdrawal, WithdrawalState

ENDED = {WithdrawalState.PAID, WithdrawalState.RETURNED}


def receiver(number: int) -> str:
    return f"0x{0xBEEF:04x}{number:036x}"


async def asked(treasury: Treasury, wallet_id: UUID, count: int, units: int = 7 * WHOLE) -> list[Withdrawal]:
    """So many withdrawals of one wallet, each to a receiver of its own."""
    text = f"{units // WHOLE}.{units % WHOLE:06}"
    return [await treasury.request(wallet_id, text, to_address=receiver(n)) for n in range(count)]


async def states(treasury: Treasury, wallet_id: UUID, withdrawals: list[Withdrawal]) -> list[WithdrawalState]:
    return [(await seen(treasury, wallet_id, one.id)).state for one in withdrawals]


async def lane(treasury: Treasury) -> list[tuple[int, str]]:
    """Nonce and kind of every order that has one."""
    async with treasury.database.session() as session:
        rows = await session.execute(
            select(ChainLane.nonce, ChainOrder.kind)
            .join(ChainOrder, ChainOrder.id == ChainLane.order_id)
            .order_by(ChainLane.nonce)
        )
        return [(row.nonce, row.kind) for row in rows]


async def rich(treasury: Treasury) -> UUID:
    wallet_id = await treasury.wallet()
    await treasury.fund(wallet_id, "900.000000")
    return wallet_id


async def freeze(treasury: Treasury, address: str) -> None:
    await administer(treasury, treasury.contracts.token(), "freeze(address)", address)


class TestMoneyStory:
    async def test_withdrawals_that_are_ready_together_go_in_one_transaction(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 5)

        report = await treasury.advance()

        assert (report.approved, report.sent, report.batches, report.troubles) == (5, 5, 1, [])
        assert await lane(treasury) == [(0, "payout_batch")]
        sent = [await seen(treasury, wallet_id, one.id) for one in withdrawals]
        assert {one.state for one in sent} == {WithdrawalState.SENT}
        hashes = {one.tx_hash for one in sent}
        assert len(hashes) == 1
        assert None not in hashes
        await treasury.finalize()
        assert (await treasury.advance()).paid == 5
        paid = [await seen(treasury, wallet_id, one.id) for one in withdrawals]
        assert {(one.state, one.tx_hash) for one in paid} == {(WithdrawalState.PAID, *hashes)}
        assert [treasury.contracts.balance(receiver(n)) for n in range(5)] == [7 * WHOLE] * 5
        assert await treasury.balance(wallet_id) == "860.000000"
        await treasury.assert_books_agree()

    async def test_one_that_is_ready_alone_goes_alone(self, treasury: Treasury) -> None:
        await asked(treasury, await rich(treasury), 1)
        report = await treasury.advance()
        assert (report.sent, report.batches) == (1, 0)
        assert await lane(treasury) == [(0, "withdrawal")]

    async def test_equal_pairs_of_receiver_and_amount_never_go_into_one_batch(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 2) + await asked(treasury, wallet_id, 2)
        withdrawals += await asked(treasury, wallet_id, 1)

        assert (await treasury.advance()).sent == 5

        # In the order of their ids, which is random here: at least as many as the equal ones.
        assert len(await lane(treasury)) >= 3
        await treasury.finalize()
        assert (await treasury.advance()).paid == 5
        assert set(await states(treasury, wallet_id, withdrawals)) == {WithdrawalState.PAID}
        assert [treasury.contracts.balance(receiver(n)) for n in range(2)] == [21 * WHOLE, 14 * WHOLE]
        await treasury.assert_books_agree()

    async def test_groups_are_of_one_token_and_bounded(self, treasury: Treasury) -> None:
        wallet_id = await rich(treasury)
        await asked(treasury, wallet_id, 1)
        [one] = await open_page(treasury.database, None)
        many = [replace(one, units=units) for units in range(2 * PAYOUTS_PER_BATCH + 1)]
        assert [len(group) for group in grouped(many)] == [PAYOUTS_PER_BATCH, PAYOUTS_PER_BATCH, 1]
        other = [replace(one, units=units, token="0x" + "ab" * 20) for units in range(2)]
        assert [len(group) for group in grouped([*many[:3], *other])] == [3, 2]
        mixed = [many[0], replace(many[0]), many[1], other[0], many[2]]
        assert [[each.units for each in group] for group in grouped(mixed)] == [[0], [0, 1, 2], [0]]
        alone = [replace(one, units=units, goes_alone=True) for units in (100, 101)]
        assert [len(group) for group in grouped([*alone, *many[:2]])] == [1, 1, 2]

    async def test_books_agree_while_members_are_paid_and_not_posted(self, treasury: Treasury) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 3)
        await treasury.advance()
        await treasury.finalize()
        usdt = next(result for result in await treasury.reconcile() if result.asset.code == "USDT")
        assert usdt.agrees
        assert {item.id for item in usdt.items} == {one.id for one in withdrawals}


class TestRefusedMembers:
    async def test_batch_of_five_with_one_frozen_receiver_pays_four_once_and_returns_one(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 5)
        treasury.contracts.node.set_automine(on=False)
        assert (await treasury.advance()).batches == 1
        await call_first(treasury, treasury.contracts.token(), "freeze(address)", receiver(2))
        treasury.contracts.node.set_automine(on=True)
        treasury.contracts.node.mine(3)

        # Final for the node, and not written down by the mirror yet: nothing is given back.
        assert (await treasury.advance()).returned == 0
        await treasury.finalize()
        report = await treasury.advance()

        assert (report.paid, report.returned, report.waiting) == (4, 1, 0)
        expected = [WithdrawalState.PAID] * 5
        expected[2] = WithdrawalState.RETURNED
        assert await states(treasury, wallet_id, withdrawals) == expected
        assert [treasury.contracts.balance(receiver(n)) // WHOLE for n in range(5)] == [7, 7, 0, 7, 7]
        assert await treasury.balance(wallet_id) == "868.000000"
        assert await tripped(treasury) is None
        # Even when it could be paid again it is not: not by the worker, not by the signer.
        await administer(treasury, treasury.contracts.token(), "unfreeze(address)", receiver(2))
        for _ in range(2):
            await treasury.finalize()
            report = await treasury.advance()
            assert (report.sent, report.paid, report.returned) == (0, 0, 0)
        assert treasury.contracts.balance(receiver(2)) == 0
        await treasury.assert_books_agree()

    async def test_batch_that_reverts_finally_gives_every_member_back_once(self, treasury: Treasury) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 3)
        treasury.contracts.node.set_automine(on=False)
        await treasury.advance()
        await pause_first(treasury)
        treasury.contracts.node.set_automine(on=True)
        await treasury.finalize()
        assert (await treasury.advance()).returned == 3
        assert set(await states(treasury, wallet_id, withdrawals)) == {WithdrawalState.RETURNED}
        assert await treasury.balance(wallet_id) == "900.000000"
        await treasury.assert_books_agree()

    async def test_receiver_that_is_frozen_before_stays_out_of_the_batch(self, treasury: Treasury) -> None:
        wallet_id = await rich(treasury)
        await freeze(treasury, receiver(1))
        withdrawals = await asked(treasury, wallet_id, 3)
        report = await treasury.advance()
        assert (report.sent, report.batches, report.waiting) == (2, 1, 1)
        assert await states(treasury, wallet_id, withdrawals) == [
            WithdrawalState.SENT,
            WithdrawalState.HELD,
            WithdrawalState.SENT,
        ]

    async def test_what_the_vault_cannot_pay_together_is_not_put_together(self, treasury: Treasury) -> None:
        wallet_id = await rich(treasury)
        limit = "setRateLimit(address,uint208,uint48)"
        token = treasury.contracts.token()
        await administer(treasury, treasury.custody.vault, limit, token, 20 * WHOLE, 3_600)
        await asked(treasury, wallet_id, 3)
        report = await treasury.advance()
        assert (report.sent, report.waiting) == (2, 1)
        assert report.troubles == ["the vault's rate limit is used up"]


class TestUnsignedBatches:
    async def test_fees_above_the_signers_cap_keep_the_batch_together(self, treasury: Treasury) -> None:
        wallet_id = await rich(treasury)
        await asked(treasury, wallet_id, 3)
        async with signed_by(treasury, SignerPolicy(caps=CAPS, max_fee_per_gas=1)):
            report = await treasury.advance()
            assert (report.sent, report.waiting) == (0, 3)
        report = await treasury.advance()
        assert (report.sent, report.batches) == (3, 1)
        assert await lane(treasury) == [(0, "payout_batch")]

    async def test_sum_above_the_hourly_cap_dissolves_the_batch_and_what_fits_goes_alone(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 3)
        caps = {"USDT": CapsText(str(10 * WHOLE), str(15 * WHOLE), per_day=str(600 * WHOLE))}
        async with signed_by(treasury, SignerPolicy(caps=caps)):
            report = await treasury.advance()
            assert (report.sent, report.waiting) == (0, 3)
            report = await treasury.advance()
            assert (report.sent, report.batches, report.waiting) == (2, 0, 1)
            assert await lane(treasury) == [(0, "withdrawal"), (1, "withdrawal")]
            await treasury.finalize()
            treasury.clock.advance(seconds=3_601)
            report = await treasury.advance()
            assert (report.sent, report.paid) == (1, 2)
            await treasury.finalize()
            await treasury.advance()
        assert set(await states(treasury, wallet_id, withdrawals)) == {WithdrawalState.PAID}
        await treasury.assert_books_agree()

    async def test_member_blocked_before_the_batch_is_signed_goes_back_and_the_others_are_paid(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 3)
        async with signed_by(treasury, SignerPolicy(caps=CAPS, max_fee_per_gas=1)):
            await treasury.advance()
        async with treasury.database.session() as session:
            await block_receiver(
                session, treasury.clock, address=receiver(0), reason="sanctioned", blocked_by="may"
            )
        assert (await treasury.advance()).sent == 0
        report = await treasury.advance()
        assert (report.sent, report.batches, report.returned) == (2, 0, 1)
        await treasury.finalize()
        await treasury.advance()
        assert await states(treasury, wallet_id, withdrawals) == [
            WithdrawalState.RETURNED,
            WithdrawalState.PAID,
            WithdrawalState.PAID,
        ]
        assert treasury.contracts.balance(receiver(0)) == 0
        await treasury.assert_books_agree()

    async def test_member_of_a_batch_is_not_revoked_and_a_revoked_order_joins_none(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 3)
        async with signed_by(treasury, SignerPolicy(caps=CAPS, max_fee_per_gas=1)):
            await treasury.advance()
        async with treasury.database.session() as session:
            batch_id = await session.scalar(select(ChainBatchMember.batch_id).distinct())
            assert batch_id is not None
            assert not await revoke_order(session, treasury.clock, withdrawals[0].id)
            assert await revoke_order(session, treasury.clock, batch_id)
            assert await revoke_order(session, treasury.clock, withdrawals[0].id)
            ids = [one.id for one in withdrawals]
            for members in (ids, ids[1:]):
                again = await write_batch(
                    session,
                    treasury.clock,
                    kind=OrderKind.PAYOUT_BATCH,
                    vault=treasury.custody.vault,
                    members=members,
                )
                assert again is None


class TestChainTroubles:
    async def test_stuck_batch_is_replaced_with_the_same_nonce_and_paid_once(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        treasury.contracts.node.set_automine(on=False)
        withdrawals = await asked(treasury, wallet_id, 4)
        await treasury.advance()
        first = (await seen(treasury, wallet_id, withdrawals[3].id)).tx_hash
        treasury.clock.advance(seconds=200)
        await treasury.advance()
        second = (await seen(treasury, wallet_id, withdrawals[3].id)).tx_hash
        assert None not in {first, second}
        assert first != second
        treasury.contracts.node.set_automine(on=True)
        await treasury.finalize()
        assert (await treasury.advance()).paid == 4
        async with treasury.database.session() as session:
            attempts = (await session.execute(select(ChainAttempt.nonce, ChainAttempt.order_id))).all()
        assert len(attempts) == 2
        assert len(set(attempts)) == 1
        assert [treasury.contracts.balance(receiver(n)) for n in range(4)] == [7 * WHOLE] * 4
        await treasury.assert_books_agree()

    async def test_batch_taken_away_by_a_reorg_pays_each_once_all_the_same(self, treasury: Treasury) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 3)
        await treasury.advance()
        await treasury.follow()
        treasury.contracts.node.reorg(1)
        await treasury.follow()
        assert treasury.contracts.balance(receiver(0)) == 0
        for _ in range(3):
            await treasury.advance()
            await treasury.finalize()
        await treasury.advance()
        assert set(await states(treasury, wallet_id, withdrawals)) == {WithdrawalState.PAID}
        assert [treasury.contracts.balance(receiver(n)) for n in range(3)] == [7 * WHOLE] * 3
        await treasury.assert_books_agree()


class TestCrashPoints:
    async def test_batch_that_a_restored_database_has_forgotten_is_taken_from_the_signers_log(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 3)
        await treasury.advance()
        before = await lane(treasury)
        async with treasury.database.session() as session:
            await session.execute(delete(ChainAttempt))
            await session.execute(delete(ChainLane))
            await session.execute(delete(ChainBatchMember))
            await session.execute(delete(ChainOrder).where(ChainOrder.kind == OrderKind.PAYOUT_BATCH))

        for _ in range(3):
            await treasury.advance()
            await treasury.finalize()

        assert await lane(treasury) == before == [(0, "payout_batch")]
        assert await states(treasury, wallet_id, withdrawals) == [WithdrawalState.PAID] * 3
        assert [treasury.contracts.balance(receiver(n)) for n in range(3)] == [7 * WHOLE] * 3
        await treasury.assert_books_agree()

    @pytest.mark.parametrize("where", ["take_place", "store_attempt"])
    async def test_a_death_in_the_middle_of_taking_in_leaves_all_of_it_to_be_taken_in_again(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 3)
        await treasury.advance()
        before = await lane(treasury)
        async with treasury.database.session() as session:
            await session.execute(delete(ChainAttempt))
            await session.execute(delete(ChainLane))
            await session.execute(delete(ChainBatchMember))
            await session.execute(delete(ChainOrder).where(ChainOrder.kind == OrderKind.PAYOUT_BATCH))

        async def dies(*_: object, **__: object) -> None:
            raise Died

        with monkeypatch.context() as patched:
            patched.setattr(f"chain.recall.{where}", dies)
            with pytest.raises(Died):
                await treasury.sender.send(withdrawals[0].id)
        assert await lane(treasury) == []
        async with treasury.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(ChainBatchMember)) == 0

        for _ in range(3):
            await treasury.advance()
            await treasury.finalize()
        assert await lane(treasury) == before
        assert await states(treasury, wallet_id, withdrawals) == [WithdrawalState.PAID] * 3
        assert [treasury.contracts.balance(receiver(n)) for n in range(3)] == [7 * WHOLE] * 3
        await treasury.assert_books_agree()

    async def test_batch_whose_members_a_restored_database_has_not_is_held_for_people(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await rich(treasury)
        withdrawals = await asked(treasury, wallet_id, 2)
        await treasury.advance()
        gone = withdrawals[0].id
        async with treasury.database.session() as session:
            await session.execute(delete(ChainAttempt))
            await session.execute(delete(ChainLane))
            await session.execute(delete(ChainBatchMember))
            for batch in await session.scalars(
                select(ChainOrder).where(ChainOrder.kind == OrderKind.PAYOUT_BATCH)
            ):
                await session.delete(batch)
            await session.execute(delete(TreasuryWithdrawal).where(TreasuryWithdrawal.id == gone))
            await session.execute(delete(ChainOrder).where(ChainOrder.id == gone))

        report = await treasury.advance()

        assert (report.returned, report.sent, report.waiting) == (0, 0, 1)
        assert "1 members of its batch" in report.troubles[0]

    async def test_batch_killed_after_any_effect_pays_each_once(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "900.000000")
        treasury.contracts.node.mine(1)
        for last in range(1, 60):
            withdrawals = await asked(treasury, wallet_id, 3, units=WHOLE + last)
            before = [treasury.contracts.balance(receiver(n)) for n in range(3)]
            fate, died = Fate(last), False
            rpc = MortalRPC(treasury.contracts.node.url, fate)
            mortal = mortal_treasury(treasury, fate, rpc)
            try:
                await mortal.advance()
                await treasury.finalize()
                await mortal.advance()
            except Died:
                died = True
            finally:
                await rpc.close()
            for _ in range(5):
                await treasury.advance()
                if set(await states(treasury, wallet_id, withdrawals)) <= ENDED:
                    break
                await treasury.finalize()
            assert set(await states(treasury, wallet_id, withdrawals)) == {WithdrawalState.PAID}, fate.what
            after = [treasury.contracts.balance(receiver(n)) for n in range(3)]
            gained = [new - old for new, old in zip(after, before, strict=True)]
            assert gained == [WHOLE + last] * 3, fate.what
            treasury.clock.advance(seconds=200)
            if not died:
                break
        else:
            raise AssertionError("it always died")
        # At least: three approvals, batch, nonce, signature, storing, sending, settling and closing.
        assert last > 12
        async with treasury.database.session() as session:
            departures = await session.scalar(select(func.count()).select_from(TreasuryDeparture))
        assert departures == 3 * last
        assert {kind for _, kind in await lane(treasury)} == {"payout_batch"}
        await treasury.assert_books_agree()
