"""What the engine refuses before it looks, and what the journal refuses to everybody."""

import psycopg
import pytest

from foundation.postgres import sync_url
from ledger.contract import Account, AccountFilter, InvalidFilter, InvalidRequest, Transfer
from ledger.engine import LedgerEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 2**128), ("id", -1), ("amount", 2**128), ("amount", -1), ("debit_account_id", 2**128),
        ("credit_account_id", -1), ("pending_id", 2**128), ("user_data_128", 2**128),
        ("user_data_64", 2**64), ("user_data_32", 2**32), ("timeout", 2**32), ("ledger", 2**32),
        ("code", 2**16), ("flags", 2**16), ("timestamp", 2**64),
    ],
)  # fmt: skip
async def test_a_transfer_that_no_record_could_hold_is_no_request(
    shared_engine: LedgerEngine, field: str, value: int
) -> None:
    good, wrong = Transfer(6, ledger=1, code=1), Transfer(7, ledger=1, code=1)
    setattr(wrong, field, value)
    before = shared_engine.sequence
    with pytest.raises(InvalidRequest):
        await shared_engine.create_transfers([good, wrong])
    assert shared_engine.sequence == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 2**128), ("debits_pending", -1), ("credits_posted", 2**128), ("user_data_128", 2**128),
        ("user_data_64", -1), ("user_data_32", 2**32), ("reserved", 2**32), ("ledger", 2**32),
        ("code", 2**16), ("flags", -1), ("timestamp", 2**64),
    ],
)  # fmt: skip
async def test_an_account_that_no_record_could_hold_is_no_request(
    shared_engine: LedgerEngine, field: str, value: int
) -> None:
    wrong = Account(id=3, ledger=1, code=1)
    setattr(wrong, field, value)
    with pytest.raises(InvalidRequest):
        await shared_engine.create_accounts([Account(id=4, ledger=1, code=1), wrong])
    assert await shared_engine.lookup_accounts([4]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        AccountFilter(account_id=0), AccountFilter(account_id=2**128 - 1),
        AccountFilter(account_id=1, limit=0), AccountFilter(account_id=1, limit=8190),
        AccountFilter(account_id=1, flags=4),
        AccountFilter(account_id=1, flags=8 | 3), AccountFilter(account_id=1, reserved=1),
        AccountFilter(account_id=1, timestamp_min=3, timestamp_max=2),
        AccountFilter(account_id=1, timestamp_max=2**63), AccountFilter(account_id=1, timestamp_min=2**63),
    ],
)  # fmt: skip
async def test_a_filter_that_can_mean_nothing_is_an_error_and_names_its_field(
    shared_engine: LedgerEngine, wrong: AccountFilter
) -> None:
    with pytest.raises(InvalidFilter) as refused:
        await shared_engine.get_account_transfers(wrong)
    assert hasattr(wrong, refused.value.field_name)
    with pytest.raises(InvalidFilter):
        await shared_engine.get_account_balances(wrong)


@pytest.mark.parametrize("wrong", [{"before": 0}, {"before": 2**63}, {"limit": 0}, {"limit": 8190}])
async def test_a_statement_of_nothing_is_an_error(shared_engine: LedgerEngine, wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidFilter):
        await shared_engine.get_statement(1, **wrong)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_transfer_1 SET amount = amount + 1", "DELETE FROM ledger_transfer_1",
        "TRUNCATE ledger_transfer_1", "UPDATE ledger_transfer_sealed SET amount = 1",
        "DELETE FROM ledger_transfer_sealed", "TRUNCATE ledger_transfer_sealed",
        "UPDATE ledger_segment SET number = 2", "DELETE FROM ledger_segment",
        "DELETE FROM ledger_seal", "UPDATE ledger_account SET code = 9", "DELETE FROM ledger_account",
        "TRUNCATE ledger_account", "UPDATE ledger_batch SET timestamp = 1", "DELETE FROM ledger_batch",
        "TRUNCATE ledger_batch", "UPDATE ledger_expiry SET timestamp = 1", "DELETE FROM ledger_expiry",
        "TRUNCATE ledger_expiry", "UPDATE ledger_failed_id SET timestamp = 1", "DELETE FROM ledger_failed_id",
        "TRUNCATE ledger_failed_id",
    ],
)  # fmt: skip
async def test_the_journal_is_append_only_for_everybody(
    shared_engine: LedgerEngine, shared_database_url: str, statement: str
) -> None:
    with (
        psycopg.connect(sync_url(shared_database_url)) as db,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
    ):
        db.execute(statement)


async def test_the_view_of_all_transfers_takes_no_change(shared_database_url: str) -> None:
    with (
        psycopg.connect(sync_url(shared_database_url)) as db,
        pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="cannot update view"),
    ):
        db.execute("UPDATE ledger_transfer SET amount = 1")
