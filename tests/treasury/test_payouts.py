"""Payouts: paid once and posted once, or everything back, whatever vault, chain and node do."""

import pytest
from sqlalchemy import delete, select, update

from chain.lanes import give_place
from chain.models import ChainAttempt, ChainLane, ChainOrder
from chain.signer_policy import CapsText, SignerPolicy
from foundation.assets import USDT
from foundation.errors import InvariantViolation
from ledger.chart import AccountCode
from tests.fixtures.contracts import CAPS, WHOLE
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.moves import administer, move_out_of, pause_first, seen, signed_by
from treasury.blocked_receivers import block_receiver
from treasury.payouts import UNPAYABLE_SECONDS_MAX
from treasury.reconciliation import ItemKind
from treasury.withdrawal_fees import WITHDRAWAL_FEES
from treasury.withdrawals import WithdrawalState

ENDED = {WithdrawalState.PAID, WithdrawalState.RETURNED}


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
        caps = {"USDT": CapsText(str(100 * WHOLE), str(150 * WHOLE), per_day=str(600 * WHOLE))}
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
        await move_out_of(treasury, vault, held)
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
        await move_out_of(
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
        await pause_first(treasury)
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

    async def test_withdrawal_without_a_fee_is_paid_and_returned_like_any(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(WITHDRAWAL_FEES, USDT, 0)
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "2000.000000")
        paid = await treasury.request(wallet_id, "100.000000")
        returned = await treasury.request(wallet_id, "1500.000000")
        await treasury.advance()
        await treasury.finalize()
        await treasury.advance()
        assert (await seen(treasury, wallet_id, paid.id)).state is WithdrawalState.PAID
        assert (await seen(treasury, wallet_id, returned.id)).state is WithdrawalState.RETURNED
        assert await treasury.balance(wallet_id) == "1900.000000"
        await treasury.assert_books_agree()

    async def test_fee_of_gas_above_the_signers_cap_is_waited_for(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await treasury.request(wallet_id, "100.000000")
        async with signed_by(treasury, SignerPolicy(caps=CAPS, max_fee_per_gas=1)):
            report = await treasury.advance()
            assert (report.sent, report.returned, report.waiting) == (0, 0, 1)
        assert (await treasury.advance()).sent == 1

    async def test_order_with_a_nonce_is_left_to_the_chain_when_it_is_too_late_to_revoke(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.000000")
        # A process died between giving the nonce and storing the signature, and the
        # vault would refuse the payment ever since.
        async with treasury.database.session() as session:
            await give_place(session, await treasury.sender.address(), withdrawal.id, first_nonce=0)
        await administer(treasury, treasury.contracts.token(), "freeze(address)", OUTSIDE)
        treasury.clock.advance(seconds=UNPAYABLE_SECONDS_MAX)
        report = await treasury.advance()
        assert (report.returned, report.waiting) == (0, 1)
        assert await treasury.balance(wallet_id) == "149.000000"
        await administer(treasury, treasury.contracts.token(), "unfreeze(address)", OUTSIDE)
        await treasury.advance()
        assert (await seen(treasury, wallet_id, withdrawal.id)).state is WithdrawalState.SENT

    @pytest.mark.parametrize("why", ["blocked", "waited"])
    async def test_payment_that_a_restored_database_has_forgotten_is_taken_from_the_signers_log(
        self, treasury: Treasury, why: str
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.000000")
        await treasury.advance()
        before = await seen(treasury, wallet_id, withdrawal.id)
        async with treasury.database.session() as session:
            # As it was before the withdrawal had a nonce.
            await session.execute(delete(ChainAttempt))
            await session.execute(delete(ChainLane))
            if why == "blocked":
                await block_receiver(session, treasury.clock, address=OUTSIDE, reason="", blocked_by="may")
        if why == "waited":
            # The vault refuses it, since it is paid.
            treasury.contracts.node.mine(1)
            treasury.clock.advance(seconds=UNPAYABLE_SECONDS_MAX)
        assert (await treasury.advance()).returned == 0
        await treasury.finalize()
        assert (await treasury.advance()).paid == 1
        after = await seen(treasury, wallet_id, withdrawal.id)
        assert (after.state, after.tx_hash) == (WithdrawalState.PAID, before.tx_hash)
        assert treasury.contracts.balance(OUTSIDE) == 100_000_000
        assert await treasury.balance(wallet_id) == "149.000000"
        await treasury.assert_books_agree()

    async def test_a_lane_goes_on_behind_what_a_restored_database_has_forgotten(
        self, treasury: Treasury
    ) -> None:
        node = treasury.contracts.node
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        node.set_automine(on=False)
        asked = [await treasury.request(wallet_id, text) for text in ("50.000000", "40.000000", "20.000000")]
        async with treasury.database.session() as session:
            await session.execute(update(ChainOrder).values(approved_at=treasury.clock.now()))
        for one in asked[:2]:
            await treasury.sender.send(one.id)
        async with treasury.database.session() as session:
            await session.execute(delete(ChainAttempt))
            await session.execute(delete(ChainLane))
        # The third one comes first, and must not take a nonce that the log has for another.
        await treasury.sender.send(asked[2].id)
        node.set_automine(on=True)
        for _ in range(3):
            await treasury.advance()
            await treasury.finalize()
        async with treasury.database.session() as session:
            rows = await session.execute(select(ChainLane.nonce, ChainLane.order_id))
            lane = {row.nonce: row.order_id for row in rows}
        assert lane == {nonce: one.id for nonce, one in enumerate(asked)}
        states = [(await seen(treasury, wallet_id, one.id)).state for one in asked]
        assert states == [WithdrawalState.PAID] * 3
        assert treasury.contracts.balance(OUTSIDE) == 110_000_000
        await treasury.assert_books_agree()

    async def test_a_nonce_given_anew_to_what_is_signed_with_another_is_given_up(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.000000")
        await treasury.advance()
        address = await treasury.sender.address()
        async with treasury.database.session() as session:
            await session.execute(delete(ChainAttempt))
            await session.execute(delete(ChainLane))
            await give_place(session, address, withdrawal.id, first_nonce=7)
        other = await treasury.request(wallet_id, "20.000000")
        for _ in range(3):
            await treasury.advance()
            await treasury.finalize()
        for one in (withdrawal, other):
            assert (await seen(treasury, wallet_id, one.id)).state is WithdrawalState.PAID
        await treasury.assert_books_agree()


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
