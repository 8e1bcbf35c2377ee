"""Debts when a process dies, when two ask at once, and in any order of events."""

import asyncio
import random
from uuid import UUID

import pytest

from foundation.errors import Refusal
from foundation.ids import uuid7
from ledger.chart import AccountCode
from tests.treasury.conftest import Treasury
from tests.treasury.debts import (
    appoint_two,
    assert_debts_are_receivable,
    debts,
    earn,
    fees,
    settled,
    spent_and_gone,
    the_debt,
    written_off,
)
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import mortal_treasury
from tests.treasury.test_broken_finality import credited, follow, mine_again, pay, settle, take_back, usdt
from treasury.debts import DebtPaymentState
from treasury.errors import TreasuryCode

OF_THE_DEBT = {TreasuryCode.DEBT_IS_LESS, TreasuryCode.DEBTOR_HAS_LESS, TreasuryCode.FEES_ARE_LESS}


@pytest.mark.parametrize("writes_off", [False, True], ids=["settlement", "write-off"])
@pytest.mark.parametrize("last", range(1, 6))
async def test_death_after_any_effect_of_a_payment_leaves_it_to_be_made_once(
    treasury: Treasury, last: int, writes_off: bool
) -> None:
    wallet_id, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
    await appoint_two(treasury)
    await pay(treasury, payee, wallet_id, 50_000_000)
    await earn(treasury, payee, 50_000_000)
    deposit_id, payment_id = (await the_debt(treasury)).deposit_id, uuid7(treasury.clock)
    ask = written_off if writes_off else settled
    fate = Fate(last)
    rpc = MortalRPC(treasury.contracts.node.url, fate)
    try:
        await ask(mortal_treasury(treasury, fate, rpc), deposit_id, 30_000_000, payment_id)
    except Died:
        assert fate.what
    finally:
        await rpc.close()
    assert (await ask(treasury, deposit_id, 30_000_000, payment_id)).state is DebtPaymentState.PAID
    assert await treasury.minor(wallet_id) == (50_000_000 if writes_off else 20_000_000)
    assert await fees(treasury) == (20_000_000 if writes_off else 50_000_000)
    assert (await the_debt(treasury)).owed.minor == 70_000_000
    await assert_debts_are_receivable(treasury)


@pytest.mark.parametrize("last", range(1, 12))
async def test_death_after_any_effect_of_its_being_mined_again_gives_back_once(
    treasury: Treasury, last: int
) -> None:
    wallet_id, payee, raw = await spent_and_gone(treasury, 250_000_000, 200_000_000)
    await appoint_two(treasury)
    await pay(treasury, payee, wallet_id, 80_000_000)
    await earn(treasury, payee, 50_000_000)
    deposit_id = (await the_debt(treasury)).deposit_id
    await settled(treasury, deposit_id, 80_000_000)
    await written_off(treasury, deposit_id, 40_000_000)
    node = treasury.contracts.node
    treasury.contracts.receipt(node.call("eth_sendRawTransaction", raw))
    node.mine(3)
    await follow(treasury)
    fate = Fate(last)
    rpc = MortalRPC(node.url, fate)
    try:
        await mortal_treasury(treasury, fate, rpc).book()
    except Died:
        assert fate.what
    finally:
        await rpc.close()
    # Whoever is asked in between cannot change what each gets back.
    with pytest.raises(Refusal):
        await settled(treasury, deposit_id, 80_000_001)
    await settle(treasury)
    assert (await treasury.minor(wallet_id), await fees(treasury)) == (130_000_000, 50_000_000)
    await assert_debts_are_receivable(treasury)
    assert (await usdt(treasury)).agrees


