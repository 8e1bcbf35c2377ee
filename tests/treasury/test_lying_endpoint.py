"""One of two endpoints lies about what happened in true blocks: nothing is credited or given back for it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from chain.errors import FollowerStopCode
from chain.rpc import RPC
from chain.sender import Sender
from tests.fixtures.contracts import WHOLE
from tests.fixtures.lying_node import LyingNode, lying_node, truth
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.lies import FalseLog, FalseReceipts, FalseTransfer
from tests.treasury.moves import call_first, seen, sender_of, tools_of, tripped
from treasury.deposits import list_deposits
from treasury.tasks import TREASURY_TASKS, _guarded
from treasury.withdrawals import WithdrawalState

FROZEN = "0x000000000000000000000000000000000000f0f0"
ENDED = {WithdrawalState.PAID, WithdrawalState.RETURNED}


@pytest.fixture
def liar(treasury: Treasury) -> Iterator[LyingNode]:
    with lying_node(treasury.contracts.node.url) as node:
        yield node


@pytest.fixture
async def told(treasury: Treasury, liar: LyingNode) -> AsyncIterator[Treasury]:
    """The treasury whose first endpoint is the liar, and whose second one tells the truth."""
    rpc, check = RPC(liar.url), RPC(treasury.contracts.node.url)
    sender = Sender(
        database=treasury.database,
        rpc=rpc,
        check=check,
        signer=treasury.sender._signer,
        clock=treasury.clock,
        deployment=treasury.contracts.deployment,
    )
    yield replace(treasury, rpc=rpc, check=check, sender=sender)
    await rpc.close()
    await check.close()


async def run(told: Treasury, *names: str) -> None:
    for name in names:
        await _guarded(name, TREASURY_TASKS[f"treasury.{name}"])(tools_of(told))


async def false_transfer(treasury: Treasury, wallet_id: UUID, number: int) -> FalseTransfer:
    return FalseTransfer(treasury.contracts.token(), await treasury.address(wallet_id), 777 * WHOLE, number)


async def states(treasury: Treasury, wallet_id: UUID) -> list[str]:
    found = await list_deposits(treasury.database, treasury.ledger, treasury.custody, wallet_id=wallet_id)
    return [str(one.state) for one in found]


class TestTransfersThatNeverWere:
    @pytest.mark.parametrize("blocks", [1, 40])
    async def test_one_that_only_the_first_endpoint_tells_is_not_credited(
        self, told: Treasury, liar: LyingNode, blocks: int
    ) -> None:
        wallet_id = await told.wallet()
        await told.finalize()
        node = told.contracts.node
        number = node.mine(1)
        liar.rule = FalseLog(node, await false_transfer(told, wallet_id, number))
        await run(told, "follow_chain", "book_deposits")
        assert await states(told, wallet_id) == ["seen"]
        assert await tripped(told) is None
        node.mine(blocks + 2)
        await run(told, "follow_chain", "book_deposits", "follow_chain", "book_deposits")
        assert await told.balance(wallet_id) == "0.000000"
        reason = await tripped(told)
        assert reason is not None
        assert FollowerStopCode.ENDPOINTS_DISAGREE in reason
        assert f"block {number}" in reason
        # The lie is over: the mirror takes the blocks anew, and what is true becomes final.
        liar.rule = truth
        await told.contracts.mint(await told.address(wallet_id), 5 * WHOLE)
        await run(told, "follow_chain")
        node.mine(3)
        await run(told, "follow_chain", "book_deposits")
        assert await told.balance(wallet_id) == "5.000000"
        await told.assert_books_agree()

    async def test_one_that_the_first_endpoint_hides_stops_finality_and_is_credited_later(
        self, told: Treasury, liar: LyingNode
    ) -> None:
        wallet_id = await told.wallet()
        await told.finalize()
        await told.contracts.mint(await told.address(wallet_id), 5 * WHOLE)
        told.contracts.node.mine(3)
        liar.rule = lambda method, _params, answer: (
            answer | {"result": []} if method == "eth_getLogs" else answer
        )
        await run(told, "follow_chain", "book_deposits")
        assert await told.balance(wallet_id) == "0.000000"
        assert FollowerStopCode.ENDPOINTS_DISAGREE in (await tripped(told) or "")
        liar.rule = truth
        await run(told, "follow_chain", "book_deposits")
        assert await told.balance(wallet_id) == "5.000000"

    async def test_second_endpoint_that_answers_no_logs_holds_finality_and_trips_nothing(
        self, treasury: Treasury, told: Treasury, liar: LyingNode
    ) -> None:
        told = replace(told, rpc=treasury.rpc, check=told.rpc)
        wallet_id = await told.wallet()
        await told.finalize()
        await told.contracts.mint(await told.address(wallet_id), 5 * WHOLE)
        told.contracts.node.mine(3)
        liar.rule = lambda method, _params, answer: (
            {"id": answer["id"], "error": {"code": -32005, "message": "not today"}}
            if method == "eth_getLogs"
            else answer
        )
        report = await told.follow()
        await told.book()
        assert report.head == told.contracts.node.block_number()
        assert "does not answer" in (report.hold or "")
        assert await states(told, wallet_id) == ["seen"]
        assert await tripped(told) is None
        liar.rule = truth
        assert (await told.follow()).hold is None
        await told.book()
        assert await states(told, wallet_id) == ["credited"]


class TestPaymentsSaidToHaveFailed:
    async def test_payment_that_only_the_first_endpoint_says_has_failed_is_not_given_back(
        self, told: Treasury, liar: LyingNode
    ) -> None:
        wallet_id = await told.wallet()
        await told.fund(wallet_id, "250.000000")
        withdrawal = await told.request(wallet_id, "100.000000")
        await told.advance()
        liar.rule = FalseReceipts(told.contracts.node)
        told.contracts.node.mine(1)
        await run(told, "advance_withdrawals", "advance_withdrawals")
        assert (await seen(told, wallet_id, withdrawal.id)).state not in ENDED
        liar.rule = truth
        await self._paid_once(told, wallet_id, withdrawal.id)

    async def test_batch_that_only_the_first_endpoint_says_has_failed_is_not_given_back(
        self, told: Treasury, liar: LyingNode
    ) -> None:
        wallet_id = await told.wallet()
        await told.fund(wallet_id, "250.000000")
        one = await told.request(wallet_id, "60.000000")
        other = await told.request(wallet_id, "40.000000")
        assert (await told.advance()).batches == 1
        # Final for both, and the vault is said not to have paid: a word of zeros for each question.
        liar.rule = lambda method, params, answer: (
            answer | {"result": "0x" + "00" * 32}
            if method == "eth_call" and params[1] != "latest"
            else FalseReceipts(told.contracts.node)(method, params, answer)
            if method == "eth_getBlockByNumber"
            else answer
        )
        told.contracts.node.mine(1)
        await run(told, "advance_withdrawals", "advance_withdrawals")
        for withdrawal in (one, other):
            assert (await seen(told, wallet_id, withdrawal.id)).state not in ENDED
        liar.rule = truth
        await self._paid_once(told, wallet_id, one.id, other.id)

    async def test_payment_that_failed_in_a_block_which_is_final_for_the_liar_alone_is_paid_once(
        self, told: Treasury, liar: LyingNode
    ) -> None:
        wallet_id = await told.wallet()
        await told.fund(wallet_id, "250.000000")
        node = told.contracts.node
        node.set_automine(on=False)
        withdrawal = await told.request(wallet_id, "100.000000")
        await told.advance()
        await call_first(told, told.custody.vault, "pause()")
        node.set_automine(on=True)
        liar.rule = lambda method, params, answer: (
            answer | {"result": node.call("eth_getBlockByNumber", "latest", False)}
            if method == "eth_getBlockByNumber" and params[0] == "finalized"
            else answer
        )
        await run(told, "advance_withdrawals")
        assert (await seen(told, wallet_id, withdrawal.id)).state not in ENDED
        # The block goes, with the pause; the signed bytes are as good as before.
        liar.rule = truth
        node.reorg(1)
        await self._paid_once(told, wallet_id, withdrawal.id)

    @pytest.mark.parametrize("result", [None, "0x" + "00" * 31 + "01"])
    async def test_refused_member_of_a_batch_waits_until_the_second_endpoint_says_so_too(
        self, treasury: Treasury, told: Treasury, liar: LyingNode, result: str | None
    ) -> None:
        told = replace(told, rpc=treasury.rpc, check=told.rpc)
        told.sender = sender_of(told, treasury.sender._signer)
        wallet_id = await told.wallet()
        await told.fund(wallet_id, "250.000000")
        paid = await told.request(wallet_id, "60.000000")
        refused = await told.request(wallet_id, "40.000000", to_address=FROZEN)
        node = told.contracts.node
        node.set_automine(on=False)
        assert (await told.advance()).batches == 1
        await call_first(told, told.contracts.token(), "freeze(address)", FROZEN)
        node.set_automine(on=True)
        await told.finalize()
        # Silent about the vault's memory, or lying about it: neither gives back nor trips.
        liar.rule = lambda method, _params, answer: (
            answer | {"result": result} if method == "eth_call" else answer
        )
        for _ in range(2):
            await run(told, "advance_withdrawals")
        assert (await seen(told, wallet_id, paid.id)).state is WithdrawalState.PAID
        assert (await seen(told, wallet_id, refused.id)).state is WithdrawalState.SENT
        assert await tripped(told) is None
        liar.rule = truth
        await run(told, "advance_withdrawals")
        assert (await seen(told, wallet_id, refused.id)).state is WithdrawalState.RETURNED
        await told.assert_books_agree()

    async def _paid_once(self, told: Treasury, wallet_id: UUID, *withdrawals: UUID) -> None:
        for _ in range(3):
            await run(told, "follow_chain", "book_deposits", "advance_withdrawals")
            told.contracts.node.mine(3)
        ended = [await seen(told, wallet_id, withdrawal_id) for withdrawal_id in withdrawals]
        assert {one.state for one in ended} == {WithdrawalState.PAID}
        assert told.contracts.balance(OUTSIDE) == 100 * WHOLE
        assert await told.minor(wallet_id) == 150 * WHOLE - sum(one.fee.minor for one in ended)
        assert await tripped(told) is None
        await told.assert_books_agree()
