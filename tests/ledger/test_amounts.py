"""Amounts: balancing, and what the signed 64 bits of our columns make different (section 0)."""

import pytest

from ledger.contract import AMOUNT_LIMIT, AMOUNT_MAX, BATCH_MAX, AccountFlags, InvalidRequest, Transfer
from ledger.engine import LedgerEngine
from tests.ledger.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEBIT_LIMIT = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)


async def amount_of(world: World, name: str) -> int:
    transfer = await world.transfer(name)
    assert transfer is not None
    return transfer.amount


async def test_balancing_takes_what_is_there_and_records_it(world: World) -> None:
    await world.open("bank a b")
    await world.request("bank -> a 10 | created")
    await world.request("a -> b 3 pending | created")
    await world.request("T: a -> b 50 balancing_debit | created")
    assert await amount_of(world, "T") == 7
    await world.request("U: a -> b 50 balancing_debit | created")
    assert await amount_of(world, "U") == 0


async def test_balancing_credit_takes_what_is_owed(world: World) -> None:
    await world.open("bank a b")
    await world.request("a -> bank 10 | created")
    await world.request("b -> a 4 pending | created")
    await world.request("T: b -> a MAX balancing_credit | created")
    assert await amount_of(world, "T") == 6


async def test_balancing_both_sides_takes_the_smaller(world: World) -> None:
    await world.open("bank a b")
    await world.request("bank -> a 10 | created")
    await world.request("b -> bank 8 | created")
    await world.request("T: a -> b MAX balancing_debit balancing_credit | created")
    assert await amount_of(world, "T") == 8


async def test_balancing_on_an_overdrawn_account_takes_nothing(world: World) -> None:
    await world.open("a b")
    await world.request("a -> b 5 | created")
    await world.request("T: a -> b 5 balancing_debit | created")
    assert await amount_of(world, "T") == 0


async def test_a_retried_balancing_transfer_names_its_cap(world: World) -> None:
    await world.open("bank a b")
    await world.request("bank -> a 10 | created")
    await world.request("T: a -> b 50 balancing_debit | created")
    await world.request("a -> b 50 balancing_debit id=T | exists")
    await world.request("a -> b 10 balancing_debit id=T | exists")
    await world.request("a -> b MAX balancing_debit id=T | exists")
    await world.request("a -> b 9 balancing_debit id=T | exists_with_different_amount")


async def test_an_oversized_amount_overflows_posted_or_pending(world: World) -> None:
    await world.open("a b")
    for amount in (AMOUNT_LIMIT + 1, 2**64, AMOUNT_MAX):
        await world.request(f"a -> b {amount} | overflows_debits_posted")
        await world.request(f"a -> b {amount} pending | overflows_debits_pending")


async def test_the_largest_amount_fits_once(world: World) -> None:
    await world.open("a b c")
    await world.request("a -> b LIMIT | created")
    await world.request("a -> c 1 | overflows_debits_posted")
    await world.request("c -> b 1 | overflows_credits_posted")
    await world.request("a -> c 1 pending | overflows_debits_posted")
    await world.request("a -> c 0 | created")
    assert await world.balances("a") == (0, AMOUNT_LIMIT, 0, 0)


async def test_pending_and_posted_together_fit_once(world: World) -> None:
    await world.open("a b c d")
    await world.request(f"a -> b {2**62} pending | created")
    await world.request(f"a -> c {2**62 - 1} | created")
    await world.request("a -> d 1 | overflows_debits")
    await world.request("a -> d 1 pending | overflows_debits")
    await world.request(f"c -> b {2**62 - 1} | created")
    await world.request("d -> b 1 | overflows_credits")
    await world.request("d -> b LIMIT pending | overflows_credits_pending")


async def test_the_first_overflow_in_order_is_answered(world: World) -> None:
    await world.open("a b c")
    await world.request("a -> c LIMIT pending | created")
    await world.request("a -> b LIMIT pending | overflows_debits_pending")
    await world.request("a -> b LIMIT | overflows_debits")
    await world.request("b -> c 1 pending | overflows_credits_pending")
    await world.request("b -> c 1 | overflows_credits")


async def test_a_balancing_cap_is_never_too_large_by_itself(world: World) -> None:
    await world.open("bank a b")
    await world.request("bank -> a 10 | created")
    for cap in (AMOUNT_LIMIT + 1, 2**100, AMOUNT_MAX):
        await world.request(f"a -> b {cap} balancing_debit | created")
    assert await world.posted("a", "b") == [0, 10]


async def test_post_with_the_maximum_is_a_full_post(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b LIMIT pending | created")
    await world.request("X: - -> - MAX post of=P | created")
    assert await amount_of(world, "X") == AMOUNT_LIMIT


@pytest.mark.parametrize("amount", [11, AMOUNT_LIMIT + 1, AMOUNT_MAX - 1])
async def test_post_of_any_other_amount_above_the_pending_one_exceeds_it(world: World, amount: int) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request(f"- -> - {amount} post of=P | exceeds_pending_transfer_amount")


@pytest.mark.parametrize("amount", [11, AMOUNT_LIMIT + 1, AMOUNT_MAX])
async def test_void_of_any_amount_above_the_pending_one_exceeds_it(world: World, amount: int) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request(f"- -> - {amount} void of=P | exceeds_pending_transfer_amount")


async def test_an_oversized_retry_is_compared_in_full(world: World) -> None:
    await world.open("a b")
    await world.request("T: a -> b 5 | created")
    await world.request(f"a -> b {2**64 + 5} id=T | exists_with_different_amount")
    await world.request("P: a -> b 5 pending | created")
    await world.request("X: - -> - 5 post of=P | created")
    await world.request(f"- -> - {2**64 + 5} post of=P id=X | exists_with_different_amount")


async def test_ids_and_user_data_use_all_their_bits(world: World) -> None:
    await world.open("a b", user_data_128=2**128 - 1, user_data_64=2**64 - 1, user_data_32=2**32 - 1)
    big = Transfer(
        2**128 - 2 - world.new_id(), world.accounts["a"], world.accounts["b"], 1, 0,
        2**127, 2**63, 2**31, 2**31 + 7, 1, 2**15, 2,
    )  # fmt: skip
    assert [s.name for s in await world.statuses(big)] == ["CREATED"]
    [found] = await world.ledger.lookup_transfers([big.id])
    big.timestamp = found.timestamp
    assert found == big
    account = await world.account("a")
    assert (account.user_data_128, account.user_data_64, account.user_data_32) == (
        2**128 - 1, 2**64 - 1, 2**32 - 1
    )  # fmt: skip


async def test_a_request_holds_at_most_8189_events(shared_engine: LedgerEngine) -> None:
    assert BATCH_MAX == 8189
    with pytest.raises(InvalidRequest):
        await shared_engine.create_transfers([Transfer()] * 8190)
    results = await shared_engine.create_transfers([Transfer()] * 8189)
    assert {r.status.name for r in results} == {"ID_MUST_NOT_BE_ZERO"}


async def test_a_limit_is_reached_exactly_and_not_passed(world: World) -> None:
    await world.open("bank")
    await world.open("a", flags=DEBIT_LIMIT)
    await world.request("bank -> a 10 | created")
    await world.request("a -> bank 11 | exceeds_credits")
    await world.request("a -> bank 10 | created")
    await world.request("a -> bank 1 | exceeds_credits")
    await world.request("a -> bank 0 | created")
