"""Syncs: every line exactly once and every change at last, whoever writes meanwhile."""

import asyncio
import random
from collections import Counter
from typing import Any

import psycopg
import pytest

from foundation.assets import DMMK, USDT
from foundation.errors import Refusal
from foundation.postgres import sync_url
from tests.fixtures.snapshots import settled
from tests.wallets.asking import Asking
from tests.wallets.conftest import Bank
from wallets.history import HistoryLine, history
from wallets.payment_requests import Books, RequestState
from wallets.syncs import SyncPage, sync
from wallets.wallets import Wallet


def books_of(bank: Bank) -> Books:
    return Books(bank.database, bank.ledger, bank.clock, bank.directory, bank.limits)


async def brought(
    bank: Bank, wallet: Wallet, cursor: str | None = None, limit: int = 5, *, waits: bool = True
) -> list[SyncPage]:
    """Answers until there is nothing more, once nobody writes, or at once."""
    if waits:
        await settled(bank.database)
    pages: list[SyncPage] = []
    while not pages or pages[-1].has_more:
        pages.append(await sync(books_of(bank), wallet=wallet, cursor=cursor, limit=limit))
        cursor = pages[-1].next_cursor
        assert len(pages[-1].lines) <= limit
        assert len(pages[-1].requests) <= 2 * limit
    return pages


def lines_in(pages: list[SyncPage]) -> list[HistoryLine]:
    return [line for page in pages for line in page.lines]


async def whole_history(bank: Bank, wallet: Wallet) -> list[HistoryLine]:
    found: list[HistoryLine] = []
    cursor: str | None = None
    while True:
        page = await history(bank.ledger, bank.directory, wallet=wallet, cursor=cursor, limit=100)
        found += page.lines
        cursor = page.next_cursor
        if cursor is None:
            return found[::-1]


async def test_the_first_sync_brings_all_and_the_next_one_only_what_came_since(bank):
    aye, ko = await bank.wallet("aye"), await bank.wallet("ko_ko")
    await bank.fund(aye, "100", USDT)
    for _ in range(4):
        await bank.pay(bank.order(aye, ko, "1", USDT))
    await bank.fund(aye, "5", DMMK)
    pages = await brought(bank, aye, limit=3)
    assert lines_in(pages) == await whole_history(bank, aye)
    assert [page.has_more for page in pages] == [True, True, True, False]
    assert {each.asset: each.balance.format() for each in pages[-1].balances}[USDT] == "95.960000"
    cursor = pages[-1].next_cursor
    (nothing,) = await brought(bank, aye, cursor)
    assert not lines_in([nothing])
    paid = await bank.pay(bank.order(ko, aye, "2", USDT))
    (page,) = await brought(bank, aye, nothing.next_cursor)
    assert [line.id for line in page.lines] == [paid.payment.id]
    # Asked again with the cursor before, as after a lost answer, the same is brought again.
    assert lines_in(await brought(bank, aye, cursor)) == list(page.lines)


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_missed_and_nothing_comes_twice_while_many_write(bank, seed):
    chance = random.Random(seed)
    asking = await Asking.begin(bank)
    payer, payee = asking.payer, asking.payee
    others = [await bank.wallet(name) for name in ("su_su", "mg_mg", "ma_hla")]
    for one in (*others, payee):
        await bank.fund(one, "1000", USDT)
    running = True

    async def write(one: Wallet) -> None:
        for _ in range(25):
            await bank.pay(bank.order(one, payer, f"{chance.randrange(1, 9)}", USDT))
            await asyncio.sleep(0)

    async def ask() -> None:
        for _ in range(4):
            made = await asking.asked("1")
            await asyncio.sleep(0)
            if chance.random() < 0.7:
                await asking.accept(made, asking.new_id())
            else:
                await asking.decline(made)

    async def read(wallet: Wallet, limit: int) -> list[SyncPage]:
        pages: list[SyncPage] = []
        cursor: str | None = None
        while running or pages[-1].has_more:
            pages.append(await sync(books_of(bank), wallet=wallet, cursor=cursor, limit=limit))
            cursor = pages[-1].next_cursor
            await asyncio.sleep(0)
        return [*pages, *await brought(bank, wallet, cursor, limit)]

    reading = ((payer, 1), (payer, 7), (payee, 3))
    readers = [asyncio.create_task(read(wallet, limit)) for wallet, limit in reading]
    await asyncio.gather(*(write(one) for one in others), ask())
    running = False
    for (wallet, _), reader in zip(reading, readers, strict=True):
        pages = await reader
        lines = lines_in(pages)
        assert max(Counter(line.id for line in lines).values()) == 1
        assert lines == await whole_history(bank, wallet)
        # Of each request the last that was told is how it ended.
        told = {one.id: one.state for page in pages for one in page.requests}
        assert Counter(told.values()).keys() <= {RequestState.ACCEPTED, RequestState.DECLINED}
        assert len(told) == 4


