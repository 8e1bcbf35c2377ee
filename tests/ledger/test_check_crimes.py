"""Crimes against whole rows, most with right hashes afterwards: the check finds each where it was done."""

import copy
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import pytest_asyncio

from foundation.clock import SettableClock
from ledger.checks.journal import check_journal
from ledger.columns import TransferColumns
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED
from tests.ledger.crimes import cells_of, chain_anew, forge, put_rows, rows_of
from tests.ledger.journals import read_tables, write_journal
from tests.ledger.tables_in_memory import TablesInMemory

FORGED_FLIPS = 300
PENDING, POST, VOID, BALANCING = 2, 4, 8, 48


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def written(shared_database_url: str) -> TablesInMemory:
    await write_journal(shared_database_url, SettableClock(), seed=8)
    return read_tables(shared_database_url)


@pytest.fixture
def tables(written: TablesInMemory) -> TablesInMemory:
    """A copy to be spoiled."""
    return copy.deepcopy(written)


def delete_last_rows(tables: TablesInMemory) -> None:
    number = max(s.number for s in tables.catalog if tables.rows[f"transfers {s.number}"])
    put_rows(tables, f"transfers {number}", rows_of(tables, f"transfers {number}")[:-1])


def delete_middle_row(tables: TablesInMemory) -> None:
    put_rows(tables, "transfers 2", [row for n, row in enumerate(rows_of(tables, "transfers 2")) if n != 7])


def swap_rows(tables: TablesInMemory) -> None:
    rows = rows_of(tables, "transfers 2")
    rows[3], rows[4] = rows[4], rows[3]
    put_rows(tables, "transfers 2", rows)
    chain_anew(tables)


def delete_newest_batch(tables: TablesInMemory) -> None:
    put_rows(tables, "batches", rows_of(tables, "batches")[:-1])


def delete_middle_batch(tables: TablesInMemory) -> None:
    put_rows(tables, "batches", [row for n, row in enumerate(rows_of(tables, "batches")) if n != 9])


def delete_expiry(tables: TablesInMemory) -> None:
    put_rows(tables, "expiries", rows_of(tables, "expiries")[:-1])


def delete_account(tables: TablesInMemory) -> None:
    put_rows(tables, "accounts", rows_of(tables, "accounts")[:-1])


def add_failed_id(tables: TablesInMemory) -> None:
    rows = rows_of(tables, "failed_ids")
    put_rows(tables, "failed_ids", [*rows, rows[-1]])


def duplicate_id(tables: TablesInMemory) -> None:
    def change(columns: TransferColumns) -> None:
        plain = np.flatnonzero(columns["flags"] & PENDING == 0)
        columns["id"][plain[3]] = columns["id"][plain[1]]

    forge(tables, 2, change)


def fail_an_id_that_exists(tables: TablesInMemory) -> None:
    ids = rows_of(tables, "failed_ids")
    transfer = TransferColumns.decode(bytes(tables.rows["transfers 1"]))["id"][2].tolist()
    put_rows(
        tables,
        "failed_ids",
        [ids[0][:6] + (transfer[1] << 64 | transfer[0]).to_bytes(16, "big") + ids[0][22:], *ids[1:]],
    )
    chain_anew(tables)


def point_to_another_account(tables: TablesInMemory) -> None:
    def change(columns: TransferColumns) -> None:
        row = len(columns) - 1
        slots = {columns["debit_account"][row], columns["credit_account"][row]}
        others = [
            n for n in range(row) if not slots & {columns["debit_account"][n], columns["credit_account"][n]}
        ]
        columns["debit_previous"][row] = columns["timestamp"][others[-1]]

    forge(tables, 2, change)


def invent_money(tables: TablesInMemory) -> None:
    """A larger amount, that both balances of the row itself bear out."""

    def change(columns: TransferColumns) -> None:
        row = int(np.flatnonzero(columns["flags"] & (PENDING | POST | VOID | BALANCING) == 0)[0])
        for name in ("amount", "debit_debits_posted", "credit_credits_posted"):
            columns[name][row] += 1

    forge(tables, 1, change)


def post_nothing(tables: TablesInMemory) -> None:
    def change(columns: TransferColumns) -> None:
        row = int(np.flatnonzero(columns["flags"] & (POST | VOID))[0])
        ordinary = int(np.flatnonzero(columns["flags"] & PENDING == 0)[0])
        columns["pending_timestamp"][row] = columns["timestamp"][ordinary]
        columns["pending_id"][row] = columns["id"][ordinary]

    forge(tables, 2, change)


def post_twice(tables: TablesInMemory) -> None:
    def change(columns: TransferColumns) -> None:
        first, second = np.flatnonzero(columns["flags"] & (POST | VOID))[:2]
        for name in ("pending_timestamp", "pending_id"):
            columns[name][second] = columns[name][first]

    forge(tables, 2, change)


