"""Payouts: exactly one payment on chain and one posting, or everything back, wherever it dies."""

from uuid import UUID

from sqlalchemy import func, select

from foundation.ids import uuid7
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import mortal_treasury, seen
from treasury.models import TreasuryDeparture, TreasuryWithdrawal
from treasury.withdrawals import WithdrawalState

ENDED = {WithdrawalState.PAID, WithdrawalState.RETURNED}


class TestCrashPoints:
    """A process that dies after its n-th effect, for every n there is."""

    async def test_request_and_payout_killed_after_any_effect_pay_once(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "900.000000")
        treasury.contracts.node.mine(1)
        last, lives = 0, 0
        while True:
            last += 1
            lives += await self._live(treasury, wallet_id, last)
            treasury.clock.advance(seconds=200)
            if lives < last:
                break
        # At least: intent, hold, approval, nonce, signature, storing, sending, settling, closing.
        assert last > 12
        await treasury.assert_books_agree()

    async def _live(self, treasury: Treasury, wallet_id: UUID, last: int) -> int:
        """One withdrawal by a process that dies after effect ``last``; 1 if it died, 0 if it never did."""
        withdrawal_id, before = uuid7(treasury.clock), await treasury.minor(wallet_id)
        paid_before = treasury.contracts.balance(OUTSIDE)
        died = 0
        fate = Fate(last)
        rpc = MortalRPC(treasury.contracts.node.url, fate)
        mortal = mortal_treasury(treasury, fate, rpc)
        try:
            await mortal.request(wallet_id, "2.500000", withdrawal_id=withdrawal_id)
            await mortal.advance()
            await treasury.finalize()
            await mortal.advance()
        except Died:
            died = 1
        finally:
            await rpc.close()
        # The client repeats its request, and a new worker goes on.
        await treasury.request(wallet_id, "2.500000", withdrawal_id=withdrawal_id)
        for _ in range(4):
            await treasury.advance()
            withdrawal = await seen(treasury, wallet_id, withdrawal_id)
            if withdrawal.state in ENDED:
                break
            await treasury.finalize()
        assert withdrawal.state is WithdrawalState.PAID, (last, fate.what)
        assert treasury.contracts.balance(OUTSIDE) - paid_before == 2_500_000, (last, fate.what)
        assert before - await treasury.minor(wallet_id) == 3_500_000, (last, fate.what)
        async with treasury.database.session() as session:
            assert (
                await session.scalar(
                    select(func.count())
                    .select_from(TreasuryDeparture)
                    .where(TreasuryDeparture.order_id == withdrawal_id)
                )
                == 1
            )
            row = await session.get_one(TreasuryWithdrawal, withdrawal_id)
        assert row.closed_at is not None
        return died

    async def test_return_killed_after_any_effect_gives_back_once(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "2000.000000")
        for last in range(1, 40):
            # More than the signer's cap for one transaction: it will never sign.
            withdrawal_id = uuid7(treasury.clock)
            await treasury.request(wallet_id, "1500.000000", withdrawal_id=withdrawal_id)
            fate = Fate(last)
            rpc = MortalRPC(treasury.contracts.node.url, fate)
            mortal, died = mortal_treasury(treasury, fate, rpc), False
            try:
                await mortal.advance()
            except Died:
                died = True
            finally:
                await rpc.close()
            await treasury.advance()
            assert (await seen(treasury, wallet_id, withdrawal_id)).state is WithdrawalState.RETURNED
            assert await treasury.balance(wallet_id) == "2000.000000", (last, fate.what)
            if not died:
                break
        else:
            raise AssertionError("it always died")
        await treasury.assert_books_agree()
