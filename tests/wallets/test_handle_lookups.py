"""Looking a handle up: what a payer sees, the same work for nobody, and a bound on guessing."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, select

from foundation.assets import ASSETS, DMMK, USDT
from foundation.errors import Refusal, Retryable
from foundation.ids import uuid7
from ledger.chart import TransferCode, wallet_account_id
from ledger.contract import Account, CreateTransferStatus, Transfer, TransferFlags
from tests.wallets.conftest import Bank
from wallets.errors import WalletCode
from wallets.handle_lookups import LOOKUPS_PER_MINUTE, HandleLookups, LookupBooks, Payee, look_up_handle
from wallets.models import HandleLookupsRow
from wallets.request_errors import AskingCode
from wallets.wallets import Wallet


@pytest.fixture
async def aye(bank):
    return await bank.wallet("aye")


@pytest.fixture
async def ko(bank):
    return await bank.wallet("ko_ko")


async def looked_up(bank: Bank, payer: Wallet, handle: str, lookups: HandleLookups | None = None) -> Payee:
    lookups = lookups or HandleLookups(bank.database, bank.clock)
    return await look_up_handle(books(bank, lookups), payer=payer, handle=handle)


def books(bank: Bank, lookups: HandleLookups, ledger: Any = None) -> LookupBooks:
    return LookupBooks(bank.database, ledger or bank.ledger, bank.clock, lookups, bank.directory)


async def code_of(asking: Any) -> Any:
    with pytest.raises(Refusal) as refusal:
        await asking
    return refusal.value.code


async def test_a_payer_sees_the_handle_and_in_what_it_can_be_paid(bank, aye, ko):
    assert await looked_up(bank, aye, "@KO_ko") == Payee("ko_ko", ASSETS)


async def test_ones_own_handle_is_shown_and_cannot_be_paid(bank, aye):
    assert await looked_up(bank, aye, "@aye") == Payee("aye", ())


async def test_an_account_that_is_closed_cannot_be_paid(bank, aye, ko):
    (result,) = await bank.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(bank.clock).int,
                debit_account_id=wallet_account_id(ko.id, DMMK),
                credit_account_id=wallet_account_id(aye.id, DMMK),
                ledger=DMMK.ledger,
                code=TransferCode.CORRECTION,
                flags=TransferFlags.PENDING | TransferFlags.CLOSING_DEBIT,
            )
        ]
    )
    assert result.status is CreateTransferStatus.CREATED
    found = await looked_up(bank, aye, "ko_ko")
    assert set(found.assets) == set(ASSETS) - {DMMK}
    assert USDT in found.assets


async def test_nobody_and_nonsense_are_refused(bank, aye):
    assert await code_of(looked_up(bank, aye, "nobody_here")) is AskingCode.HANDLE_NOT_FOUND
    assert await code_of(looked_up(bank, aye, "no body")) is WalletCode.HANDLE_MALFORMED


@contextmanager
def statements(bank: Bank) -> Iterator[list[str]]:
    """Every statement that goes to the database meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = bank.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


class CountingLedger:
    """The ledger, and how many accounts it was asked for."""

    def __init__(self, bank: Bank) -> None:
        self._ledger = bank.ledger
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        self.asked.append(len(set(ids)))
        return await self._ledger.lookup_accounts(ids)


async def test_a_handle_that_nobody_has_takes_the_same_work_as_one_that_was_found_before(bank, aye, ko):
    lookups = HandleLookups(bank.database, bank.clock)
    await bank.directory.by_handle("ko_ko")
    work = []
    for handle in ("ko_ko", "ko_ko", "nobody_here", "aye"):
        ledger: Any = CountingLedger(bank)
        with statements(bank) as seen:
            asking = look_up_handle(books(bank, lookups, ledger), payer=aye, handle=handle)
            await asyncio.gather(asking, return_exceptions=True)
        work.append((tuple(seen), tuple(ledger.asked)))
    assert len(set(work)) == 1
    assert len(work[0][0]) == 3
    assert work[0][1] == (len(ASSETS),)


class TestBound:
    async def test_after_so_many_in_a_minute_nothing_is_answered_and_then_again(self, bank, aye):
        await bank.wallet("ko_ko")
        lookups = HandleLookups(bank.database, bank.clock)
        for i in range(LOOKUPS_PER_MINUTE):
            if i % 2:
                await looked_up(bank, aye, "ko_ko", lookups)
            else:
                assert await code_of(looked_up(bank, aye, f"nobody_{i}", lookups)) is (
                    AskingCode.HANDLE_NOT_FOUND
                )
        with pytest.raises(Refusal) as refusal:
            await looked_up(bank, aye, "ko_ko", lookups)
        assert refusal.value.code is AskingCode.TOO_MANY_LOOKUPS
        assert refusal.value.retryable is Retryable.YES
        left_seconds = refusal.value.data["retry_after_seconds"]
        assert isinstance(left_seconds, int)
        assert 1 <= left_seconds <= 60
        assert await code_of(looked_up(bank, aye, "nobody_here", lookups)) is AskingCode.TOO_MANY_LOOKUPS

        bank.clock.advance(left_seconds)
        assert (await looked_up(bank, aye, "ko_ko", lookups)).handle == "ko_ko"

    async def test_processes_share_the_count_and_people_do_not(self, bank, aye, ko):
        processes = [HandleLookups(bank.database, bank.clock) for _ in range(4)]
        asked = [looked_up(bank, aye, "ko_ko", processes[i % 4]) for i in range(LOOKUPS_PER_MINUTE + 20)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        kinds = Counter(type(answer).__name__ for answer in answers)
        assert kinds == {"Payee": LOOKUPS_PER_MINUTE, "Refusal": 20}
        assert (await looked_up(bank, ko, "aye", processes[0])).handle == "aye"

    async def test_there_is_one_row_a_person_whatever_is_asked(self, bank, aye, ko):
        for _ in range(5):
            await looked_up(bank, aye, "ko_ko")
            await looked_up(bank, ko, "aye")
            bank.clock.advance(61)
        async with bank.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(HandleLookupsRow)) == 2

    async def test_a_process_that_knows_of_it_refuses_without_asking_and_forgets_in_time(self, bank, aye):
        lookups = HandleLookups(bank.database, bank.clock)
        lookups.check(aye.person_id)
        for _ in range(LOOKUPS_PER_MINUTE):
            await lookups.count(aye.person_id)
        lookups.check(aye.person_id)
        assert await code_of(lookups.count(aye.person_id)) is AskingCode.TOO_MANY_LOOKUPS
        with statements(bank) as seen, pytest.raises(Refusal) as refusal:
            lookups.check(aye.person_id)
        assert (refusal.value.code, seen) == (AskingCode.TOO_MANY_LOOKUPS, [])
        bank.clock.advance(60)
        lookups.check(aye.person_id)
