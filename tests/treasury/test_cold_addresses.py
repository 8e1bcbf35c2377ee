"""The cold address: custody from the moment it is recorded, to the last unit, and no other address is."""

from unittest.mock import AsyncMock

import pytest

from foundation.errors import Refusal
from foundation.ids import uuid7
from ledger.chart import AccountCode
from tests.treasury.cold import COLD, books, name_cold, pay_out_of, places, record, with_cold
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.moves import administer, tripped
from treasury.custody_balances import UnitsByPlace
from treasury.errors import TreasuryCode
from treasury.reserves import read_reserves

MILLION = 1_000_000_000_000
"""Units of what the vault holds at first."""


async def move_by_guardian(treasury: Treasury, units: int) -> None:
    """What the guardian does in an emergency, of whom our books know nothing."""
    word = uuid7(treasury.clock).bytes + bytes(16)
    move = "moveToCold(address,uint256,bytes32)"
    await administer(treasury, treasury.custody.vault, move, treasury.contracts.token(), units, word)


class TestRecording:
    async def test_address_that_the_vault_does_not_name_is_refused(self, treasury: Treasury) -> None:
        with pytest.raises(Refusal) as refused:
            await record(treasury)
        assert refused.value.code is TreasuryCode.COLD_ADDRESS_NOT_THE_VAULTS
        await name_cold(treasury)
        with pytest.raises(Refusal) as refused:
            await record(treasury, OUTSIDE)
        assert refused.value.code is TreasuryCode.COLD_ADDRESS_NOT_THE_VAULTS

    async def test_recording_again_changes_nothing(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        assert await record(treasury) is False

    async def test_address_that_has_paid_before_is_refused(self, treasury: Treasury) -> None:
        await treasury.contracts.mint(COLD, 5)
        await pay_out_of(treasury, COLD, OUTSIDE, 5)
        await name_cold(treasury)
        with pytest.raises(Refusal) as refused:
            await record(treasury)
        assert refused.value.code is TreasuryCode.COLD_ADDRESS_NOT_FRESH

    async def test_address_that_a_customer_was_paid_to_or_may_be_is_refused(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await treasury.request(wallet_id, "100.000000", to_address=COLD)
        await name_cold(treasury)
        with pytest.raises(Refusal) as refused:
            await record(treasury)
        assert refused.value.code is TreasuryCode.COLD_ADDRESS_NOT_FRESH
        await treasury.advance()
        await treasury.finalize()
        await treasury.advance()
        with pytest.raises(Refusal) as refused:
            await record(treasury)
        assert refused.value.code is TreasuryCode.COLD_ADDRESS_NOT_FRESH
        assert (await books(treasury)).agrees

    async def test_withdrawal_written_while_it_was_recorded_is_given_back(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await name_cold(treasury)
        # Its request looked before the address was recorded, and was written afterwards.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("treasury.withdrawals.refuse_receiver", AsyncMock())
            await record(treasury)
            await treasury.request(wallet_id, "100.000000", to_address=COLD)
        assert (await treasury.advance()).returned == 1
        assert await treasury.balance(wallet_id) == "250.000000"

    async def test_what_came_before_it_was_recorded_is_in_suspense_and_the_books_agree(
        self, treasury: Treasury
    ) -> None:
        await treasury.contracts.mint(COLD, 7_000_000)
        await name_cold(treasury)
        before = await treasury.held(AccountCode.SUSPENSE)
        await record(treasury)
        assert await places(treasury) == UnitsByPlace(MILLION, 0, 7_000_000)
        assert (before, await treasury.held(AccountCode.SUSPENSE)) == ("1000000.000000", "1000007.000000")

    async def test_older_cold_address_stays_custody_when_the_vault_names_another(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        await move_by_guardian(treasury, 30)
        newer = "0x" + "c2" * 20
        await name_cold(treasury, newer)
        await record(treasury, newer)
        await move_by_guardian(treasury, 12)
        assert await places(treasury) == UnitsByPlace(MILLION - 42, 0, 42)
        await pay_out_of(treasury, COLD, newer, 30)
        assert await places(treasury) == UnitsByPlace(MILLION - 42, 0, 42)
        assert await tripped(treasury) is None
        async with treasury.database.session() as session:
            assert (await read_reserves(session, treasury.custody)).cold_addresses == (COLD, newer)


class TestMovements:
    async def test_move_by_the_guardian_is_inside_and_moves_nothing_in_the_ledger(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        await move_by_guardian(treasury, 400_000_000)
        assert await places(treasury) == UnitsByPlace(MILLION - 400_000_000, 0, 400_000_000)
        assert await treasury.held(AccountCode.CUSTODY) == "1000000.000000"
        assert await tripped(treasury) is None

    async def test_move_to_an_address_that_nobody_recorded_trips_and_is_healed_by_recording_it(
        self, treasury: Treasury
    ) -> None:
        await name_cold(treasury)
        await move_by_guardian(treasury, 400_000_000)
        assert (await books(treasury)).unexplained_units == -400_000_000
        reason = await tripped(treasury)
        assert reason is not None
        assert "without an order" in reason
        await record(treasury)
        assert await places(treasury) == UnitsByPlace(MILLION - 400_000_000, 0, 400_000_000)

    async def test_what_comes_back_to_the_vault_is_nobodys_deposit(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        await move_by_guardian(treasury, 400_000_000)
        await pay_out_of(treasury, COLD, treasury.custody.vault, 100_000_000)
        assert await places(treasury) == UnitsByPlace(MILLION - 300_000_000, 0, 300_000_000)
        assert await treasury.held(AccountCode.SUSPENSE) == "1000000.000000"
        assert await tripped(treasury) is None

    async def test_what_comes_back_through_a_deposit_address_is_not_credited(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        wallet_id = await treasury.wallet()
        address = await treasury.address(wallet_id)
        await move_by_guardian(treasury, 400_000_000)
        await pay_out_of(treasury, COLD, address, 100_000_000)
        assert await places(treasury) == UnitsByPlace(MILLION - 400_000_000, 100_000_000, 300_000_000)
        assert await treasury.balance(wallet_id) == "0.000000"

    async def test_payment_out_of_the_cold_trips_the_breaker_whoever_made_it(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        await move_by_guardian(treasury, 400_000_000)
        await pay_out_of(treasury, COLD, OUTSIDE, 1)
        found = await books(treasury)
        assert (found.unexplained_units, found.places) == (
            -1,
            UnitsByPlace(MILLION - 400_000_000, 0, 399_999_999),
        )
        reason = await tripped(treasury)
        assert reason is not None
        assert "1 units" in reason

    async def test_what_strangers_send_there_is_in_suspense_with_a_case(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        await treasury.contracts.mint(COLD, 3_000_000)
        assert await places(treasury) == UnitsByPlace(MILLION, 0, 3_000_000)
        assert await treasury.held(AccountCode.SUSPENSE) == "1000003.000000"

    async def test_customer_cannot_be_paid_to_it(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        with pytest.raises(Refusal) as refused:
            await treasury.request(wallet_id, "100.000000", to_address=COLD)
        assert refused.value.code is TreasuryCode.RECEIVER_IS_OURS
