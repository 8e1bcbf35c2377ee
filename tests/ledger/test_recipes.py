"""The recipes that users of the contract expect to work (section 12), each as it is written there."""

import pytest

from ledger.contract import AccountFlags
from tests.ledger.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEBIT_LIMIT = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
CREDIT_LIMIT = int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)


async def fund(world: World, **balances: int) -> None:
    """Give accounts that hold credits what they begin with."""
    await world.open("mint")
    for name, amount in balances.items():
        await world.request(f"mint -> {name} {amount} | created")


async def test_currency_exchange(world: World) -> None:
    await world.open("A1 L1", ledger=1)
    await world.open("A2 L2", ledger=2)
    await world.request("""
        A1 -> L1 9000 linked           | created
        A1 -> L1 100 linked            | created
        L2 -> A2 1500 ledger=2         | created
    """)
    assert await world.posted("A1", "L1", "L2", "A2") == [-9100, 9100, -1500, 1500]


async def test_currency_exchange_fails_as_a_whole(world: World) -> None:
    await world.open("A1 L1", ledger=1)
    await world.open("A2", ledger=2)
    await world.open("L2", ledger=2, flags=DEBIT_LIMIT)
    await world.request("""
        A1 -> L1 9000 linked           | linked_event_failed
        L2 -> A2 1500 ledger=2         | exceeds_credits
    """)
    assert await world.posted("A1", "A2") == [0, 0]


async def test_one_debit_many_credits_and_the_reverse(world: World) -> None:
    await world.open("A X Y Z")
    await world.request("""
        A -> X 1 linked | created
        A -> Y 2 linked | created
        A -> Z 3        | created
    """)
    await world.request("""
        X -> A 1 linked | created
        Y -> A 2 linked | created
        Z -> A 3        | created
    """)
    assert await world.posted("A", "X", "Y", "Z") == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("have", "taken"), [((60, 60, 60), (60, 40, 0)), ((100, 5, 5), (100, 0, 0)), ((30, 30, 40), (30, 30, 40))]
)
async def test_many_debits_up_to_an_amount_in_all(
    world: World, have: tuple[int, ...], taken: tuple[int, ...]
) -> None:
    await world.open("SETUP LIMIT X")
    await world.open("A B C", flags=DEBIT_LIMIT)
    await fund(world, A=have[0], B=have[1], C=have[2])
    await world.request("""
        SETUP -> LIMIT 100 linked                              | created
        A -> SETUP 100 linked balancing_debit balancing_credit | created
        B -> SETUP 100 linked balancing_debit balancing_credit | created
        C -> SETUP 100 linked balancing_debit balancing_credit | created
        SETUP -> X 100 linked                                  | created
        LIMIT -> SETUP MAX balancing_credit                    | created
    """)
    left = [before - after for before, after in zip(have, taken, strict=True)]
    assert await world.posted("A", "B", "C") == left
    assert await world.posted("X", "SETUP", "LIMIT") == [100, 0, 0]


async def test_many_debits_that_do_not_reach_the_amount_fail_as_a_whole(world: World) -> None:
    await world.open("LIMIT X")
    await world.open("SETUP", flags=0)
    await world.open("A B", flags=DEBIT_LIMIT)
    await fund(world, A=30, B=30)
    await world.open("CHECK", flags=CREDIT_LIMIT)
    await world.request("""
        SETUP -> LIMIT 100 linked                              | linked_event_failed
        A -> SETUP 100 linked balancing_debit balancing_credit | linked_event_failed
        B -> SETUP 100 linked balancing_debit balancing_credit | linked_event_failed
        SETUP -> CHECK 1                                       | exceeds_debits
    """)
    assert await world.posted("A", "B") == [30, 30]


