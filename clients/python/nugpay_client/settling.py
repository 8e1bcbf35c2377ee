"""Settling: what moves money is sent with an id until its outcome is known."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from nugpay_client.connection import Connection, NoAnswer
from nugpay_client.errors import NotFound, OutcomeUnknown, RequestRefused, ServiceUnavailable

_DECIDED = frozenset({400, 409, 422})
"""Statuses of refusals for which the server has looked at the order itself."""


async def settle(
    connection: Connection, path: str, own_path: str | None, order_id: UUID, body: dict[str, str]
) -> Any:
    """Send an order until its outcome is known; its answer, or what is found under ``own_path`` if any.

    ``RequestRefused`` or ``ServiceUnavailable`` when nothing has happened,
    ``OutcomeUnknown`` when no attempt could tell.
    """
    retry = connection.retry
    in_doubt: str | None = None
    for attempt in range(1, retry.attempts + 1):
        try:
            return (await connection.send_once("POST", path, body)).content
        except ServiceUnavailable as error:
            if in_doubt is None and (attempt == retry.attempts or not error.may_pass):
                raise
        except RequestRefused as error:
            # Who is not admitted any more hears nothing about an attempt before that
            # may have gone through.
            if in_doubt is not None and error.problem.status not in _DECIDED:
                raise OutcomeUnknown(order_id, f"{in_doubt}; then {error.code}") from error
            raise
        except NoAnswer as error:
            in_doubt = str(error)
            found = await _look(connection, own_path) if own_path is not None else None
            if found is not None:
                return found
        if attempt < retry.attempts:
            await asyncio.sleep(retry.pause(attempt))
    raise OutcomeUnknown(order_id, in_doubt or "no answer")


async def _look(connection: Connection, own_path: str) -> Any | None:
    """What the server knows under an id now; None when nothing, or nobody answers."""
    try:
        return (await connection.send_once("GET", own_path)).content
    except (NotFound, NoAnswer, ServiceUnavailable):
        # Not found is no proof that it never will be: the first attempt may still be
        # on its way. Only the order itself, sent again, settles it.
        return None
