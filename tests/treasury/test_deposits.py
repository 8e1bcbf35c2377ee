"""Deposits: credited once, at finality, to whom they belong; everything else is accounted for."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import func, select

from foundation.assets import DMMK, THB, USDT, XAU
from foundation.errors import Refusal
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import CreateTransferStatus, Transfer, TransferFlags
from tests.fixtures.token import TokenOnChain
from tests.treasury.conftest import Treasury
from treasury.custody import Custody, CustodyToken
from treasury.deposit_addresses import deposit_address
from treasury.deposits import DepositState, book_deposits, list_deposits
from treasury.errors import TreasuryCode
from treasury.models import CaseKind, TreasuryBookingCursor, TreasuryDeposit
from treasury.movements import write_movements
from treasury.reconciliation import ItemKind

CHAIN_ID = 31337


async def states(treasury: Treasury, wallet_id: UUID) -> list[tuple[str, int]]:
    """State and minor units of a wallet's deposits, newest first."""
    found = await list_deposits(treasury.database, treasury.ledger, treasury.custody, wallet_id=wallet_id)
    return [(deposit.state.value, deposit.amount) for deposit in found]


async def cases(treasury: Treasury) -> list[tuple[str | None, int]]:
    async with treasury.database.session() as session:
        rows = await session.scalars(
            select(TreasuryDeposit)
            .where(TreasuryDeposit.case_kind.is_not(None))
            .order_by(TreasuryDeposit.block_number)
        )
        return [(row.case_kind, int(row.units)) for row in rows]


async def close_account(treasury: Treasury, wallet_id: UUID) -> None:
    """Close the wallet's USDT account, as a closing transfer does."""
    (result,) = await treasury.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(treasury.clock).int,
                debit_account_id=wallet_account_id(wallet_id, USDT),
                credit_account_id=system_account_id(AccountCode.SUSPENSE, USDT),
                ledger=USDT.ledger,
                code=int(TransferCode.CORRECTION),
                flags=int(TransferFlags.PENDING | TransferFlags.CLOSING_DEBIT),
            )
        ]
    )
    assert result.status is CreateTransferStatus.CREATED