async def test_many_debits_many_credits(world: World) -> None:
    await world.open("A B X Y Z CONTROL")
    await world.request("""
        A -> CONTROL 40 linked  | created
        B -> CONTROL 60 linked  | created
        CONTROL -> X 10 linked  | created
        CONTROL -> Y 20 linked  | created
        CONTROL -> Z 70         | created
    """)
    assert await world.posted("A", "B", "CONTROL", "X", "Y", "Z") == [-40, -60, 0, 10, 20, 70]


@pytest.mark.parametrize(("balance", "moves"), [(99, False), (100, True)])
async def test_balance_conditional_transfer(world: World, balance: int, moves: bool) -> None:
    await world.open("CONTROL DESTINATION")
    await world.open("SOURCE", flags=DEBIT_LIMIT)
    await fund(world, SOURCE=balance)
    first, rest = ("created", "created") if moves else ("exceeds_credits", "linked_event_failed")
    await world.request(f"""
        T: SOURCE -> CONTROL 100 linked pending | {first}
        - -> - 0 linked void of=T               | {rest}
        SOURCE -> DESTINATION 7                 | {rest}
    """)
    assert await world.posted("DESTINATION") == [7 if moves else 0]


async def test_balance_conditional_transfer_of_a_debit_balance(world: World) -> None:
    await world.open("CONTROL DESTINATION GIVER")
    await world.open("SOURCE", flags=CREDIT_LIMIT)
    await world.request("SOURCE -> GIVER 100 | created")
    await world.request("""
        T: CONTROL -> SOURCE 100 linked pending | created
        - -> - 0 linked void of=T               | created
        DESTINATION -> SOURCE 7                 | created
    """)
    assert await world.posted("SOURCE", "DESTINATION") == [-93, -7]


@pytest.mark.parametrize(("amount", "holds"), [(10, True), (11, False)])
async def test_balance_invariant_for_one_transfer(world: World, amount: int, holds: bool) -> None:
    # The destination's posted balance must not become positive by this transfer.
    await world.open("SOURCE DESTINATION GIVER")
    await world.open("CONTROL", flags=CREDIT_LIMIT)
    await world.request("DESTINATION -> GIVER 10 | created")
    first, second, third = (
        ("created", "created", "created")
        if holds
        else ("linked_event_failed", "exceeds_debits", "linked_event_failed")
    )
    await world.request(f"""
        SOURCE -> DESTINATION {amount} linked                        | {first}
        T: DESTINATION -> CONTROL 1 linked pending balancing_debit   | {second}
        - -> - 0 void of=T                                           | {third}
    """)
    assert await world.posted("SOURCE") == [-amount if holds else 0]


@pytest.mark.parametrize(("amount", "holds"), [(10, True), (11, False)])
async def test_balance_invariant_for_one_transfer_from_the_other_side(
    world: World, amount: int, holds: bool
) -> None:
    # The source's posted balance must not become negative by this transfer.
    await world.open("SOURCE DESTINATION")
    await world.open("CONTROL", flags=DEBIT_LIMIT)
    await fund(world, SOURCE=10)
    first, second, third = (
        ("created", "created", "created")
        if holds
        else ("linked_event_failed", "exceeds_credits", "linked_event_failed")
    )
    await world.request(f"""
        SOURCE -> DESTINATION {amount} linked                        | {first}
        T: CONTROL -> SOURCE 1 linked pending balancing_credit       | {second}
        - -> - 0 void of=T                                           | {third}
    """)
    assert await world.posted("DESTINATION") == [amount if holds else 0]


@pytest.mark.parametrize(("amount", "fits"), [(40, True), (41, False)])
async def test_an_upper_bound_on_a_balance_of_debits(world: World, amount: int, fits: bool) -> None:
    await world.open("GIVER OPERATOR")
    await world.open("TARGET", flags=CREDIT_LIMIT)
    await world.open("CONTROL", flags=DEBIT_LIMIT)
    await world.request("TARGET -> OPERATOR 60 | created")
    first, fourth, rest = (
        ("created", "created", "created")
        if fits
        else ("linked_event_failed", "exceeds_credits", "linked_event_failed")
    )
    await world.request(f"""
        TARGET -> GIVER {amount} linked                               | {first}
        OPERATOR -> CONTROL 100 linked                                | {first}
        T: CONTROL -> TARGET MAX linked balancing_credit pending      | {fourth}
        - -> - 0 linked void of=T                                     | {rest}
        CONTROL -> OPERATOR 100                                       | {rest}
    """)
    assert await world.posted("TARGET") == [-60 - amount if fits else -60]


