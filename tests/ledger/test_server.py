"""The ledger process: packed and JSON answers, refusals, coalescing, a socket for its owner only."""

import asyncio
import os
import stat
import sys
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from structlog.testing import capture_logs

from foundation.clock import SettableClock
from ledger.client import LedgerClient
from ledger.contract import (
    Account,
    AccountFilter,
    ChangeEventsFilter,
    ChangeEventType,
    CreateTransferStatus,
    InvalidFilter,
    InvalidRequest,
    Transfer,
    TransferFlags,
)
from ledger.door.judge import Door
from ledger.engine import LedgerEngine
from ledger.interface import LedgerUnavailable
from tests.ledger.doors import Visitor
from tests.ledger.oracle import VECTORS, replay


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
async def test_every_step_gets_tigerbeetles_answer_over_the_socket(
    client: LedgerClient, clock: SettableClock, path: Path
) -> None:
    assert await replay(client, clock, path) > 5


async def _two_accounts(client: LedgerClient) -> None:
    await client.create_accounts([Account(id=1, ledger=1, code=1), Account(id=2, ledger=1, code=1)])


def _transfer(transfer_id: int, **fields: int) -> Transfer:
    return Transfer(
        id=transfer_id, debit_account_id=1, credit_account_id=2, ledger=1, code=1, **{"amount": 1} | fields
    )


async def test_concurrent_callers_are_coalesced_and_each_gets_its_own_answer(client: LedgerClient) -> None:
    await _two_accounts(client)
    calls = [client.create_transfers([_transfer(100 + n), _transfer(100 + n)]) for n in range(200)]
    answers = await asyncio.gather(*calls)
    for first, second in answers:
        assert first.status is CreateTransferStatus.CREATED
        assert second.status is CreateTransferStatus.EXISTS
        assert first.timestamp == second.timestamp


async def test_a_callers_open_chain_does_not_swallow_anothers_events(client: LedgerClient) -> None:
    await _two_accounts(client)
    linked = int(TransferFlags.LINKED)
    answers = await asyncio.gather(
        client.create_transfers([_transfer(1)]),
        client.create_transfers([_transfer(2, flags=linked)]),
        client.create_transfers([_transfer(3)]),
    )
    assert [a[0].status for a in answers] == [
        CreateTransferStatus.CREATED,
        CreateTransferStatus.LINKED_EVENT_CHAIN_OPEN,
        CreateTransferStatus.CREATED,
    ]


async def test_statements_and_change_events_travel_packed(client: LedgerClient, engine: LedgerEngine) -> None:
    await _two_accounts(client)
    await client.create_transfers([_transfer(n, amount=n, user_data_64=2**64 - 1) for n in range(1, 8)])
    lines = await client.get_statement(1, limit=3)
    assert [line.transfer.id for line in lines] == [7, 6, 5]
    assert [line.balance.debits_posted for line in lines] == [28, 21, 15]
    older = await client.get_statement(1, before=lines[-1].transfer.timestamp, limit=50)
    assert [line.transfer.id for line in older] == [4, 3, 2, 1]
    events = await client.get_change_events(ChangeEventsFilter())
    assert events == await engine.get_change_events(ChangeEventsFilter())
    assert [e.type for e in events] == [ChangeEventType.SINGLE_PHASE] * 7
    assert events[-1].debit_account.debits_posted == 28
    assert events[-1].transfer.user_data_64 == 2**64 - 1


async def test_invalid_questions_are_typed_refusals(client: LedgerClient) -> None:
    with pytest.raises(InvalidFilter) as caught:
        await client.get_account_transfers(AccountFilter(account_id=1, limit=0))
    assert caught.value.field_name == "limit"
    with pytest.raises(InvalidRequest):
        await client.create_transfers([_transfer(1)] * 8190)
    with pytest.raises(InvalidRequest):
        await client.create_transfers([_transfer(2**128)])
    with pytest.raises(InvalidRequest):
        await client.lookup_accounts([-1])


async def test_an_absent_ledger_is_told_within_the_deadline(tmp_path: Path) -> None:
    client = LedgerClient(f"unix:{tmp_path}/none.sock", deadline_seconds=0.3)
    with pytest.raises(LedgerUnavailable) as caught:
        await client.create_transfers([_transfer(1)])
    assert caught.value.outcome_unknown is False
    await client.close()


async def _post(engine: LedgerEngine, operation: str, body: object, **headers: str) -> httpx.Response:
    door = Door()
    return await Visitor(engine, door, door.owner()).post(operation, body, **headers)