def lift_a_limit(tables: TablesInMemory) -> None:
    """Accounts that may not spend what they have not: some of them have."""
    rows = rows_of(tables, "accounts")
    flags_at = 2 + 4 + 4 + 4 + 16 + 4 + 8 + 4 + 4 + 4 + 2 + 4 + 1
    changed = [row[:flags_at] + bytes([row[flags_at] & ~6 | 2]) + row[flags_at + 1 :] for row in rows]
    put_rows(tables, "accounts", changed)
    chain_anew(tables)


def spoil_checkpoint(tables: TablesInMemory) -> None:
    assert tables.stored_checkpoint is not None
    sequence, data = tables.stored_checkpoint
    tables.stored_checkpoint = sequence - 1, data


def forget_ids(tables: TablesInMemory) -> None:
    tables.filters[2], tables.filters[1] = tables.filters[1], tables.filters[2]


def forget_a_mark(tables: TablesInMemory) -> None:
    tables.marks[2] = bytearray()


CRIMES: dict[Callable[[TablesInMemory], None], tuple[str, str]] = {
    delete_last_rows: ("ledger_batch", "transfer_count"),
    # Of the row before, or after, the one that is gone: that depends on where a batch ends.
    delete_middle_row: ("ledger_batch", "transfer_first or transfer_last"),
    swap_rows: ("", ""),
    delete_newest_batch: ("", ""),
    delete_middle_batch: ("ledger_batch", "sequence"),
    delete_expiry: ("ledger_batch", "expiry_count"),
    delete_account: ("ledger_batch", "account_count"),
    add_failed_id: ("ledger_failed_id", "batch"),
    duplicate_id: ("", "id"),
    fail_an_id_that_exists: ("ledger_transfer_1", "id"),
    point_to_another_account: ("ledger_transfer_2", "debit_previous"),
    invent_money: ("ledger_transfer_1", ""),
    post_twice: ("ledger_transfer_2", "pending_timestamp"),
    post_nothing: ("ledger_transfer_2", "pending_timestamp"),
    lift_a_limit: ("", ""),
    spoil_checkpoint: ("ledger_checkpoint", "timestamp"),
    forget_ids: ("ledger_id_filter", "data"),
    forget_a_mark: ("ledger_history_mark", "part"),
}
"""Each with the table and the column that the finding must name, where these do not depend on the rows."""


@pytest.mark.parametrize("crime", CRIMES, ids=lambda crime: crime.__name__)
def test_a_crime_is_found_where_it_was_done(
    tables: TablesInMemory, crime: Callable[[TablesInMemory], None]
) -> None:
    crime(tables)
    finding = check_journal(tables).finding
    assert finding is not None
    table, column = CRIMES[crime]
    assert table in {"", finding.table}, finding
    assert not column or finding.column in column.split(" or "), finding


FOLLOWS = {
    "amount", "debit_previous", "credit_previous", "debit_account", "credit_account", "ledger",
    "pending_timestamp", "pending_id", "flags",
    *(f"{side}_{kind}_{state}" for side in ("debit", "credit") for kind in ("debits", "credits")
      for state in ("posted", "pending")),
}  # fmt: skip
"""Columns that follow from other rows: no hash is needed to know that one is wrong."""


def test_values_that_follow_from_others_are_found_though_every_hash_is_right(tables: TablesInMemory) -> None:
    random = Random(11)
    names = [name for name in tables.rows if name.startswith("transfers") or name == "expiries"]
    cells = [(name, cell) for name in names for cell in cells_of(tables, name) if cell.column in FOLLOWS]
    batches = tables.rows["batches"].copy()
    wrong = []
    for _ in range(FORGED_FLIPS):
        name, cell = random.choice(cells)
        data = tables.rows[name]
        at, mask = cell.start + random.randrange(cell.width), 1 << random.randrange(8)
        if cell.column == "flags":
            # Whether an account is closed follows; most other flags are the client's to choose.
            at, mask = cell.start, random.choice([DEBIT_CLOSED, CREDIT_CLOSED]) >> 8
        key = f"timestamp {int.from_bytes(rows_of(tables, name)[cell.row][6:14], 'big')}"
        data[at] ^= mask
        chain_anew(tables)
        finding = check_journal(tables).finding
        # A counter that became 0 where NULL stands for it is found by its form, and a row on the
        # account of another that stands just like its own by what comes after it.
        elsewhere = finding is not None and (finding.column == "form" or cell.column.endswith("_account"))
        if finding is None or (finding.key != key and not elsewhere):
            wrong.append((name, cell, mask, key, finding))
        data[at] ^= mask
        tables.rows["batches"] = batches.copy()
    assert wrong == []
