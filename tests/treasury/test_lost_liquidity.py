"""Lost liquidity: a bank paid with a deposit that the chain takes back, and has no more."""

from pathlib import Path
from uuid import UUID

import pytest

from chain.signer_policy import SignerPolicy
from foundation.assets import USDT
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import CreateTransferStatus, Transfer, TransferFlags
from tests.fixtures.anvil import Anvil
from tests.fixtures.contracts import CAPS, ContractsOnChain, deploy_contracts
from tests.fixtures.officers import OfficerDevice, p256_officer
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.debts import assert_debts_are_receivable, debts, earn, fees, the_debt, written_off
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import mortal_treasury, release, seen, signed_by, tools_of, tripped
from tests.treasury.test_broken_finality import follow, pay, settle, usdt
from treasury.debts import DebtState
from treasury.lost_payments import LostPaymentsReport, tend_lost_payments
from treasury.reconciliation import ItemKind
from treasury.tasks import TREASURY_TASKS, _guarded
from treasury.withdrawals import WithdrawalState


@pytest.fixture
async def contracts(anvil: Anvil, home: Path) -> ContractsOnChain:
    """A bank whose vault holds what customers brought, and nothing else."""
    return await deploy_contracts(anvil, home, whole=0)


async def work(treasury: Treasury) -> None:
    """The worker's withdrawals and sweeps, and whatever becomes final after them."""
    for name in ("treasury.advance_withdrawals", "treasury.sweep_deposits"):
        await _guarded(name, TREASURY_TASKS[name])(tools_of(treasury))
    await settle(treasury)
    treasury.clock.advance(seconds=30)


async def paid_on_and_withdrawn(treasury: Treasury) -> tuple[UUID, UUID, UUID, int]:
    """A deposit of 100, paid on to another wallet which withdrew it; the block before the deposit.

    That other wallet has had 5 of its own, from which it pays the fee.
    """
    debtor, payee = await treasury.wallet(), await treasury.wallet()
    address = await treasury.address(debtor)
    await treasury.fund(payee, "5.000000")
    treasury.contracts.node.mine(10)
    await settle(treasury)
    before = treasury.contracts.node.block_number()
    await treasury.contracts.mint(address, 100_000_000)
    await settle(treasury)
    treasury.clock.advance(seconds=30)
    for _ in range(2):
        await work(treasury)
    assert treasury.contracts.balance(treasury.custody.vault) == 105_000_000
    await pay(treasury, debtor, payee, 100_000_000)
    withdrawal = await treasury.request(payee, "100.000000")
    for _ in range(3):
        await work(treasury)
    assert treasury.contracts.balance(OUTSIDE) == 100_000_000
    assert await treasury.held(AccountCode.CUSTODY) == "5.000000"
    return debtor, payee, withdrawal.id, before


def take_all_back(treasury: Treasury, before: int) -> None:
    node = treasury.contracts.node
    node.reorg(node.block_number() - before)


async def test_custody_below_what_was_taken_back_is_named_and_the_books_agree(treasury: Treasury) -> None:
    debtor, _, withdrawal_id, before = await paid_on_and_withdrawn(treasury)
    take_all_back(treasury, before)
    found = await usdt(treasury)
    assert found.agrees
    assert {(item.kind, item.units) for item in found.items} == {
        (ItemKind.DEPOSIT_REVERSED, -100_000_000),
        (ItemKind.WITHDRAWAL_LOST, 100_000_000),
    }
    assert await tripped(treasury) is not None
    debt = await the_debt(treasury)
    assert (debt.wallet_id, debt.state) == (debtor, DebtState.NOT_CORRECTED)
    assert await treasury.held(AccountCode.CUSTODY) == "5.000000"
    assert withdrawal_id in {item.id for item in found.items}


