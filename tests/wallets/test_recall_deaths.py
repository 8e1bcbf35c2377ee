"""A process that dies anywhere in a recall: nothing is held twice, or for nobody, or moved twice."""

import asyncio
import itertools
import random
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.assets import USDT
from foundation.clock import SettableClock, SystemClock
from foundation.database import Database
from foundation.errors import Refusal
from ledger.chart import open_system_accounts
from ledger.engine import LedgerEngine
from tests.fixtures.anvil import ROOT, die_with_parent
from tests.ledger.invariants import check_journal
from tests.wallets.conftest import Bank
from tests.wallets.recalling import DAY, Death, Mortal, Recalling, refused
from wallets.limits import Limits
from wallets.recall_decisions import Verdict
from wallets.recall_orders import OPEN_MAX
from wallets.recalls import Recall, RecallRole, list_recalls
from wallets.wallets import WalletDirectory


@pytest.fixture
async def recalling(bank: Bank) -> Recalling:
    return await Recalling.begin(bank)


def mortal(recalling: Recalling, at: int, *, after: bool) -> Recalling:
    return recalling.with_books(ledger=Mortal(recalling.bank.ledger, at, after))


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("after", [False, True])
async def test_wherever_asking_dies_the_same_order_completes_it_once(recalling, at, after):
    order = recalling.order()
    with pytest.raises(Death):
        await mortal(recalling, at, after=after).ask(order)
    done = await recalling.ask(order)
    assert done.replayed == (at == 5 and after)
    assert (await recalling.ask(order)).recall == done.recall
    assert await recalling.held() == ("74.975000", "0.000000")


async def test_asking_writes_to_the_ledger_five_times_and_no_more(recalling):
    # The deaths above are all that there are: nobody would notice one that is added.
    assert not (await mortal(recalling, 6, after=False).ask(recalling.order())).replayed


async def test_an_attempt_that_died_is_seen_by_nobody_and_is_in_nobodys_way(recalling):
    order = recalling.order()
    with pytest.raises(Death):
        await mortal(recalling, 5, after=False).ask(order)
    for wallet, role in ((recalling.payer, RecallRole.PAYER), (recalling.payee, RecallRole.PAYEE)):
        assert (await list_recalls(recalling.books, wallet=wallet, role=role)).recalls == []
    assert await recalling.held() == ("74.975000", "25.000000")
    other = await recalling.asked()
    told = await refused(recalling.ask(order))
    assert (told.code, told.data) == ("payment_already_recalled", {"recall_id": str(other.id)})


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("way", ["agree", "withdraw"])
async def test_wherever_a_decision_dies_the_same_one_completes_it(recalling, after, way):
    recall = await recalling.asked()
    with pytest.raises(Death):
        await getattr(mortal(recalling, 1, after=after), way)(recall)
    assert await recalling.state(recall) == (
        {"agree": "agreed", "withdraw": "withdrawn"}[way] if after else "open"
    )
    done = await getattr(recalling, way)(recall)
    assert done.replayed == after
    assert await recalling.held() == (
        ("99.975000", "0.000000") if way == "agree" else ("74.975000", "25.000000")
    )


@pytest.mark.parametrize("after", [False, True])
async def test_two_votes_whose_second_died_are_completed_by_either_officer(recalling, after):
    may, hla = await recalling.officer("may"), await recalling.officer("hla")
    recall = await recalling.asked()
    await recalling.decline(recall)
    await recalling.vote(may, recall, Verdict.RETURN)
    with pytest.raises(Death):
        await mortal(recalling, 1, after=after).vote(hla, recall, Verdict.RETURN)
    assert await recalling.state(recall) == ("returned" if after else "disputed")
    done = await recalling.vote(may, recall, Verdict.RETURN)
    assert (done.recall.state, set(done.votes)) == ("returned", {"may", "hla"})
    assert await recalling.held() == ("99.975000", "0.000000")


LIVES = itertools.count(1)


# Anything in any order ----------------------------------------------------------

STEPS = ("pay", "recall", "refund", "spend", "agree", "decline", "withdraw", "vote", "wait", "die")


@settings(
    max_examples=12, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10**6)), min_size=8, max_size=30))
def test_whatever_is_done_in_any_order_money_is_neither_made_nor_lost(database_url: str, steps: Any) -> None:
    asyncio.run(_live(database_url, steps))


