"""Payouts: exactly one payment on chain and one posting, or everything back, wherever it dies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from chain.administration import AdministrativeCall, execute, next_nonce
from chain.calldata import calldata
from chain.models import ChainAttempt, ChainOrder
from chain.sender import Sender
from chain.signer_client import SignerClient
from chain.signer_policy import CapsText, SignerPolicy
from foundation.assets import USDT
from foundation.errors import InvariantViolation
from foundation.ids import uuid7
from ledger.chart import AccountCode
from tests.fixtures.contracts import WHOLE, running_signer
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.mortality import Died, Fate, MortalDatabase, MortalLedger, MortalRPC, MortalSigner
from treasury.breaker import breaker_trip, release_breaker, trip_breaker
from treasury.models import TreasuryDeparture, TreasuryWithdrawal
from treasury.payouts import UNPAYABLE_SECONDS_MAX
from treasury.reconciliation import ItemKind
from treasury.withdrawals import Withdrawal, WithdrawalState, withdrawal_by_id

ENDED = {WithdrawalState.PAID, WithdrawalState.RETURNED}


async def seen(treasury: Treasury, wallet_id: UUID, withdrawal_id: UUID) -> Withdrawal:
    return await withdrawal_by_id(
        treasury.database, treasury.ledger, withdrawal_id=withdrawal_id, wallet_id=wallet_id
    )


async def administer(treasury: Treasury, contract: str, signature: str, *arguments: Any) -> None:
    """A call by the administrator of our contracts."""
    key = treasury.contracts.administrator
    call = AdministrativeCall(contract, calldata(signature, *arguments), 500_000)
    nonce = await next_nonce(treasury.rpc, key.address)
    chain_id = treasury.custody.chain_id
    await execute(treasury.rpc, key, [call], chain_id=chain_id, first_nonce=nonce)


async def tripped(treasury: Treasury) -> str | None:
    async with treasury.database.session() as session:
        trip = await breaker_trip(session, treasury.custody.chain_id)
    return None if trip is None else trip.reason


@asynccontextmanager
async def signed_by(treasury: Treasury, policy: SignerPolicy) -> AsyncIterator[None]:
    """The treasury with a signer of another policy, in place of the one it had."""
    home = treasury.contracts.home
    before = treasury.sender
    treasury.contracts.home = home / "other"
    treasury.contracts.home.mkdir()
    async with running_signer(treasury.contracts, treasury.database, treasury.clock, policy=policy) as signer:
        treasury.sender = sender_of(treasury, signer)
        yield
    treasury.sender = before
    treasury.contracts.home = home


def sender_of(treasury: Treasury, signer: SignerClient) -> Sender:
    return Sender(
        database=treasury.database,
        rpc=treasury.rpc,
        signer=signer,
        clock=treasury.clock,
        deployment=treasury.contracts.deployment,
    )


class TestMoneyStory:
    async def test_withdrawal_is_sent_then_paid_at_finality(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        custody = await treasury.held(AccountCode.CUSTODY)
        withdrawal = await treasury.request(wallet_id, "100.500000")

        report = await treasury.advance()
        assert (report.approved, report.sent, report.troubles) == (1, 1, [])
        sent = await seen(treasury, wallet_id, withdrawal.id)
        assert sent.state is WithdrawalState.SENT
        assert sent.tx_hash is not None

        await treasury.follow()
        report = await treasury.advance()
        assert (report.sent, report.paid, report.waiting) == (0, 0, 1)

        await treasury.finalize()
        report = await treasury.advance()
        assert (report.paid, report.waiting) == (1, 0)
        paid = await seen(treasury, wallet_id, withdrawal.id)
        assert (paid.state, paid.tx_hash) == (WithdrawalState.PAID, sent.tx_hash)
        assert treasury.contracts.balance(OUTSIDE) == 100_500_000
        assert await treasury.balance(wallet_id) == "148.500000"
        assert await treasury.held(AccountCode.FEES) == "1.000000"
        assert (custody, await treasury.held(AccountCode.CUSTODY)) == ("1000250.000000", "1000149.500000")
        assert (await treasury.system(AccountCode.WITHDRAWAL_IN_FLIGHT)).credits_pending == 0
        assert await treasury.advance() == await treasury.advance()
        await treasury.assert_books_agree()

    async def test_books_agree_while_a_withdrawal_is_paid_and_not_posted(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.000000")
        await treasury.advance()
        await treasury.finalize()
        usdt = next(result for result in await treasury.reconcile() if result.asset == USDT)
        assert usdt.agrees
        assert [(item.kind, item.id, item.units) for item in usdt.items] == [
            (ItemKind.WITHDRAWAL_UNPOSTED, withdrawal.id, -100_000_000)
        ]
        await treasury.advance()
        await treasury.assert_books_agree()

    async def test_withdrawals_of_many_are_all_paid(self, treasury: Treasury) -> None:
        wallets = [await treasury.wallet() for _ in range(4)]
        for wallet_id in wallets:
            await treasury.fund(wallet_id, "50.000000")
        asked = [(wallet_id, (await treasury.request(wallet_id, "7.000000")).id) for wallet_id in wallets * 2]
        await treasury.advance()
        await treasury.finalize()
        report = await treasury.advance()
        assert report.paid == 8
        assert all([(await seen(treasury, *one)).state is WithdrawalState.PAID for one in asked])
        assert treasury.contracts.balance(OUTSIDE) == 56_000_000
        await treasury.assert_books_agree()


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


def mortal_treasury(treasury: Treasury, fate: Fate, rpc: MortalRPC) -> Treasury:
    """The same treasury in a process that ends after the fate's last effect."""
    database = MortalDatabase(treasury.database, fate)
    signer = MortalSigner(SignerClient(treasury.contracts.home / "signer.sock"), fate)
    ledger: Any = MortalLedger(treasury.ledger, fate)
    return Treasury(
        database=database,
        ledger=ledger,
        rpc=rpc,
        clock=treasury.clock,
        contracts=treasury.contracts,
        custody=treasury.custody,
        sender=Sender(
            database=database,
            rpc=rpc,
            signer=signer,
            clock=treasury.clock,
            deployment=treasury.contracts.deployment,
        ),
    )


