"""History filters: each lets through what a filter over the whole history would, page after page."""

import itertools
import random
import uuid

import pytest

from foundation.assets import DMMK, USDT
from foundation.errors import Refusal
from foundation.money import Money
from tests.wallets.conftest import Bank
from wallets.errors import WalletCode
from wallets.history import HistoryLine, history
from wallets.history_filters import Direction, HistoryFilter, HistoryKind
from wallets.wallets import Wallet


async def all_lines(bank: Bank, wallet: Wallet, only: HistoryFilter, limit: int) -> list[HistoryLine]:
    lines: list[HistoryLine] = []
    cursor = None
    while True:
        page = await history(
            bank.ledger, bank.directory, wallet=wallet, only=only, cursor=cursor, limit=limit
        )
        lines += page.lines
        cursor = page.next_cursor
        if cursor is None:
            return lines


async def test_every_combination_of_filters_lets_through_what_the_whole_history_has_of_it(bank):
    draw = random.Random(5)
    aye, ko, su = [await bank.wallet(name) for name in ("aye", "ko_ko", "su_su")]
    reference = uuid.uuid4()
    for wallet, asset in itertools.product((aye, ko, su), (USDT, DMMK)):
        await bank.fund(wallet, "1000", asset)
    for number in range(40):
        payer, payee = draw.sample((aye, ko, su), 2)
        text, asset = str(draw.randint(1, 9)), draw.choice((USDT, DMMK))
        order = bank.order(payer, payee, text, asset, reference=None if number % 4 else reference)
        await bank.pay(order)
    whole = await all_lines(bank, aye, HistoryFilter(), 100)
    middle = whole[len(whole) // 2].at_ns
    for kinds, direction, counterparty, about, times, amount in itertools.product(
        (
            frozenset(),
            frozenset({HistoryKind.PAYMENT}),
            frozenset({HistoryKind.DEPOSIT, HistoryKind.PAYMENT_FEE}),
        ),
        (None, Direction.IN, Direction.OUT),
        (None, "@KO_KO"),
        (None, reference),
        ((None, None), (middle, None), (None, middle)),
        (None, Money(4_000_000, USDT)),
    ):
        only = HistoryFilter(
            asset=USDT if amount else None,
            kinds=kinds,
            direction=direction,
            counterparty=counterparty,
            reference=about,
            since_ns=times[0],
            until_ns=times[1],
            amount_min=amount,
        )
        wanted = [
            line
            for line in whole
            if (not kinds or line.kind in kinds)
            and direction in {None, line.direction}
            and (counterparty is None or line.counterparty == "ko_ko")
            and about in {None, line.reference}
            and (times[0] is None or line.at_ns >= times[0])
            and (times[1] is None or line.at_ns < times[1])
            and (amount is None or (line.amount.asset == USDT and line.amount >= amount))
        ]
        assert await all_lines(bank, aye, only, 7) == wanted


@pytest.mark.parametrize(
    ("only", "code", "field"),
    [
        (HistoryFilter(counterparty="@nobody_here"), WalletCode.COUNTERPARTY_UNKNOWN, None),
        (HistoryFilter(counterparty="@aye"), WalletCode.HISTORY_FILTER_MALFORMED, "counterparty"),
        (HistoryFilter(counterparty="é"), WalletCode.HANDLE_MALFORMED, None),
        (HistoryFilter(amount_min=Money(1, USDT)), WalletCode.HISTORY_FILTER_MALFORMED, "amount_min"),
        (
            HistoryFilter(asset=USDT, amount_min=Money(2, USDT), amount_max=Money(1, USDT)),
            WalletCode.HISTORY_FILTER_MALFORMED,
            "amount_min",
        ),
        (HistoryFilter(since_ns=5, until_ns=5), WalletCode.HISTORY_FILTER_MALFORMED, "since"),
    ],
)
async def test_a_filter_that_can_mean_nothing_is_refused_by_its_field(bank, only, code, field):
    wallet = await bank.wallet("aye")
    with pytest.raises(Refusal) as refusal:
        await history(bank.ledger, bank.directory, wallet=wallet, only=only)
    assert (refusal.value.code, refusal.value.data.get("field")) == (code, field)


async def test_a_cursor_belongs_to_its_filter(bank):
    aye = await bank.wallet("aye")
    for _ in range(3):
        await bank.fund(aye, "1", USDT)
    incoming = HistoryFilter(direction=Direction.IN)
    page = await history(bank.ledger, bank.directory, wallet=aye, only=incoming, limit=1)
    for other in (HistoryFilter(), HistoryFilter(direction=Direction.OUT)):
        with pytest.raises(Refusal) as refusal:
            await history(bank.ledger, bank.directory, wallet=aye, only=other, cursor=page.next_cursor)
        assert refusal.value.code is WalletCode.CURSOR_MALFORMED
