"""The signer: signs approved orders to its caps, each once, and refuses all else."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from eth_abi.abi import decode
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes
from sqlalchemy import update

from chain.addresses import ZERO_ADDRESS, checksum, deposit_address
from chain.deployments import Deployment
from chain.errors import ChainCode
from chain.fees import Fees
from chain.models import ChainOrder
from chain.signer_client import SignerClient
from chain.signer_policy import SignerPolicy
from chain.signer_server import signing_log_path
from chain.signing_log import SigningLog, SigningLogError
from chain.transactions import SignedTransaction
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal, Retryable, Unavailable
from foundation.ids import uuid7
from tests.fixtures.contracts import (
    CAPS,
    WHOLE,
    ContractsOnChain,
    end_process,
    running_signer,
    start_signer_process,
    wait_until_dead,
    write_sweep,
    write_withdrawal,
)

CUSTOMER = "0x00000000000000000000000000000000000c0ffe"
FEES = Fees(2_000_000_000, 1_000_000_000)


@pytest.fixture
async def signer(
    contracts: ContractsOnChain, database: Database, clock: SettableClock
) -> AsyncIterator[SignerClient]:
    async with running_signer(contracts, database, clock) as client:
        yield client


class Orders:
    """Writes orders of this test and asks a signer about them."""

    def __init__(self, database: Database, clock: SettableClock, contracts: ContractsOnChain) -> None:
        self.database = database
        self.clock = clock
        self.contracts = contracts

    async def withdrawal(self, units: int = 10 * WHOLE, **fields: Any) -> UUID:
        fields = {"to": CUSTOMER, **fields}
        return await write_withdrawal(self.database, self.clock, self.contracts, units=units, **fields)

    async def change(self, order_id: UUID, **values: Any) -> None:
        async with self.database.session() as session:
            await session.execute(update(ChainOrder).where(ChainOrder.id == order_id).values(**values))

    async def sign(
        self,
        signer: SignerClient,
        order_id: UUID,
        *,
        nonce: int = 0,
        fees: Fees = FEES,
        chain_id: int = 31337,
    ) -> SignedTransaction:
        return await signer.sign(order_id=order_id, chain_id=chain_id, nonce=nonce, fees=fees)

    async def refusal(self, signer: SignerClient, order_id: UUID, **asked: Any) -> Refusal:
        with pytest.raises(Refusal) as refused:
            await self.sign(signer, order_id, **asked)
        return refused.value

    def log_lines(self) -> list[dict[str, Any]]:
        path = signing_log_path(self.contracts.home, self.contracts.deployment)
        return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def orders(database: Database, clock: SettableClock, contracts: ContractsOnChain) -> Orders:
    return Orders(database, clock, contracts)


def code_and_why(refusal: Refusal) -> tuple[ChainCode, str]:
    assert isinstance(refusal.code, ChainCode)
    return refusal.code, str(refusal.data["why"])


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


class TestRestart:
    async def test_caps_nonces_and_bytes_hold_across_a_restart(
        self, orders: Orders, database: Database, clock: SettableClock
    ) -> None:
        contracts = orders.contracts
        order_id = await orders.withdrawal(1_000 * WHOLE)
        async with running_signer(contracts, database, clock) as signer:
            first = await orders.sign(signer, order_id)
            await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=1)

        async with running_signer(contracts, database, clock) as signer:
            assert await orders.sign(signer, order_id) == first
            refusal = await orders.refusal(signer, await orders.withdrawal(501 * WHOLE), nonce=2)
            assert refusal.code is ChainCode.CAP_PER_HOUR_EXCEEDED
            refusal = await orders.refusal(signer, order_id, nonce=2)
            assert code_and_why(refusal) == (ChainCode.NONCE_MISMATCH, "another_nonce")

    async def test_a_changed_gas_limit_does_not_change_what_was_signed_before(
        self, orders: Orders, database: Database, clock: SettableClock
    ) -> None:
        order_id = await orders.withdrawal()
        async with running_signer(orders.contracts, database, clock) as signer:
            first = await orders.sign(signer, order_id)

        policy = SignerPolicy(caps=CAPS, withdrawal_gas=250_000)
        async with running_signer(orders.contracts, database, clock, policy=policy) as signer:
            assert await orders.sign(signer, order_id) == first

    async def test_a_line_that_broke_off_is_cut_away_and_does_not_count(
        self, orders: Orders, database: Database, clock: SettableClock
    ) -> None:
        contracts = orders.contracts
        path = signing_log_path(contracts.home, contracts.deployment)
        order_id = await orders.withdrawal(1_000 * WHOLE)
        async with running_signer(contracts, database, clock) as signer:
            first = await orders.sign(signer, order_id)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:-20])

        async with running_signer(contracts, database, clock) as signer:
            assert path.read_bytes() == whole
            assert await orders.sign(signer, order_id) == first
            await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=1)
        assert len(orders.log_lines()) == 2

    @pytest.mark.parametrize("damage", ["changed", "taken out", "garbage"])
    async def test_a_damaged_log_keeps_the_signer_from_starting(
        self, orders: Orders, database: Database, clock: SettableClock, damage: str
    ) -> None:
        contracts = orders.contracts
        path = signing_log_path(contracts.home, contracts.deployment)
        async with running_signer(contracts, database, clock) as signer:
            for nonce in range(3):
                await orders.sign(signer, await orders.withdrawal(), nonce=nonce)
        lines = path.read_bytes().splitlines(keepends=True)
        if damage == "changed":
            lines[0] = lines[0].replace(b'"amount":"10000000"', b'"amount":"10000001"')
        elif damage == "taken out":
            del lines[1]
        else:
            lines[1] = b"\x00" * len(lines[1][:-1]) + b"\n"
        path.write_bytes(b"".join(lines))

        with pytest.raises(SigningLogError):
            SigningLog(path)

    @pytest.mark.usefixtures("signer")
    async def test_a_second_signer_cannot_open_the_log_of_a_living_one(self, orders: Orders) -> None:
        with pytest.raises(SigningLogError):
            SigningLog(signing_log_path(orders.contracts.home, orders.contracts.deployment))


SIGN_NOTHING = b'{"type":"sign","order_id":"00000000-0000-7000-8000-000000000000","chain_id":31337,'

MALFORMED_LINES = {
    "empty": b"",
    "no type": b"{}",
    "text": b"not json",
    "no fields": b'{"type":"sign"}',
    "unknown type": b'{"type":"drain"}',
    "more fields": b'{"type":"identity","also":1}',
    "no utf-8": b"\xff\xfe",
    "negative": SIGN_NOTHING + b'"nonce":-1,"max_fee_per_gas":1,"max_priority_fee_per_gas":1}',
    "too large": SIGN_NOTHING
    + b'"nonce":0,"max_fee_per_gas":1%s,"max_priority_fee_per_gas":1}' % (b"0" * 80),
    "too long": b"x" * 70_000,
}


class TestSocket:
    @pytest.mark.usefixtures("signer")
    async def test_only_its_owner_may_open_the_socket_and_read_the_log(self, orders: Orders) -> None:
        contracts = orders.contracts
        paths = [contracts.home / "signer.sock", signing_log_path(contracts.home, contracts.deployment)]

        assert [oct(path.stat().st_mode & 0o777) for path in paths] == ["0o600", "0o600"]

    async def test_the_signer_says_who_it_is(self, orders: Orders, signer: SignerClient) -> None:
        identity = await signer.identity()

        deployment = orders.contracts.deployment
        assert identity.address == orders.contracts.signer_key.address
        assert (identity.chain_id, identity.genesis_hash) == (31337, deployment.genesis_hash)
        assert identity.vault == deployment.vault

    @pytest.mark.parametrize("line", MALFORMED_LINES.values(), ids=MALFORMED_LINES.keys())
    async def test_a_malformed_line_decides_nothing_and_the_signer_lives_on(
        self, orders: Orders, signer: SignerClient, line: bytes
    ) -> None:
        reader, writer = await asyncio.open_unix_connection(orders.contracts.home / "signer.sock")
        writer.write(line + b"\n")

        assert json.loads(await reader.readline())["type"] == "unavailable"

        writer.close()
        assert orders.log_lines() == []
        await orders.sign(signer, await orders.withdrawal())

    async def test_without_a_database_nothing_is_decided(self, orders: Orders, clock: SettableClock) -> None:
        order_id = await orders.withdrawal()
        nowhere = Database("postgresql://nobody@/nowhere?host=/nonexistent")
        async with running_signer(orders.contracts, nowhere, clock) as signer:
            with pytest.raises(Unavailable) as unavailable:
                await orders.sign(signer, order_id)
        await nowhere.close()

        assert unavailable.value.outcome_unknown is False
        assert orders.log_lines() == []

    async def test_without_a_signer_the_client_says_that_nothing_was_signed(
        self, contracts: ContractsOnChain
    ) -> None:
        with pytest.raises(Unavailable) as unavailable:
            await SignerClient(contracts.home / "signer.sock").identity()

        assert unavailable.value.outcome_unknown is False


KILLED_AFTER_THE_LOG = """
import os, signal
from chain.signing_log import SigningLog
append = SigningLog.append
def append_and_die(log, entry):
    append(log, entry)
    os.kill(os.getpid(), signal.SIGKILL)