async def _live(database_url: str, steps: list[tuple[str, int]]) -> None:
    # Each life begins after the ones before it in the same bank, whose journal never goes back in time.
    clock = SettableClock(1_800_000_000 * 10**9 + next(LIVES) * 600 * DAY * 10**9)
    database = Database(database_url)
    ledger = await LedgerEngine.start(database_url, clock)
    await open_system_accounts(ledger)
    bank = Bank(database, ledger, clock, WalletDirectory(database, ledger, clock), Limits(ledger, clock))
    tail = f"{clock.now_ns() // 10**9}"
    payer, payee, shop = [await bank.wallet(f"{name}_{tail}") for name in ("payer", "payee", "shop")]
    await bank.fund(payer, "500", USDT)
    first = await bank.pay(bank.order(payer, payee, "10", USDT))
    recalling = Recalling.over(bank, payer, payee, first.payment)
    officers = [await recalling.officer(f"{name}{tail}") for name in ("may", "hla")]
    payments, fees = [first.payment], 10_000
    recalls: list[Recall] = []
    for step, number in steps:
        clock.advance(1)
        of = recalling.of(payments[number % len(payments)])
        recall = recalls[number % len(recalls)] if recalls else None
        try:
            if step == "pay":
                paid = await bank.pay(bank.order(payer, payee, "7", USDT))
                payments.append(paid.payment)
                fees += 10_000
            elif step == "recall":
                recalls.append(await of.asked())
            elif step == "refund":
                await of.refund(f"{(number % 4_000_000 + 1) / 10**6:.6f}")
            elif step == "spend":
                await bank.pay(bank.order(payee, shop, "3", USDT))
                fees += 10_000
            elif step == "wait":
                clock.advance(number % (6 * DAY))
            elif step == "die":
                order = of.order()
                try:
                    made = await mortal(of, number % 5 + 1, after=number % 2 == 0).ask(order)
                except Death:
                    made = await of.ask(order)
                recalls.append(made.recall)
            elif recall is not None and step == "vote":
                await of.vote(officers[number % 2], recall, Verdict.RETURN if number % 3 else Verdict.KEEP)
            elif recall is not None:
                await getattr(recalling, step)(recall)
        except Refusal:
            pass
    await _check(bank, recalling, payments, [payer, payee, shop], fees)
    await ledger.close()
    await database.close()
    check_journal(database_url)


async def _check(bank: Bank, recalling: Recalling, payments: Any, people: Any, fees: int) -> None:
    page = await list_recalls(recalling.books, wallet=recalling.payee, role=RecallRole.PAYEE, limit=50)
    held = sum(each.amount.minor for each in page.recalls if each.state in {"open", "disputed"})
    assert sum(each.state in {"open", "disputed"} for each in page.recalls) <= OPEN_MAX
    available = [int((await bank.available(each, USDT)).replace(".", "")) for each in people]
    # What is held is nobody's to spend, and is money of the payee still.
    assert sum(available) + held + fees == 500_000_000
    for payment in payments:
        given = await recalling.given_back(payment)
        mine = [each for each in page.recalls if each.payment_id == payment.id]
        assert len(mine) <= 1
        pending = sum(each.amount.minor for each in mine if each.state in {"open", "disputed"})
        assert given + pending <= payment.amount.minor


# Killed -------------------------------------------------------------------------


@pytest.mark.timeout(120)
async def test_a_process_killed_in_the_middle_of_recalls_leaves_each_whole_or_not_there(
    database_url: str,
) -> None:
    """kill -9 of ledger and asker: the same orders, sent again, hold each payment once."""
    bank = await _opened(database_url)
    recalling = await Recalling.begin(bank)
    await bank.fund(recalling.payer, "500", USDT)
    payments = [recalling.payment]
    payments += [
        (await bank.pay(bank.order(recalling.payer, recalling.payee, "2", USDT))).payment for _ in range(40)
    ]
    orders = [f"{recalling.order().id}:{each.id}" for each in payments]
    await _closed(bank)

    rng = random.Random(5)
    for _ in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.wallets.recall_asker", database_url, *orders,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, preexec_fn=die_with_parent(),
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(rng.randint(2, 25)):
            assert await process.stdout.readline(), "it is killed in the middle, not at its end"
        await asyncio.sleep(rng.random() / 50)
        process.kill()
        await process.wait()

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.wallets.recall_asker", database_url, *orders,
        cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, preexec_fn=die_with_parent(),
    )  # fmt: skip
    assert await process.wait() == 0
    bank = await _opened(database_url)
    again = Recalling(bank, recalling.books, recalling.payer, recalling.payee, recalling.payment)
    again = again.with_books(database=bank.database, ledger=bank.ledger, directory=bank.directory)
    page = await list_recalls(again.books, wallet=again.payer, role=RecallRole.PAYER, limit=50)
    assert sorted(f"{each.id}:{each.payment_id}" for each in page.recalls) == sorted(orders)
    assert {each.state for each in page.recalls} == {"agreed"}
    assert [await again.given_back(each) for each in payments] == [each.amount.minor for each in payments]
    assert (await again.held())[1] == "0.000000"
    await _closed(bank)
    check_journal(database_url)


async def _opened(database_url: str) -> Bank:
    clock: Any = SystemClock()
    database = Database(database_url)
    ledger = await LedgerEngine.start(database_url, clock)
    await open_system_accounts(ledger)
    return Bank(database, ledger, clock, WalletDirectory(database, ledger, clock), Limits(ledger, clock))


async def _closed(bank: Bank) -> None:
    await bank.ledger.close()
    await bank.database.close()
