"""Pending transfers: post, void, expiry, closing, and what a retry of each is answered."""

import pytest

from ledger.contract import TransferFlags
from tests.ledger.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_full_post_moves_what_was_reserved(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    assert (await world.balances("a"), await world.balances("b")) == ((10, 0, 0, 0), (0, 0, 10, 0))
    await world.request("- -> - MAX post of=P | created")
    assert (await world.balances("a"), await world.balances("b")) == ((0, 10, 0, 0), (0, 0, 0, 10))


async def test_a_post_below_the_pending_amount_releases_the_rest(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request("- -> - 4 post of=P | created")
    assert await world.balances("a") == (0, 4, 0, 0)


async def test_a_post_of_zero_posts_nothing_and_releases_all(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request("X: - -> - 0 post of=P | created")
    assert await world.balances("a") == (0, 0, 0, 0)
    posted = await world.transfer("X")
    assert posted is not None
    assert posted.amount == 0


@pytest.mark.parametrize("amount", ["0", "10"])
async def test_a_void_releases_all(world: World, amount: str) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request(f"V: - -> - {amount} void of=P | created")
    assert await world.balances("a") == (0, 0, 0, 0)
    voided = await world.transfer("V")
    assert voided is not None
    assert voided.amount == 10


async def test_a_post_inherits_what_it_leaves_out_field_by_field(world: World) -> None:
    await world.open("a b")
    await world.request(
        "P: a -> b 10 pending timeout=9 code=7 user_data_128=1 user_data_64=2 user_data_32=3 | created"
    )
    await world.request("X: - -> - MAX post of=P user_data_64=5 | created")
    posted = await world.transfer("X")
    assert posted is not None
    assert (posted.debit_account_id, posted.credit_account_id) == (world.accounts["a"], world.accounts["b"])
    assert (posted.user_data_128, posted.user_data_64, posted.user_data_32) == (1, 5, 3)
    assert (posted.ledger, posted.code, posted.timeout, posted.amount) == (1, 7, 0, 10)
    assert posted.flags == TransferFlags.POST_PENDING_TRANSFER


async def test_a_retried_post_matches_by_zeros_maximum_and_explicit_values(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending user_data_64=2 | created")
    await world.request("X: - -> - MAX post of=P | created")
    for line, status in {
        "- -> - MAX post of=P": "exists",
        "- -> - 10 post of=P": "exists",
        "a -> b 10 post of=P ledger=1 code=1 user_data_64=2": "exists",
        "- -> - 0 post of=P": "exists_with_different_amount",
        "- -> - 11 post of=P": "exists_with_different_amount",
        "- -> - 10 post of=P user_data_64=3": "exists_with_different_user_data_64",
        "b -> - 10 post of=P": "exists_with_different_debit_account_id",
        "- -> a 10 post of=P": "exists_with_different_credit_account_id",
        "- -> - 10 void of=P": "exists_with_different_flags",
    }.items():
        await world.request(f"{line} id=X | {status}")


async def test_the_maximum_matches_a_retry_only_of_a_full_post(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request("X: - -> - 9 post of=P | created")
    await world.request("- -> - MAX post of=P id=X | exists_with_different_amount")
    await world.request("- -> - 9 post of=P id=X | exists")


async def test_a_retried_void_matches_by_zero_and_by_its_amount(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request("V: - -> - 10 void of=P | created")
    await world.request("- -> - 0 void of=P id=V | exists")
    await world.request("- -> - 10 void of=P id=V | exists")
    await world.request("- -> - MAX void of=P id=V | exists_with_different_amount")


async def test_zero_does_not_match_where_the_post_had_its_own_user_data(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending user_data_32=1 | created")
    await world.request("X: - -> - 10 post of=P user_data_32=2 | created")
    await world.request("- -> - 10 post of=P id=X | exists_with_different_user_data_32")


async def test_a_replay_is_answered_though_the_account_is_closed_now(world: World) -> None:
    await world.open("a b")
    await world.request("T: a -> b 10 | created")
    await world.request("P: a -> b 10 pending | created")
    await world.request("X: - -> - 10 post of=P | created")
    await world.request("a -> b 0 pending closing_debit | created")
    await world.request("a -> b 10 id=T | exists")
    await world.request("- -> - 10 post of=P id=X | exists")


async def test_a_replay_is_answered_though_there_is_not_enough_now(world: World) -> None:
    await world.open("bank")
    await world.open("a", flags=2)
    await world.request("bank -> a 10 | created")
    await world.request("T: a -> bank 10 | created")
    await world.request("a -> bank 10 id=T | exists")


async def test_reserved_amounts_count_against_the_limit_and_other_sides_do_not_help(world: World) -> None:
    await world.open("bank")
    await world.open("a", flags=2)
    await world.request("bank -> a 10 | created")
    await world.request("bank -> a 90 pending | created")
    await world.request("P: a -> bank 6 pending | created")
    await world.request("a -> bank 5 | exceeds_credits")
    await world.request("a -> bank 4 | created")
    await world.request("- -> - 0 void of=P | created")
    await world.request("a -> bank 6 | created")


async def test_an_expired_reservation_is_released_in_time(world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=1)
    await world.request("P: a -> b 10 pending timeout=2 | created")
    world.clock.advance(seconds=2, ns=-1)
    assert await world.balances("a") == (10, 0, 0, 0)
    world.clock.advance(ns=1)
    assert await world.balances("a") == (0, 0, 0, 0)
    await world.request("- -> - 10 post of=P | pending_transfer_expired")
    await world.request("- -> - 10 void of=P | pending_transfer_expired")
    pending = await world.transfer("P")
    assert pending is not None
    assert pending.timeout == 2


async def test_a_post_at_the_very_nanosecond_of_expiry_is_too_late_before_any_sweep(world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=1)
    await world.request("P: a -> b 10 pending timeout=1 | created")
    # The clock stands one nanosecond before expiry, but the second event's timestamp is the expiry's.
    world.clock.advance(seconds=1, ns=-1)
    await world.request("a -> b 1 | created")
    await world.request("- -> - 10 post of=P | pending_transfer_expired")
    assert (await world.balances("a"))[0] == 10
    world.clock.advance(ns=1)
    assert (await world.balances("a"))[0] == 0


async def test_a_post_one_nanosecond_before_expiry_is_in_time(world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=1)
    await world.request("P: a -> b 10 pending timeout=1 | created")
    world.clock.advance(seconds=1, ns=-1)
    await world.request("- -> - 10 post of=P | created")
    world.clock.advance(seconds=10)
    assert await world.balances("a") == (0, 10, 0, 0)


async def test_expiry_makes_no_transfer_and_frees_what_it_held_for_the_next_event(world: World) -> None:
    await world.open("bank")
    await world.open("a", flags=2)
    await world.request("bank -> a 10 | created")
    world.clock.advance(seconds=1)
    await world.request("a -> bank 10 pending timeout=1 | created")
    world.clock.advance(seconds=1)
    await world.request("a -> bank 10 | created")


async def test_a_closed_account_takes_neither_side_but_a_void(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request("a -> b 0 pending closing_debit | created")
    await world.request("a -> b 1 | debit_account_already_closed")
    await world.request("b -> a 1 | credit_account_already_closed")
    await world.request("- -> - 10 post of=P | debit_account_already_closed")
    await world.request("- -> - 10 void of=P | created")
    assert (await world.account("a")).flags & 32


async def test_a_closing_transfer_cannot_be_posted_and_its_void_reopens(world: World) -> None:
    await world.open("a b")
    await world.request("C: a -> b 0 pending closing_debit closing_credit | created")
    await world.request("- -> - 0 post of=C | debit_account_already_closed")
    await world.request("- -> - 0 void of=C | created")
    await world.request("a -> b 1 | created")
    assert (await world.account("a")).flags & 32 == 0
    assert (await world.account("b")).flags & 32 == 0


async def test_a_closing_transfer_that_expires_reopens_the_account(world: World) -> None:
    await world.open("a b")
    await world.request("a -> b 0 pending closing_credit timeout=1 | created")
    await world.request("a -> b 1 | credit_account_already_closed")
    world.clock.advance(seconds=2)
    await world.request("a -> b 1 | created")


async def test_a_closed_account_answers_its_own_creation_with_different_flags(world: World) -> None:
    await world.open("a b")
    account = await world.account("a")
    account.timestamp = 0
    [result] = await world.ledger.create_accounts([account])
    assert result.status.name == "EXISTS"
    await world.request("C: a -> b 0 pending closing_debit | created")
    [result] = await world.ledger.create_accounts([account])
    assert result.status.name == "EXISTS_WITH_DIFFERENT_FLAGS"
    await world.request("- -> - 0 void of=C | created")
    [result] = await world.ledger.create_accounts([account])
    assert result.status.name == "EXISTS"


async def test_an_account_that_is_born_closed_stays_closed(world: World) -> None:
    await world.open("a")
    await world.open("b", flags=32)
    await world.request("a -> b 1 | credit_account_already_closed")


async def test_zero_amounts_are_legal(world: World) -> None:
    await world.open("a b")
    await world.request("T: a -> b 0 | created")
    await world.request("a -> b 0 id=T | exists")
