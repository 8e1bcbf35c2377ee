"""The gate under trouble that no well-behaved client makes: slow bodies, lost clients, faults."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from foundation.errors import FoundationCode, Refusal
from wallet_api import gate
from wallet_api.gate import Gate

SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/payments",
    "raw_path": b"/v1/payments",
    "query_string": b"",
    "headers": [(b"host", b"api.test"), (b"content-type", b"application/json")],
}


async def never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the request must not get through")


async def passed(app: Callable[..., Awaitable[None]], *messages: dict[str, Any]) -> tuple[int, Any] | None:
    """Pass a request whose body comes as ``messages``, and then nothing more; its answer."""
    waiting, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    await Gate(app)(dict(SCOPE), receive, send)
    if not sent:
        return None
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body)


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(gate, "_JSON", replace(gate._JSON, seconds_max=0.02))
    begun = {"type": "http.request", "body": b'{"id":', "more_body": True}
    answer = await passed(never, begun)
    assert answer is not None
    assert (answer[0], answer[1]["code"]) == (408, "body_too_slow")
    assert answer[1]["money_moved"] == "false"


async def test_a_client_that_hangs_up_before_its_body_is_complete_is_forgotten():
    begun = {"type": "http.request", "body": b'{"id":', "more_body": True}
    assert await passed(never, begun, {"type": "http.disconnect"}) is None


async def test_a_body_that_comes_in_pieces_is_put_together():
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(body.decode()).encode()})

    pieces = [{"type": "http.request", "body": bytes([code]), "more_body": code != 67} for code in b"ABC"]
    assert await passed(echo, *pieces) == (200, "ABC")


async def test_a_fault_after_the_answer_began_breaks_the_answer_off():
    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        raise ZeroDivisionError

    assert await passed(half, {"type": "http.request", "body": b""}) == (200, 1)


async def test_a_refusal_that_no_handler_answers_is_answered_by_the_gate():
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        raise Refusal(FoundationCode.UNKNOWN_ASSET, "No.")

    answer = await passed(refuse, {"type": "http.request", "body": b""})
    assert answer is not None
    assert (answer[0], answer[1]["code"]) == (422, "unknown_asset")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PoolTimeoutError("all in use"), 503, "database_unavailable"),
        # A statement that the database does not understand is no outage.
        (ProgrammingError("select", {}, Exception("no such table")), 500, "internal_error"),
    ],
    ids=["pool", "statement"],
)
async def test_an_outage_of_the_database_is_told_from_a_fault_of_ours(api, monkeypatch, error, status, code):
    phone = await api.phone("aye")

    async def fail(person_id: Any) -> None:
        raise error

    monkeypatch.setattr(api.connections.wallets, "by_person", fail)
    answer = await phone.get("/v1/wallet")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["money_moved"] == "false"


async def test_a_parameter_that_stands_twice_in_a_query_is_refused_by_its_name(aye):
    for query in ("limit=1&limit=2", "limit=1&limit=1", "cursor=&limit=1&cursor="):
        answer = await aye.get(f"/v1/history?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "request_malformed")
        assert answer.json()["field"] == ("limit" if query.startswith("limit") else "cursor")
    assert (await aye.get("/v1/history?kind=payment&kind=deposit")).status_code == 200