async def test_a_change_of_a_transaction_that_ends_late_is_not_passed_over(bank):
    """The order of beginning is not the order of becoming visible."""
    asking = await Asking.begin(bank)
    slow = await asking.asked("1")
    (page,) = await brought(bank, asking.payee)
    cursor = page.next_cursor
    with psycopg.connect(sync_url(bank.database.url)) as late:
        # It has its number, and has not ended.
        late.execute("UPDATE wallets_payment_request SET reference = %s WHERE id = %s", (slow.id, slow.id))
        quick = await asking.asked("2")
        (meanwhile,) = await brought(bank, asking.payee, cursor, waits=False)
        assert not meanwhile.requests, "what is younger waits for what is under way"
        late.commit()
    (after,) = await brought(bank, asking.payee, meanwhile.next_cursor)
    assert {one.id for one in after.requests} == {slow.id, quick.id}
    assert next(one for one in after.requests if one.id == slow.id).reference == slow.id


async def test_a_request_is_brought_to_both_when_it_is_made_and_when_it_ends(bank):
    asking = await Asking.begin(bank)
    request = await asking.asked("7")
    cursors: dict[str, str] = {}
    for wallet in (asking.payer, asking.payee):
        (page,) = await brought(bank, wallet)
        assert [(one.id, one.state) for one in page.requests] == [(request.id, RequestState.OPEN)]
        cursors[wallet.handle] = page.next_cursor
    await asking.accept(request, asking.new_id())
    for wallet in (asking.payer, asking.payee):
        (page,) = await brought(bank, wallet, cursors[wallet.handle])
        assert [(one.id, one.state) for one in page.requests] == [(request.id, RequestState.ACCEPTED)]
        assert "7.000000" in {line.amount.format() for line in page.lines}


async def test_a_reference_that_names_somebody_else_s_request_brings_nothing_of_it(bank):
    asking = await Asking.begin(bank)
    request = await asking.asked("7")
    su, mg = await bank.wallet("su_su"), await bank.wallet("mg_mg")
    await bank.fund(su, "10", USDT)
    await bank.pay(bank.order(su, mg, "1", USDT, reference=request.id))
    for stranger in (su, mg):
        (page,) = await brought(bank, stranger)
        assert page.lines
        assert not page.requests


@pytest.mark.parametrize("cursor", ["", "x", "c3luYw", "A" * 38, "c3luYxjZ9EFCK4AAAAAAAAAAAxQAAAAAAAAAKh"])
async def test_what_no_sync_gave_is_refused(bank, cursor: Any):
    aye = await bank.wallet("aye")
    with pytest.raises(Refusal, match="cursor_malformed"):
        await sync(books_of(bank), wallet=aye, cursor=cursor)


async def test_a_cursor_of_another_wallet_is_a_time_like_any_other(bank):
    """Whoever is forced to log in elsewhere must not be given away by what a phone has stored."""
    aye, ko = await bank.wallet("aye"), await bank.wallet("ko_ko")
    await bank.fund(aye, "100", USDT)
    (page,) = await brought(bank, aye)
    await bank.fund(ko, "1", USDT)
    (other,) = await brought(bank, ko, page.next_cursor)
    assert [line.amount.format() for line in other.lines] == ["1.000000"]


class Interrupted:
    """The real ledger, on which somebody pays between two questions of one sync."""

    def __init__(self, bank: Bank, payers: list[Wallet], payee: Wallet) -> None:
        self._bank, self._payers, self._payee = bank, payers, payee

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank.ledger, name)

    async def get_balances_as_of(self, question: Any) -> Any:
        found = await self._bank.ledger.get_balances_as_of(question)
        for payer in self._payers:
            for asset in (USDT, DMMK):
                await self._bank.pay(self._bank.order(payer, self._payee, "1", asset))
        return found


async def test_what_is_paid_while_an_answer_is_made_comes_once_and_with_the_next_one(bank):
    aye, ko, su = [await bank.wallet(name) for name in ("aye", "ko_ko", "su_su")]
    for wallet in (ko, su):
        for asset in (USDT, DMMK):
            await bank.fund(wallet, "10000", asset)
    interrupted: Any = Interrupted(bank, [ko, su], aye)
    books = Books(bank.database, interrupted, bank.clock, bank.directory, bank.limits)
    pages: list[SyncPage] = []
    for limit in (1, 2, 7, 3, 50):
        cursor = pages[-1].next_cursor if pages else None
        pages.append(await sync(books, wallet=aye, cursor=cursor, limit=limit))
    pages += await brought(bank, aye, pages[-1].next_cursor)
    assert lines_in(pages) == await whole_history(bank, aye)
    assert len(lines_in(pages)) == 20