class TestDepositAddress:
    async def test_address_is_always_the_same_and_is_the_vaults_own(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        first = await treasury.address(wallet_id)
        assert first == await treasury.address(wallet_id)
        assert first == await treasury.address(wallet_id, DMMK)
        assert first != await treasury.address(await treasury.wallet())

    async def test_asset_without_a_token_is_refused(self, treasury: Treasury) -> None:
        with pytest.raises(Refusal) as refused:
            await treasury.address(await treasury.wallet(), XAU)
        assert refused.value.code is TreasuryCode.ASSET_NOT_ON_CHAIN

    async def test_address_asked_for_many_times_at_once_is_written_once(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        addresses = await asyncio.gather(*(treasury.address(wallet_id) for _ in range(8)))
        assert len(set(addresses)) == 1

    async def test_what_was_sent_before_the_address_was_given_is_credited(self, treasury: Treasury) -> None:
        wallet_id, other = await treasury.wallet(), await treasury.wallet()
        # The address is computed by somebody else before the wallet asks for it.
        elsewhere = Custody(
            chain_id=CHAIN_ID,
            vault=treasury.custody.vault,
            implementation=treasury.custody.implementation,
            tokens=treasury.custody.tokens,
        )
        address = await treasury.address(other)
        await treasury.contracts.mint(address, 1_000_000)
        salted = await _address_of(treasury, elsewhere, wallet_id)
        await treasury.contracts.mint(salted, 7_000_000)
        await treasury.finalize()
        assert await treasury.address(wallet_id) == salted
        await treasury.book()
        assert await treasury.balance(wallet_id) == "7.000000"
        await treasury.assert_books_agree()


async def _address_of(treasury: Treasury, custody: Custody, wallet_id: UUID) -> str:
    from chain.addresses import deposit_address as clone_address
    from chain.addresses import deposit_salt

    return clone_address(
        vault=custody.vault, implementation=custody.implementation, salt=deposit_salt(wallet_id, 0)
    )


class TestBookDeposits:
    async def test_deposit_is_seen_then_credited_at_finality(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.contracts.mint(await treasury.address(wallet_id), 250_000_000)
        await treasury.follow()
        await treasury.book()
        assert await states(treasury, wallet_id) == [("seen", 250_000_000)]
        assert await treasury.balance(wallet_id) == "0.000000"

        treasury.contracts.node.mine(2)
        await treasury.follow()
        assert await states(treasury, wallet_id) == [("arriving", 250_000_000)]
        await treasury.book()
        assert await states(treasury, wallet_id) == [("credited", 250_000_000)]
        assert await treasury.balance(wallet_id) == "250.000000"
        await treasury.assert_books_agree()

    async def test_reorg_before_finality_credits_nothing_and_leaves_an_orphan(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.contracts.mint(await treasury.address(wallet_id), 250_000_000)
        await treasury.follow()
        treasury.contracts.node.reorg(1)
        await treasury.finalize()
        assert await states(treasury, wallet_id) == [("orphaned", 250_000_000)]
        assert await treasury.balance(wallet_id) == "0.000000"
        await treasury.assert_books_agree()

    async def test_deposit_mined_again_in_another_block_is_credited_once(self, treasury: Treasury) -> None:
        node = treasury.contracts.node
        wallet_id = await treasury.wallet()
        node.mine(3)
        tx_hash = await treasury.contracts.mint(await treasury.address(wallet_id), 250_000_000)
        raw = node.call("eth_getRawTransactionByHash", tx_hash)
        await treasury.follow()
        node.reorg(2, [(raw, 1)])
        await treasury.finalize()
        assert await states(treasury, wallet_id) == [("credited", 250_000_000)]
        assert await treasury.balance(wallet_id) == "250.000000"
        await treasury.assert_books_agree()

    async def test_booking_again_and_at_the_same_time_credits_once(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        address = await treasury.address(wallet_id)
        for units in (1_000_000, 2_000_000, 3_000_000):
            await treasury.contracts.mint(address, units)
        treasury.contracts.node.mine(3)
        await treasury.follow()
        await asyncio.gather(*(treasury.book() for _ in range(5)))
        await treasury.book()
        assert await treasury.balance(wallet_id) == "6.000000"
        await treasury.assert_books_agree()

    async def test_death_after_writing_down_leaves_deposits_that_the_next_step_credits(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.contracts.mint(await treasury.address(wallet_id), 5_000_000)
        treasury.contracts.node.mine(3)
        await treasury.follow()
        async with treasury.database.session() as session:
            await write_movements(session, treasury.clock, treasury.custody)
        results = await treasury.reconcile()
        usdt = next(result for result in results if result.asset == USDT)
        assert usdt.agrees
        assert (ItemKind.DEPOSIT_UNBOOKED, 5_000_000) in {(item.kind, item.units) for item in usdt.items}
        await treasury.book()
        assert await treasury.balance(wallet_id) == "5.000000"
        await treasury.assert_books_agree()

    async def test_death_between_the_ledgers_answer_and_the_note_credits_once(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "5.000000")
        async with treasury.database.session() as session:
            for row in await session.scalars(select(TreasuryDeposit)):
                row.booked_at = None
        await treasury.book()
        assert await treasury.balance(wallet_id) == "5.000000"
        await treasury.assert_books_agree()

    async def test_two_assets_to_one_address_are_credited_each_in_its_own(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        await treasury.fund(wallet_id, "1000000.00", DMMK)
        assert await treasury.balance(wallet_id) == "250.000000"
        assert await treasury.balance(wallet_id, DMMK) == "1000000.00"
        await treasury.assert_books_agree()

    async def test_other_tokens_and_empty_transfers_are_not_seen(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        address = await treasury.address(wallet_id)
        fake = TokenOnChain(treasury.contracts.node)
        fake.mint(address, 1_000_000)
        await treasury.contracts.mint(address, 0)
        await treasury.finalize()
        assert await states(treasury, wallet_id) == []
        assert await treasury.balance(wallet_id) == "0.000000"

    async def test_tokens_sent_to_the_vault_have_no_owner_and_wait_in_suspense(
        self, treasury: Treasury
    ) -> None:
        await treasury.finalize()
        before = await cases(treasury)
        await treasury.contracts.mint(treasury.custody.vault, 3_000_000)
        await treasury.finalize()
        assert (await cases(treasury))[len(before) :] == [(CaseKind.NO_OWNER, 3_000_000)]
        # The fixture has given the vault a million before.
        assert await treasury.held(AccountCode.SUSPENSE) == "1000003.000000"
        await treasury.assert_books_agree()

    async def test_deposit_to_a_closed_wallet_goes_to_suspense_with_a_case(self, treasury: Treasury) -> None:
        await treasury.finalize()
        wallet_id = await treasury.wallet()
        address = await treasury.address(wallet_id)
        await close_account(treasury, wallet_id)
        await treasury.contracts.mint(address, 4_000_000)
        await treasury.finalize()
        assert (CaseKind.WALLET_UNUSABLE, 4_000_000) in await cases(treasury)
        assert await treasury.held(AccountCode.SUSPENSE) == "1000004.000000"
        assert await states(treasury, wallet_id) == [("held", 4_000_000)]
        await treasury.assert_books_agree()

    async def test_death_after_the_wallet_refused_ends_in_suspense_once(self, treasury: Treasury) -> None:
        await treasury.finalize()
        wallet_id = await treasury.wallet()
        address = await treasury.address(wallet_id)
        await close_account(treasury, wallet_id)
        await treasury.contracts.mint(address, 4_000_000)
        await treasury.finalize()
        # The same deposit once more: its id is burned, and suspense has it already.
        async with treasury.database.session() as session:
            row = await session.scalar(select(TreasuryDeposit).where(TreasuryDeposit.wallet_id == wallet_id))
            assert row is not None
            row.booked_at = None
        await treasury.book()
        assert await treasury.held(AccountCode.SUSPENSE) == "1000004.000000"
        await treasury.assert_books_agree()

    async def test_deposit_for_an_account_that_does_not_exist_goes_to_suspense(
        self, treasury: Treasury
    ) -> None:
        await treasury.finalize()
        stranger = uuid7(treasury.clock)
        await treasury.contracts.mint(await treasury.address(stranger), 4_000_000)
        await treasury.finalize()
        assert (CaseKind.WALLET_UNUSABLE, 4_000_000) in await cases(treasury)
        assert await treasury.held(AccountCode.SUSPENSE) == "1000004.000000"

    async def test_amount_beyond_the_ledger_becomes_a_case_and_the_books_still_agree(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.contracts.mint(await treasury.address(wallet_id), 2**63, asset="DMMK")
        await treasury.finalize()
        assert (CaseKind.BEYOND_LEDGER, 2**63) in await cases(treasury)
        assert await states(treasury, wallet_id) == [("held", 2**63)]
        assert await treasury.balance(wallet_id, DMMK) == "0.00"
        results = await treasury.reconcile()
        dmmk = next(result for result in results if result.asset == DMMK)
        assert dmmk.agrees
        assert [item.kind for item in dmmk.items] == [ItemKind.DEPOSIT_BEYOND_LEDGER]

    async def test_listing_shows_the_newest_first_and_no_more_than_asked(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        for text in ("1.000000", "2.000000", "3.000000"):
            await treasury.fund(wallet_id, text)
        await treasury.contracts.mint(await treasury.address(wallet_id), 4_000_000)
        await treasury.follow()
        listed = await list_deposits(
            treasury.database, treasury.ledger, treasury.custody, wallet_id=wallet_id, limit=3
        )
        assert [deposit.amount for deposit in listed] == [4_000_000, 3_000_000, 2_000_000]
        assert [deposit.state for deposit in listed] == [
            DepositState.SEEN, DepositState.CREDITED, DepositState.CREDITED,
        ]  # fmt: skip
        assert listed[0].credited_at_ns is None
        assert listed[1].credited_at_ns is not None

    async def test_deposit_written_down_and_not_credited_is_arriving(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.contracts.mint(await treasury.address(wallet_id), 5_000_000)
        treasury.contracts.node.mine(3)
        await treasury.follow()
        async with treasury.database.session() as session:
            await write_movements(session, treasury.clock, treasury.custody)
        assert await states(treasury, wallet_id) == [("arriving", 5_000_000)]

    async def test_token_that_is_mirrored_and_not_ours_is_nobodys_deposit(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.contracts.mint(await treasury.address(wallet_id), 5_000_000)
        await treasury.follow()
        others = Custody(
            chain_id=CHAIN_ID,
            vault=treasury.custody.vault,
            implementation=treasury.custody.implementation,
            tokens=[treasury.custody.token_of(DMMK)],
        )
        assert await list_deposits(treasury.database, treasury.ledger, others, wallet_id=wallet_id) == []


class TestDust:
    @pytest.fixture
    def fine(self, treasury: Treasury) -> tuple[Treasury, TokenOnChain]:
        """The same treasury, with a baht token of five decimals: 1,000 of its units are a satang."""
        token = TokenOnChain(treasury.contracts.node, decimals=5)
        treasury.custody = Custody(
            chain_id=CHAIN_ID,
            vault=treasury.custody.vault,
            implementation=treasury.custody.implementation,
            tokens=[*treasury.custody.tokens, CustodyToken(THB, token.address, 5)],
        )
        return treasury, token

    async def test_dust_adds_up_to_minor_units_and_never_disappears(
        self, fine: tuple[Treasury, TokenOnChain]
    ) -> None:
        treasury, token = fine
        wallet_id = uuid7(treasury.clock)
        await _open_baht(treasury, wallet_id)
        address = await treasury.address(wallet_id, THB)
        sent = [1_999, 600, 500, 999, 1_000, 3_001]
        for units in sent:
            token.mint(address, units)
        await treasury.finalize()
        assert await treasury.balance(wallet_id, THB) == "0.05"
        assert await treasury.held(AccountCode.DUST, THB) == "0.03"
        async with treasury.database.session() as session:
            cursor = await session.get(TreasuryBookingCursor, (CHAIN_ID, token.address))
        assert cursor is not None
        assert cursor.dust_units == sum(sent) - 8_000
        thb = next(result for result in await treasury.reconcile() if result.asset == THB)
        assert thb.agrees
        assert thb.chain_units == sum(sent)

    async def test_deposit_of_dust_alone_is_credited_as_nothing(
        self, fine: tuple[Treasury, TokenOnChain]
    ) -> None:
        treasury, token = fine
        wallet_id = uuid7(treasury.clock)
        await _open_baht(treasury, wallet_id)
        token.mint(await treasury.address(wallet_id, THB), 999)
        await treasury.finalize()
        assert await states(treasury, wallet_id) == [("credited", 0)]
        assert await treasury.balance(wallet_id, THB) == "0.00"

    async def test_death_before_dust_is_booked_books_it_once(
        self, fine: tuple[Treasury, TokenOnChain]
    ) -> None:
        treasury, token = fine
        wallet_id = uuid7(treasury.clock)
        await _open_baht(treasury, wallet_id)
        address = await treasury.address(wallet_id, THB)
        token.mint(address, 1_600)
        token.mint(address, 1_600)
        treasury.contracts.node.mine(3)
        await treasury.follow()
        async with treasury.database.session() as session:
            await write_movements(session, treasury.clock, treasury.custody)
        thb = next(result for result in await treasury.reconcile() if result.asset == THB)
        assert thb.agrees
        assert sorted(item.units for item in thb.items) == [1_000, 1_000, 1_000]
        for _ in range(2):
            async with treasury.database.session() as session:
                for row in await session.scalars(select(TreasuryDeposit)):
                    row.booked_at = None
            await treasury.book()
        assert await treasury.held(AccountCode.DUST, THB) == "0.01"
        treasury.contracts.node.mine(1)
        await treasury.follow()
        await treasury.book()
        thb = next(result for result in await treasury.reconcile() if result.asset == THB)
        assert thb.agrees
        assert thb.items == ()

    def test_token_coarser_than_its_asset_is_refused(self) -> None:
        with pytest.raises(Refusal) as refused:
            CustodyToken(USDT, "0x" + "11" * 20, 5)
        assert refused.value.code is TreasuryCode.CUSTODY_UNIT_TOO_COARSE


async def _open_baht(treasury: Treasury, wallet_id: UUID) -> None:
    from ledger.chart import new_account, open_accounts

    account = new_account(wallet_account_id(wallet_id, THB), AccountCode.WALLET, THB, owner=wallet_id)
    await open_accounts(treasury.ledger, [account])


async def test_booking_before_the_mirror_began_does_nothing(treasury: Treasury) -> None:
    report = await book_deposits(treasury.database, treasury.ledger, treasury.clock, treasury.custody)
    assert (report.written, report.booked) == (0, 0)
    async with treasury.database.session() as session:
        assert await session.scalar(select(func.count()).select_from(TreasuryDeposit)) == 0


async def test_deposit_address_is_shown_with_its_checksum_and_token(treasury: Treasury) -> None:
    given = await deposit_address(
        treasury.database, treasury.clock, treasury.custody, wallet_id=await treasury.wallet(), asset=DMMK
    )
    assert given.address != given.address.lower()
    assert given.token.lower() == treasury.contracts.token("DMMK")
    assert (given.chain_id, given.decimals, given.asset) == (CHAIN_ID, 2, DMMK)
