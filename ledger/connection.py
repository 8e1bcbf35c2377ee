"""Connection: a session with PostgreSQL, and one fast way each to put rows in and to take them out.

``copy_in`` sends several COPY statements and what follows them as one message:
the server runs them as one database transaction, which takes two round trips
where BEGIN, COPY, INSERT and COMMIT take five. ``copy_out`` gives a COPY's rows in
pieces, and spends half the time on a row that psycopg's own loop does.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import errors, pq

from ledger.rows import COPY_HEADER, COPY_TRAILER

Connection = psycopg.Connection[tuple[object, ...]]

PIECE_BYTES = 8 * 1024 * 1024
"""About how much ``copy_out`` reads at a time."""

_READ, _WRITE = select.POLLIN, select.POLLOUT


Send = Callable[[pq.abc.PGconn], None]


def copy_in(connection: Connection, statements: str, data: Sequence[Sequence[bytes]]) -> None:
    """Run statements in one database transaction; each COPY FROM STDIN takes the next of ``data``, in pieces.

    Any error aborts all of it. ``psycopg.OperationalError`` may leave the outcome
    open, as with any commit. The calling thread waits without the interpreter's lock.
    """
    run_alone(connection, lambda pgconn: pgconn.send_query(statements.encode()), data)


def run_alone(connection: Connection, send: Send, data: Sequence[Sequence[bytes]] = ()) -> None:
    """Send one message, give each of its COPYs the next of ``data``, and wait for the end of all.

    Raises the first error that the server tells.
    """
    pgconn = connection.pgconn
    poll = select.poll()
    poll.register(pgconn.socket, _READ)
    send(pgconn)
    waiting = iter(data)
    failure: psycopg.Error | None = None
    while (result := _next_result(pgconn, poll)) is not None:
        if result.status == pq.ExecStatus.COPY_IN:
            if not all(map(pgconn.put_copy_data, next(waiting))) or not pgconn.put_copy_end():
                # A COPY that was begun and not ended leaves the session unusable,
                # and must not be committed by anything that follows.
                connection.close()
                raise psycopg.OperationalError("no memory for the rows to send")
        elif result.status == pq.ExecStatus.FATAL_ERROR and failure is None:
            failure = errors.error_from_result(result, connection.info.encoding)
    if failure is not None:
        raise failure


def copy_out(connection: psycopg.Connection[Any], query: str) -> Iterator[bytes]:
    """The rows of a binary COPY in pieces of whole rows, without the stream's header and trailer.

    The connection is of no use after an error, or where not all was taken.
    """
    pgconn, trailer = connection.pgconn, len(COPY_TRAILER)
    poll = select.poll()
    poll.register(pgconn.socket, _READ)
    pgconn.send_query(query.encode())
    _expect(connection, pq.ExecStatus.COPY_OUT, _next_result(pgconn, poll))
    poll.modify(pgconn.socket, _READ)
    piece, room, header = bytearray(), PIECE_BYTES, len(COPY_HEADER)
    # libpq gives a row at a time, the first with the header before it, and the trailer
    # by itself or right behind the header. This loop runs once a row: it is kept short.
    while True:
        size, message = pgconn.get_copy_data(1)
        if size > trailer:
            piece += message
            room -= size
            if header:
                del piece[:header]
                header = 0
            if room <= 0:
                yield bytes(piece)
                piece, room = bytearray(), PIECE_BYTES
        elif size == 0:
            poll.poll()
            pgconn.consume_input()
        elif size < 0:
            break
    _expect(connection, pq.ExecStatus.COMMAND_OK, _next_result(pgconn, poll))
    while _next_result(pgconn, poll) is not None:
        pass
    if len(piece) > trailer:
        yield bytes(piece)


def _expect(
    connection: psycopg.Connection[Any], status: pq.ExecStatus, result: pq.abc.PGresult | None
) -> None:
    if result is None or result.status != status:
        connection.close()
        if result is None:
            raise psycopg.OperationalError("the server ended a COPY without a word")
        raise errors.error_from_result(result)


def _next_result(pgconn: pq.abc.PGconn, poll: select.poll) -> pq.abc.PGresult | None:
    """Send what is queued and wait for the next result; None after the last."""
    while True:
        unsent = pgconn.flush()
        if not unsent and not pgconn.is_busy():
            return pgconn.get_result()
        poll.modify(pgconn.socket, _READ | _WRITE if unsent else _READ)
        if any(happened & ~_WRITE for _, happened in poll.poll()):
            pgconn.consume_input()
