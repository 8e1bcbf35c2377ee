"""Sweeps: what lies at deposit addresses reaches the vault, each time it is worth it."""

from uuid import UUID

from sqlalchemy import select

from chain.signer_client import SignerClient
from chain.signer_policy import SignerPolicy
from foundation.assets import DMMK, USDT
from tests.fixtures.contracts import CAPS
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import administer, call_first, mortal_treasury, signed_by
from treasury.models import TreasuryBookingCursor, TreasuryDepositAddress, TreasurySweep, TreasuryUnswept
from treasury.sweeps import RETRY_SECONDS, _forget_empty


async def sweeps(treasury: Treasury) -> list[tuple[str, str | None]]:
    """Address and outcome of every sweep, oldest first."""
    async with treasury.database.session() as session:
        rows = await session.scalars(select(TreasurySweep).order_by(TreasurySweep.created_at))
        return [(row.address, row.outcome) for row in rows]


async def unswept(treasury: Treasury) -> set[str]:
    async with treasury.database.session() as session:
        return set(await session.scalars(select(TreasuryUnswept.address)))


async def funded(treasury: Treasury, text: str = "250.000000") -> tuple[UUID, str]:
    """A wallet with a deposit that lies at its deposit address."""
    wallet_id = await treasury.wallet()
    await treasury.fund(wallet_id, text)
    return wallet_id, await treasury.address(wallet_id)


