"""The signer's recall: its log tells what was signed for an order, byte by byte, and decides nothing."""

import pytest
from sqlalchemy import delete

from chain.errors import ChainCode
from chain.fees import Fees
from chain.models import ChainOrder
from chain.signer_client import SignerClient
from foundation.errors import Refusal
from foundation.ids import uuid7
from tests.fixtures.contracts import running_signer, write_batch_of
from tests.fixtures.sending import CUSTOMER
from tests.fixtures.signing import FEES, Orders

BUMPED = Fees(FEES.max_fee_per_gas * 2, FEES.max_priority_fee_per_gas * 2)


async def test_of_what_was_never_signed_only_the_next_nonce_is_told(
    orders: Orders, signer: SignerClient
) -> None:
    [nothing] = await signer.recall(uuid7(orders.clock))
    assert (nothing.order, nothing.next_nonce) == (None, 0)
    await orders.sign(signer, await orders.withdrawal(), nonce=4)
    [nothing] = await signer.recall(await orders.withdrawal())
    assert (nothing.order, nothing.next_nonce) == (None, 5)
    assert len(orders.log_lines()) == 1


async def test_every_signature_is_given_as_it_left_also_by_the_next_process_and_without_the_order(
    orders: Orders,
) -> None:
    order_id = await orders.withdrawal()
    async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
        signed = [await orders.sign(signer, order_id, fees=fees) for fees in (FEES, BUMPED)]
        address = (await signer.identity()).address
    async with orders.database.session() as session:
        await session.execute(delete(ChainOrder).where(ChainOrder.id == order_id))
    async with running_signer(orders.contracts, orders.database, orders.clock) as signer:
        recalled = await signer.recall(order_id)
    assert [(one.raw, one.tx_hash) for one in recalled] == [(one.raw, one.tx_hash) for one in signed]
    fees = [Fees(one.max_fee_per_gas, one.max_priority_fee_per_gas) for one in recalled]
    assert fees == [FEES, BUMPED]
    order = recalled[0].order
    assert order is not None
    assert (order.id, order.nonce, order.from_address, order.to_address) == (order_id, 0, address, CUSTOMER)
    assert (order.signatures, order.member_ids) == (2, ())


async def test_a_member_is_told_as_the_batch_that_it_was_signed_in(
    orders: Orders, signer: SignerClient
) -> None:
    ids = [await orders.withdrawal(to=f"0x{n:040x}") for n in (0xBEEF1, 0xBEEF2)]
    batch_id = await write_batch_of(orders.database, orders.clock, orders.contracts, ids)
    signed = await orders.sign(signer, batch_id, nonce=3)
    for one in (*ids, batch_id):
        [recalled] = await signer.recall(one)
        assert recalled.order is not None
        assert (recalled.order.id, recalled.order.member_ids) == (batch_id, tuple(ids))
        assert (recalled.raw, recalled.order.nonce) == (signed.raw, 3)


async def test_what_is_recalled_is_signed_no_second_time(orders: Orders, signer: SignerClient) -> None:
    order_id = await orders.withdrawal()
    await orders.sign(signer, order_id)
    await signer.recall(order_id)
    with pytest.raises(Refusal) as refused:
        await orders.sign(signer, order_id, nonce=1)
    assert refused.value.code is ChainCode.NONCE_MISMATCH
    assert len(orders.log_lines()) == 1
