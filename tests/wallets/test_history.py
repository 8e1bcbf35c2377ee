"""History: the ledger's own lines, each with its balance, page after page."""

import uuid
from typing import Any

import pytest

from foundation.assets import DMMK, USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import Transfer, TransferFlags
from tests.wallets.conftest import Bank
from wallets.errors import WalletCode
from wallets.history import Effect, history
from wallets.history_filters import Direction, HistoryFilter, HistoryKind
from wallets.payments import pay
from wallets.wallets import Wallet


async def lines(bank: Bank, wallet: Wallet, **how: Any) -> list[tuple[str, str, str, str, str | None]]:
    page = await history(bank.ledger, bank.directory, wallet=wallet, **how)
    return [
        (
            line.kind.value,
            line.direction.value,
            line.amount.format(),
            line.balance.format(),
            line.counterparty,
        )
        for line in page.lines
    ]


async def test_each_line_has_the_balance_after_it(bank):
    aye, ko = await bank.wallet("aye"), await bank.wallet("ko_ko")
    await bank.fund(aye, "100", USDT)
    reference = uuid.uuid4()
    paid = await pay(
        bank.ledger, bank.directory, bank.limits, bank.order(aye, ko, "25", USDT, reference=reference)
    )

    assert await lines(bank, aye) == [
        ("payment_fee", "out", "0.025000", "74.975000", None),
        ("payment", "out", "25.000000", "75.000000", "ko_ko"),
        ("deposit", "in", "100.000000", "100.000000", None),
    ]
    assert await lines(bank, ko) == [("payment", "in", "25.000000", "25.000000", "aye")]
    (received,) = (await history(bank.ledger, bank.directory, wallet=ko)).lines
    assert received.id == paid.payment.id
    assert received.reference == reference
    assert received.at_ns == paid.payment.created_at_ns
    fee = (await history(bank.ledger, bank.directory, wallet=aye)).lines[0]
    assert fee.reference == paid.payment.id


async def test_money_held_back_is_shown_with_what_became_of_it(bank):
    aye = await bank.wallet("aye")
    await bank.fund(aye, "100", USDT)
    accounts = {
        "debit_account_id": wallet_account_id(aye.id, USDT),
        "credit_account_id": system_account_id(AccountCode.WITHDRAWAL_IN_FLIGHT, USDT),
        "ledger": USDT.ledger,
        "code": TransferCode.WITHDRAWAL,
    }
    first, second = uuid7(bank.clock).int, uuid7(bank.clock).int
    one, other = uuid7(bank.clock), uuid7(bank.clock)
    for transfer in (
        Transfer(id=first, amount=40_000_000, flags=TransferFlags.PENDING, user_data_128=one.int, **accounts),
        Transfer(
            id=second, amount=10_000_000, flags=TransferFlags.PENDING, user_data_128=other.int, **accounts
        ),
        Transfer(
            id=uuid7(bank.clock).int,
            pending_id=first,
            amount=40_000_000,
            flags=TransferFlags.POST_PENDING_TRANSFER,
            **accounts,
        ),
        Transfer(
            id=uuid7(bank.clock).int, pending_id=second, flags=TransferFlags.VOID_PENDING_TRANSFER, **accounts
        ),
    ):
        await bank.ledger.create_transfers([transfer])
    page = await history(bank.ledger, bank.directory, wallet=aye)
    assert [
        (line.effect, line.amount.format(), line.balance.format(), line.available.format())
        for line in page.lines
    ] == [
        (Effect.RELEASED, "10.000000", "60.000000", "60.000000"),
        (Effect.POSTED, "40.000000", "60.000000", "50.000000"),
        (Effect.RESERVED, "10.000000", "100.000000", "50.000000"),
        (Effect.RESERVED, "40.000000", "100.000000", "60.000000"),
        (Effect.SETTLED, "100.000000", "100.000000", "100.000000"),
    ]
    assert [line.reference for line in page.lines[:4]] == [other, one, other, one]
    assert {line.kind for line in page.lines[:4]} == {HistoryKind.WITHDRAWAL}
    assert {line.direction for line in page.lines[:4]} == {Direction.OUT}


async def test_pages_follow_one_another_without_gap_or_repetition_while_money_comes(bank):
    aye = await bank.wallet("aye")
    for i in range(1, 12):
        await bank.fund(aye, str(i), USDT if i % 2 else DMMK)
    seen, cursor = [], None
    while True:
        page = await history(bank.ledger, bank.directory, wallet=aye, cursor=cursor, limit=3)
        seen += [line.amount.format().split(".")[0] for line in page.lines]
        cursor = page.next_cursor
        if cursor is None:
            break
        await bank.fund(aye, "77", USDT)
    assert seen == [str(i) for i in range(11, 0, -1)]


async def test_one_asset_can_be_asked_for(bank):
    aye = await bank.wallet("aye")
    await bank.fund(aye, "1", USDT)
    await bank.fund(aye, "2", DMMK)
    assert await lines(bank, aye, only=HistoryFilter(asset=DMMK)) == [("deposit", "in", "2.00", "2.00", None)]


async def test_a_new_wallet_has_an_empty_page_and_no_cursor(bank):
    page = await history(bank.ledger, bank.directory, wallet=await bank.wallet("aye"))
    assert (list(page.lines), page.next_cursor) == ([], None)


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "aGlzdG9yeTr_____________", "A" * 1000, "=" * 22])
async def test_a_cursor_that_no_page_gave_is_refused(bank, cursor):
    wallet = await bank.wallet("aye")
    with pytest.raises(Refusal) as refusal:
        await history(bank.ledger, bank.directory, wallet=wallet, cursor=cursor)
    assert refusal.value.code is WalletCode.CURSOR_MALFORMED
