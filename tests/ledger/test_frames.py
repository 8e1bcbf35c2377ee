"""Frames: a stream gives what was sent, however it is cut; whatever else comes is refused."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.client import LedgerClient
from ledger.connections import Answered, CannotConnect, ConnectionLost, LedgerServer
from ledger.contract import Account, InvalidRequest, Transfer
from ledger.door.desk import Desk, Reply
from ledger.door.framing import QUESTIONS_MAX
from ledger.door.judge import Door
from ledger.door.rights import LedgerForbidden
from ledger.engine import LedgerEngine
from ledger.frames import (
    PREFACE,
    FrameReader,
    FrameTooLarge,
    Question,
    pack_answer,
    pack_question,
    unpack_question,
)
from ledger.interface import LedgerUnavailable
from ledger.operations import JSON, PACKED
from ledger.records import pack_ids, unpack_accounts
from ledger.server import listening, publish

QUESTIONS = st.builds(
    Question,
    st.text("abcdefghij_", min_size=1, max_size=30),
    st.binary(max_size=300),
    st.sampled_from([PACKED, JSON]),
    st.booleans(),
    st.one_of(st.none(), st.lists(st.integers(0, 8189), min_size=1, max_size=9).map(tuple)),
)
NUMBERS = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(NUMBERS, QUESTIONS), max_size=6), st.data())
def test_a_stream_cut_anywhere_gives_the_questions_that_were_sent(sent, data) -> None:
    stream = b"".join(pack_question(number, question) for number, question in sent)
    reader, came = FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        came += [(number, unpack_question(content)) for number, _, content in reader.feed(stream[:cut])]
        stream = stream[cut:]
    assert came == sent
    assert reader.begun is None


@given(NUMBERS, st.integers(100, 599), st.binary(max_size=300))
def test_an_answer_comes_as_it_was_given(number: int, status: int, body: bytes) -> None:
    assert list(FrameReader().feed(pack_answer(number, status, body))) == [(number, status, body)]


@given(st.binary(max_size=60))
def test_whatever_a_frame_holds_is_a_question_or_refused(content: bytes) -> None:
    try:
        question = unpack_question(content)
    except InvalidRequest:
        return
    assert question.kind in (PACKED, JSON)


def test_a_frame_that_announces_more_than_anybody_may_send_is_refused_at_its_head() -> None:
    head = pack_question(7, Question("lookup_accounts", bytes(200)))[:10]
    with pytest.raises(FrameTooLarge) as refused:
        list(FrameReader(100).feed(head))
    assert refused.value.number == 7


@pytest.fixture
def address() -> Iterator[str]:
    # Unix sockets allow 107 bytes of path, and a test's own directory is often longer.
    with tempfile.TemporaryDirectory(prefix="nl-") as directory:
        yield f"unix:{directory}/ledger.sock"


@asynccontextmanager
async def served(engine: LedgerEngine, address: str, door: Door | None = None) -> AsyncIterator[str]:
    async with listening(engine, address, door=door) as own:
        publish(address, own)
        yield address.removeprefix("unix:")


class Raw:
    """A connection that sends whatever bytes it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        # A ledger that does not read is no reason to wait here.
        await asyncio.sleep(0)

    async def told(self) -> tuple[int, int, bytes]:
        """The next answer."""
        async with asyncio.timeout(10):
            head = await self._reader.readexactly(10)
            number, status = int.from_bytes(head[4:8], "little"), int.from_bytes(head[8:], "little")
            return number, status, await self._reader.readexactly(int.from_bytes(head[:4], "little"))

    def abort(self) -> None:
        """End it with whatever is unsent and unread."""
        self._writer.transport.abort()

    async def is_closed(self) -> bool:
        """Whether the ledger has ended it."""
        async with asyncio.timeout(10):
            return await self._reader.read(1) == b""


@asynccontextmanager
async def connected(path: str) -> AsyncIterator[Raw]:
    """A raw connection, once the ledger listens."""
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(path)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    try:
        yield Raw(reader, writer)
    finally:
        await end(writer)


