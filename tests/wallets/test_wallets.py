"""Wallets: opened once, found by handle, person and account."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from foundation.assets import ASSETS, USDT
from foundation.errors import Refusal
from ledger.chart import AccountCode, system_account_id, wallet_account_id
from tests.wallets.conftest import Bank
from wallets.errors import WalletCode
from wallets.models import WalletRow
from wallets.wallets import Wallet, WalletDirectory, open_wallet


async def count(bank) -> int:
    async with bank.database.session() as session:
        return await session.scalar(select(func.count()).select_from(WalletRow)) or 0


async def code_of(opening) -> WalletCode:
    with pytest.raises(Refusal) as refusal:
        await opening
    assert isinstance(refusal.value.code, WalletCode)
    return refusal.value.code


def opening(bank: Bank, person_id: UUID, handle: str) -> Coroutine[Any, Any, Wallet]:
    return open_wallet(bank.database, bank.ledger, bank.clock, person_id=person_id, handle=handle)


async def test_a_wallet_has_an_account_in_every_asset(bank):
    wallet = await bank.wallet("@Aye")
    accounts = await bank.ledger.lookup_accounts([wallet_account_id(wallet.id, asset) for asset in ASSETS])
    assert [account.ledger for account in accounts] == [asset.ledger for asset in ASSETS]
    assert {account.user_data_128 for account in accounts} == {wallet.id.int}
    assert wallet.handle == "aye"


async def test_opening_again_gives_the_same_wallet(bank):
    person = await bank.person()
    first = await opening(bank, person, "@aye")
    bank.clock.advance(60)
    assert await opening(bank, person, "AYE") == first
    assert await count(bank) == 1


async def test_opening_with_another_handle_is_refused(bank):
    person = await bank.person()
    await opening(bank, person, "aye")
    assert await code_of(opening(bank, person, "other")) is WalletCode.WALLET_ALREADY_OPEN
    assert await count(bank) == 1


async def test_a_handle_belongs_to_one_wallet_whatever_its_case(bank):
    await bank.wallet("aye")
    assert await code_of(bank.wallet("@AYE")) is WalletCode.HANDLE_TAKEN


async def test_many_people_who_want_one_handle_at_once_get_one_wallet(bank):
    people = [await bank.person() for _ in range(10)]
    answers = await asyncio.gather(
        *(opening(bank, person, "aye") for person in people), return_exceptions=True
    )
    assert sum(isinstance(answer, Wallet) for answer in answers) == 1
    assert {answer.code for answer in answers if isinstance(answer, Refusal)} == {WalletCode.HANDLE_TAKEN}
    assert await count(bank) == 1


async def test_one_person_who_opens_many_times_at_once_gets_one_wallet(bank):
    person = await bank.person()
    answers = await asyncio.gather(*(opening(bank, person, "aye") for _ in range(10)))
    assert len({wallet.id for wallet in answers}) == 1
    assert await count(bank) == 1


class TestWalletDirectory:
    async def test_a_wallet_is_found_by_handle_person_and_account(self, bank):
        wallet = await bank.wallet("aye")
        account = wallet_account_id(wallet.id, USDT)
        for _ in range(2):
            assert await bank.directory.by_handle("aye") == wallet
            assert await bank.directory.by_person(wallet.person_id) == wallet
            assert await bank.directory.by_accounts([account]) == {account: wallet}
        fresh = WalletDirectory(bank.database, bank.ledger, bank.clock)
        assert await fresh.by_accounts([account]) == {account: wallet}

    async def test_accounts_that_are_no_wallets_are_left_out(self, bank):
        custody = system_account_id(AccountCode.CUSTODY, USDT)
        assert await bank.directory.by_accounts([custody, 12345]) == {}
        assert await bank.directory.by_accounts([]) == {}

    async def test_a_wallet_that_is_opened_later_is_found_then(self, bank):
        assert await bank.directory.by_handle("aye") is None
        account_owner = await bank.person()
        assert await code_of(bank.directory.by_person(account_owner)) is WalletCode.WALLET_NOT_OPEN
        wallet = await opening(bank, account_owner, "aye")
        assert await bank.directory.by_handle("aye") == wallet
        assert await bank.directory.by_person(account_owner) == wallet


class TestLookAlikes:
    async def test_a_handle_that_looks_like_anothers_is_refused(self, bank):
        await bank.wallet("ko_ko")
        for handle in ("k0_k0", "koko", "Ko__Ko", "ko_ko_"):
            assert await code_of(opening(bank, await bank.person(), handle)) is WalletCode.HANDLE_TOO_SIMILAR
        assert await code_of(opening(bank, await bank.person(), "KO_ko")) is WalletCode.HANDLE_TAKEN
        assert (await bank.wallet("ko_ka")).handle == "ko_ka"

    async def test_of_look_alikes_that_are_asked_for_at_once_one_is_opened(self, bank):
        handles = ["ko_ko", "k0ko", "kok0", "k0_k0", "ko__ko", "koko"]
        people = [await bank.person() for _ in handles]
        answers = await asyncio.gather(
            *(opening(bank, person, handle) for person, handle in zip(people, handles, strict=True)),
            return_exceptions=True,
        )
        refused = [answer.code for answer in answers if isinstance(answer, Refusal)]
        assert refused == [WalletCode.HANDLE_TOO_SIMILAR] * 5
        assert await count(bank) == 1

    async def test_a_wallet_without_a_skeleton_keeps_its_look_alikes_out_too(self, bank):
        await bank.wallet("mina")
        async with bank.database.session() as session:
            await session.execute(update(WalletRow).values(skeleton=None))
        assert await code_of(opening(bank, await bank.person(), "rnlna")) is WalletCode.HANDLE_TOO_SIMILAR
