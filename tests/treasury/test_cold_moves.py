"""Moves to the cold: made once an id, to the vault's own cold address and to no other, wherever it dies."""

import pytest
from sqlalchemy import update

from chain.models import ChainOrder
from chain.order_status import OrderState
from chain.signer_policy import CapsText, SignerPolicy
from foundation.assets import DMMK, THB, USDT, Asset
from foundation.errors import Refusal
from foundation.ids import uuid7
from tests.fixtures.contracts import WHOLE
from tests.treasury.cold import arrived, ask, books, carry, name_cold, places, with_cold
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import administer, mortal_treasury, signed_by, tripped
from treasury.breaker import trip_breaker
from treasury.cold_models import TreasuryColdMove
from treasury.cold_moves import (
    ANOTHER_ADDRESS,
    GIVEN_UP,
    UNSENDABLE_SECONDS_MAX,
    approve_cold_move,
    give_up_cold_move,
)
from treasury.custody_balances import UnitsByPlace
from treasury.errors import TreasuryCode
from treasury.withdrawals import WithdrawalState

MILLION = 1_000_000 * WHOLE


async def outcome(treasury: Treasury, move: TreasuryColdMove) -> str | None:
    async with treasury.database.session() as session:
        return (await session.get_one(TreasuryColdMove, move.id)).outcome


