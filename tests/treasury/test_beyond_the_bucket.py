"""Beyond the bucket: paid once where the vault's approver agreed to exactly this withdrawal."""

import pytest

from chain.contract_reads import ContractRead, read_contracts
from chain.orders import withdrawal_word
from foundation.ids import uuid7
from ops.cli.vault import _approve
from tests.fixtures.contracts import WHOLE
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.moves import administer, seen
from treasury.withdrawals import WithdrawalState

USED_UP = ["the vault's rate limit is used up"]


@pytest.fixture
async def bank(treasury: Treasury, monkeypatch: pytest.MonkeyPatch) -> Treasury:
    """A vault that lets 50 USDT out in a hundred days, and what the command needs to find it."""
    from foundation.settings import get_settings

    limit = "setRateLimit(address,uint208,uint48)"
    token = treasury.contracts.token()
    await administer(treasury, treasury.custody.vault, limit, token, 50 * WHOLE, 8_640_000)
    monkeypatch.setenv("NUGPAY_HOME", str(treasury.contracts.home))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", treasury.database.url)
    monkeypatch.setenv("NUGPAY_RPC_URL", treasury.contracts.node.url)
    get_settings.cache_clear()
    return treasury


async def bucket(treasury: Treasury) -> int:
    reads = [
        ContractRead(
            treasury.custody.vault, "withdrawable(address)", "uint256", (treasury.contracts.token(),)
        )
    ]
    [left] = await read_contracts(treasury.rpc, reads)
    return int(left)


async def approve(treasury: Treasury, *, to: str, units: int, word: bytes) -> None:
    signature = "approveWithdrawal(address,address,uint256,bytes32)"
    await administer(treasury, treasury.custody.vault, signature, treasury.contracts.token(), to, units, word)


async def test_it_waits_and_says_so_and_once_approved_is_paid_once_and_leaves_the_bucket_alone(
    bank: Treasury,
) -> None:
    wallet_id = await bank.wallet()
    await bank.fund(wallet_id, "250.000000")
    withdrawal = await bank.request(wallet_id, "100.000000")
    for _ in range(2):
        assert (await bank.advance()).troubles == USED_UP
    before = await bucket(bank)
    for _ in range(2):
        assert (await _approve(str(withdrawal.id))).startswith("agreed until")
    assert (await bank.advance()).sent == 1
    for _ in range(3):
        await bank.finalize()
        await bank.advance()
    assert (await seen(bank, wallet_id, withdrawal.id)).state is WithdrawalState.PAID
    assert bank.contracts.balance(OUTSIDE) == 100 * WHOLE
    assert await bucket(bank) >= before
    await bank.assert_books_agree()


async def test_agreement_to_another_withdrawal_amount_or_receiver_does_nothing(bank: Treasury) -> None:
    wallet_id = await bank.wallet()
    await bank.fund(wallet_id, "250.000000")
    withdrawal = await bank.request(wallet_id, "100.000000")
    word = withdrawal_word(withdrawal.id)
    await approve(bank, to=OUTSIDE, units=100 * WHOLE, word=withdrawal_word(uuid7(bank.clock)))
    await approve(bank, to=OUTSIDE, units=100 * WHOLE + 1, word=word)
    await approve(bank, to="0x" + "99" * 20, units=100 * WHOLE, word=word)
    report = await bank.advance()
    assert (report.sent, report.troubles) == (0, USED_UP)
    assert bank.contracts.balance(OUTSIDE) == 0


async def test_agreement_that_was_taken_back_does_nothing(bank: Treasury) -> None:
    wallet_id = await bank.wallet()
    await bank.fund(wallet_id, "250.000000")
    withdrawal = await bank.request(wallet_id, "100.000000")
    word = withdrawal_word(withdrawal.id)
    await approve(bank, to=OUTSIDE, units=100 * WHOLE, word=word)
    await administer(
        bank,
        bank.custody.vault,
        "revokeApproval(address,address,uint256,bytes32)",
        bank.contracts.token(),
        OUTSIDE,
        100 * WHOLE,
        word,
    )
    assert (await bank.advance()).troubles == USED_UP


async def test_one_by_agreement_on_its_way_leaves_the_bucket_to_the_next(bank: Treasury) -> None:
    wallet_id = await bank.wallet()
    await bank.fund(wallet_id, "250.000000")
    large = await bank.request(wallet_id, "100.000000")
    await _approve(str(large.id))
    bank.contracts.node.set_automine(on=False)
    assert (await bank.advance()).sent == 1
    bank.clock.advance(seconds=1)
    small = await bank.request(wallet_id, "40.000000")
    bank.clock.advance(seconds=1)
    too_much = await bank.request(wallet_id, "20.000000")
    report = await bank.advance()
    assert (report.sent, report.troubles) == (1, USED_UP)
    bank.contracts.node.set_automine(on=True)
    for _ in range(3):
        await bank.finalize()
        await bank.advance()
    assert (await seen(bank, wallet_id, small.id)).state is WithdrawalState.PAID
    assert (await seen(bank, wallet_id, too_much.id)).state is WithdrawalState.HELD
    assert bank.contracts.balance(OUTSIDE) == 140 * WHOLE
