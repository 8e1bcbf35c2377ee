"""The cap of gas: what a day's signatures may burn in fees, each nonce once with its highest."""

import json
from pathlib import Path

import pytest

from chain.errors import ChainCode
from chain.fees import Fees
from chain.signer_policy import (
    FEES_PER_DAY,
    PolicyError,
    SignerPolicy,
    load_policy,
    policy_path,
    write_policy,
)
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Retryable
from tests.fixtures.contracts import CAPS, running_signer
from tests.fixtures.signing import Orders, code_and_why

GAS = 200_000
"""The policy's gas limit of a withdrawal."""

EXCEEDED = (ChainCode.FEES_PER_DAY_EXCEEDED, "fees_per_day")


def allowing(wei: int) -> SignerPolicy:
    return SignerPolicy(caps=CAPS, fees_per_day=str(wei))


async def test_a_day_s_fees_end_at_the_cap_to_the_wei_and_time_gives_the_room_back(
    orders: Orders, database: Database, clock: SettableClock
) -> None:
    async with running_signer(
        orders.contracts, database, clock, policy=allowing(GAS * 300 + GAS - 1)
    ) as signer:
        for nonce in range(3):
            await orders.sign(signer, await orders.withdrawal(), nonce=nonce, fees=Fees(100, 1))
            clock.advance(3_600)
        beyond = await orders.withdrawal()
        refusal = await orders.refusal(signer, beyond, nonce=3, fees=Fees(1, 1))
        assert code_and_why(refusal) == EXCEEDED
        assert refusal.retryable is Retryable.YES
        assert refusal.data["signed_before"] is False
        # What was signed is given again, whatever the cap is.
        clock.advance(86_400 - 3 * 3_600)
        await orders.sign(signer, beyond, nonce=3, fees=Fees(100, 1))
        refusal = await orders.refusal(signer, await orders.withdrawal(), nonce=4, fees=Fees(1, 1))
        assert code_and_why(refusal) == EXCEEDED


async def test_a_nonce_counts_once_with_the_highest_that_was_signed_for_it(
    orders: Orders, database: Database, clock: SettableClock
) -> None:
    first, second = await orders.withdrawal(), await orders.withdrawal()
    async with running_signer(orders.contracts, database, clock, policy=allowing(GAS * 300)) as signer:
        for fee in (100, 150, 200):
            await orders.sign(signer, first, nonce=0, fees=Fees(fee, 1))
        # A lower one afterwards gives no room: the dearest may still be mined.
        await orders.sign(signer, first, nonce=0, fees=Fees(50, 1))
        await orders.sign(signer, second, nonce=1, fees=Fees(100, 1))
        dearer = await orders.refusal(signer, first, nonce=0, fees=Fees(201, 1))
        assert code_and_why(dearer) == EXCEEDED
        assert dearer.data["signed_before"] is True
        assert len(orders.log_lines()) == 5
        assert (await orders.sign(signer, first, nonce=0, fees=Fees(200, 1))).raw
    # The log remembers across a restart, and a replacement counts from its own time on.
    async with running_signer(orders.contracts, database, clock, policy=allowing(GAS * 300)) as signer:
        refusal = await orders.refusal(signer, await orders.withdrawal(), nonce=2, fees=Fees(1, 1))
        assert code_and_why(refusal) == EXCEEDED


async def test_many_replacements_of_an_order_signed_long_ago_count_today(
    orders: Orders, database: Database, clock: SettableClock
) -> None:
    first = await orders.withdrawal()
    async with running_signer(orders.contracts, database, clock, policy=allowing(GAS * 300)) as signer:
        await orders.sign(signer, first, nonce=0, fees=Fees(100, 1))
        clock.advance(80 * 3_600)
        await orders.sign(signer, first, nonce=0, fees=Fees(250, 1))
        refusal = await orders.refusal(signer, await orders.withdrawal(), nonce=1, fees=Fees(51, 1))
        assert code_and_why(refusal) == EXCEEDED
        await orders.sign(signer, await orders.withdrawal(), nonce=1, fees=Fees(50, 1))


def test_a_policy_without_the_field_has_the_documented_cap_and_a_misread_one_is_refused(
    tmp_path: Path,
) -> None:
    write_policy(tmp_path, SignerPolicy(caps=CAPS))
    content = json.loads(policy_path(tmp_path).read_text())
    del content["fees_per_day"]
    del content["breaker_since"]
    policy_path(tmp_path).write_text(json.dumps(content))
    assert (load_policy(tmp_path).fees_per_day, FEES_PER_DAY) == ("10000000000000000000", 10**19)
    for wrong in ("1e19", "-1", "", "٣"):
        policy_path(tmp_path).write_text(json.dumps({**content, "fees_per_day": wrong}))
        with pytest.raises(PolicyError, match="fees_per_day"):
            load_policy(tmp_path)
    policy_path(tmp_path).write_text(json.dumps({**content, "breaker_since": -1}))
    with pytest.raises(PolicyError, match="breaker_since"):
        load_policy(tmp_path)