class TestSweepDeposits:
    async def test_deposit_is_brought_into_the_vault_and_the_books_do_not_change(
        self, treasury: Treasury
    ) -> None:
        wallet_id, address = await funded(treasury)
        vault = treasury.contracts.balance(treasury.custody.vault)
        report = await treasury.sweep()
        assert (report.ordered, report.open, report.troubles) == (1, 1, [])
        assert treasury.contracts.balance(address) == 0
        assert treasury.contracts.balance(treasury.custody.vault) == vault + 250_000_000
        await treasury.finalize()
        assert (await treasury.sweep()).closed == 1
        assert await sweeps(treasury) == [(address, "succeeded")]
        assert await treasury.balance(wallet_id) == "250.000000"
        await treasury.assert_books_agree()

    async def test_swept_address_is_forgotten_until_something_comes_to_it_again(
        self, treasury: Treasury
    ) -> None:
        wallet_id, address = await funded(treasury)
        for _ in range(3):
            await treasury.sweep()
            await treasury.finalize()
        assert await unswept(treasury) == set()
        assert len(await sweeps(treasury)) == 1
        await treasury.fund(wallet_id, "5.000000")
        assert await unswept(treasury) == {address}
        await treasury.sweep()
        assert treasury.contracts.balance(address) == 0
        assert len(await sweeps(treasury)) == 2
        await treasury.assert_books_agree()

    async def test_deposit_that_comes_while_a_sweep_is_under_way_is_swept_next(
        self, treasury: Treasury
    ) -> None:
        wallet_id, address = await funded(treasury)
        await treasury.sweep()
        await treasury.fund(wallet_id, "5.000000")
        assert treasury.contracts.balance(address) == 5_000_000
        for _ in range(4):
            await treasury.sweep()
            await treasury.finalize()
        assert treasury.contracts.balance(address) == 0
        assert await unswept(treasury) == set()
        await treasury.assert_books_agree()

    async def test_less_than_is_worth_the_gas_waits_for_more(self, treasury: Treasury) -> None:
        treasury.amounts_min = {"USDT": 10_000_000}
        wallet_id, address = await funded(treasury, "9.999999")
        assert (await treasury.sweep()).ordered == 0
        await treasury.fund(wallet_id, "0.000001")
        assert (await treasury.sweep()).ordered == 1
        assert treasury.contracts.balance(address) == 0

    async def test_both_assets_of_an_address_are_swept_each_by_its_own(self, treasury: Treasury) -> None:
        wallet_id, address = await funded(treasury)
        await treasury.fund(wallet_id, "1000000.00", DMMK)
        assert (await treasury.sweep()).ordered == 2
        assert treasury.contracts.balance(address) == 0
        assert treasury.contracts.balance(address, asset="DMMK") == 0
        await treasury.assert_books_agree()

    async def test_sweep_that_fails_is_tried_again_after_a_pause(self, treasury: Treasury) -> None:
        _, address = await funded(treasury)
        node, token = treasury.contracts.node, treasury.contracts.token()
        node.set_automine(on=False)
        await treasury.sweep()
        await call_first(treasury, token, "freeze(address)", address)
        node.set_automine(on=True)
        await treasury.finalize()
        await treasury.sweep()
        assert await sweeps(treasury) == [(address, "reverted")]
        await administer(treasury, token, "unfreeze(address)", address)
        for _ in range(3):
            assert (await treasury.sweep()).ordered == 0
        treasury.clock.advance(seconds=RETRY_SECONDS + 1)
        await treasury.finalize()
        assert (await treasury.sweep()).ordered == 1
        assert treasury.contracts.balance(address) == 0
        await treasury.assert_books_agree()

    async def test_sweeps_and_withdrawals_share_the_lane_in_order(self, treasury: Treasury) -> None:
        wallet_id, address = await funded(treasury)
        await treasury.request(wallet_id, "10.000000")
        await treasury.sweep()
        await treasury.advance()
        await treasury.finalize()
        await treasury.sweep()
        assert (await treasury.advance()).paid == 1
        assert treasury.contracts.balance(address) == 0
        assert treasury.contracts.balance(OUTSIDE) == 10_000_000
        await treasury.assert_books_agree()

    async def test_signer_that_is_away_leaves_the_sweep_for_later(self, treasury: Treasury) -> None:
        _, address = await funded(treasury)
        sender = treasury.sender
        nobody = SignerClient(treasury.contracts.home / "nobody.sock")
        fate = Fate(None)
        rpc = MortalRPC(treasury.contracts.node.url, fate)
        lonely = mortal_treasury(treasury, fate, rpc)
        lonely.sender._signer = nobody  # type: ignore[misc]  # The test takes the signer away.
        report = await lonely.sweep()
        await rpc.close()
        assert (report.ordered, report.open) == (1, 1)
        assert report.troubles
        treasury.sender = sender
        assert (await treasury.sweep()).ordered == 0
        assert treasury.contracts.balance(address) == 0

    async def test_sweep_killed_after_any_effect_is_finished_by_the_next(self, treasury: Treasury) -> None:
        wallet_id, address = await funded(treasury)
        for last in range(1, 60):
            fate = Fate(last)
            rpc = MortalRPC(treasury.contracts.node.url, fate)
            died = False
            try:
                await mortal_treasury(treasury, fate, rpc).sweep()
            except Died:
                died = True
            finally:
                await rpc.close()
            for _ in range(3):
                await treasury.sweep()
                await treasury.finalize()
            assert treasury.contracts.balance(address) == 0, (last, fate.what)
            assert await unswept(treasury) == set(), (last, fate.what)
            if not died:
                break
            await treasury.fund(wallet_id, "5.000000")
        else:
            raise AssertionError("it always died")
        assert {outcome for _, outcome in await sweeps(treasury)} == {"succeeded"}
        await treasury.assert_books_agree()

    async def test_sweep_that_the_signer_will_never_sign_is_closed(self, treasury: Treasury) -> None:
        _, address = await funded(treasury)
        async with treasury.database.session() as session:
            row = await session.get_one(TreasuryDepositAddress, address)
            row.salt = "0x" + "13" * 32
        report = await treasury.sweep()
        assert (report.ordered, report.closed, report.open) == (1, 1, 0)
        assert await sweeps(treasury) == [(address, "order_unexplained")]
        assert (await treasury.sweep()).ordered == 0

    async def test_sweep_that_the_signer_will_sign_later_stays_open(self, treasury: Treasury) -> None:
        _, address = await funded(treasury)
        async with signed_by(treasury, SignerPolicy(caps=CAPS, max_fee_per_gas=1)):
            report = await treasury.sweep()
        assert (report.ordered, report.closed, report.open) == (1, 0, 1)
        assert (await treasury.sweep()).ordered == 0
        assert treasury.contracts.balance(address) == 0

    async def test_address_is_not_forgotten_if_something_was_written_down_meanwhile(
        self, treasury: Treasury
    ) -> None:
        _, address = await funded(treasury)
        token = treasury.custody.token_of(USDT)
        async with treasury.database.session() as session:
            cursor = await session.get_one(TreasuryBookingCursor, (treasury.custody.chain_id, token.address))
            await _forget_empty(session, treasury.custody, token, cursor.booked_number - 1, [address])
        assert await unswept(treasury) == {address}
