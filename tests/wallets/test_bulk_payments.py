"""Bulk payments: checked before anything moves, released by a second device, paid line by line once."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text, update

from foundation.assets import THB, USDT
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, system_account_id
from ledger.contract import Transfer, TransferFlags
from ledger.interface import LedgerUnavailable
from tests.wallets.bulk import Business, business
from tests.wallets.conftest import Bank
from wallets.bulk_execution import Records, advance_bulk_payments
from wallets.bulk_payments import (
    BulkState,
    LineState,
    bulk_payment_by_id,
    line_payment_id,
    list_bulk_lines,
    list_bulk_payments,
)
from wallets.bulk_uploads import upload_bulk_payment
from wallets.history import history
from wallets.history_filters import HistoryFilter, HistoryKind
from wallets.models import WalletRow
from wallets.payments import payment_by_id
from wallets.tiers import TIER_LIMITS, Tier
from wallets.wallets import wallet_account


@pytest.fixture
async def mill(bank: Bank) -> Business:
    for handle in ("ko_ko", "ma_hla", "su_su"):
        await bank.wallet(handle)
    return await business(bank)


async def refused(doing) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await doing
    return caught.value


async def held(bank: Bank, *handles: str) -> list[str]:
    wallets = [await bank.directory.by_handle(handle) for handle in handles]
    return [await bank.available(wallet, USDT) for wallet in wallets if wallet is not None]


async def fees(bank: Bank) -> int:
    (account,) = await bank.ledger.lookup_accounts([system_account_id(AccountCode.FEES, USDT)])
    return account.credits_posted


async def total_held(bank: Bank) -> int:
    """Everything that wallets and fees hold: it is what was deposited, whatever happens."""
    async with bank.database.session() as session:
        wallets = (await session.scalars(text("SELECT id FROM wallets_wallet"))).all()
    accounts = await bank.ledger.lookup_accounts([wallet_account(each, USDT) for each in wallets])
    return sum(each.credits_posted - each.debits_posted for each in accounts) + await fees(bank)


async def close(bank: Bank, handle: str) -> None:
    wallet = await bank.directory.by_handle(handle)
    assert wallet is not None
    (result,) = await bank.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(bank.clock).int,
                debit_account_id=system_account_id(AccountCode.CUSTODY, USDT),
                credit_account_id=wallet_account(wallet.id, USDT),
                amount=0,
                ledger=USDT.ledger,
                code=TransferCode.DEPOSIT,
                flags=int(TransferFlags.CLOSING_CREDIT | TransferFlags.PENDING),
            )
        ]
    )
    assert result.status.name == "CREATED"


async def in_tier(bank: Bank, handle: str, tier: Tier) -> None:
    async with bank.database.session() as session:
        await session.execute(update(WalletRow).where(WalletRow.handle == handle).values(tier=tier))


class TestUpload:
    async def test_a_good_file_is_checked_and_moves_nothing(self, bank, mill):
        before = await bank.transfers()
        bulk = await mill.upload("@ko_ko,25.00,a", "ma_hla,1,b")
        assert (bulk.state, bulk.lines, bulk.wrong, bulk.done) == (BulkState.CHECKED, 2, 0, 0)
        assert (bulk.total.format(), bulk.fees.format()) == ("26.000000", "0.035000")
        assert {line.state for line in await mill.lines(bulk)} == {LineState.WAITING}
        assert (await mill.advance()).lines == 0
        assert await bank.transfers() == before

    async def test_every_wrong_line_is_told_with_what_is_wrong(self, bank, mill):
        await close(bank, "su_su")
        most = TIER_LIMITS[Tier.BUSINESS][USDT].per_payment // 10**6
        bulk = await mill.upload(
            "ko_ko,1,a", "nobody_here,1,a", "the_mill,1,a", "su_su,1,a", "ko_ko,0.0000001,a", "=1,1,a",
            f"ko_ko,{most}.000001,b", f"ko_ko,{most},b", "ko_ko,1,a",
        )  # fmt: skip
        assert (bulk.state, bulk.lines, bulk.wrong) == (BulkState.WRONG, 9, 7)
        assert await mill.codes(bulk) == [
            None, "payee_unknown", "payee_is_payer", "wallet_closed", "amount_too_precise",
            "bulk_cell_formula", "greater_than_transaction_max_value", None, "bulk_line_repeated",
        ]  # fmt: skip
        assert [line.number for line in await mill.lines(bulk, state=LineState.WRONG)] == [
            3,
            4,
            5,
            6,
            7,
            8,
            10,
        ]
        assert (await refused(mill.release(bulk))).code == "bulk_lines_wrong"

    async def test_the_same_file_again_is_the_same_and_another_is_named(self, bank, mill):
        order = mill.order("ko_ko,1,a")
        first, second = [await upload_bulk_payment(mill.books, order) for _ in range(2)]
        assert (first.replayed, second.replayed) == (False, True)
        assert first.bulk_payment == second.bulk_payment
        for change, field in [
            ({"content": order.content + b"\n"}, "digest"),
            ({"asset": THB}, "asset"),
            ({"made_by": mill.checker}, "device"),
        ]:
            told = await refused(upload_bulk_payment(mill.books, replace(order, **change)))
            assert (told.code, told.data) == ("bulk_id_used_differently", {"field": field})
        other = await business(bank, "the_forge", None)
        order = replace(order, payer=other.wallet, made_by=other.maker)
        assert (await refused(upload_bulk_payment(mill.books, order))).code == "bulk_id_taken"

    async def test_the_same_file_many_times_at_once_is_kept_once(self, mill):
        order = mill.order(*(f"ko_ko,1,{number}" for number in range(50)))
        made = await asyncio.gather(*(upload_bulk_payment(mill.books, order) for _ in range(8)))
        assert sorted(each.replayed for each in made) == [False] + [True] * 7
        assert len(await mill.lines(made[0].bulk_payment)) == 50

    async def test_only_businesses_bring_files_and_only_under_ids_of_their_own(self, mill):
        small = replace(mill.wallet, tier=Tier.STANDARD)
        order = replace(mill.order("ko_ko,1,a"), payer=small)
        assert (await refused(upload_bulk_payment(mill.books, order))).code == "bulk_tier_needed"
        order = mill.order("ko_ko,1,a", id=uuid4())
        assert (await refused(upload_bulk_payment(mill.books, order))).code == "payment_id_malformed"

    async def test_a_file_of_guesses_is_answered_once_and_the_next_one_waits(self, bank, mill):
        books = mill.books
        guesses = [f"guess_{number},1,a" for number in range(200)]
        await upload_bulk_payment(books, mill.order(*guesses))
        told = await refused(upload_bulk_payment(books, mill.order("ko_ko,1,a")))
        assert told.code == "too_many_lookups"
        bank.clock.advance(60)
        assert not (await upload_bulk_payment(books, mill.order("ko_ko,1,a"))).replayed

    async def test_nobody_else_sees_it(self, bank, mill):
        bulk = await mill.upload("ko_ko,1,a")
        ko = await bank.directory.by_handle("ko_ko")
        for look in (
            bulk_payment_by_id(bank.database, wallet=ko, bulk_id=bulk.id),
            list_bulk_lines(bank.database, wallet=ko, bulk_id=bulk.id),
            list_bulk_payments(bank.database, wallet=ko, before=bulk.id),
            mill.release(bulk, payer=ko),
        ):
            assert (await refused(look)).code == "bulk_not_found"

    async def test_lists_have_the_newest_first_page_by_page(self, bank, mill):
        made = []
        for number in range(5):
            bank.clock.advance(1)
            made.append((await mill.upload(f"ko_ko,1,{number}")).id)
        seen, before = [], None
        while True:
            page = await list_bulk_payments(bank.database, wallet=mill.wallet, before=before, limit=2)
            seen += [each.id for each in page.bulk_payments]
            if page.next_before is None:
                break
            before = page.next_before
        assert seen == made[::-1]


class TestRelease:
    async def test_the_maker_cannot_release_and_a_second_device_can(self, mill):
        bulk = await mill.upload("ko_ko,1,a")
        assert (await refused(mill.release(bulk, released_by=mill.maker))).code == "bulk_released_by_maker"
        released = await mill.release(bulk)
        assert released.state is BulkState.RELEASED
        assert await mill.release(bulk) == released
        assert (await refused(mill.release(bulk, released_by=mill.maker))).code == "bulk_released_by_maker"

    async def test_a_release_means_one_file_and_one_sum(self, mill):
        bulk = await mill.upload("ko_ko,1,a")
        changes: list[tuple[dict[str, object], str]] = [
            ({"digest": bytes(32)}, "digest"),
            ({"total": "1.000001"}, "total"),
        ]
        for change, field in changes:
            told = await refused(mill.release(bulk, **change))
            assert (told.code, told.data) == ("bulk_released_differently", {"field": field})
        assert (await mill.look(bulk)).state is BulkState.CHECKED

    async def test_what_the_balance_does_not_cover_is_not_begun_and_can_be_later(self, bank, mill):
        bulk = await mill.upload("ko_ko,1000,a")
        told = await refused(mill.release(bulk))
        assert (told.code, told.data["needed"]) == ("bulk_exceeds_balance", "1001.000000")
        await bank.fund(mill.wallet, "1", USDT)
        assert (await mill.release(bulk)).state is BulkState.RELEASED

    async def test_what_the_limits_do_not_leave_room_for_is_not_begun(self, bank, mill):
        limits = TIER_LIMITS[Tier.BUSINESS][USDT]
        await in_tier(bank, "ko_ko", Tier.BUSINESS)
        await bank.fund(mill.wallet, "1000000", USDT)
        count = limits.day // limits.per_payment
        most = limits.per_payment // 10**6
        full = await mill.upload(*(f"ko_ko,{most},{number}" for number in range(count)))
        more = await mill.upload(*(f"ko_ko,{most},{number}" for number in range(count)), "ko_ko,0.000001,a")
        assert (await refused(mill.release(more))).code == "bulk_exceeds_limit"
        await mill.release(full)
        await mill.advance()
        assert (await mill.look(full)).paid == count
        assert (await refused(mill.release(await mill.upload("ko_ko,1,a")))).code == "bulk_exceeds_limit"

    async def test_many_releases_at_once_pay_once(self, bank, mill):
        bulk = await mill.upload("ko_ko,1,a")
        await asyncio.gather(*(mill.release(bulk) for _ in range(8)))
        await mill.advance()
        assert await held(bank, "ko_ko") == ["1.000000"]


class TestExecution:
    async def test_every_line_is_a_payment_as_any_other(self, bank, mill):
        bulk = await mill.upload("ko_ko,25.00,November", "ma_hla,1,b", "ko_ko,25.00,December")
        await mill.release(bulk)
        report = await mill.advance(lines_at_once=2)
        assert (report.files, report.lines, report.paid) == (1, 3, 3)
        done = await mill.look(bulk)
        assert (done.state, done.done, done.paid) == (BulkState.FINISHED, 3, 3)
        assert (done.paid_total, done.finished_at) == (bulk.total, bank.clock.now())
        assert await held(bank, "ko_ko", "ma_hla", "the_mill") == ["50.000000", "1.000000", "948.940000"]
        ko = await bank.directory.by_handle("ko_ko")
        for line in await mill.lines(bulk, state=LineState.PAID):
            assert line.payment_id == line_payment_id(bulk.id, line.number)
            payment = await payment_by_id(
                bank.ledger, bank.directory, wallet=mill.wallet, payment_id=line.payment_id
            )
            assert (payment.amount, payment.fee, payment.reference) == (line.amount, line.fee, bulk.id)
            assert payment.payee.handle == line.payee
        page = await history(bank.ledger, bank.directory, wallet=ko, only=HistoryFilter(asset=USDT))
        assert [(each.kind, each.counterparty) for each in page.lines] == [
            (HistoryKind.PAYMENT, "the_mill")
        ] * 2

    async def test_a_line_that_cannot_be_paid_any_more_is_refused_alone(self, bank, mill):
        bulk = await mill.upload("ko_ko,600,a", "su_su,1,a", "ma_hla,398,a", "ma_hla,2,b", "ma_hla,0.5,c")
        await bank.fund(mill.wallet, "3", USDT)
        await mill.release(bulk)
        await close(bank, "su_su")
        await bank.pay(bank.order(mill.wallet, "ko_ko", "2", USDT))
        await mill.advance(lines_at_once=2)
        assert await mill.codes(bulk) == [None, "wallet_closed", None, "insufficient_funds", None]
        done = await mill.look(bulk)
        assert (done.state, done.paid, done.paid_total.format()) == (BulkState.FINISHED, 3, "998.500000")
        assert [line.number for line in await mill.lines(bulk, state=LineState.REFUSED)] == [3, 5]

    async def test_a_line_that_would_fill_its_payee_above_the_ceiling_is_refused_alone(self, bank, mill):
        await bank.fund(await bank.wallet("starter"), "4900", USDT)
        await in_tier(bank, "starter", Tier.STARTER)
        bulk = await mill.upload("ko_ko,60,a", "starter,60,b", "starter,90,c", "starter,40,d")
        await mill.release(bulk)
        await mill.advance()
        assert await mill.codes(bulk) == [None, None, "payee_balance_limit_exceeded", None]
        assert await held(bank, "ko_ko", "starter") == ["60.000000", "5000.000000"]

    async def test_the_sum_takes_its_room_once_and_a_race_for_it_refuses_every_line(self, bank, mill):
        limits = TIER_LIMITS[Tier.BUSINESS][USDT]
        await in_tier(bank, "ko_ko", Tier.BUSINESS)
        await bank.fund(mill.wallet, "1000000", USDT)
        most = limits.per_payment // 10**6
        bulks = [await mill.upload(*(f"ko_ko,{most},{number}{name}" for number in range(3))) for name in "ab"]
        for bulk in bulks:
            await mill.release(bulk)
            bank.clock.advance(1)
        await mill.advance(lines_at_once=2)
        assert [(await mill.look(bulk)).paid for bulk in bulks] == [3, 0]
        assert await mill.codes(bulks[1]) == ["daily_value_limit_exceeded"] * 3
        left = (await bank.limits.rooms(mill.wallet, USDT))[0].left
        assert left.minor == limits.day - 3 * limits.per_payment

    async def test_files_are_paid_in_the_order_of_their_release(self, bank, mill):
        first, second = await mill.upload("ko_ko,900,a"), await mill.upload("ma_hla,900,a")
        await mill.release(second)
        bank.clock.advance(1)
        await mill.release(first)
        await mill.advance()
        assert [(await mill.look(each)).paid for each in (first, second)] == [0, 1]

    async def test_an_asset_without_many_decimals_and_fees_at_their_least_are_paid_too(self, bank, mill):
        await bank.fund(mill.wallet, "100", THB)
        bulk = await mill.upload("ko_ko,1.25,a", "ma_hla,2,a", asset=THB)
        await mill.release(bulk)
        await mill.advance()
        assert (await mill.look(bulk)).paid == 2
        assert bulk.fees.format() == "0.50"


class Death(Exception):
    """The process dies here."""


class Mortal:
    """A ledger whose caller dies before or after its n-th request of lines."""

    def __init__(self, bank: Bank, at: int, *, after: bool) -> None:
        self._ledger, self._left, self._after = bank.ledger, at, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def create_transfer_records(self, records: Records) -> Records:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Death
        answers = await self._ledger.create_transfer_records(records)
        if self._left == 0:
            raise Death
        return answers


class TestDeath:
    LINES = (
        *(f"ko_ko,{number + 1},a" for number in range(5)),
        "su_su,1,a",
        "ma_hla,970,a",
        *(f"ma_hla,{number + 1},b" for number in range(5)),
    )

    @pytest.mark.parametrize("at", range(1, 8))
    @pytest.mark.parametrize("after", [False, True])
    async def test_wherever_it_dies_each_line_is_decided_once(self, bank, mill, at, after):
        before = await total_held(bank)
        bulk = await mill.upload(*self.LINES)
        await bank.fund(mill.wallet, "30", USDT)
        await mill.release(bulk)
        await close(bank, "su_su")
        await bank.pay(bank.order(mill.wallet, "ma_hla", "28", USDT))
        tools = mill.tools(Mortal(bank, at, after=after))
        if at <= 6:
            with pytest.raises(Death):
                await advance_bulk_payments(tools, lines_at_once=2)
            dead = await mill.look(bulk)
            assert dead.done == 2 * (at - 1)
            assert len(await mill.lines(bulk, state=LineState.WAITING)) == len(self.LINES) - dead.done
        # What can be paid now could not be when its line was decided, and stays refused.
        assert await mill.advance(lines_at_once=3) is not None
        done = await mill.look(bulk)
        assert (done.state, done.done) == (BulkState.FINISHED, len(self.LINES))
        lines = await mill.lines(bulk)
        assert [line.code in {"wallet_closed", "payment_already_refused"} for line in lines][5]
        assert (
            sum(line.amount.minor for line in lines if line.state is LineState.PAID) == done.paid_total.minor
        )
        paid = sum(line.amount.minor + line.fee.minor for line in lines if line.state is LineState.PAID)
        assert await bank.available(mill.wallet, USDT) == _decimal(1_002_000_000 - 28_000 - paid)
        assert await total_held(bank) == before + 30 * 10**6
        for line in lines:
            found = await bank.ledger.lookup_transfers([line_payment_id(bulk.id, line.number).int])
            assert bool(found) == (line.state is LineState.PAID)

    async def test_two_at_once_pay_each_line_once_and_one_of_them_stops(self, bank, mill):
        bulk = await mill.upload(*(f"ko_ko,1,{number}" for number in range(40)))
        await mill.release(bulk)
        ended = await asyncio.gather(
            *(mill.advance(lines_at_once=4) for _ in range(3)), return_exceptions=True
        )
        assert {type(each) for each in ended if isinstance(each, BaseException)} <= {InvariantViolation}
        await mill.advance()
        assert (await mill.look(bulk)).paid == 40
        assert await held(bank, "ko_ko") == ["40.000000"]

    async def test_a_ledger_that_does_not_answer_leaves_the_rest_to_the_next_run(self, bank, mill):
        class Away(Mortal):
            async def create_transfer_records(self, records: Records) -> Records:
                try:
                    return await super().create_transfer_records(records)
                except Death:
                    raise LedgerUnavailable("away", outcome_unknown=True) from None

        bulk = await mill.upload(*(f"ko_ko,1,{number}" for number in range(10)))
        await mill.release(bulk)
        with pytest.raises(LedgerUnavailable):
            await advance_bulk_payments(mill.tools(Away(bank, 2, after=True)), lines_at_once=4)
        assert (await mill.look(bulk)).done == 4
        await mill.advance()
        assert ((await mill.look(bulk)).paid, await held(bank, "ko_ko")) == (10, ["10.000000"])


def _decimal(minor: int) -> str:
    return f"{minor // 10**6}.{minor % 10**6:06}"


def test_ids_of_lines_cannot_be_made_by_clients() -> None:
    made = {line_payment_id(UUID(int=bulk), number) for bulk in range(3) for number in range(3)}
    assert len(made) == 9
    assert {each.version for each in made} == {8}
