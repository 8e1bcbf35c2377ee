"""The judge by itself, over books that keep what they are asked: account codes, grants, operations."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.clock import SettableClock
from ledger.contract import Account, Transfer
from ledger.door.account_codes import AccountCodes
from ledger.door.judge import Caller, Door, Judge
from ledger.door.rights import FULL, LedgerForbidden, Numbers, Rights, TransferGrant
from ledger.records import pack_transfers, transfer_records


def _some(*numbers: int) -> Numbers:
    return np.array(numbers, np.int64)


class _Books:
    """Accounts 1 to 200, whose code is their id modulo 5; every look-up is kept."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        self.asked += ids
        await asyncio.sleep(0)
        return [Account(id=number, code=number % 5) for number in ids if 1 <= number <= 200]

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        return [Transfer(id=number) for number in ids if number > 300]


@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 300), st.integers(0, 1)), max_size=40), min_size=1, max_size=6
    ),
    remembered=st.integers(1, 250),
)
def test_account_codes_are_right_whatever_is_remembered(
    batches: list[list[tuple[int, int]]], remembered: int
) -> None:
    async def ask() -> None:
        codes = AccountCodes(_Books().lookup_accounts, remembered_max=remembered)
        arrays = [np.array(ids, np.uint64).reshape(-1, 2) for ids in batches]
        # At the same time, so that one forgets what another is about to use; then once more.
        for _ in range(2):
            for ids, found in zip(batches, await asyncio.gather(*map(codes.of, arrays)), strict=True):
                assert found.tolist() == [
                    low % 5 if 1 <= low <= 200 and not high else -1 for low, high in ids
                ]
            distinct = {low for ids in batches for low, high in ids if 1 <= low <= 200 and not high}
            assert codes._slots.count <= min(remembered, len(distinct))

    asyncio.run(ask())


async def test_an_account_is_asked_for_once(clock: SettableClock) -> None:
    books = _Books()
    grant = TransferGrant(None, None, _some(1), _some(2, 3))
    caller = Caller("agent", Rights(transfers=(grant,)))
    judge = Judge(Door(clock=clock), books)
    records = transfer_records(
        pack_transfers([Transfer(id=n, debit_account_id=6, credit_account_id=7) for n in range(1, 100)])
    )
    for _ in range(3):
        await judge.check(caller, "create_transfers", records)
    assert sorted(books.asked) == [6, 7]


async def test_an_operation_that_is_neither_known_nor_a_read_needs_full_rights(clock: SettableClock) -> None:
    judge = Judge(Door(clock=clock), _Books())
    await judge.check(Caller("bank", FULL), "create_miracles", [])
    with pytest.raises(LedgerForbidden) as refused:
        await judge.check(Caller("agent", Rights(read=True)), "create_miracles", [])
    assert refused.value.rule == "operation"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"ledger": 1, "code": 1, "debit": 1, "credit": 1}, None),
        ({"ledger": 2, "code": 2, "debit": 2, "credit": 2}, None),
        ({"ledger": 3, "code": 1, "debit": 1, "credit": 1}, "ledger"),
        ({"ledger": 2, "code": 1, "debit": 1, "credit": 1}, "code"),
        ({"ledger": 2, "code": 2, "debit": 1, "credit": 1}, "debit"),
        ({"ledger": 2, "code": 2, "debit": 2, "credit": 1}, "credit"),
        ({"ledger": 1, "code": 1, "debit": 2, "credit": 2}, "debit"),
    ],
)
async def test_one_grant_must_allow_all_of_a_transfer(
    clock: SettableClock, fields: dict[str, int], rule: str | None
) -> None:
    grants = tuple(TransferGrant(_some(n), _some(n), _some(n), _some(n)) for n in (1, 2))
    caller = Caller("agent", Rights(transfers=grants))
    transfer = Transfer(
        id=1,
        ledger=fields["ledger"],
        code=fields["code"],
        # Accounts of these books have their id as their code.
        debit_account_id=fields["debit"],
        credit_account_id=fields["credit"],
    )
    judge = Judge(Door(clock=clock), _Books())
    if rule is None:
        await judge.check(caller, "create_transfers", [transfer])
        return
    with pytest.raises(LedgerForbidden) as refused:
        await judge.check(caller, "create_transfers", [transfer])
    assert (refused.value.rule, refused.value.index) == (rule, 0)
