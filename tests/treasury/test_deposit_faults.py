"""Deposits beside what issuers, impostors and operators may do: nothing is lost, made or hidden."""

from uuid import UUID

import pytest

from chain.administration import AdministrationFailed
from chain.errors import FollowerStopCode
from chain.rpc import RPC
from ledger.chart import AccountCode
from tests.fixtures.anvil import Anvil, running_anvil
from tests.fixtures.lying_node import Silence, lying_node, truth
from tests.fixtures.token import TokenOnChain
from tests.treasury.conftest import Treasury
from tests.treasury.moves import administer, tools_of, tripped
from treasury.deposits import list_deposits
from treasury.tasks import TREASURY_TASKS, TreasuryTools, _guarded


async def states(treasury: Treasury, wallet_id: UUID) -> list[str]:
    found = await list_deposits(treasury.database, treasury.ledger, treasury.custody, wallet_id=wallet_id)
    return [str(deposit.state) for deposit in found]


def tools_with(treasury: Treasury, check: RPC) -> TreasuryTools:
    tools = tools_of(treasury)
    return TreasuryTools(
        database=tools.database,
        ledger=tools.ledger,
        rpc=tools.rpc,
        clock=tools.clock,
        custody=tools.custody,
        sender=tools.sender,
        follower=tools.follower,
        check=check,
    )


async def run(tools: TreasuryTools, *names: str) -> None:
    for name in names:
        await _guarded(name, TREASURY_TASKS[f"treasury.{name}"])(tools)


async def test_address_that_the_issuer_froze_keeps_its_credit_and_the_books_agree(treasury: Treasury) -> None:
    wallet_id = await treasury.wallet()
    await treasury.fund(wallet_id, "250.000000")
    address = await treasury.address(wallet_id)
    await administer(treasury, treasury.contracts.token(), "freeze(address)", address)
    with pytest.raises(AdministrationFailed):
        await treasury.contracts.mint(address, 1_000_000)
    await treasury.sweep()
    await treasury.finalize()
    await treasury.sweep()
    assert await treasury.balance(wallet_id) == "250.000000"
    assert treasury.contracts.balance(address) == 250_000_000
    assert await tripped(treasury) is None
    await treasury.assert_books_agree()


async def test_deposits_are_credited_while_the_vault_is_paused(treasury: Treasury) -> None:
    wallet_id = await treasury.wallet()
    await administer(treasury, treasury.custody.vault, "pause()")
    await treasury.fund(wallet_id, "250.000000")
    await treasury.sweep()
    assert await treasury.balance(wallet_id) == "250.000000"
    assert await states(treasury, wallet_id) == ["credited"]
    await treasury.assert_books_agree()


async def test_deposit_before_the_token_was_paused_is_credited_while_it_is(treasury: Treasury) -> None:
    wallet_id = await treasury.wallet()
    await treasury.contracts.mint(await treasury.address(wallet_id), 250_000_000)
    await administer(treasury, treasury.contracts.token(), "pause()")
    await treasury.finalize()
    assert await states(treasury, wallet_id) == ["credited"]
    await treasury.assert_books_agree()


async def test_token_that_looks_like_ours_and_says_so_is_ignored(treasury: Treasury) -> None:
    wallet_id = await treasury.wallet()
    address = await treasury.address(wallet_id)
    fake = TokenOnChain(treasury.contracts.node)
    fake.mint(address, 9_000_000_000)
    fake.mint(treasury.custody.vault, 9_000_000_000)
    await treasury.finalize()
    assert await states(treasury, wallet_id) == []
    assert await treasury.balance(wallet_id) == "0.000000"
    await treasury.assert_books_agree()


async def test_second_endpoint_that_lies_stops_crediting_and_withdrawals_and_tells_both_hashes(
    treasury: Treasury,
) -> None:
    wallet_id = await treasury.wallet()
    address = await treasury.address(wallet_id)
    await treasury.finalize()
    with lying_node(treasury.contracts.node.url) as second:
        check = RPC(second.url)
        tools = tools_with(treasury, check)
        await treasury.contracts.mint(address, 7_000_000)
        treasury.contracts.node.mine(3)
        second.rule = lambda method, _params, answer: (
            answer | {"result": answer["result"] | {"hash": "0x" + "ab" * 32}}
            if method == "eth_getBlockByNumber" and answer["result"]["number"] != "0x0"
            else answer
        )
        await run(tools, "follow_chain", "book_deposits")
        assert await treasury.balance(wallet_id) == "0.000000"
        reason = await tripped(treasury)
        assert reason is not None
        assert FollowerStopCode.ENDPOINTS_DISAGREE in reason
        assert "0x" + "ab" * 32 in reason
        second.rule = truth
        await run(tools, "follow_chain", "book_deposits")
        assert await treasury.balance(wallet_id) == "7.000000"
        await check.close()


async def test_second_endpoint_that_is_silent_delays_credits_and_nothing_else(treasury: Treasury) -> None:
    wallet_id = await treasury.wallet()
    address = await treasury.address(wallet_id)
    await treasury.finalize()
    with lying_node(treasury.contracts.node.url) as second:
        check = RPC(second.url)
        tools = tools_with(treasury, check)

        def silence(_method: str, _params: object, _answer: object) -> dict[str, object]:
            raise Silence

        second.rule = silence
        await treasury.contracts.mint(address, 7_000_000)
        treasury.contracts.node.mine(3)
        await run(tools, "follow_chain", "book_deposits")
        assert await states(treasury, wallet_id) == ["seen"]
        assert await tripped(treasury) is None
        second.rule = truth
        await run(tools, "follow_chain", "book_deposits")
        assert await states(treasury, wallet_id) == ["credited"]
        await check.close()


async def test_node_restarted_from_its_saved_state_loses_no_deposit(treasury: Treasury, anvil: Anvil) -> None:
    wallet_id = await treasury.wallet()
    address = await treasury.address(wallet_id)
    await treasury.contracts.mint(address, 7_000_000)
    await treasury.follow()
    state = treasury.contracts.home / "state.hex"
    state.write_text(anvil.call("anvil_dumpState"))
    saved_at = anvil.block_number()
    anvil.mine(1)
    await treasury.follow()
    anvil.process.kill()
    anvil.process.wait()
    await run(tools_of(treasury), "follow_chain", "book_deposits", "reconcile")
    assert await tripped(treasury) is None
    with running_anvil(treasury.contracts.home / "again.log", port=anvil.port) as again:
        treasury.contracts.node = again
        again.call("anvil_loadState", state.read_text())
        assert again.block_number() == saved_at
        again.mine(4)
        await run(tools_of(treasury), "follow_chain", "book_deposits")
        assert await treasury.balance(wallet_id) == "7.000000"
        assert await tripped(treasury) is None


async def test_deposit_to_a_stranger_in_custody_is_in_suspense_with_a_case(treasury: Treasury) -> None:
    await treasury.finalize()
    before = await treasury.system(AccountCode.SUSPENSE)
    hot = treasury.custody.hot_addresses[0]
    await treasury.contracts.mint(hot, 2_000_000)
    await treasury.finalize()
    after = await treasury.system(AccountCode.SUSPENSE)
    assert after.credits_posted - before.credits_posted == 2_000_000
    await treasury.assert_books_agree()