async def test_payment_that_can_never_be_made_goes_back_and_the_debt_is_known(treasury: Treasury) -> None:
    _, payee, withdrawal_id, before = await paid_on_and_withdrawn(treasury)
    take_all_back(treasury, before)
    await settle(treasury)
    for _ in range(3):
        await work(treasury)
    # Nobody outside was paid, so the payee has it all again, the fee too.
    assert treasury.contracts.balance(OUTSIDE) == 0
    assert await treasury.minor(payee) == 105_000_000
    assert (await seen(treasury, payee, withdrawal_id)).state is WithdrawalState.RETURNED
    debt = await the_debt(treasury)
    assert (debt.owed.minor, debt.state) == (100_000_000, DebtState.OWED)
    await assert_debts_are_receivable(treasury)
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())
    assert await treasury.held(AccountCode.CUSTODY) == "5.000000"
    # And nothing of it happens twice.
    for _ in range(2):
        await work(treasury)
    assert (await treasury.minor(payee), await fees(treasury)) == (105_000_000, 0)


async def test_officers_write_it_off_release_the_breaker_and_withdrawals_go_on(treasury: Treasury) -> None:
    may, hla = OfficerDevice("may"), p256_officer("hla")
    for officer in (may, hla):
        await officer.enrol(treasury.database, treasury.clock)
    _, payee, _, before = await paid_on_and_withdrawn(treasury)
    take_all_back(treasury, before)
    await settle(treasury)
    for _ in range(3):
        await work(treasury)
    # Another customer comes, and pays the fees that bear it.
    other = await treasury.wallet()
    await treasury.fund(other, "300.000000")
    await earn(treasury, other, 100_000_000)
    (debt,) = await debts(treasury)
    await written_off(treasury, debt.deposit_id, 100_000_000)
    assert (await the_debt(treasury)).state is DebtState.PAID
    await assert_debts_are_receivable(treasury)
    policy = SignerPolicy(caps=CAPS, officers=(may.in_policy(), hla.in_policy()))
    async with signed_by(treasury, policy):
        assert (await usdt(treasury)).agrees
        await release(treasury, may, hla)
        assert await tripped(treasury) is None
        for _ in range(2):
            await work(treasury)
        await treasury.request(payee, "100.000000")
        for _ in range(3):
            await work(treasury)
    assert treasury.contracts.balance(OUTSIDE) == 100_000_000
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())
    assert await tripped(treasury) is None


async def test_lost_payment_that_may_still_be_made_is_sent_again_and_not_given_back(
    treasury: Treasury,
) -> None:
    _, payee, withdrawal_id, before = await paid_on_and_withdrawn(treasury)
    take_all_back(treasury, before)
    node = treasury.contracts.node
    node.set_automine(on=False)
    await follow(treasury)
    await treasury.book()
    assert drop_all(treasury) > 0
    # The node has lost it once more, after the break: each step gives it again.
    report = await tend(treasury)
    assert (report.returned, report.waiting) == (0, 1)
    assert (await seen(treasury, payee, withdrawal_id)).state is WithdrawalState.PAID
    assert await treasury.minor(payee) == 4_000_000
    # Somebody brings the bank tokens first, so that this time the vault can pay.
    assert drop_all(treasury) > 0
    node.set_automine(on=True)
    await treasury.contracts.mint(treasury.custody.vault, 100_000_000)
    await settle(treasury)
    for _ in range(2):
        await work(treasury)
    assert treasury.contracts.balance(OUTSIDE) == 100_000_000
    assert await treasury.minor(payee) == 4_000_000
    assert (await seen(treasury, payee, withdrawal_id)).state is WithdrawalState.PAID
    assert (await the_debt(treasury)).owed.minor == 100_000_000
    await assert_debts_are_receivable(treasury)
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())


async def test_lost_payment_of_a_closed_wallet_goes_to_suspense(treasury: Treasury) -> None:
    _, payee, withdrawal_id, before = await paid_on_and_withdrawn(treasury)
    take_all_back(treasury, before)
    await settle(treasury)
    await close(treasury, payee)
    for _ in range(3):
        await work(treasury)
    assert await treasury.held(AccountCode.SUSPENSE) == "101.000000"
    assert (await seen(treasury, payee, withdrawal_id)).state is WithdrawalState.RETURNED
    assert (await the_debt(treasury)).owed.minor == 100_000_000
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())