async def end(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and wait until it is."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


class TestServer:
    async def test_questions_of_one_connection_are_answered_in_any_order(self, engine, address):
        await engine.create_accounts([Account(id=1, ledger=1, code=20)])
        wait = msgspec.json.encode({"timestamp_min": str(2**62), "wait_seconds": 2})
        stream = PREFACE + pack_question(1, Question("get_changes", wait, JSON))
        stream += pack_question(2, Question("lookup_accounts", pack_ids([1])))
        async with served(engine, address) as path, connected(path) as raw:
            await raw.send(stream)
            number, status, body = await raw.told()
            assert (number, status) == (2, 200), "the first question waits for changes, the second need not"
            assert [one.id for one in unpack_accounts(body)] == [1]
            assert (await raw.told())[:2] == (1, 200)

    async def test_a_preface_that_comes_byte_by_byte_is_one(self, engine, address):
        async with served(engine, address) as path, connected(path) as raw:
            for byte in PREFACE + pack_question(3, Question("lookup_accounts", pack_ids([9]))):
                await raw.send(bytes([byte]))
            assert await raw.told() == (3, 200, b"")

    @pytest.mark.parametrize(
        ("question", "status", "code"),
        [
            (Question("no_such_operation", b""), 404, "unknown_operation"),
            (Question("lookup_accounts", b"short"), 400, "invalid_request"),
            (Question("lookup_accounts", b"[", JSON), 400, "invalid_request"),
            (Question("lookup_accounts", bytes(16 * 8190)), 400, "invalid_request"),
            (Question("create_transfers", bytes(128), batches=(2,)), 400, "invalid_request"),
            (Question("search_transfers", b"{}", PACKED), 415, "unsupported_media_type"),
            (Question("create_accounts", bytes(2**20 + 128)), 400, "invalid_request"),
        ],
    )
    async def test_what_cannot_be_read_is_refused_and_the_next_question_is_answered(
        self, engine, address, question, status, code
    ):
        stream = PREFACE + pack_question(1, question)
        async with served(engine, address) as path, connected(path) as raw:
            await raw.send(stream)
            number, told_status, body = await raw.told()
            assert (number, told_status, msgspec.json.decode(body)["code"]) == (1, status, code)
            await raw.send(pack_question(2, Question("lookup_accounts", pack_ids([9]))))
            assert await raw.told() == (2, 200, b"")

    async def test_what_is_too_large_is_refused_at_its_head_and_ends_the_connection(self, engine, address):
        head = (2**31).to_bytes(4, "little") + (5).to_bytes(4, "little") + bytes(2)
        async with served(engine, address) as path, connected(path) as raw:
            await raw.send(PREFACE + head)
            number, status, _ = await raw.told()
            assert (number, status) == (5, 400)
            assert await raw.is_closed()

    async def test_a_stranger_is_shown_out_before_the_question_is_whole(self, engine, address):
        door = Door(owner_uid=os.geteuid() + 1)
        half = pack_question(8, Question("lookup_accounts", bytes(16 * 8189)))[:400]
        async with served(engine, address, door) as path, connected(path) as raw:
            await raw.send(PREFACE + half)
            number, status, body = await raw.told()
            assert (number, status, msgspec.json.decode(body)["rule"]) == (8, 403, "identity")
            assert await raw.is_closed()
        assert door.refusals.total() == 1

    async def test_a_caller_who_does_not_read_is_asked_nothing_more_and_gets_everything_later(
        self, engine, address
    ):
        ids = list(range(1, 2_001))
        await engine.create_accounts([Account(id=one, ledger=1, code=20) for one in ids])
        count = 3 * QUESTIONS_MAX
        question = Question("lookup_accounts", pack_ids(ids))
        stream = PREFACE + b"".join(pack_question(number, question) for number in range(count))
        async with served(engine, address) as path, connected(path) as raw:
            await raw.send(stream)
            await asyncio.sleep(0.5)
            answers = [await raw.told() for _ in range(count)]
        assert sorted(number for number, _, _ in answers) == list(range(count))
        assert {(status, len(body)) for _, status, body in answers} == {(200, 128 * len(ids))}

    async def test_of_thousands_of_questions_in_one_piece_only_some_are_worked_on_at_once(
        self, engine, address, monkeypatch
    ):
        at_once = most = 0
        answer = Desk.answer

        async def watched(*asked: Any) -> Reply:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            reply = await answer(*asked)
            at_once -= 1
            return reply

        monkeypatch.setattr(Desk, "answer", watched)
        count = 2_000
        stream = PREFACE + b"".join(pack_question(one, Question("none", b"")) for one in range(count - 9))
        stream += b"".join(
            pack_question(count - 9 + one, Question("lookup_accounts", pack_ids([1]))) for one in range(9)
        )
        async with served(engine, address) as path, connected(path) as raw:
            await raw.send(stream)
            answers = [await raw.told() for _ in range(count)]
        assert sorted(number for number, _, _ in answers) == list(range(count))
        assert 0 < most <= QUESTIONS_MAX

    async def test_for_a_caller_who_never_reads_nothing_more_is_worked_on(self, engine, address, monkeypatch):
        begun = 0

        async def large(*_asked: Any) -> Reply:
            nonlocal begun
            begun += 1
            return Reply(bytes(2**20), PACKED)

        monkeypatch.setattr(Desk, "answer", large)
        monkeypatch.setattr("ledger.server.GRACE_SECONDS", 1)
        count = 2_000
        stream = PREFACE + b"".join(pack_question(one, Question("none", b"")) for one in range(count))
        async with served(engine, address) as path, connected(path) as raw:
            await raw.send(stream)
            await asyncio.sleep(0.5)
            assert 0 < begun <= 2 * QUESTIONS_MAX
            raw.abort()

    async def test_what_comes_while_the_ledger_ends_is_told_that_it_is_not_done(
        self, engine, address, monkeypatch
    ):
        gate = asyncio.Event()
        answer = Desk.answer

        async def slow(desk: Desk, caller: Any, question: Question) -> Reply:
            await gate.wait()
            return await answer(desk, caller, question)

        monkeypatch.setattr(Desk, "answer", slow)
        serving = served(engine, address)
        async with connected(await serving.__aenter__()) as raw:
            await raw.send(PREFACE + pack_question(1, Question("lookup_accounts", pack_ids([1]))))
            await asyncio.sleep(0.1)
            ending = asyncio.create_task(serving.__aexit__(None, None, None))
            await asyncio.sleep(0.3)
            await raw.send(pack_question(2, Question("create_transfers", bytes(128))))
            number, status, body = await raw.told()
            problem = msgspec.json.decode(body)
            assert (number, status, problem["code"]) == (2, 503, "ledger_unavailable")
            assert problem["outcome_unknown"] is False
            gate.set()
            assert await raw.told() == (1, 200, b"")
            assert await raw.is_closed()
            await ending

    async def test_a_caller_who_never_reads_does_not_keep_the_ledger_from_ending(
        self, engine, address, monkeypatch
    ):
        monkeypatch.setattr("ledger.server.GRACE_SECONDS", 1)
        ids = list(range(1, 4_001))
        await engine.create_accounts([Account(id=one, ledger=1, code=20) for one in ids])
        question = Question("lookup_accounts", pack_ids(ids))
        stream = PREFACE + b"".join(pack_question(number, question) for number in range(QUESTIONS_MAX))
        serving = served(engine, address)
        async with connected(await serving.__aenter__()) as raw:
            await raw.send(stream)
            await asyncio.sleep(0.2)
            async with asyncio.timeout(15):
                await serving.__aexit__(None, None, None)
            raw.abort()

    async def test_what_is_under_way_when_the_ledger_ends_is_answered(self, engine, address):
        client = LedgerClient(address, deadline_seconds=1)
        async with served(engine, address):
            await client.create_accounts([Account(id=one, ledger=1, code=20) for one in (1, 2)])
            pay = Transfer(id=5, debit_account_id=1, credit_account_id=2, amount=1, ledger=1, code=1)
            paying = asyncio.create_task(client.create_transfers([pay]))
            await asyncio.sleep(0)
        results = await asyncio.gather(paying, return_exceptions=True)
        stored = await engine.lookup_transfers([5])
        assert len(stored) == 1 if not isinstance(results[0], BaseException) else len(stored) <= 1
        await client.close()


class TestClient:
    async def test_many_questions_share_one_connection(self, engine, address):
        async with served(engine, address) as path:
            server = LedgerServer(address, 5, None)
            question = Question("lookup_accounts", pack_ids([1]))
            answers = await asyncio.gather(*(server.ask(question) for _ in range(100)))
            assert {answer.status for answer in answers} == {200}
            # The listener and the server's end of each connection bear the name.
            sockets = await asyncio.to_thread(Path("/proc/net/unix").read_text)
            assert sockets.count(path) <= 3
            await server.close()

    async def test_whoever_gives_up_does_not_take_the_connection_from_others(self, engine, address):
        async with served(engine, address):
            server = LedgerServer(address, 5, None)
            question = Question("lookup_accounts", pack_ids([1]))
            first = asyncio.create_task(server.ask(question))
            second = asyncio.create_task(server.ask(question))
            await asyncio.sleep(0)
            first.cancel()
            assert (await second).status == 200
            await server.close()

    async def test_a_client_that_is_closed_while_it_connects_tells_whoever_waits(self, address, monkeypatch):
        server = LedgerServer(address, 5, None)
        gate = asyncio.Event()
        monkeypatch.setattr(server, "_open", gate.wait)
        asking = asyncio.create_task(server.ask(Question("lookup_accounts", b"")))
        await asyncio.sleep(0.01)
        await server.close()
        with pytest.raises(CannotConnect):
            await asking

    async def test_a_refusal_after_a_lost_try_leaves_the_outcome_open(self, address, monkeypatch):
        client = LedgerClient(address, deadline_seconds=1)
        tries = 0

        async def lose_then_refuse(_question: Question) -> Answered:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise ConnectionLost
            return Answered(403, msgspec.json.encode({"code": "ledger_forbidden", "rule": "debit"}))

        monkeypatch.setattr(client._servers[0], "ask", lose_then_refuse)
        pay = Transfer(id=5, debit_account_id=1, credit_account_id=2, amount=1, ledger=1, code=1)
        with pytest.raises(LedgerUnavailable) as told:
            await client.create_transfers([pay])
        assert told.value.outcome_unknown
        # A read has changed nothing: its refusal is the answer.
        tries = 0
        with pytest.raises(LedgerForbidden):
            await client.lookup_accounts([1])
        await client.close()

    async def test_without_a_server_nothing_was_sent(self, address):
        server = LedgerServer(address, 1, None)
        with pytest.raises(CannotConnect):
            await server.ask(Question("lookup_accounts", b""))
        await server.close()

    @pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 32])
    async def test_whoever_speaks_something_else_is_no_ledger(self, address, says):
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(says)
            await end(writer)

        other = await asyncio.start_unix_server(speak, address.removeprefix("unix:"))
        server = LedgerServer(address, 1, None)
        with pytest.raises(ConnectionLost):
            await server.ask(Question("lookup_accounts", b""))
        await server.close()
        other.close()

    async def test_a_silent_server_is_lost_after_the_deadline_and_the_next_question_connects_anew(
        self, address
    ):
        connections = 0
        ended = asyncio.Semaphore(0)

        async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.read()
            await end(writer)
            ended.release()

        silent = await asyncio.start_unix_server(be_silent, address.removeprefix("unix:"))
        server = LedgerServer(address, 0.1, None)
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await server.ask(Question("lookup_accounts", b""))
        assert connections == 2
        await server.close()
        for _ in range(connections):
            await ended.acquire()
        silent.close()