@pytest.mark.parametrize(("amount", "fits"), [(40, True), (41, False)])
async def test_an_upper_bound_on_a_balance(world: World, amount: int, fits: bool) -> None:
    await world.open("SOURCE OPERATOR")
    await world.open("DESTINATION", flags=DEBIT_LIMIT)
    await world.open("CONTROL", flags=CREDIT_LIMIT)
    await world.request("OPERATOR -> DESTINATION 60 | created")
    await world.request("""
        CONTROL -> OPERATOR 1000 linked   | created
        OPERATOR -> CONTROL 1000          | created
    """)
    first, fourth, rest = (
        ("created", "created", "created")
        if fits
        else ("linked_event_failed", "exceeds_debits", "linked_event_failed")
    )
    await world.request(f"""
        SOURCE -> DESTINATION {amount} linked                         | {first}
        CONTROL -> OPERATOR 100 linked                                | {first}
        T: DESTINATION -> CONTROL MAX linked balancing_debit pending  | {fourth}
        - -> - 0 linked void of=T                                     | {rest}
        OPERATOR -> CONTROL 100                                       | {rest}
    """)
    assert await world.posted("DESTINATION") == [60 + amount if fits else 60]


async def test_closing_an_account_that_holds_credits_and_reopening_it(world: World) -> None:
    await world.open("C")
    await world.open("A", flags=DEBIT_LIMIT)
    await fund(world, A=70)
    await world.request("""
        A -> C MAX linked balancing_debit       | created
        T: A -> C 0 pending closing_debit       | created
    """)
    assert await world.posted("A", "C") == [0, 70]
    await world.request("mint -> A 1 | credit_account_already_closed")
    await world.request("- -> - 0 void of=T | created")
    await world.request("mint -> A 1 | created")


async def test_closing_an_account_that_holds_debits(world: World) -> None:
    await world.open("C GIVER")
    await world.open("B", flags=CREDIT_LIMIT)
    await world.request("B -> GIVER 70 | created")
    await world.request("""
        C -> B MAX linked balancing_credit      | created
        T: C -> B 0 pending closing_credit      | created
    """)
    assert await world.posted("B", "C") == [0, -70]
    await world.request("B -> GIVER 1 | debit_account_already_closed")


async def test_a_correction_is_a_new_opposite_transfer(world: World) -> None:
    await world.open("A B")
    await world.request("WRONG: A -> B 100 | created")
    original = world.transfers["WRONG"]
    await world.request(f"FIX: B -> A 100 user_data_128={original} | created")
    assert await world.posted("A", "B") == [0, 0]
    kept, fix = await world.transfer("WRONG"), await world.transfer("FIX")
    assert kept is not None
    assert fix is not None
    assert (kept.amount, fix.user_data_128) == (100, original)


async def test_rate_limiting_by_reservations_that_run_out(world: World) -> None:
    await world.open("OPERATOR")
    await world.open("USER", flags=DEBIT_LIMIT)
    await world.request("OPERATOR -> USER 3 | created")
    world.clock.advance(seconds=1)
    for _ in range(3):
        await world.request("USER -> OPERATOR 1 pending timeout=60 | created")
    await world.request("USER -> OPERATOR 1 pending timeout=60 | exceeds_credits")
    world.clock.advance(seconds=59)
    await world.request("USER -> OPERATOR 1 pending timeout=60 | exceeds_credits")
    world.clock.advance(seconds=2)
    await world.request("USER -> OPERATOR 1 pending timeout=60 | created")