async def test_of_payments_at_once_no_more_succeed_than_is_owed(treasury: Treasury) -> None:
    wallet_id, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
    await spent_and_gone(treasury, 500_000_000, 500_000_000)
    await appoint_two(treasury)
    await pay(treasury, payee, wallet_id, 100_000_000)
    other = await treasury.wallet()
    await treasury.fund(other, "400.000000")
    await pay(treasury, other, wallet_id, 200_000_000)
    await earn(treasury, other, 200_000_000)
    deposit_id = next(one.deposit_id for one in await debts(treasury) if one.wallet_id == wallet_id)
    asked = [settled(treasury, deposit_id, 30_000_000) for _ in range(4)]
    asked += [written_off(treasury, deposit_id, 30_000_000) for _ in range(4)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    codes = [one.code for one in answers if isinstance(one, Refusal)]
    assert codes == [TreasuryCode.DEBT_IS_LESS] * 5
    assert await treasury.minor(wallet_id) + await fees(treasury) == 500_000_000 - 90_000_000
    await assert_debts_are_receivable(treasury)


async def test_the_same_payment_asked_for_at_once_moves_once(treasury: Treasury) -> None:
    wallet_id, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
    await pay(treasury, payee, wallet_id, 100_000_000)
    deposit_id, payment_id = (await the_debt(treasury)).deposit_id, uuid7(treasury.clock)
    answers = await asyncio.gather(*(settled(treasury, deposit_id, 30_000_000, payment_id) for _ in range(4)))
    assert {one.state for one in answers} == {DebtPaymentState.PAID}
    assert await treasury.minor(wallet_id) == 70_000_000


class Bank:
    """A deposit that comes and goes, and what everybody has who is touched by it."""

    def __init__(self, treasury: Treasury, random_: random.Random) -> None:
        self.treasury = treasury
        self.random = random_
        self.is_there = True
        self.asked: list[tuple[bool, UUID, UUID, int]] = []

    async def open(self) -> None:
        self.payee = await self.treasury.wallet()
        await self.treasury.fund(self.payee, "100.000000")
        await appoint_two(self.treasury)
        self.debtor, self.raw = await credited(self.treasury, 250_000_000)

    async def total(self) -> int:
        """What the bank owes to people, less what people owe to it."""
        receivable = await self.treasury.system(AccountCode.RECEIVABLE)
        people = await self.treasury.minor(self.debtor) + await self.treasury.minor(self.payee)
        return people + await fees(self.treasury) - receivable.debits_posted + receivable.credits_posted

    async def step(self) -> None:
        treasury, payment_id = self.treasury, uuid7(self.treasury.clock)
        amount = self.random.choice((1, 10_000_000, 60_000_000, 250_000_000))
        match self.random.choice(
            ("pay", "earn", "settle", "settle", "write off", "repeat", "chain", "chain")
        ):
            case "pay":
                payer, payee = self.random.sample((self.debtor, self.payee), 2)
                if await treasury.minor(payer) >= amount:
                    await pay(treasury, payer, payee, amount)
            case "earn" if await treasury.minor(self.payee) >= amount:
                await earn(treasury, self.payee, amount)
            case "settle" | "write off" as what:
                for debt in (await debts(treasury))[-2:]:
                    self.asked.append((what == "settle", debt.deposit_id, payment_id, amount))
                    await self._ask(*self.asked[-1])
                    payment_id = uuid7(treasury.clock)
            case "repeat" if self.asked:
                before = [(debt.owed, debt.payments) for debt in await debts(treasury)]
                await self._ask(*self.random.choice(self.asked))
                assert [(debt.owed, debt.payments) for debt in await debts(treasury)] == before
            case "chain" if self.is_there:
                await take_back(treasury, depth=8)
                self.is_there = False
            case "chain":
                await mine_again(treasury, self.raw)
                self.is_there = True

    async def _ask(self, settles: bool, deposit_id: UUID, payment_id: UUID, amount: int) -> None:
        ask = settled if settles else written_off
        (answer,) = await asyncio.gather(
            ask(self.treasury, deposit_id, amount, payment_id), return_exceptions=True
        )
        if isinstance(answer, BaseException):
            assert isinstance(answer, Refusal), answer
            assert answer.code in OF_THE_DEBT


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_of_payments_and_reorgs_keeps_the_sums(treasury: Treasury, seed: int) -> None:
    bank = Bank(treasury, random.Random(seed))
    await bank.open()
    without = 100_000_000
    for _ in range(14):
        await bank.step()
        # The deposit is there or not, and nothing else makes or loses money.
        assert await bank.total() == without + (250_000_000 if bank.is_there else 0)
        await assert_debts_are_receivable(treasury)
    assert (await usdt(treasury)).agrees
