"""The signer: signs approved orders to its caps, each once, and refuses all else."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from eth_abi.abi import decode
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from chain.addresses import ZERO_ADDRESS, checksum, deposit_address
from chain.deployments import Deployment
from chain.errors import ChainCode
from chain.fees import Fees
from chain.signer_client import SignerClient
from chain.signer_policy import SignerPolicy
from chain.transactions import SignedTransaction
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal, Retryable
from foundation.ids import uuid7
from tests.fixtures.contracts import (
    CAPS,
    WHOLE,
    running_signer,
    write_sweep,
)
from tests.fixtures.sending import CUSTOMER
from tests.fixtures.signing import Orders, code_and_why


class TestSign:
    async def test_a_withdrawal_is_signed_as_the_vaults_withdraw_of_the_orders_fields(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        order_id = await orders.withdrawal(12 * WHOLE)

        signed = await orders.sign(signer, order_id, nonce=5)

        contracts = orders.contracts
        # eth-account, another implementation, reads the bytes.
        assert Account.recover_transaction(signed.raw) == checksum(contracts.signer_key.address)
        fields = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()
        assert "0x" + bytes(fields["to"]).hex() == contracts.deployment.vault
        assert (fields["chainId"], fields["nonce"], fields["value"]) == (31337, 5, 0)
        assert (fields["maxFeePerGas"], fields["maxPriorityFeePerGas"]) == (2_000_000_000, 1_000_000_000)
        data = bytes(fields["data"])
        assert data[:4] == keccak(b"withdraw(address,address,uint256,bytes32)")[:4]
        assert decode(["address", "address", "uint256", "bytes32"], data[4:]) == (
            contracts.token(),
            CUSTOMER,
            12 * WHOLE,
            order_id.bytes + bytes(16),
        )

    async def test_a_sweep_is_signed_for_the_deposit_address_of_its_salt(
        self, orders: Orders, signer: SignerClient, database: Database, clock: SettableClock
    ) -> None:
        contracts, salt = orders.contracts, b"\x07" * 32
        address = own_deposit_address(contracts.deployment, salt)
        order_id = await write_sweep(database, clock, contracts, address=address, salt=salt)

        signed = await orders.sign(signer, order_id)

        data = bytes(TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()["data"])
        assert decode(["address", "bytes32[]"], data[4:]) == (contracts.token(), (salt,))

    async def test_the_same_request_gives_the_same_bytes_and_counts_once(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        order_id = await orders.withdrawal()

        first = await orders.sign(signer, order_id)
        assert await orders.sign(signer, order_id) == first
        assert len(orders.log_lines()) == 1

    async def test_many_at_once_are_signed_once_each_and_never_beyond_the_cap(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        order_ids = [await orders.withdrawal(900 * WHOLE) for _ in range(6)]

        answers = await asyncio.gather(
            *(orders.sign(signer, order_id, nonce=n) for n, order_id in enumerate(order_ids)),
            return_exceptions=True,
        )

        signed = [answer for answer in answers if isinstance(answer, SignedTransaction)]
        refused = [answer.code for answer in answers if isinstance(answer, Refusal)]
        assert len(signed) == 2
        assert refused == [ChainCode.CAP_PER_HOUR_EXCEEDED] * 4

    async def test_a_signature_is_in_the_log_with_the_hash_of_the_line_before(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        for nonce in range(3):
            await orders.sign(signer, await orders.withdrawal(), nonce=nonce)

        lines = orders.log_lines()
        assert [line["nonce"] for line in lines] == [0, 1, 2]
        assert lines[0]["previous"] == "0" * 64
        assert len({line["previous"] for line in lines}) == 3


class TestRefusals:
    async def test_an_unknown_order_is_refused(self, orders: Orders, signer: SignerClient) -> None:
        refusal = await orders.refusal(signer, uuid7(orders.clock))

        assert code_and_why(refusal) == (ChainCode.ORDER_NOT_FOUND, "order")
        assert refusal.data["signed_before"] is False

    async def test_another_chain_is_refused(self, orders: Orders, signer: SignerClient) -> None:
        refusal = await orders.refusal(signer, await orders.withdrawal(), chain_id=1)

        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "chain_id")

    async def test_an_order_that_nobody_approved_is_refused(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        refusal = await orders.refusal(signer, await orders.withdrawal(approved=False))

        assert code_and_why(refusal) == (ChainCode.ORDER_NOT_APPROVED, "approved")

    async def test_a_revoked_order_is_refused(self, orders: Orders, signer: SignerClient) -> None:
        order_id = await orders.withdrawal()
        await orders.change(order_id, revoked_at=orders.clock.now())

        refusal = await orders.refusal(signer, order_id)

        assert code_and_why(refusal) == (ChainCode.ORDER_REVOKED, "revoked")

    async def test_more_than_the_cap_of_a_transaction_is_refused_and_the_cap_itself_is_not(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        refusal = await orders.refusal(signer, await orders.withdrawal(1_000 * WHOLE + 1))

        assert code_and_why(refusal) == (ChainCode.CAP_PER_TRANSACTION_EXCEEDED, "per_transaction")
        assert refusal.retryable is Retryable.NO
        await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE))

    async def test_more_than_the_cap_of_an_hour_is_refused_until_the_hour_has_passed(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        for nonce in range(2):
            await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=nonce)
        order_id = await orders.withdrawal(500 * WHOLE + 1)

        refusal = await orders.refusal(signer, order_id, nonce=2)

        assert code_and_why(refusal) == (ChainCode.CAP_PER_HOUR_EXCEEDED, "per_hour")
        assert refusal.retryable is Retryable.YES
        orders.clock.advance(3599)
        await orders.refusal(signer, order_id, nonce=2)
        orders.clock.advance(1)
        await orders.sign(signer, order_id, nonce=2)

    async def test_the_caps_of_one_token_are_not_spent_by_another(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        for nonce in range(2):
            await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=nonce)

        await orders.sign(signer, await orders.withdrawal(4_000_000 * 100, asset="DMMK"), nonce=2)

    async def test_a_clock_set_back_frees_nothing(self, orders: Orders, signer: SignerClient) -> None:
        for nonce in range(2):
            await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=nonce)

        orders.clock.advance(-7200)

        refusal = await orders.refusal(signer, await orders.withdrawal(600 * WHOLE), nonce=2)
        assert refusal.code is ChainCode.CAP_PER_HOUR_EXCEEDED

    async def test_a_token_that_is_not_ours_is_refused(self, orders: Orders, signer: SignerClient) -> None:
        order_id = await orders.withdrawal()
        await orders.change(order_id, token="0x" + "ab" * 20)

        refusal = await orders.refusal(signer, order_id)

        assert code_and_why(refusal) == (ChainCode.CONTRACT_NOT_ALLOWED, "token")

    async def test_a_token_without_caps_is_refused(
        self, orders: Orders, database: Database, clock: SettableClock
    ) -> None:
        policy = SignerPolicy(caps={"DMMK": CAPS["DMMK"]})
        async with running_signer(orders.contracts, database, clock, policy=policy) as signer:
            refusal = await orders.refusal(signer, await orders.withdrawal())

        assert code_and_why(refusal) == (ChainCode.CONTRACT_NOT_ALLOWED, "caps")

    @pytest.mark.parametrize("whose", ["zero", "vault", "token", "other token", "implementation", "signer"])
    async def test_a_receiver_that_would_lose_the_money_is_refused(
        self, orders: Orders, signer: SignerClient, whose: str
    ) -> None:
        contracts = orders.contracts
        receiver = {
            "zero": ZERO_ADDRESS,
            "vault": contracts.deployment.vault,
            "token": contracts.token(),
            "other token": contracts.token("DMMK"),
            "implementation": contracts.deployment.implementation,
            "signer": contracts.signer_key.address,
        }[whose]

        refusal = await orders.refusal(signer, await orders.withdrawal(to=receiver))

        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "receiver")

    @pytest.mark.parametrize("kind", ["rotation", "trip", "release", "gift"])
    async def test_an_order_of_no_kind_is_refused_and_leaves_a_log_that_can_be_read(
        self, orders: Orders, database: Database, clock: SettableClock, kind: str
    ) -> None:
        salt = b"\x07" * 32
        address = own_deposit_address(orders.contracts.deployment, salt)
        order_id = await write_sweep(database, clock, orders.contracts, address=address, salt=salt)
        # Whoever owns the table can take its checks away.
        async with database.session() as session:
            for check in ("kind", "sweep_has_salt"):
                await session.execute(text(f"ALTER TABLE chain_order DROP CONSTRAINT ck_chain_order_{check}"))
        await orders.change(order_id, kind=kind)
        async with running_signer(orders.contracts, database, clock) as signer:
            refusal = await orders.refusal(signer, order_id)
        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "kind")
        async with running_signer(orders.contracts, database, clock) as signer:
            await orders.sign(signer, await orders.withdrawal())

    @pytest.mark.parametrize("column", ["amount", "fee"])
    @pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", str(2**256)])
    async def test_an_amount_that_no_chain_has_is_never_written(
        self, orders: Orders, column: str, value: str
    ) -> None:
        order_id = await orders.withdrawal()

        with pytest.raises(DBAPIError, match=f"{column}|overflow"):
            await orders.change(order_id, **{column: Decimal(value)})

    async def test_a_sweep_of_an_address_that_is_not_its_salts_is_refused(
        self, orders: Orders, signer: SignerClient, database: Database, clock: SettableClock
    ) -> None:
        address = own_deposit_address(orders.contracts.deployment, b"\x07" * 32)
        order_id = await write_sweep(database, clock, orders.contracts, address=address, salt=b"\x08" * 32)

        refusal = await orders.refusal(signer, order_id)

        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "deposit_address")

    async def test_a_fee_above_the_cap_is_refused(self, orders: Orders, signer: SignerClient) -> None:
        order_id = await orders.withdrawal()

        refusal = await orders.refusal(signer, order_id, fees=Fees(500 * 10**9 + 1, 1))

        assert code_and_why(refusal) == (ChainCode.FEE_ABOVE_CAP, "fee")
        assert refusal.retryable is Retryable.YES
        await orders.sign(signer, order_id, fees=Fees(500 * 10**9, 1))

    async def test_a_tip_above_the_fee_is_refused(self, orders: Orders, signer: SignerClient) -> None:
        refusal = await orders.refusal(signer, await orders.withdrawal(), fees=Fees(10, 11))

        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "tip_above_fee")

    async def test_a_refused_order_leaves_no_line_in_the_log(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        await orders.refusal(signer, await orders.withdrawal(1_001 * WHOLE))

        assert orders.log_lines() == []


class TestNonces:
    async def test_another_nonce_for_a_signed_order_is_refused_for_ever(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        order_id = await orders.withdrawal()
        await orders.sign(signer, order_id, nonce=3)

        refusal = await orders.refusal(signer, order_id, nonce=4)

        assert code_and_why(refusal) == (ChainCode.NONCE_MISMATCH, "another_nonce")
        assert refusal.data["signed_before"] is True

    async def test_the_nonce_of_a_signed_order_is_refused_to_another(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        await orders.sign(signer, await orders.withdrawal(), nonce=3)

        refusal = await orders.refusal(signer, await orders.withdrawal(), nonce=3)

        assert code_and_why(refusal) == (ChainCode.NONCE_MISMATCH, "nonce_of_another_order")
        assert refusal.data["signed_before"] is False

    async def test_a_replacement_with_higher_fees_counts_once(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        order_id = await orders.withdrawal(1_000 * WHOLE)

        hashes = {
            (await orders.sign(signer, order_id, fees=Fees(fee, 10))).tx_hash for fee in (100, 120, 144, 173)
        }

        assert len(hashes) == 4
        # Four times the amount would be above the hourly cap, and so is once more twice.
        await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=1)
        refusal = await orders.refusal(signer, await orders.withdrawal(501 * WHOLE), nonce=2)
        assert refusal.code is ChainCode.CAP_PER_HOUR_EXCEEDED

    @pytest.mark.parametrize(
        "change",
        [{"amount": 11 * WHOLE}, {"to_address": "0x" + "aa" * 20}],
        ids=["another amount", "another receiver"],
    )
    async def test_an_order_that_changed_after_it_was_signed_is_refused(
        self, orders: Orders, signer: SignerClient, change: dict[str, Any]
    ) -> None:
        order_id = await orders.withdrawal(10 * WHOLE)
        await orders.sign(signer, order_id)
        await orders.change(order_id, **change)

        refusal = await orders.refusal(signer, order_id, fees=Fees(3_000_000_000, 2_000_000_000))

        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "changed_since_signed")


def own_deposit_address(deployment: Deployment, salt: bytes) -> str:
    return deposit_address(vault=deployment.vault, implementation=deployment.implementation, salt=salt)