class TestWhatCannotBePaid:
    async def test_more_than_the_signers_cap_is_given_back(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "2000.000000")
        withdrawal = await treasury.request(wallet_id, "1001.000000")
        report = await treasury.advance()
        assert (report.sent, report.returned, report.waiting) == (0, 1, 0)
        returned = await seen(treasury, wallet_id, withdrawal.id)
        assert (returned.state, returned.tx_hash) == (WithdrawalState.RETURNED, None)
        assert await treasury.balance(wallet_id) == "2000.000000"
        # Its nonce was taken back: the next one is paid.
        await treasury.request(wallet_id, "10.000000")
        await treasury.advance()
        await treasury.finalize()
        assert (await treasury.advance()).paid == 1
        await treasury.assert_books_agree()

    async def test_more_than_the_signers_cap_for_an_hour_waits(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "3000.000000")
        caps = {"USDT": CapsText(per_transaction=str(100 * WHOLE), per_hour=str(150 * WHOLE))}
        async with signed_by(treasury, SignerPolicy(caps=caps)):
            for _ in range(2):
                await treasury.request(wallet_id, "100.000000")
            report = await treasury.advance()
            assert (report.sent, report.returned, report.waiting) == (1, 0, 1)
            treasury.clock.advance(seconds=3_601)
            await treasury.finalize()
            report = await treasury.advance()
            assert (report.sent, report.paid) == (1, 1)
            await treasury.finalize()
            assert (await treasury.advance()).paid == 1
        await treasury.assert_books_agree()

    async def test_vault_that_holds_too_little_pays_once_it_is_swept_into(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        # Somebody who may has emptied the vault but for a little.
        vault = treasury.custody.vault
        node = treasury.contracts.node
        held = treasury.contracts.balance(vault) - 10 * WHOLE
        await _move_out_of(treasury, vault, held)
        withdrawal = await treasury.request(wallet_id, "100.000000")
        report = await treasury.advance()
        assert (report.sent, report.waiting) == (0, 1)
        assert report.troubles == ["the vault holds too little"]
        await treasury.sweep()
        node.mine(1)
        assert (await treasury.advance()).sent == 1
        await treasury.finalize()
        assert (await treasury.advance()).paid == 1
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.PAID

    async def test_two_that_the_vault_could_pay_only_singly_go_one_after_the_other(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "900.000000")
        await _move_out_of(
            treasury, treasury.custody.vault, treasury.contracts.balance(treasury.custody.vault)
        )
        await treasury.contracts.mint(treasury.custody.vault, 150 * WHOLE)
        for _ in range(2):
            await treasury.request(wallet_id, "100.000000")
        report = await treasury.advance()
        assert (report.sent, report.waiting) == (1, 1)

    async def test_frozen_receiver_is_waited_for_and_given_back_after_a_day(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.000000")
        await administer(treasury, treasury.contracts.token(), "freeze(address)", OUTSIDE)
        for _ in range(2):
            report = await treasury.advance()
            assert (report.sent, report.waiting) == (0, 1)
        treasury.clock.advance(seconds=UNPAYABLE_SECONDS_MAX)
        report = await treasury.advance()
        assert (report.sent, report.returned) == (0, 1)
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.RETURNED
        assert await treasury.balance(wallet_id) == "250.000000"
        await treasury.assert_books_agree()

    async def test_payment_that_reverts_finally_is_given_back(self, treasury: Treasury) -> None:
        node = treasury.contracts.node
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.000000")
        node.set_automine(on=False)
        assert (await treasury.advance()).sent == 1
        # The vault is paused in the block before the payment's: it can only revert.
        await _pause_first(treasury)
        node.set_automine(on=True)
        await treasury.follow()
        assert (await treasury.advance()).returned == 0
        await treasury.finalize()
        assert (await treasury.advance()).returned == 1
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.RETURNED
        assert await treasury.balance(wallet_id) == "250.000000"
        assert treasury.contracts.balance(OUTSIDE) == 0
        await administer(treasury, treasury.custody.vault, "unpause()")
        await treasury.assert_books_agree()

    async def test_rate_limit_used_up_is_waited_for(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        token = treasury.contracts.token()
        limit = "setRateLimit(address,uint208,uint48)"
        await administer(treasury, treasury.custody.vault, limit, token, 50 * WHOLE, 3_600)
        await treasury.request(wallet_id, "100.000000")
        assert (await treasury.advance()).troubles == ["the vault's rate limit is used up"]
        await administer(treasury, treasury.custody.vault, limit, token, 500 * WHOLE, 1)
        treasury.contracts.node.call("evm_increaseTime", 60)
        treasury.contracts.node.mine(1)
        assert (await treasury.advance()).sent == 1


async def _move_out_of(treasury: Treasury, vault: str, units: int) -> None:
    """Take tokens of an address away, which on this chain the node can do."""
    node = treasury.contracts.node
    node.call("anvil_impersonateAccount", vault)
    node.set_balance(vault, 10**18)
    data = "0x" + calldata("transfer(address,uint256)", "0x" + "99" * 20, units).hex()
    tx = {"from": vault, "to": treasury.contracts.token(), "data": data, "gas": hex(200_000)}
    treasury.contracts.receipt(node.call("eth_sendTransaction", tx))
    node.call("anvil_stopImpersonatingAccount", vault)


async def _pause_first(treasury: Treasury) -> None:
    """Pause the vault in a block that leaves the waiting payment out, then mine that."""
    node = treasury.contracts.node
    guardian = treasury.contracts.administrator.address
    node.call("anvil_impersonateAccount", guardian)
    tx = {
        "from": guardian,
        "to": treasury.custody.vault,
        "data": "0x" + calldata("pause()").hex(),
        "gas": hex(100_000),
        "maxFeePerGas": hex(10**12),
        "maxPriorityFeePerGas": hex(10**11),
    }
    # A tip far above the payment's stands first in the same block.
    node.call("eth_sendTransaction", tx)
    node.mine(1)


class TestTheBreaker:
    async def test_stops_what_is_not_signed_and_lets_go_on_what_is(self, treasury: Treasury) -> None:
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
        async with treasury.database.session() as session:
            await release_breaker(
                session, treasury.clock, treasury.custody.chain_id, released_by="two officers"
            )
        assert (await treasury.advance()).sent == 1

    async def test_tokens_that_leave_without_an_order_trip_it(self, treasury: Treasury) -> None:
        await treasury.finalize()
        assert await tripped(treasury) is None
        await _move_out_of(treasury, treasury.custody.vault, 5)
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


class TestChainTroubles:
    async def test_dropped_payment_is_sent_again_with_the_same_bytes(self, treasury: Treasury) -> None:
        node = treasury.contracts.node
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        node.set_automine(on=False)
        withdrawal = await treasury.request(wallet_id, "100.000000")
        await treasury.advance()
        tx_hash = (await seen(treasury, wallet_id, withdrawal.id)).tx_hash
        assert tx_hash is not None
        node.drop(tx_hash)
        await treasury.advance()
        node.set_automine(on=True)
        await treasury.finalize()
        assert (await treasury.advance()).paid == 1
        assert (await seen(treasury, wallet_id, withdrawal.id)).tx_hash == tx_hash
        await treasury.assert_books_agree()

    async def test_payment_taken_away_by_a_reorg_is_paid_once_all_the_same(self, treasury: Treasury) -> None:
        node = treasury.contracts.node
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.000000")
        await treasury.advance()
        await treasury.follow()
        node.reorg(1)
        await treasury.follow()
        assert treasury.contracts.balance(OUTSIDE) == 0
        for _ in range(3):
            await treasury.advance()
            await treasury.finalize()
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.PAID
        assert treasury.contracts.balance(OUTSIDE) == 100_000_000
        await treasury.assert_books_agree()

    async def test_stuck_payment_is_replaced_and_paid_once(self, treasury: Treasury) -> None:
        node = treasury.contracts.node
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        node.set_automine(on=False)
        withdrawal = await treasury.request(wallet_id, "100.000000")
        await treasury.advance()
        first = (await seen(treasury, wallet_id, withdrawal.id)).tx_hash
        treasury.clock.advance(seconds=200)
        await treasury.advance()
        second = (await seen(treasury, wallet_id, withdrawal.id)).tx_hash
        assert first != second
        node.set_automine(on=True)
        await treasury.finalize()
        assert (await treasury.advance()).paid == 1
        assert treasury.contracts.balance(OUTSIDE) == 100_000_000
        await treasury.assert_books_agree()

    async def test_node_that_is_down_holds_everything_up_and_loses_nothing(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await treasury.request(wallet_id, "100.000000")
        treasury.contracts.node.process.kill()
        treasury.contracts.node.process.wait()
        report = await treasury.advance()
        assert (report.sent, report.waiting) == (0, 1)
        assert report.troubles
        assert await treasury.balance(wallet_id) == "149.000000"

    async def test_payment_without_stored_bytes_is_never_given_back(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.000000")
        await treasury.advance()
        # A database restored from before the attempt was stored, and a stranger's tx
        # with the order's nonce: the vault remembers what was paid.
        async with treasury.database.session() as session:
            await session.execute(
                update(ChainAttempt)
                .where(ChainAttempt.order_id == withdrawal.id)
                .values(tx_hash="0x" + "ab" * 32)
            )
        await treasury.finalize()
        with pytest.raises(InvariantViolation):
            await treasury.advance()
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.SENT
        assert await treasury.balance(wallet_id) == "149.000000"