SigningLog.append = append_and_die
"""

DISK_FULL = """
import os
from chain.signing_log import SigningLog
append = SigningLog.append
def no_room(descriptor):
    raise OSError(28, "No space left on device")
def append_to_a_full_disk(log, entry):
    os.fsync = no_room
    append(log, entry)
SigningLog.append = append_to_a_full_disk
"""


class TestProcess:
    async def test_a_signer_killed_between_log_and_answer_gives_the_same_bytes_and_counts_once(
        self, orders: Orders, database_url: str
    ) -> None:
        home = orders.contracts.home
        client = SignerClient(home / "run" / "signer.sock")
        order_id = await orders.withdrawal(100 * WHOLE)
        process = start_signer_process(home, database_url, accident=KILLED_AFTER_THE_LOG)
        with pytest.raises(Unavailable) as unavailable:
            await orders.sign(client, order_id)
        assert unavailable.value.outcome_unknown is True
        assert wait_until_dead(process) == -9
        [line] = orders.log_lines()

        process = start_signer_process(home, database_url)
        try:
            signed = await orders.sign(client, order_id)
        finally:
            end_process(process)

        assert signed.tx_hash == line["tx_hash"]
        assert len(orders.log_lines()) == 1

    async def test_a_signer_whose_disk_fails_ends_without_an_answer(
        self, orders: Orders, database_url: str
    ) -> None:
        home = orders.contracts.home
        order_id = await orders.withdrawal()
        process = start_signer_process(home, database_url, accident=DISK_FULL)

        with pytest.raises(Unavailable) as unavailable:
            await orders.sign(SignerClient(home / "run" / "signer.sock"), order_id)

        assert unavailable.value.outcome_unknown is True
        assert wait_until_dead(process) == 1


def own_deposit_address(deployment: Deployment, salt: bytes) -> str:
    return deposit_address(vault=deployment.vault, implementation=deployment.implementation, salt=salt)
