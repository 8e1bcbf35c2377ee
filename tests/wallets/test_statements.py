"""Statements: months that add up to the ledger's own balances, whatever happened in them."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from foundation.assets import DMMK, USDT, XAU, Asset
from foundation.clock import SECOND_NS
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, system_account_id, wallet_account_id
from ledger.contract import Transfer, TransferFlags
from ledger.queries.questions import BalancesAsOf
from tests.wallets.conftest import Bank
from wallets.history import Effect
from wallets.statements import Month, MonthLine, MonthPage, parse_month, statement, statement_pages
from wallets.wallets import Wallet

DAY = 86_400
NOVEMBER, DECEMBER, JANUARY = Month(2026, 11), Month(2026, 12), Month(2027, 1)


def at(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * SECOND_NS


@pytest.fixture
def clock(clock):
    clock.set_ns(at(2026, 11, 3))
    return clock


async def page(bank: Bank, wallet: Wallet, month: Month, asset: Asset = USDT, **how: Any) -> MonthPage:
    return await statement(
        bank.ledger, bank.directory, bank.clock, wallet=wallet, asset=asset, month=month, **how
    )


async def whole(bank: Bank, wallet: Wallet, month: Month, asset: Asset, limit: int) -> list[MonthPage]:
    pages = [await page(bank, wallet, month, asset, limit=limit)]
    while pages[-1].next_cursor is not None:
        pages.append(await page(bank, wallet, month, asset, limit=limit, cursor=pages[-1].next_cursor))
    return pages


async def reserve(bank: Bank, wallet: Wallet, asset: Asset, amount: int, seconds: int = 0) -> int:
    made = uuid7(bank.clock).int
    await bank.ledger.create_transfers(
        [
            Transfer(
                id=made,
                debit_account_id=wallet_account_id(wallet.id, asset),
                credit_account_id=system_account_id(AccountCode.CUSTODY, asset),
                amount=amount,
                ledger=asset.ledger,
                code=TransferCode.WITHDRAWAL,
                timeout=seconds,
                flags=int(TransferFlags.PENDING),
            )
        ]
    )
    return made


async def resolve(bank: Bank, pending: int, flag: TransferFlags, amount: int = 0) -> None:
    await bank.ledger.create_transfers(
        [Transfer(id=uuid7(bank.clock).int, pending_id=pending, amount=amount, flags=int(flag))]
    )


async def held_at(bank: Bank, wallet: Wallet, asset: Asset, ns: int) -> Money:
    found = await bank.ledger.get_balances_as_of(
        BalancesAsOf(timestamp=ns, account_ids=(wallet_account_id(wallet.id, asset),))
    )
    return Money(sum(each.credits_posted - each.debits_posted for each in found.accounts), asset)


@pytest.mark.parametrize("seed", range(4))
async def test_opening_balance_and_lines_make_the_closing_balance_which_is_the_ledger_s(bank, seed):
    chance = random.Random(seed)
    wallets = [await bank.wallet(name) for name in ("aye", "ko_ko", "su_su")]
    assets = (USDT, DMMK)
    for wallet in wallets:
        for asset in assets:
            await bank.fund(wallet, "1000", asset)
    pendings: list[int] = []
    for _ in range(120):
        bank.clock.advance(chance.randrange(DAY))
        one, other = chance.sample(wallets, 2)
        asset = chance.choice(assets)
        match chance.randrange(6):
            case 0 | 1:
                amount = f"{chance.randrange(1, 40)}.{chance.randrange(100):02}"
                await bank.pay(bank.order(one, other, amount, asset))
            case 2:
                await bank.fund(one, str(chance.randrange(1, 50)), asset)
            case 3:
                pendings.append(await reserve(bank, one, asset, chance.randrange(1, 500)))
            case 4:
                await reserve(bank, one, asset, chance.randrange(1, 500), seconds=chance.randrange(1, DAY))
            case _ if pendings:
                flag = chance.choice(
                    [TransferFlags.POST_PENDING_TRANSFER, TransferFlags.VOID_PENDING_TRANSFER]
                )
                await resolve(bank, pendings.pop(chance.randrange(len(pendings))), flag)
    months = [NOVEMBER, DECEMBER, JANUARY]
    assert bank.clock.now_ns() > JANUARY.first_ns
    counted = 0
    for wallet in wallets:
        for asset in assets:
            before = Money(0, asset)
            for month in months:
                limit = chance.choice([1, 3, 7, 100])
                pages = await whole(bank, wallet, month, asset, limit)
                lines: list[MonthLine] = [line for each in pages for line in each.lines]
                assert {(each.opening, each.closing) for each in pages} == {
                    (
                        await held_at(bank, wallet, asset, month.first_ns - 1),
                        await held_at(bank, wallet, asset, month.end_ns - 1),
                    )
                }
                balance = pages[0].opening
                assert balance == before
                for line in lines:
                    balance += line.change
                    assert line.line.balance == balance
                    assert month.first_ns <= line.line.at_ns < month.end_ns
                assert balance == pages[0].closing
                before, counted = balance, counted + len(lines)
                streamed = [
                    line
                    async for each in statement_pages(
                        bank.ledger, bank.directory, bank.clock, wallet=wallet, asset=asset, month=month
                    )
                    for line in each.lines
                ]
                assert streamed == lines
    assert counted > 150


async def test_a_month_that_is_not_over_says_so_and_ends_where_its_first_page_was_read(bank):
    aye, ko = await bank.wallet("aye"), await bank.wallet("ko_ko")
    await bank.fund(aye, "100", USDT)
    await bank.pay(bank.order(aye, ko, "25", USDT))
    first = await page(bank, aye, NOVEMBER, limit=2)
    assert (first.is_over, first.closing.format()) == (False, "74.975000")
    await bank.pay(bank.order(aye, ko, "1", USDT))
    second = await page(bank, aye, NOVEMBER, limit=2, cursor=first.next_cursor)
    assert second.closing == first.closing
    changes = [line.change.format() for line in (*first.lines, *second.lines)]
    assert changes == ["100.000000", "-25.000000", "-0.025000"]

    bank.clock.set_ns(DECEMBER.first_ns + 299 * SECOND_NS)
    assert not (await page(bank, aye, NOVEMBER)).is_over, "the ledger's clock may be a little behind"
    bank.clock.advance(1)
    assert (await page(bank, aye, NOVEMBER)).is_over


async def test_money_that_was_reserved_changes_nothing_until_it_goes_or_is_freed(bank):
    aye = await bank.wallet("aye")
    await bank.fund(aye, "100", USDT)
    posted = await reserve(bank, aye, USDT, 5_000_000)
    await resolve(bank, posted, TransferFlags.POST_PENDING_TRANSFER, 5_000_000)
    await reserve(bank, aye, USDT, 7_000_000, seconds=60)
    bank.clock.advance(120)
    await bank.fund(aye, "1", USDT)
    lines = (await page(bank, aye, NOVEMBER)).lines
    assert [(each.line.effect, each.change.format(), each.line.available.format()) for each in lines] == [
        (Effect.SETTLED, "100.000000", "100.000000"),
        (Effect.RESERVED, "0.000000", "95.000000"),
        (Effect.POSTED, "-5.000000", "95.000000"),
        (Effect.RESERVED, "0.000000", "88.000000"),
        (Effect.RELEASED, "0.000000", "95.000000"),
        (Effect.SETTLED, "1.000000", "96.000000"),
    ]


async def test_a_wallet_without_anything_has_an_empty_month(bank):
    aye = await bank.wallet("aye")
    found = await page(bank, aye, NOVEMBER, XAU)
    assert (found.opening.minor, found.closing.minor, list(found.lines), found.next_cursor) == (
        0,
        0,
        [],
        None,
    )


@pytest.mark.parametrize(
    "text", ["2026-12", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-03", "", "1999-01"]
)
def test_what_is_no_month_or_has_not_begun_is_refused(clock, text):
    with pytest.raises(Refusal, match="statement_month_malformed"):
        parse_month(text, clock)


async def test_a_cursor_of_another_month_or_wallet_is_refused(bank):
    aye, ko = await bank.wallet("aye"), await bank.wallet("ko_ko")
    await bank.fund(aye, "100", USDT)
    cursor = (await page(bank, aye, NOVEMBER, limit=1)).next_cursor
    assert cursor is not None
    for wallet, month, given in (
        (ko, NOVEMBER, cursor),
        (aye, Month(2026, 10), cursor),
        (aye, NOVEMBER, "x"),
    ):
        with pytest.raises(Refusal, match="cursor_malformed"):
            await page(bank, wallet, month, limit=1, cursor=given)