@pytest.mark.parametrize("last", range(1, 5))
async def test_death_after_any_effect_of_giving_back_leaves_it_given_back_once(
    treasury: Treasury, last: int
) -> None:
    _, payee, _, before = await paid_on_and_withdrawn(treasury)
    take_all_back(treasury, before)
    await settle(treasury)
    for _ in range(2):
        treasury.contracts.node.mine(3)
        await settle(treasury)
    fate = Fate(last)
    rpc = MortalRPC(treasury.contracts.node.url, fate)
    try:
        await tend(mortal_treasury(treasury, fate, rpc))
    except Died:
        assert fate.what
    finally:
        await rpc.close()
    found = await usdt(treasury)
    assert found.agrees
    for _ in range(2):
        await work(treasury)
    assert (await treasury.minor(payee), await fees(treasury)) == (105_000_000, 0)
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())


async def test_members_of_a_lost_batch_that_can_never_be_paid_are_given_back(treasury: Treasury) -> None:
    debtor, payee = await treasury.wallet(), await treasury.wallet()
    address = await treasury.address(debtor)
    await treasury.fund(payee, "45.000000")
    for _ in range(2):
        await work(treasury)
    treasury.contracts.node.mine(10)
    await settle(treasury)
    before = treasury.contracts.node.block_number()
    await treasury.contracts.mint(address, 100_000_000)
    await settle(treasury)
    treasury.clock.advance(seconds=30)
    for _ in range(2):
        await work(treasury)
    await pay(treasury, debtor, payee, 100_000_000)
    receivers = [f"0x{0xBEEF:04x}{number:036x}" for number in range(3)]
    for receiver in receivers:
        await treasury.request(payee, "40.000000", to_address=receiver)
    for _ in range(3):
        await work(treasury)
    assert [treasury.contracts.balance(one) for one in receivers] == [40_000_000] * 3
    assert await treasury.minor(payee) == 22_000_000
    take_all_back(treasury, before)
    await settle(treasury)
    for _ in range(3):
        await work(treasury)
    # The vault had 45 of its own, which pay one of the three again.
    assert sum(treasury.contracts.balance(one) for one in receivers) == 40_000_000
    assert await treasury.minor(payee) == 22_000_000 + 2 * 41_000_000
    assert (await the_debt(treasury)).owed.minor == 100_000_000
    assert await treasury.held(AccountCode.CUSTODY) == "5.000000"
    found = await usdt(treasury)
    assert (found.agrees, found.items) == (True, ())


async def tend(treasury: Treasury) -> LostPaymentsReport:
    return await tend_lost_payments(
        treasury.database,
        treasury.ledger,
        treasury.rpc,
        treasury.clock,
        treasury.custody,
        treasury.sender,
    )


def drop_all(treasury: Treasury) -> int:
    """The node forgets what waits in its pool; how many."""
    node = treasury.contracts.node
    waiting = [tx["hash"] for txs in node.call("txpool_content")["pending"].values() for tx in txs.values()]
    for tx_hash in waiting:
        node.drop(tx_hash)
    return len(waiting)


async def close(treasury: Treasury, wallet_id: UUID) -> None:
    (result,) = await treasury.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(treasury.clock).int,
                debit_account_id=wallet_account_id(wallet_id, USDT),
                credit_account_id=system_account_id(AccountCode.SUSPENSE, USDT),
                amount=0,
                ledger=USDT.ledger,
                code=int(TransferCode.CORRECTION),
                flags=int(TransferFlags.PENDING | TransferFlags.CLOSING_DEBIT),
            )
        ]
    )
    assert result.status is CreateTransferStatus.CREATED
