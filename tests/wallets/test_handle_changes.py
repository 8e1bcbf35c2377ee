"""Handles that change: one wallet's for ever, whoever asks at whatever moment, in whatever process."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from foundation.assets import USDT
from foundation.changes import Changes
from foundation.errors import Refusal
from identity.pepper import PEPPER_BYTES, Pepper
from ledger.chart import wallet_account_id
from tests.wallets.bulk import business
from tests.wallets.conftest import Bank
from wallets.errors import WalletCode
from wallets.handle_changes import (
    CHANGES_MAX,
    CHANGES_WITHIN,
    LISTED_MAX,
    PAYS_FOR,
    change_handle,
    set_listed,
)
from wallets.payee_passes import PayeePasses, parse_pass, pass_text
from wallets.payments import payment_by_id
from wallets.wallets import Wallet, WalletDirectory

DAY = 86_400


async def change(bank: Bank, wallet: Wallet, handle: str):
    bank.clock.advance(1)
    made = await change_handle(bank.database, bank.clock, wallet=wallet, handle=handle)
    bank.clock.advance(1)
    return made


async def code_of(doing) -> object:
    with pytest.raises(Refusal) as refusal:
        await doing
    return refusal.value.code


@pytest.fixture
async def aye(bank: Bank) -> Wallet:
    wallet = await bank.wallet("aye_aye")
    await bank.fund(wallet, "100", USDT)
    return wallet


@pytest.fixture
async def ko(bank: Bank) -> Wallet:
    return await bank.wallet("ko_ko")


class TestChanging:
    async def test_the_new_handle_is_the_wallets_and_the_old_one_still_pays_it(self, bank, aye, ko):
        made = await change(bank, ko, "Ko_Min")
        assert (made.handle, made.listed, [each.handle for each in made.former]) == (
            "ko_min",
            True,
            ["ko_ko"],
        )
        assert made.former[0].pays_until - made.former[0].given_up_at == PAYS_FOR
        for handle in ("ko_min", "ko_ko"):
            paid = await bank.pay(bank.order(aye, handle, "1", USDT))
            assert (paid.payment.payee.id, paid.payment.payee.handle) == (ko.id, "ko_min")
        assert await bank.available(ko, USDT) == "2.000000"

    async def test_the_same_change_again_changes_nothing_and_counts_as_none(self, bank, ko):
        made = await change(bank, ko, "ko_min")
        for _ in range(CHANGES_MAX + 2):
            assert await change(bank, ko, "ko_min") == made

    async def test_nobody_else_gets_an_old_handle_or_one_that_looks_like_it_however_late(self, bank, ko):
        await change(bank, ko, "ko_min")
        bank.clock.advance(400 * DAY)
        su = await bank.wallet("su_su")
        assert await code_of(bank.wallet("ko_ko")) is WalletCode.HANDLE_TAKEN
        assert await code_of(change(bank, su, "ko_ko")) is WalletCode.HANDLE_TAKEN
        for handle in ("k0_k0", "koko_"):
            assert await code_of(bank.wallet(handle)) is WalletCode.HANDLE_TOO_SIMILAR
            assert await code_of(change(bank, su, handle)) is WalletCode.HANDLE_TOO_SIMILAR

    async def test_after_ninety_days_an_old_handle_is_nobodys_until_its_wallet_takes_it_again(
        self, bank, aye, ko
    ):
        await change(bank, ko, "ko_min")
        bank.clock.advance(int(PAYS_FOR.total_seconds()) - 2)
        await bank.pay(bank.order(aye, "ko_ko", "1", USDT))
        bank.clock.advance(2)
        assert await code_of(bank.pay(bank.order(aye, "ko_ko", "1", USDT))) is WalletCode.PAYEE_UNKNOWN
        await change(bank, ko, "ko_ko")
        assert (await bank.pay(bank.order(aye, "ko_ko", "1", USDT))).payment.payee.id == ko.id

    async def test_a_handle_is_changed_three_times_in_thirty_days(self, bank, ko):
        for handle in ("ko_one", "ko_two", "ko_ko"):
            await change(bank, ko, handle)
        with pytest.raises(Refusal) as refusal:
            await change(bank, ko, "ko_four")
        assert refusal.value.code is WalletCode.TOO_MANY_HANDLE_CHANGES
        wait = int(str(refusal.value.data["retry_after_seconds"]))
        assert 0 < wait < CHANGES_WITHIN.total_seconds()
        bank.clock.advance(wait)
        assert (await change(bank, ko, "ko_four")).handle == "ko_four"

    @pytest.mark.usefixtures("aye")
    async def test_reserved_and_foreign_handles_and_nonsense_are_refused_and_change_nothing(self, bank, ko):
        for handle, code in (
            ("nugpay_help", WalletCode.HANDLE_RESERVED),
            ("aye_aye", WalletCode.HANDLE_TAKEN),
            ("ayeaye", WalletCode.HANDLE_TOO_SIMILAR),
            ("no body", WalletCode.HANDLE_MALFORMED),
        ):
            assert await code_of(change(bank, ko, handle)) is code
        assert await bank.directory.by_handle("ko_ko") == ko

    async def test_more_changes_than_are_shown_are_all_kept(self, bank, ko):
        for number in range(LISTED_MAX + 2):
            bank.clock.advance(11 * DAY)
            made = await change(bank, ko, f"ko_n{chr(ord('a') + number)}")
        assert len(made.former) == LISTED_MAX
        assert await code_of(bank.wallet("ko_ko")) is WalletCode.HANDLE_TAKEN


class TestAtOnce:
    async def test_of_many_wallets_that_want_one_handle_at_once_one_gets_it(self, bank):
        wallets = [await bank.wallet(f"ko_n{chr(ord('a') + number)}") for number in range(8)]
        answers = await asyncio.gather(
            *(change_handle(bank.database, bank.clock, wallet=each, handle="golden") for each in wallets),
            return_exceptions=True,
        )
        refused = [each.code for each in answers if isinstance(each, Refusal)]
        assert refused == [WalletCode.HANDLE_TAKEN] * 7

    async def test_changes_of_one_wallet_at_once_are_counted_one_after_the_other(self, bank, ko):
        answers = await asyncio.gather(
            *(
                change_handle(bank.database, bank.clock, wallet=ko, handle=f"ko_n{chr(ord('a') + number)}")
                for number in range(8)
            ),
            return_exceptions=True,
        )
        refused = [each.code for each in answers if isinstance(each, Refusal)]
        assert refused == [WalletCode.TOO_MANY_HANDLE_CHANGES] * (8 - CHANGES_MAX)

    async def test_the_database_itself_gives_an_old_handle_to_nobody(self, bank, ko):
        await change(bank, ko, "ko_min")
        su = await bank.wallet("su_su")
        for handle, looks in (("ko_ko", "xxx"), ("k0_ko", "koko")):
            with pytest.raises(IntegrityError, match="another wallet"):
                async with bank.database.session() as session:
                    await session.execute(
                        text("UPDATE wallets_wallet SET handle = :handle, skeleton = :looks WHERE id = :id"),
                        {"handle": handle, "looks": looks, "id": su.id},
                    )


class TestWhatHasHappened:
    async def test_a_payment_is_told_with_the_handles_of_its_time(self, bank, aye, ko):
        before = (await bank.pay(bank.order(aye, ko, "1", USDT))).payment
        await change(bank, ko, "ko_min")
        after = (await bank.pay(bank.order(aye, "ko_min", "1", USDT))).payment
        for payment, handle in ((before, "ko_ko"), (after, "ko_min")):
            found = await payment_by_id(bank.ledger, bank.directory, wallet=aye, payment_id=payment.id)
            assert found.payee.handle_at(found.created_at_ns) == handle

    async def test_the_same_payment_again_is_the_same_after_its_handle_has_ended(self, bank, aye, ko):
        order = bank.order(aye, ko, "1", USDT)
        made = await bank.pay(order)
        await change(bank, ko, "ko_min")
        bank.clock.advance(int(PAYS_FOR.total_seconds()))
        again = await bank.pay(order)
        assert (again.replayed, again.payment.id) == (True, made.payment.id)
        assert await bank.available(ko, USDT) == "1.000000"

    async def test_somebody_elses_payment_does_not_tell_whose_an_ended_handle_was(self, bank, aye, ko):
        order = bank.order(aye, ko, "1", USDT)
        await bank.pay(order)
        await change(bank, ko, "ko_min")
        bank.clock.advance(int(PAYS_FOR.total_seconds()))
        su = await bank.wallet("su_su")
        await bank.fund(su, "5", USDT)
        asked = bank.order(su, "ko_ko", "1", USDT, id=order.id)
        assert await code_of(bank.pay(asked)) is WalletCode.PAYEE_UNKNOWN


class TestRemembering:
    async def test_a_process_that_missed_the_change_pays_the_same_wallet(self, bank, aye, ko):
        """The worst a stale memory does: a handle of before still names the wallet that had it."""
        changes = Changes(bank.database.url)
        stale = WalletDirectory(bank.database, bank.ledger, bank.clock, changes)
        async with changes.followed():
            while not changes.are_followed:
                await asyncio.sleep(0.01)
            # Every notice from here on is lost, as if the process had been cut off just now.
            changes._forgetters.clear()
            assert (await stale.by_handle("ko_ko")) == ko
            await change(bank, ko, "ko_min")
            su = await bank.wallet("su_su")
            assert await code_of(change(bank, su, "ko_ko")) is WalletCode.HANDLE_TAKEN
            assert changes.are_followed
            for handle in ("ko_ko", "ko_min"):
                found = await stale.payee(handle, asker=aye)
                assert found is not None
                assert found.id == ko.id

    async def test_a_read_that_comes_before_the_notice_leaves_no_old_handle_behind(self, bank, ko):
        changes = Changes(bank.database.url)
        directory = WalletDirectory(bank.database, bank.ledger, bank.clock, changes)
        async with changes.followed():
            while not changes.are_followed:
                await asyncio.sleep(0.01)
            await directory.by_handle("ko_ko")
            changes._forgetters.clear()
            await change(bank, ko, "ko_min")
            while True:
                found = await directory.by_handle("ko_min")
                if directory._by_id[ko.id].handle == "ko_min":
                    break
                await asyncio.sleep(0.01)
            assert found is not None
            assert set(directory._by_handle) == {"ko_min"}


class TestUnlisted:
    @pytest.fixture
    def passes(self) -> PayeePasses:
        return PayeePasses(Pepper(b"p" * PEPPER_BYTES))

    @pytest.fixture
    def directory(self, bank, passes) -> WalletDirectory:
        return WalletDirectory(bank.database, bank.ledger, bank.clock, None, passes)

    async def hidden(self, bank: Bank, wallet: Wallet, directory: WalletDirectory) -> Wallet:
        bank.clock.advance(1)
        await set_listed(bank.database, bank.clock, wallet=wallet, listed=False)
        found = await directory.by_handle(wallet.handle)
        assert found is not None
        return found

    async def test_an_unlisted_wallet_is_found_by_itself_and_with_its_pass_alone(
        self, bank, aye, ko, directory
    ):
        unlisted = await self.hidden(bank, ko, directory)
        shown = directory.pass_of(unlisted)
        assert shown is not None
        assert await directory.payee("ko_ko", asker=aye) is None
        assert await directory.payee("ko_ko", asker=aye, shown=bytes(10)) is None
        assert await directory.payee("ko_ko", asker=aye, shown=shown) == unlisted
        assert await directory.payee("ko_ko", asker=unlisted) == unlisted
        assert parse_pass(pass_text(shown)) == shown
        assert parse_pass("none") is None is parse_pass("AAAA")

    async def test_the_pass_of_one_wallet_opens_no_other_one(self, bank, aye, ko, directory):
        shown = directory.pass_of(await self.hidden(bank, ko, directory))
        await self.hidden(bank, aye, directory)
        assert await directory.payee("aye_aye", shown=shown) is None

    async def test_a_pass_stays_with_another_handle_and_ends_when_listed_and_unlisted_again(
        self, bank, aye, ko, directory
    ):
        shown = directory.pass_of(await self.hidden(bank, ko, directory))
        again = directory.pass_of(await self.hidden(bank, ko, directory))
        assert again == shown
        await change(bank, ko, "ko_min")
        for handle in ("ko_ko", "ko_min"):
            assert (await directory.payee(handle, asker=aye, shown=shown)) is not None
        await set_listed(bank.database, bank.clock, wallet=ko, listed=True)
        assert (await directory.payee("ko_min", asker=aye)) is not None
        await self.hidden(bank, ko, directory)
        assert await directory.payee("ko_min", asker=aye, shown=shown) is None

    async def test_without_passes_nothing_opens_an_unlisted_wallet(self, bank, aye, ko, directory):
        shown = directory.pass_of(await self.hidden(bank, ko, directory))
        assert await bank.directory.payee("ko_ko", asker=aye, shown=shown) is None

    async def test_it_is_paid_by_its_id_and_its_payments_are_found_again(self, bank, aye, ko, directory):
        order = bank.order(aye, ko, "1", USDT)
        await bank.pay(order)
        unlisted = await self.hidden(bank, ko, directory)
        assert (await bank.pay(order)).replayed
        assert await code_of(bank.pay(bank.order(aye, ko, "1", USDT))) is WalletCode.PAYEE_UNKNOWN
        await bank.pay(replace(bank.order(aye, ko, "1", USDT), payee=unlisted))
        assert await bank.available(ko, USDT) == "2.000000"
        account = wallet_account_id(ko.id, USDT)
        assert (await directory.by_accounts([account]))[account].id == ko.id


async def test_a_file_of_payments_pays_old_handles_and_knows_no_unlisted_wallet(bank, aye, ko):
    mill = await business(bank)
    await change(bank, ko, "ko_min")
    await set_listed(bank.database, bank.clock, wallet=aye, listed=False)
    await change(bank, aye, "aye_one")
    bulk = await mill.upload("ko_ko,1,a", "ko_min,1,b")
    assert bulk.wrong == 0
    await mill.release(bulk)
    await mill.advance()
    assert await bank.available(ko, USDT) == "2.000000"
    wrong = await mill.upload("aye_one,1,a", "aye_aye,1,b", "no_no,1,c")
    assert await mill.codes(wrong) == [WalletCode.PAYEE_UNKNOWN] * 3


def test_the_time_in_which_changes_are_counted_is_shorter_than_old_handles_pay():
    """Whoever changes as often as possible has at most nine handles at a time."""
    assert PAYS_FOR / CHANGES_WITHIN * CHANGES_MAX == 9
    assert timedelta(days=1) < CHANGES_WITHIN < PAYS_FOR
