"""Reserves: anybody may read both books, and no customer's movement is in them."""

from datetime import timedelta
from decimal import Decimal

import pytest

from chain.deployments import Deployment, TokenInfo, save_deployment
from chain.models import ChainCursor
from tests.wallet_api.conftest import API
from treasury.breaker import trip_breaker
from treasury.models import TreasuryReconciliation

ITEM = "9a0856b3-5600-8d6a-bab8-69117e45b91c"


@pytest.fixture
def bank(api: API) -> API:
    save_deployment(
        api.connections.settings.home,
        Deployment(
            api.connections.settings.chain_id, "0x" + "00" * 32, 1, "0x" + "22" * 20, "0x" + "33" * 20,
            {"USDT": TokenInfo("0x" + "11" * 20, 6)},
        ),
    )  # fmt: skip
    return api


async def reconciled(api: API, block_number: int, *, unexplained: int = 0) -> None:
    async with api.database.session() as session:
        session.add(
            TreasuryReconciliation(
                chain_id=api.connections.settings.chain_id,
                block_number=block_number,
                asset="USDT",
                block_hash="0x" + "ab" * 32,
                token="0x" + "11" * 20,
                chain_units=Decimal(12_500_000 + unexplained),
                ledger_amount=10_000_000,
                ledger_timestamp=7,
                hot_units=Decimal(9_000_000),
                deposit_units=Decimal(500_000),
                cold_units=Decimal(3_000_000 + unexplained),
                dust_units=Decimal(0),
                items=[
                    {"kind": "deposit_unbooked", "id": ITEM, "units": "2000000"},
                    {"kind": "deposit_unbooked", "id": ITEM, "units": "500000"},
                ],
                unexplained_units=Decimal(unexplained),
                created_at=api.clock.now(),
            )
        )


async def test_before_anything_is_compared_there_is_nothing_to_tell(bank: API) -> None:
    answer = await bank.http.get("/v1/reserves")
    assert answer.status_code == 200
    assert answer.json()["reserves"] == []


async def test_newest_books_are_told_with_sums_by_kind_and_no_ids(bank: API) -> None:
    await reconciled(bank, 41)
    bank.clock.advance(seconds=5)
    await reconciled(bank, 42)
    answer = await bank.http.get("/v1/reserves")
    assert ITEM not in answer.text
    found = answer.json()
    assert (found["withdrawals_stopped_since"], found["crediting_waits"]) == (None, False)
    assert found["reserves"] == [
        {
            "asset": "USDT",
            "token": "0x" + "11" * 20,
            "token_decimals": 6,
            "block_number": 42,
            "block_hash": "0x" + "ab" * 32,
            "on_chain": "12.500000",
            "hot": "9.000000",
            "deposit": "0.500000",
            "cold": "3.000000",
            "in_ledger": "10.000000",
            "dust": "0.000000",
            "explained": [{"kind": "deposit_unbooked", "amount": "2.500000"}],
            "unexplained": "0.000000",
            "agrees": True,
            "compared_at": "2027-01-15T08:00:05.000000Z",
        }
    ]


async def test_stopped_withdrawals_and_waiting_credits_are_told(bank: API) -> None:
    await reconciled(bank, 42, unexplained=-3)
    async with bank.database.session() as session:
        await trip_breaker(session, bank.clock, 31337, reason="an inner matter")
        session.add(
            ChainCursor(
                chain_id=31337, genesis_hash="0x", start_number=0, head_number=0, head_hash="0x",
                finalized_number=0, followed_at=bank.clock.now() - timedelta(1), finality_hold="silence",
            )
        )  # fmt: skip
    answer = await bank.http.get("/v1/reserves")
    assert "inner matter" not in answer.text
    found = answer.json()
    assert found["withdrawals_stopped_since"] == "2027-01-15T08:00:00.000000Z"
    assert found["crediting_waits"] is True
    assert (found["reserves"][0]["unexplained"], found["reserves"][0]["agrees"]) == ("-0.000003", False)