class TestStory:
    async def test_move_is_signed_sent_and_closed_when_it_is_final(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        move = await ask(treasury, "5000.000000")
        report = await carry(treasury)
        assert (report.sent, report.closed) == (1, 0)
        assert await outcome(treasury, move) is None
        assert await places(treasury) == UnitsByPlace(MILLION - 5_000 * WHOLE, 0, 5_000 * WHOLE)
        assert (await carry(treasury)).closed == 1
        assert await outcome(treasury, move) == OrderState.SUCCEEDED
        assert arrived(treasury) == 5_000 * WHOLE
        assert await tripped(treasury) is None

    async def test_same_id_again_is_the_same_move_and_another_amount_is_refused(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        move_id = uuid7(treasury.clock)
        for _ in range(3):
            await ask(treasury, "5.000000", move_id=move_id)
            await carry(treasury)
            await treasury.finalize()
        assert arrived(treasury) == 5 * WHOLE
        for text, asset in (("6.000000", USDT), ("5.00", DMMK)):
            with pytest.raises(Refusal) as refused:
                await ask(treasury, text, asset, move_id=move_id)
            assert refused.value.code is TreasuryCode.COLD_MOVE_EXISTS_DIFFERENTLY

    async def test_move_of_a_withdrawals_id_is_refused(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "5.000000")
        with pytest.raises(Refusal) as refused:
            await ask(treasury, "5.000000", move_id=withdrawal.id)
        assert refused.value.code is TreasuryCode.COLD_MOVE_EXISTS_DIFFERENTLY

    async def test_nothing_is_moved_where_nobody_recorded_an_address(self, treasury: Treasury) -> None:
        for prepare in (treasury.finalize, lambda: name_cold(treasury)):
            await prepare()
            with pytest.raises(Refusal) as refused:
                await ask(treasury, "5.000000")
            assert refused.value.code is TreasuryCode.COLD_ADDRESS_NOT_RECORDED

    @pytest.mark.parametrize(
        ("text", "asset", "code"),
        [
            ("0.000000", USDT, TreasuryCode.COLD_MOVE_AMOUNT_NOT_POSITIVE),
            ("5.00", THB, TreasuryCode.ASSET_NOT_ON_CHAIN),
        ],
    )
    async def test_move_of_nothing_or_of_what_is_not_here_is_refused(
        self, treasury: Treasury, text: str, asset: Asset, code: TreasuryCode
    ) -> None:
        with pytest.raises(Refusal) as refused:
            await ask(treasury, text, asset)
        assert refused.value.code is code


class TestStandstill:
    async def test_address_that_changes_after_it_was_asked_for_gets_nothing(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        move = await ask(treasury, "5.000000")
        thief = "0x" + "99" * 20
        await name_cold(treasury, thief)
        assert (await carry(treasury)).troubles == ["the vault's cold address is another one"]
        assert await outcome(treasury, move) == ANOTHER_ADDRESS
        await name_cold(treasury)
        await carry(treasury)
        assert (treasury.contracts.balance(thief), arrived(treasury)) == (0, 0)

    async def test_what_is_promised_to_customers_is_left_where_it_is(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        caps = {"USDT": CapsText(str(MILLION), str(9 * MILLION))}
        async with signed_by(treasury, SignerPolicy(caps=caps)):
            treasury.contracts.node.set_automine(on=False)
            withdrawal = await treasury.request(wallet_id, "100.000000")
            await treasury.advance()
            await ask(treasury, "999950.000000")
            assert (await carry(treasury)).troubles == ["the vault holds too little"]
            treasury.contracts.node.set_automine(on=True)
            for _ in range(2):
                await treasury.finalize()
                await treasury.advance()
            assert treasury.contracts.balance(OUTSIDE) == 100 * WHOLE
            assert withdrawal.state is WithdrawalState.HELD
            assert (await carry(treasury)).troubles == ["the vault holds too little"]

    async def test_move_that_waits_for_a_day_is_given_up_and_never_signed(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        move = await ask(treasury, "5.000000")
        await administer(treasury, treasury.contracts.token(), "pause()")
        report = await carry(treasury)
        assert (report.open, report.closed) == (1, 0)
        assert report.troubles[0].startswith("the vault refuses")
        treasury.clock.advance(seconds=UNSENDABLE_SECONDS_MAX)
        assert (await carry(treasury)).closed == 1
        assert await outcome(treasury, move) == GIVEN_UP
        await administer(treasury, treasury.contracts.token(), "unpause()")
        assert (await carry(treasury)).open == 0
        assert arrived(treasury) == 0

    async def test_day_begins_when_a_proposal_is_approved(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        move = await ask(treasury, "5000.000000", is_proposal=True)
        treasury.clock.advance(UNSENDABLE_SECONDS_MAX)
        async with treasury.database.session() as session:
            await approve_cold_move(session, treasury.clock, move_id=move.id, approved_by="aye")
        await administer(treasury, treasury.contracts.token(), "pause()")
        report = await carry(treasury)
        assert (report.open, report.closed) == (1, 0)
        await administer(treasury, treasury.contracts.token(), "unpause()")
        await carry(treasury)
        assert arrived(treasury) == 5_000 * WHOLE

    async def test_node_that_does_not_know_the_vault_ends_no_move(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        move = await ask(treasury, "5000.000000")
        node, vault = treasury.contracts.node, treasury.custody.vault
        code = node.call("eth_getCode", vault, "latest")
        node.call("anvil_setCode", vault, "0x")
        assert (await carry(treasury)).troubles == ["chain_unavailable: eth_call: the vault does not answer"]
        assert await outcome(treasury, move) is None
        node.call("anvil_setCode", vault, code)
        await carry(treasury)
        assert arrived(treasury) == 5_000 * WHOLE

    async def test_people_move_also_while_withdrawals_are_stopped_and_the_worker_does_not(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        async with treasury.database.session() as session:
            await trip_breaker(session, treasury.clock, treasury.custody.chain_id, reason="a drill")
        await ask(treasury, "7.000000", is_automatic=True)
        assert (await carry(treasury)).troubles == ["withdrawals are stopped"]
        await ask(treasury, "5.000000")
        await carry(treasury)
        assert arrived(treasury) == 5 * WHOLE

    async def test_vault_that_is_paused_still_moves_to_the_cold(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        await administer(treasury, treasury.custody.vault, "pause()")
        await ask(treasury, "5.000000")
        assert (await carry(treasury)).sent == 1
        assert arrived(treasury) == 5 * WHOLE


class TestProposals:
    async def test_proposal_is_not_carried_out_before_somebody_approves_it(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        move = await ask(treasury, "5.000000", is_proposal=True)
        await carry(treasury)
        assert arrived(treasury) == 0
        for _ in range(2):
            async with treasury.database.session() as session:
                await approve_cold_move(session, treasury.clock, move_id=move.id, approved_by="ko")
            await carry(treasury)
        assert arrived(treasury) == 5 * WHOLE

    async def test_given_up_it_cannot_be_approved_and_under_way_it_cannot_be_given_up(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        given_up = await ask(treasury, "5.000000", is_proposal=True)
        under_way = await ask(treasury, "6.000000")
        await carry(treasury)
        async with treasury.database.session() as session:
            await give_up_cold_move(session, treasury.clock, move_id=given_up.id)
        with pytest.raises(Refusal) as refused:
            async with treasury.database.session() as session:
                await approve_cold_move(session, treasury.clock, move_id=given_up.id, approved_by="ko")
        assert refused.value.code is TreasuryCode.COLD_MOVE_NOT_AWAITED
        with pytest.raises(Refusal) as refused:
            async with treasury.database.session() as session:
                await give_up_cold_move(session, treasury.clock, move_id=under_way.id)
        assert refused.value.code is TreasuryCode.COLD_MOVE_NOT_AWAITED
        with pytest.raises(Refusal) as refused:
            async with treasury.database.session() as session:
                await give_up_cold_move(session, treasury.clock, move_id=uuid7(treasury.clock))
        assert refused.value.code is TreasuryCode.COLD_MOVE_NOT_FOUND


class TestSigner:
    async def test_cap_of_a_day_holds_and_leaves_the_withdrawals_caps_alone(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        policy = SignerPolicy(
            caps={"USDT": CapsText(str(200 * WHOLE), str(200 * WHOLE), cold_per_day=str(500 * WHOLE))}
        )
        async with signed_by(treasury, policy):
            await ask(treasury, "400.000000")
            await ask(treasury, "101.000000")
            report = await carry(treasury)
            assert report.sent == 1
            assert ["cap_per_day" in trouble for trouble in report.troubles] == [True]
            await treasury.request(wallet_id, "150.000000")
            assert (await treasury.advance()).sent == 1
            treasury.clock.advance(seconds=86_401)
            # The one that waited is sent now, for nothing of the day's cap is used any more.
            assert (await carry(treasury)).sent == 2
        assert arrived(treasury) == 501 * WHOLE

    async def test_move_above_the_whole_cap_is_closed_at_once(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        move = await ask(treasury, "10000.000001")
        assert (await carry(treasury)).closed == 1
        assert await outcome(treasury, move) == "cap_per_day_exceeded"

    async def test_order_that_names_a_thief_moves_to_the_vaults_own_cold_address(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        thief = "0x" + "99" * 20
        move = await ask(treasury, "5.000000")
        async with treasury.database.session() as session:
            await session.execute(update(ChainOrder).where(ChainOrder.id == move.id).values(to_address=thief))
        await carry(treasury)
        assert treasury.contracts.balance(thief) == 0
        assert arrived(treasury) == 5 * WHOLE

    @pytest.mark.parametrize("where", ["vault", "implementation", "token", "zero"])
    async def test_order_that_names_what_cannot_be_cold_is_not_signed(
        self, treasury: Treasury, where: str
    ) -> None:
        await with_cold(treasury)
        deployment = treasury.contracts.deployment
        named = {
            "vault": deployment.vault,
            "implementation": deployment.implementation,
            "token": treasury.contracts.token(),
            "zero": "0x" + "00" * 20,
        }[where]
        move = await ask(treasury, "5.000000")
        async with treasury.database.session() as session:
            await session.execute(update(ChainOrder).where(ChainOrder.id == move.id).values(to_address=named))
        assert (await carry(treasury)).closed == 1
        assert await outcome(treasury, move) == "order_unexplained"
        assert arrived(treasury) == 0


async def test_process_that_dies_after_any_effect_moves_once(treasury: Treasury) -> None:
    await with_cold(treasury)
    last, moved = 0, 0
    while True:
        last += 1
        move_id, fate = uuid7(treasury.clock), Fate(last)
        rpc = MortalRPC(treasury.contracts.node.url, fate)
        mortal = mortal_treasury(treasury, fate, rpc)
        try:
            await ask(mortal, "3.000000", move_id=move_id)
            await carry(mortal)
            await treasury.finalize()
            await carry(mortal)
            died = False
        except Died:
            died = True
        finally:
            await rpc.close()
        move = await ask(treasury, "3.000000", move_id=move_id)
        for _ in range(3):
            await carry(treasury)
            await treasury.advance()
            await treasury.finalize()
        moved += 1
        assert await outcome(treasury, move) == OrderState.SUCCEEDED, (last, fate.what)
        assert arrived(treasury) == moved * 3 * WHOLE, (last, fate.what)
        if not died:
            break
    # At least: asking, the nonce, the signature, its bytes stored, sent, noted as sent, closed.
    assert last > 7
    assert (await books(treasury)).agrees
