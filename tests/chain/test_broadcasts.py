"""Broadcasts: what a node's answer to signed bytes means."""

from typing import Any

import pytest

from chain.broadcasts import Outcome, broadcast, classified
from chain.errors import RPCError
from chain.rpc import RPC
from chain.transactions import Transaction
from tests.fixtures.anvil import Anvil
from tests.fixtures.sending import CUSTOMER, Desk


class TestBroadcast:
    async def test_the_nodes_own_words_are_understood(self, desk: Desk, anvil: Anvil) -> None:
        key, rpc = desk.contracts.administrator, desk.rpc
        nonce = int(anvil.call("eth_getTransactionCount", key.address, "latest"), 16)

        def signed(**fields: Any) -> bytes:
            usual: dict[str, Any] = {
                "chain_id": 31337,
                "nonce": nonce,
                "max_priority_fee_per_gas": 10**9,
                "max_fee_per_gas": 10**10,
                "gas_limit": 21_000,
                "to": CUSTOMER,
            }
            return key.sign(Transaction(**(usual | fields))).raw

        anvil.set_automine(on=False)
        outcomes = {
            "taken": await broadcast(rpc, signed()),
            "the same again": await broadcast(rpc, signed()),
            "an old nonce": await broadcast(rpc, signed(nonce=nonce - 1)),
            "no money": await broadcast(rpc, signed(nonce=nonce + 1, value=10**30)),
            "no gas": await broadcast(rpc, signed(nonce=nonce + 1, gas_limit=20_000)),
            "too much gas": await broadcast(rpc, signed(nonce=nonce + 1, gas_limit=2**40)),
            "another chain": await broadcast(rpc, signed(nonce=nonce + 1, chain_id=1)),
            "no transaction": await broadcast(rpc, b"\x02\xc0"),
        }

        assert {name: outcome for name, (outcome, _) in outcomes.items()} == {
            "taken": Outcome.ACCEPTED,
            "the same again": Outcome.LOOK_UP,
            "an old nonce": Outcome.LOOK_UP,
            "no money": Outcome.RETRY,
            "no gas": Outcome.FINAL,
            "too much gas": Outcome.FINAL,
            "another chain": Outcome.FINAL,
            "no transaction": Outcome.FINAL,
        }, outcomes

    async def test_a_node_that_does_not_answer_leaves_it_unknown(self) -> None:
        rpc = RPC("http://127.0.0.1:1")

        outcome, said = await broadcast(rpc, b"\x02")
        await rpc.close()

        assert outcome is Outcome.UNKNOWN
        assert said is not None

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ("already known", Outcome.LOOK_UP),
            ("nonce too low: next nonce 7, tx nonce 6", Outcome.LOOK_UP),
            ("replacement transaction underpriced", Outcome.UNDERPRICED),
            ("transaction underpriced: tip needed 1, tip permitted 0", Outcome.UNDERPRICED),
            ("max fee per gas less than block base fee: address 0x1", Outcome.UNDERPRICED),
            ("insufficient funds for gas * price + value", Outcome.RETRY),
            ("txpool is full", Outcome.RETRY),
            ("intrinsic gas too low: gas 1, minimum needed 21000", Outcome.FINAL),
            ("exceeds block gas limit", Outcome.FINAL),
            ("invalid sender", Outcome.FINAL),
            ("AlreadyKnown", Outcome.LOOK_UP),
            ("FeeTooLow, MaxFeePerGas too low", Outcome.UNDERPRICED),
            ("something that nobody has heard of", Outcome.UNKNOWN),
        ],
    )
    def test_the_words_of_other_nodes_are_understood(self, said: str, meant: Outcome) -> None:
        assert classified(RPCError("eth_sendRawTransaction", -32000, said)) is meant
