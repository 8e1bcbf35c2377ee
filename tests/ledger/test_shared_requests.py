"""Small calls that travel together get each their own answer, as if each had been asked alone."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.client import LARGE_AT_ONCE, LARGE_EVENTS, LedgerClient
from ledger.connections import Answered
from ledger.contract import Account, CreateTransferStatus, InvalidRequest, Transfer
from ledger.engine import LedgerEngine
from ledger.frames import Question
from ledger.records import pack_accounts, pack_ids, unpack_accounts
from ledger.shared_requests import Call, SharedRequests, records_of

IDS = st.lists(st.integers(1, 12), max_size=6)


def account(account_id: int) -> Account:
    return Account(id=account_id, ledger=1, code=1)


@given(asked=st.lists(IDS, min_size=1, max_size=6), known=st.sets(st.integers(1, 12)))
def test_a_lookup_s_records_are_those_of_its_ids_in_their_order(
    asked: list[list[int]], known: set[int]
) -> None:
    loop = asyncio.new_event_loop()
    try:
        calls = [Call(pack_ids(ids), len(ids), loop.create_future()) for ids in asked]
        found = [account(one) for ids in asked for one in ids if one in known]
        parts = records_of(calls, pack_accounts(found))
    finally:
        loop.close()
    got = [[one.id for one in unpack_accounts(part)] for part in parts]
    assert got == [[one for one in ids if one in known] for ids in asked]


async def test_many_lookups_at_once_get_what_each_asked_for(
    engine: LedgerEngine, client: LedgerClient
) -> None:
    draw = random.Random(7)
    await engine.create_accounts([account(number) for number in range(1, 200, 2)])
    asked = [[draw.randrange(1, 200) for _ in range(draw.randint(0, 9))] for _ in range(300)]
    answers = await asyncio.gather(*(client.lookup_accounts(ids) for ids in asked))
    assert [[one.id for one in answer] for answer in answers] == [
        [one for one in ids if one % 2] for ids in asked
    ]


async def test_what_is_asked_while_a_request_is_under_way_is_one_request(client: LedgerClient) -> None:
    requests: list[int] = []
    gate = asyncio.Event()

    async def send(body: bytes, _batches: Sequence[int] | None) -> bytes:
        requests.append(len(body) // 16)
        await gate.wait()
        return b""

    shared = SharedRequests(send, records_of, tells_batches=False)
    asking = [asyncio.create_task(shared.ask(pack_ids([number]), 1)) for number in range(1, 8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*asking) == [b""] * 7
    assert sum(requests) == 7
    assert len(requests) <= 2


async def test_a_lookup_that_is_too_long_is_refused_and_its_neighbours_are_not(client: LedgerClient) -> None:
    answers = await asyncio.gather(
        client.lookup_accounts([1]), client.lookup_accounts([1] * 9_000), return_exceptions=True
    )
    assert answers[0] == []
    assert isinstance(answers[1], InvalidRequest)


async def test_a_caller_that_gives_up_leaves_the_others_their_answers(
    engine: LedgerEngine, client: LedgerClient
) -> None:
    await engine.create_accounts([account(1), account(2)])
    first, second = (asyncio.create_task(client.lookup_accounts([number])) for number in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    assert [one.id for one in await second] == [2]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_large_requests_overlap_and_no_more_than_three_are_under_way(
    client: LedgerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.create_accounts([Account(id=one, ledger=1, code=20) for one in (1, 2)])
    server = client._servers[0]
    ask = server.ask
    at_once = most = 0

    async def watched(question: Question) -> Answered:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        answer = await ask(question)
        at_once -= 1
        return answer

    monkeypatch.setattr(server, "ask", watched)
    requests = [
        [
            Transfer(id=first + one, debit_account_id=1, credit_account_id=2, amount=1, ledger=1, code=1)
            for one in range(LARGE_EVENTS)
        ]
        for first in range(1, 8 * LARGE_EVENTS, LARGE_EVENTS)
    ]
    answers = await asyncio.gather(*(client.create_transfers(events) for events in requests))
    assert {result.status for results in answers for result in results} == {CreateTransferStatus.CREATED}
    assert 1 < most <= LARGE_AT_ONCE
    (account,) = await client.lookup_accounts([2])
    assert account.credits_posted == len(requests) * LARGE_EVENTS
