"""Connection: a session with PostgreSQL, and one fast way to put rows into it.

``copy_in`` sends several COPY statements and what follows them as one message:
the server runs them as one database transaction, which takes two round trips
where BEGIN, COPY, INSERT and COMMIT take five.
"""

from __future__ import annotations

import select
from collections.abc import Sequence

import psycopg
from psycopg import errors, pq

Connection = psycopg.Connection[tuple[object, ...]]

_READ, _WRITE = select.POLLIN, select.POLLOUT


def copy_in(connection: Connection, statements: str, data: Sequence[Sequence[bytes]]) -> None:
    """Run statements in one database transaction; each COPY FROM STDIN takes the next of ``data``, in pieces.

    Any error aborts all of it. ``psycopg.OperationalError`` may leave the outcome
    open, as with any commit. The calling thread waits without the interpreter's lock.
    """
    pgconn = connection.pgconn
    poll = select.poll()
    poll.register(pgconn.socket, _READ)
    pgconn.send_query(statements.encode())
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


def _next_result(pgconn: pq.abc.PGconn, poll: select.poll) -> pq.abc.PGresult | None:
    """Send what is queued and wait for the next result; None after the last."""
    while True:
        unsent = pgconn.flush()
        if not unsent and not pgconn.is_busy():
            return pgconn.get_result()
        poll.modify(pgconn.socket, _READ | _WRITE if unsent else _READ)
        if any(happened & ~_WRITE for _, happened in poll.poll()):
            pgconn.consume_input()