async def test_json_speaks_uuids_names_and_digits(engine: LedgerEngine) -> None:
    one, two = str(UUID(int=1)), str(UUID(int=2))
    answer = await _post(
        engine,
        "create_accounts",
        [{"id": one, "ledger": 1, "code": 1}, {"id": two, "ledger": 1, "code": 1}],
    )
    assert [r["status"] for r in answer.json()] == ["created", "created"]
    payment = {
        "id": str(UUID(int=9)),
        "debit_account_id": one,
        "credit_account_id": two,
        "amount": "12",
        "ledger": 1,
        "code": 7,
    }
    answer = await _post(engine, "create_transfers", [payment])
    assert answer.json()[0]["status"] == "created"
    (account,) = (await _post(engine, "lookup_accounts", [one])).json()
    assert account["debits_posted"] == "12"
    assert account["id"] == one
    (transfer,) = (await _post(engine, "query_transfers", {"code": 7})).json()
    assert transfer["amount"] == "12"
    (event,) = (await _post(engine, "get_change_events", {})).json()
    assert event["type"] == "single_phase"
    assert event["transfer"]["id"] == payment["id"]


@pytest.mark.parametrize(
    ("operation", "body", "status", "code"),
    [
        ("no_such", [], 404, "unknown_operation"),
        ("create_transfers", b"{", 400, "invalid_request"),
        ("create_transfers", b'["\xff"]', 400, "invalid_request"),
        ("create_transfers", b'[{"\xff": 1}]', 400, "invalid_request"),
        ("create_transfers", b"[" * 100_000, 400, "invalid_request"),
        ("query_transfers", b'{"code": ' * 100_000, 400, "invalid_request"),
        ("create_transfers", b'["\\ud800"]', 400, "invalid_request"),
        ("create_transfers", {"id": 1}, 400, "invalid_request"),
        ("create_transfers", [{"colour": 1}], 400, "invalid_request"),
        ("create_transfers", [{"id": "x"}], 400, "invalid_request"),
        ("create_transfers", [{"id": 1, "amount": -1}], 400, "invalid_request"),
        ("create_transfers", [{"id": 1, "amount": 1.5}], 400, "invalid_request"),
        ("create_transfers", [{"id": 1, "code": 65536}], 400, "invalid_request"),
        ("create_transfers", [{"id": True}], 400, "invalid_request"),
        ("lookup_accounts", [2**128], 400, "invalid_request"),
        ("query_transfers", {"limit": 0}, 400, "invalid_filter"),
        ("query_transfers", {"flags": 2}, 400, "invalid_filter"),
        ("query_transfers", {"timestamp_min": "2", "timestamp_max": "1"}, 400, "invalid_filter"),
        ("get_account_transfers", {"account_id": 0}, 400, "invalid_filter"),
    ],
)
async def test_bad_json_gets_a_problem_with_a_stable_code(
    engine: LedgerEngine, operation: str, body: object, status: int, code: str
) -> None:
    answer = await _post(engine, operation, body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert engine.sequence == 0


@pytest.mark.parametrize(
    ("operation", "body", "retryable"),
    [("create_transfers", [{"id": 1}], "unknown"), ("lookup_transfers", [1], "true")],
)
async def test_a_fault_of_ours_is_a_problem_that_shows_nothing_and_is_logged_once(
    engine: LedgerEngine, monkeypatch: pytest.MonkeyPatch, operation: str, body: object, retryable: str
) -> None:
    async def fail(_events: object) -> None:
        raise ZeroDivisionError("the inside of the engine")

    monkeypatch.setattr(engine, operation, fail)
    with capture_logs() as logs:
        answer = await _post(engine, operation, body)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["retryable"]) == ("internal_error", retryable)
    assert answer.json()["outcome_unknown"] is (retryable == "unknown")
    assert "inside" not in answer.text
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("request_failed", "error")]


async def test_bad_packed_requests_are_refused(engine: LedgerEngine) -> None:
    packed = {"content-type": "application/octet-stream"}
    assert (await _post(engine, "create_transfers", b"x" * 127, **packed)).status_code == 400
    assert (await _post(engine, "query_transfers", b"x" * 63, **packed)).status_code == 400
    assert (await _post(engine, "create_transfers", b"x" * 128 * 8190, **packed)).status_code == 400
    wrong_split = packed | {"nugpay-batches": "1,1"}
    assert (await _post(engine, "create_transfers", bytes(128), **wrong_split)).status_code == 400
    assert (await _post(engine, "lookup_accounts", b"", **{"content-type": "text/plain"})).status_code == 415
    assert (await _post(engine, "create_transfers", b"", **packed)).content == b""


async def test_the_socket_is_for_its_owner_only(client: LedgerClient) -> None:
    mode = await asyncio.to_thread(os.stat, client.url.removeprefix("unix:"))
    assert stat.S_IMODE(mode.st_mode) == 0o600


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"id":' * 100_000, b'[{"id": [1]}]'])
async def test_a_nested_body_is_refused_whatever_the_recursion_limit_is(
    engine: LedgerEngine, body: bytes
) -> None:
    # A library may raise the limit of the whole process, and a decoder that follows
    # the nesting would then run off the stack instead of raising.
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        answer = await _post(engine, "create_transfers", body)
    finally:
        sys.setrecursionlimit(before)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"
