"""Tasks: each does one use case, ends quietly when the world is away, and stops when it is wrong."""

from collections.abc import AsyncIterator

import pytest
from celery import Celery

from chain.errors import FollowerStopCode, FollowerStopped, RPCUnavailable
from chain.mirror import MirrorMoved
from foundation.errors import InvariantViolation
from ledger.chart import AccountCode
from ledger.client import LedgerClient
from tests.treasury.conftest import Treasury
from tests.treasury.moves import move_out_of, tools_of, tripped
from treasury.tasks import TREASURY_TASKS, TreasuryTools, _guarded, add_treasury_tasks, schedule_of


async def run_all(tools: TreasuryTools) -> None:
    for name, work in TREASURY_TASKS.items():
        await _guarded(name, work)(tools)


@pytest.fixture
async def silent_ledger(treasury: Treasury) -> AsyncIterator[LedgerClient]:
    client = LedgerClient(f"unix:{treasury.contracts.home / 'nobody.sock'}")
    yield client
    await client.close()


async def test_tasks_in_turn_carry_a_deposit_and_a_withdrawal_to_their_ends(treasury: Treasury) -> None:
    tools = tools_of(treasury)
    wallet_id = await treasury.wallet()
    await treasury.contracts.mint(await treasury.address(wallet_id), 250_000_000)
    treasury.contracts.node.mine(3)
    await run_all(tools)
    assert await treasury.balance(wallet_id) == "250.000000"
    await treasury.request(wallet_id, "100.000000")
    for _ in range(3):
        await run_all(tools)
        treasury.contracts.node.mine(3)
    assert await treasury.balance(wallet_id) == "149.000000"
    assert await treasury.held(AccountCode.CUSTODY) == "1000150.000000"
    await run_all(tools)
    treasury.contracts.node.reorg(1)
    await run_all(tools)
    assert await tripped(treasury) is None


async def test_difference_between_the_books_is_told_and_trips_the_breaker(treasury: Treasury) -> None:
    await treasury.finalize()
    await move_out_of(treasury, treasury.custody.vault, 5)
    treasury.contracts.node.mine(3)
    await run_all(tools_of(treasury))
    assert await tripped(treasury) is not None


async def test_task_ends_quietly_when_ledger_or_node_are_away(
    treasury: Treasury, silent_ledger: LedgerClient
) -> None:
    wallet_id = await treasury.wallet()
    await treasury.contracts.mint(await treasury.address(wallet_id), 250_000_000)
    treasury.contracts.node.mine(3)
    tools = tools_of(treasury)
    await run_all(
        TreasuryTools(
            database=tools.database,
            ledger=silent_ledger,
            rpc=tools.rpc,
            clock=tools.clock,
            custody=tools.custody,
            sender=tools.sender,
            follower=tools.follower,
        )
    )
    assert await treasury.balance(wallet_id) == "0.000000"
    treasury.contracts.node.process.kill()
    treasury.contracts.node.process.wait()
    await run_all(tools)
    assert await treasury.balance(wallet_id) == "250.000000"
    assert await tripped(treasury) is None


@pytest.mark.parametrize(
    "error", [MirrorMoved("a rival"), RPCUnavailable("eth_call", "busy", outcome_unknown=False)]
)
async def test_what_the_next_run_may_cure_is_no_failure(treasury: Treasury, error: Exception) -> None:
    async def work(_tools: TreasuryTools) -> None:
        raise error

    await _guarded("a task", work)(tools_of(treasury))
    assert await tripped(treasury) is None


async def test_follower_that_must_stop_trips_the_breaker(treasury: Treasury) -> None:
    async def work(_tools: TreasuryTools) -> None:
        raise FollowerStopped(FollowerStopCode.FINALITY_BROKEN, "a final block was replaced")

    await _guarded("a task", work)(tools_of(treasury))
    reason = await tripped(treasury)
    assert reason is not None
    assert "finality_broken" in reason


async def test_broken_law_trips_the_breaker_and_fails_the_task(treasury: Treasury) -> None:
    async def work(_tools: TreasuryTools) -> None:
        raise InvariantViolation("two and two are five")

    with pytest.raises(InvariantViolation):
        await _guarded("a task", work)(tools_of(treasury))
    assert await tripped(treasury) == "a task: two and two are five"


def test_app_gets_every_task_under_its_name_and_each_runs_its_own() -> None:
    ran: list[str] = []
    app = Celery("test", set_as_current=False)
    add_treasury_tasks(app, lambda name, _work: ran.append(name))
    for name in TREASURY_TASKS:
        app.tasks[name]()
    assert ran == list(TREASURY_TASKS)
    app.close()


def test_late_message_expires() -> None:
    assert schedule_of(0.5, "a task") == {"task": "a task", "schedule": 0.5, "options": {"expires": 1.0}}
