"""The model itself: its words are the contract's, and it gives TigerBeetle's recorded answers."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from foundation.clock import SettableClock
from ledger.contract import (
    Account,
    AccountFilter,
    CreateAccountStatus,
    CreateTransferStatus,
    QueryFilter,
    Transfer,
)
from ledger.interface import Ledger
from tests.ledger import model_reads
from tests.ledger.model import TRANSIENT, Answer, Model
from tests.ledger.oracle import VECTORS, replay

ACCOUNT_STATUSES = """
linked_event_failed 1, linked_event_chain_open 2, imported_event_expected 22, imported_event_not_expected 23,
timestamp_must_be_zero 3, imported_event_timestamp_out_of_range 24,
imported_event_timestamp_must_not_advance 25, reserved_field 4, reserved_flag 5, id_must_not_be_zero 6,
id_must_not_be_int_max 7, exists_with_different_flags 15, exists_with_different_user_data_128 16,
exists_with_different_user_data_64 17, exists_with_different_user_data_32 18,
exists_with_different_ledger 19, exists_with_different_code 20, exists 21, flags_are_mutually_exclusive 8,
debits_pending_must_be_zero 9, debits_posted_must_be_zero 10, credits_pending_must_be_zero 11,
credits_posted_must_be_zero 12, ledger_must_not_be_zero 13, code_must_not_be_zero 14,
imported_event_timestamp_must_not_regress 26
"""
"""Section 3, in order of precedence."""

TRANSFER_STATUSES = """
linked_event_failed 1, linked_event_chain_open 2, imported_event_expected 56, imported_event_not_expected 57,
timestamp_must_be_zero 3, imported_event_timestamp_out_of_range 58,
imported_event_timestamp_must_not_advance 59, reserved_flag 4, id_must_not_be_zero 5,
id_must_not_be_int_max 6, exists_with_different_flags 36, exists_with_different_pending_id 40,
exists_with_different_timeout 44, exists_with_different_debit_account_id 37,
exists_with_different_credit_account_id 38, exists_with_different_amount 39,
exists_with_different_user_data_128 41, exists_with_different_user_data_64 42,
exists_with_different_user_data_32 43, exists_with_different_ledger 67, exists_with_different_code 45,
exists 46, id_already_failed 68, flags_are_mutually_exclusive 7, debit_account_id_must_not_be_zero 8,
debit_account_id_must_not_be_int_max 9, credit_account_id_must_not_be_zero 10,
credit_account_id_must_not_be_int_max 11, accounts_must_be_different 12, pending_id_must_be_zero 13,
pending_id_must_not_be_zero 14, pending_id_must_not_be_int_max 15, pending_id_must_be_different 16,
timeout_reserved_for_pending_transfer 17, closing_transfer_must_be_pending 64, ledger_must_not_be_zero 19,
code_must_not_be_zero 20, debit_account_not_found 21, credit_account_not_found 22,
accounts_must_have_the_same_ledger 23, transfer_must_have_the_same_ledger_as_accounts 24,
pending_transfer_not_found 25, pending_transfer_not_pending 26,
pending_transfer_has_different_debit_account_id 27, pending_transfer_has_different_credit_account_id 28,
pending_transfer_has_different_ledger 29, pending_transfer_has_different_code 30,
exceeds_pending_transfer_amount 31, pending_transfer_has_different_amount 32,
pending_transfer_already_posted 33, pending_transfer_already_voided 34, pending_transfer_expired 35,
imported_event_timestamp_must_not_regress 60, imported_event_timestamp_must_postdate_debit_account 61,
imported_event_timestamp_must_postdate_credit_account 62, imported_event_timeout_must_be_zero 63,
debit_account_already_closed 65, credit_account_already_closed 66, overflows_debits_pending 47,
overflows_credits_pending 48, overflows_debits_posted 49, overflows_credits_posted 50, overflows_debits 51,
overflows_credits 52, overflows_timeout 53, exceeds_credits 54, exceeds_debits 55
"""
"""Section 4, in order of precedence."""


def parse(text: str) -> list[tuple[str, int]]:
    pairs = [line.split() for line in text.replace("\n", " ").split(",")]
    return [("created", 2**32 - 1), *((name, int(number)) for name, number in pairs)]


class ModelLedger:
    """The model behind the ledger's interface."""

    def __init__(self, clock: SettableClock) -> None:
        self.model, self.clock = Model(), clock

    async def create_accounts(self, events: Sequence[Account]) -> list[Any]:
        answers = self.model.create_accounts(self.clock.now_ns(), events)
        return [_result(answer, CreateAccountStatus) for answer in answers]

    async def create_transfers(self, events: Sequence[Transfer]) -> list[Any]:
        answers = self.model.create_transfers(self.clock.now_ns(), events)
        return [_result(answer, CreateTransferStatus) for answer in answers]

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        self.model.sweep(self.clock.now_ns())
        return model_reads.lookup_accounts(self.model, ids)

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        return model_reads.lookup_transfers(self.model, ids)

    async def get_account_transfers(self, asked: AccountFilter) -> list[Transfer]:
        return model_reads.get_account_transfers(self.model, asked) if model_reads.is_valid(asked) else []

    async def get_account_balances(self, asked: AccountFilter) -> list[Any]:
        return model_reads.get_account_balances(self.model, asked) if model_reads.is_valid(asked) else []

    async def query_transfers(self, asked: QueryFilter) -> list[Transfer]:
        return model_reads.query_transfers(self.model, asked) if model_reads.is_valid(asked) else []

    async def query_accounts(self, asked: QueryFilter) -> list[Account]:
        return model_reads.query_accounts(self.model, asked) if model_reads.is_valid(asked) else []


def _result(answer: Answer, statuses: type[CreateAccountStatus | CreateTransferStatus]) -> Any:
    return SimpleNamespace(timestamp=answer[0], status=statuses[answer[1].upper()])


def test_the_enums_hold_the_contracts_names_numbers_and_order() -> None:
    assert [(s.name.lower(), int(s)) for s in CreateAccountStatus] == parse(ACCOUNT_STATUSES)
    assert [(s.name.lower(), int(s)) for s in CreateTransferStatus] == parse(TRANSFER_STATUSES)


def test_the_contracts_transient_statuses_are_the_enums() -> None:
    assert {s.name.lower() for s in CreateTransferStatus if s.is_transient} == TRANSIENT


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
async def test_the_model_gives_tigerbeetles_recorded_answers(clock: SettableClock, path: Path) -> None:
    assert await replay(cast(Ledger, ModelLedger(clock)), clock, path) > 5
