"""The signer and batches: each member is held to what it would be held to alone, and signed once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from eth_abi.abi import decode
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from chain.addresses import ZERO_ADDRESS, deposit_address
from chain.batches import (
    MEASURED_GAS,
    MEMBERS_MAX,
    PAYMENT_GAS,
    PAYOUT_BATCH_GAS,
    TRANSACTION_GAS_MAX,
    batch_is_cheaper,
)
from chain.errors import ChainCode
from chain.fees import Fees
from chain.models import ChainBatchMember
from chain.signer_client import SignerClient
from chain.signer_policy import SignerPolicy
from chain.signer_server import signing_log_path
from chain.signing_log import SigningLog
from foundation.errors import Refusal, Retryable
from tests.fixtures.contracts import CAPS, WHOLE, running_signer, write_batch_of, write_sweep
from tests.fixtures.officers import OfficerDevice
from tests.fixtures.signing import Orders, code_and_why

ROOT = Path(__file__).parents[2]
BUMPED = Fees(3_000_000_000, 2_000_000_000)


def receiver(number: int) -> str:
    return f"0x{0xBEEF:04x}{number:036x}"


async def members(orders: Orders, count: int, units: int = 10 * WHOLE, **fields: Any) -> list[UUID]:
    return [await orders.withdrawal(units, to=receiver(n), **fields) for n in range(count)]


async def batch_of(orders: Orders, ids: Sequence[UUID], **fields: Any) -> UUID:
    return await write_batch_of(orders.database, orders.clock, orders.contracts, ids, **fields)


class TestSign:
    async def test_a_batch_is_signed_as_the_vaults_batch_of_its_members_with_one_line_in_the_log(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        ids = await members(orders, 3)
        batch_id = await batch_of(orders, ids)

        signed = await orders.sign(signer, batch_id, nonce=5)

        fields = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()
        assert "0x" + bytes(fields["to"]).hex() == orders.contracts.deployment.vault
        assert (fields["nonce"], fields["gas"]) == (5, PAYOUT_BATCH_GAS + 3 * PAYMENT_GAS)
        data = bytes(fields["data"])
        assert data[:4] == keccak(b"withdrawBatch(address,(address,uint256,bytes32)[])")[:4]
        payments = tuple((receiver(n), 10 * WHOLE, one.bytes + bytes(16)) for n, one in enumerate(ids))
        assert decode(["address", "(address,uint256,bytes32)[]"], data[4:]) == (
            orders.contracts.token(),
            payments,
        )
        [line] = orders.log_lines()
        assert (line["order_id"], line["kind"], line["amount"]) == (
            str(batch_id),
            "payout_batch",
            str(30 * WHOLE),
        )
        assert [(one["order_id"], one["to_address"], one["amount"]) for one in line["members"]] == [
            (str(one), receiver(n), str(10 * WHOLE)) for n, one in enumerate(ids)
        ]

    async def test_the_same_request_gives_the_same_bytes_across_a_restart(self, orders: Orders) -> None:
        batch_id = await batch_of(orders, await members(orders, 3))
        async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
            first = await orders.sign(signer, batch_id)
            assert await orders.sign(signer, batch_id) == first
        async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
            assert await orders.sign(signer, batch_id) == first
            refusal = await orders.refusal(signer, batch_id, nonce=1)
            assert code_and_why(refusal) == (ChainCode.NONCE_MISMATCH, "another_nonce")
            bumped = await orders.sign(signer, batch_id, fees=BUMPED)
        assert bumped != first
        assert len(orders.log_lines()) == 2

    async def test_a_sweep_batch_is_signed_as_one_sweep_of_its_members_salts(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        salts = [bytes([number]) * 32 for number in (7, 8)]
        ids = [await sweep(orders, salt) for salt in salts]
        batch_id = await batch_of(orders, ids, kind="sweep_batch")

        signed = await orders.sign(signer, batch_id)

        fields = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()
        assert decode(["address", "bytes32[]"], bytes(fields["data"])[4:]) == (
            orders.contracts.token(),
            tuple(salts),
        )
        assert fields["gas"] == 300_000 + 120_000


class TestOnceAndNeverAgain:
    async def test_a_member_signed_in_a_batch_is_never_signed_alone(self, orders: Orders) -> None:
        ids = await members(orders, 2)
        batch_id = await batch_of(orders, ids)
        async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
            await orders.sign(signer, batch_id)
        # The database forgets the batch, as one that is restored or a thief's would.
        await forget(orders, batch_id)
        async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
            for one in ids:
                refusal = await orders.refusal(signer, one, nonce=1)
                assert code_and_why(refusal) == (ChainCode.ORDER_IN_BATCH, "signed_in_batch")
                assert refusal.data["signed_before"] is True
                with pytest.raises(Refusal) as checked:
                    await signer.check(order_id=one, chain_id=31337)
                assert checked.value.data["signed_before"] is True
        assert len(orders.log_lines()) == 1

    async def test_a_member_signed_in_a_batch_is_signed_in_no_other(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        ids = await members(orders, 3)
        first = await batch_of(orders, ids[:2])
        await orders.sign(signer, first)
        await forget(orders, first)
        other = await batch_of(orders, ids[1:])

        refusal = await orders.refusal(signer, other, nonce=1)

        assert code_and_why(refusal) == (ChainCode.ORDER_IN_BATCH, "signed_in_another_batch")
        assert refusal.data["signed_before"] is False

    async def test_a_member_signed_alone_is_signed_in_no_batch(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        ids = await members(orders, 2)
        await orders.sign(signer, ids[0])
        refusal = await orders.refusal(signer, await batch_of(orders, ids), nonce=1)
        assert code_and_why(refusal) == (ChainCode.ORDER_IN_BATCH, "signed_alone")

    async def test_a_member_of_a_batch_that_is_not_signed_yet_is_not_signed_alone(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        ids = await members(orders, 2)
        batch_id = await batch_of(orders, ids)
        refusal = await orders.refusal(signer, ids[0])
        assert code_and_why(refusal) == (ChainCode.ORDER_IN_BATCH, "batch")
        await orders.change(batch_id, revoked_at=orders.clock.now())
        await orders.sign(signer, ids[0])
        refusal = await orders.refusal(signer, batch_id, nonce=1)
        assert refusal.data["why"] in {"revoked", "signed_alone"}

    @pytest.mark.parametrize("change", ["amount", "receiver", "order", "fewer"])
    async def test_a_batch_that_changed_after_it_was_signed_is_refused(
        self, orders: Orders, signer: SignerClient, change: str
    ) -> None:
        ids = await members(orders, 3)
        batch_id = await batch_of(orders, ids)
        await orders.sign(signer, batch_id)
        if change == "amount":
            await orders.change(ids[1], amount=11 * WHOLE)
        elif change == "receiver":
            await orders.change(ids[1], to_address=receiver(99))
        else:
            async with orders.database.session() as session:
                if change == "fewer":
                    await session.execute(
                        delete(ChainBatchMember).where(ChainBatchMember.member_id == ids[2])
                    )
                else:
                    await session.execute(
                        update(ChainBatchMember)
                        .where(ChainBatchMember.member_id == ids[0])
                        .values(position=7)
                    )

        refusal = await orders.refusal(signer, batch_id, fees=BUMPED)

        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "changed_since_signed")
        assert refusal.data["signed_before"] is True

    async def test_half_a_line_of_a_batch_is_cut_off_and_none_of_it_was_signed(self, orders: Orders) -> None:
        ids = await members(orders, 4)
        batch_id = await batch_of(orders, ids)
        async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
            await orders.sign(signer, batch_id)
        path = signing_log_path(orders.contracts.home, orders.contracts.deployment)
        whole = path.read_bytes()
        for kept in (1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:kept])
            log = SigningLog(path)
            assert [log.batch_of(one) for one in ids] == [None] * 4
            assert log.spent(orders.contracts.token(), now_ns=orders.clock.now_ns(), seconds=3600) == 0
            log.close()
        path.write_bytes(whole)
        log = SigningLog(path)
        assert [log.batch_of(one) for one in ids] == [batch_id] * 4
        assert log.spent(orders.contracts.token(), now_ns=orders.clock.now_ns(), seconds=3600) == 40 * WHOLE
        log.close()


class TestRefusals:
    async def test_what_is_no_sound_batch_is_refused(self, orders: Orders, signer: SignerClient) -> None:
        kyat = await orders.withdrawal(100, asset="DMMK")
        pair = [await orders.withdrawal(WHOLE), await orders.withdrawal(WHOLE)]
        swept = await sweep(orders, b"\x07" * 32)
        wrong: list[tuple[str, UUID]] = [
            ("empty", await batch_of(orders, [], amount=1)),
            ("too_many", await batch_of(orders, await members(orders, MEMBERS_MAX + 1, WHOLE))),
            ("contract", await batch_of(orders, await members(orders, 2), to_address=receiver(5))),
            ("member_kind", await batch_of(orders, [*await members(orders, 1), swept])),
            ("member_token", await batch_of(orders, [*await members(orders, 1), kyat])),
            ("sum", await batch_of(orders, await members(orders, 2), amount=20 * WHOLE - 1)),
            ("equal_members", await batch_of(orders, pair)),
        ]
        for why, batch_id in wrong:
            refusal = await orders.refusal(signer, batch_id)
            assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, why)
            assert refusal.data["signed_before"] is False
        assert orders.log_lines() == []

    async def test_one_member_that_would_be_refused_alone_refuses_the_batch(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        good, vault = await members(orders, 4), orders.contracts.deployment.vault
        revoked = await orders.withdrawal(WHOLE)
        await orders.change(revoked, revoked_at=orders.clock.now())
        bad = [
            (await orders.withdrawal(approved=False), ChainCode.ORDER_NOT_APPROVED, "approved"),
            (revoked, ChainCode.ORDER_REVOKED, "revoked"),
            (await orders.withdrawal(to=vault), ChainCode.ORDER_UNEXPLAINED, "receiver"),
            (
                await orders.withdrawal(1_000 * WHOLE + 1),
                ChainCode.CAP_PER_TRANSACTION_EXCEEDED,
                "per_transaction",
            ),
        ]
        for one, (order_id, code, why) in zip(good, bad, strict=True):
            refusal = await orders.refusal(signer, await batch_of(orders, [one, order_id]))
            assert code_and_why(refusal) == (code, why)
        zero = await orders.withdrawal(to=ZERO_ADDRESS)
        refusal = await orders.refusal(signer, await batch_of(orders, [zero]))
        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "receiver")
        assert orders.log_lines() == []

    async def test_a_receiver_on_the_block_list_refuses_the_batch(self, orders: Orders) -> None:
        policy = SignerPolicy(caps=CAPS, blocked_receivers=(receiver(1),))
        batch_id = await batch_of(orders, await members(orders, 3))
        async with running_signer(orders.contracts, orders.database, orders.clock, policy=policy) as signer:
            refusal = await orders.refusal(signer, batch_id)
        assert code_and_why(refusal) == (ChainCode.RECEIVER_BLOCKED_BY_SIGNER, "blocked")

    async def test_more_members_than_the_policy_allows_are_refused(self, orders: Orders) -> None:
        policy = SignerPolicy(caps=CAPS, batch_members_max=2)
        batch_id = await batch_of(orders, await members(orders, 3))
        async with running_signer(orders.contracts, orders.database, orders.clock, policy=policy) as signer:
            refusal = await orders.refusal(signer, batch_id)
        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "too_many")

    async def test_the_sum_is_held_to_the_cap_of_an_hour_across_a_restart(self, orders: Orders) -> None:
        async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
            await orders.sign(signer, await batch_of(orders, await members(orders, 2, 1_000 * WHOLE)))
        async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
            batch_id = await batch_of(orders, await members(orders, 2, 250 * WHOLE + 1))
            refusal = await orders.refusal(signer, batch_id, nonce=1)
            assert code_and_why(refusal) == (ChainCode.CAP_PER_HOUR_EXCEEDED, "per_hour")
            assert refusal.retryable is Retryable.YES
            await orders.sign(signer, await batch_of(orders, await members(orders, 2, 250 * WHOLE)), nonce=1)
            last = await orders.refusal(signer, await orders.withdrawal(1), nonce=2)
            assert last.code is ChainCode.CAP_PER_HOUR_EXCEEDED

    async def test_each_member_above_the_threshold_needs_its_own_two_officers(self, orders: Orders) -> None:
        may, hla = OfficerDevice("may"), OfficerDevice("hla")
        caps = {"USDT": msgspec.structs.replace(CAPS["USDT"], without_officers=str(10 * WHOLE))}
        policy = SignerPolicy(caps=caps, officers=(may.in_policy(), hla.in_policy()))
        ids = [*await members(orders, 2), *await members(orders, 2, 20 * WHOLE)]
        batch_id = await batch_of(orders, ids)
        deployment = orders.contracts.deployment
        async with running_signer(orders.contracts, orders.database, orders.clock, policy=policy) as signer:
            for one in ids[2:]:
                refusal = await orders.refusal(signer, batch_id)
                assert refusal.code is ChainCode.APPROVALS_MISSING
                for officer in (may, hla):
                    await officer.approve(orders.database, orders.clock, deployment, one)
            await orders.sign(signer, batch_id)
        [line] = orders.log_lines()
        assert [one["officers"] for one in line["members"]] == [[], [], ["hla", "may"], ["hla", "may"]]

    async def test_a_sweep_of_an_address_that_is_not_its_salts_refuses_the_batch(
        self, orders: Orders, signer: SignerClient
    ) -> None:
        ids = [await sweep(orders, bytes([number]) * 32) for number in (7, 8)]
        await orders.change(ids[1], salt="0x" + "09" * 32)
        refusal = await orders.refusal(signer, await batch_of(orders, ids, kind="sweep_batch"))
        assert code_and_why(refusal) == (ChainCode.ORDER_UNEXPLAINED, "deposit_address")


class TestGas:
    def test_the_largest_batch_fits_into_a_transaction(self) -> None:
        assert PAYOUT_BATCH_GAS + MEMBERS_MAX * PAYMENT_GAS < TRANSACTION_GAS_MAX

    def test_the_bound_of_a_payment_is_the_vaults_and_the_figures_are_the_snapshots(self) -> None:
        source = (ROOT / "contracts" / "src" / "Vault.sol").read_text()
        assert f"PAYMENT_GAS_LEFT_MIN = {PAYMENT_GAS:_};" in source
        gas = msgspec.json.decode((ROOT / "contracts" / "snapshots" / "Gas.json").read_bytes())
        one = int(gas["withdraw a batch of 1, new holder"])
        each, rest = divmod(int(gas["withdraw a batch of 40, new holders"]) - one, 39)
        assert rest < 39
        assert {
            "withdrawal": int(gas["withdraw, new holder"]),
            "batch": one - each,
            "payment": each,
        } == MEASURED_GAS

    @given(st.integers(1, MEMBERS_MAX))
    def test_two_or_more_are_cheaper_together_and_one_is_not(self, payments: int) -> None:
        assert batch_is_cheaper(payments) is (payments >= 2)


async def sweep(orders: Orders, salt: bytes) -> UUID:
    deployment = orders.contracts.deployment
    address = deposit_address(vault=deployment.vault, implementation=deployment.implementation, salt=salt)
    return await write_sweep(orders.database, orders.clock, orders.contracts, address=address, salt=salt)


async def forget(orders: Orders, batch_id: UUID) -> None:
    async with orders.database.session() as session:
        await session.execute(delete(ChainBatchMember).where(ChainBatchMember.batch_id == batch_id))
