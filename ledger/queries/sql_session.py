"""SQL session: what the queries ask of their storage, asked of PostgreSQL.

Sessions of readers plan once and keep the plan (see ``READER_OPTIONS``): which
segments a question needs is found while it runs, where planning anew for every
question costs more than its answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from ledger.archived import SELECT_DETACHED, SELECT_FILTER, SELECT_FILTER_HEADERS, Detached
from ledger.columns import KINDS, TransferColumns
from ledger.contract import Transfer, TransferPendingStatus
from ledger.history_marks import SLOTS_PER_PART, MarkPart, decode_marks
from ledger.queries.criteria_sql import to_sql
from ledger.queries.questions import TransferCriteria
from ledger.queries.storage import Expiry, Pointers, SealedRange, WrittenBatch
from ledger.rows import EXPIRY_COLUMNS, TRANSFER_COLUMNS
from ledger.sealed_rows import TRANSFER_JOINS, TRANSFER_SELECT, resolution_of, transfer_from_row
from ledger.segments import SEALED

READER_OPTIONS = "-c plan_cache_mode=force_generic_plan -c jit=off"
"""Settings of a session that reads: one plan, which leaves out segments only when it runs."""

ReadConnection = AsyncConnection[tuple[Any, ...]]
Values = Sequence[Any] | Mapping[str, Any]


def _selected(alias: str) -> str:
    """The journal's columns of a row as ``TransferColumns.from_values`` takes them: ids as their bytes."""
    return ", ".join(
        f"uuid_send({alias}.{name})" if KINDS[name] == "16s" else f"{alias}.{name}"
        for name in TRANSFER_COLUMNS
    )


_ROW = ", ".join(f"t.{name}" for name in TRANSFER_COLUMNS)
_PREVIOUS = "CASE WHEN t.debit_account = %(slot)s THEN t.debit_previous ELSE t.credit_previous END"
# The account's rows in the recursion itself: to look each of them up again, or the
# accounts that the engine knows anyway, would cost twice the walk.
_WALK = f"""
WITH RECURSIVE walk AS (
    SELECT {_ROW}, {_PREVIOUS} AS next, 1 AS steps
    FROM {SEALED} t WHERE t.timestamp = %(head)s
  UNION ALL
    SELECT {_ROW}, {_PREVIOUS}, walk.steps + 1
    FROM walk JOIN {SEALED} t ON t.timestamp = walk.next
    WHERE walk.steps < %(steps)s AND walk.next >= %(oldest)s
)
SELECT {_selected("walk")} FROM walk ORDER BY walk.timestamp DESC
"""
_SEAL = "SELECT number, first_timestamp, last_timestamp, transfer_count FROM ledger_seal"


class SQLSession:
    """See :class:`ledger.queries.storage.ReadSession`."""

    def __init__(self, connection: ReadConnection) -> None:
        self._connection = connection
        self.takes_absence_for_an_answer = False
        """Whether sealed rows were looked for that need not exist; a walk knows that its rows do."""

    async def transfers_at(self, timestamps: Sequence[int]) -> TransferColumns:
        """See the protocol."""
        if not timestamps:
            return TransferColumns.empty()
        return await self._fetch("WHERE t.timestamp = ANY(%s) ORDER BY t.timestamp", (list(timestamps),))

    async def transfers_by_id(self, ids: Collection[int]) -> list[Transfer]:
        """See the protocol."""
        self.takes_absence_for_an_answer = True
        statement = f"{TRANSFER_SELECT} FROM {SEALED} t {TRANSFER_JOINS} WHERE t.id = ANY(%s)"
        rows = await self._rows(statement, (_uuids(ids),), prepare=None)
        return [transfer_from_row(row) for row in rows]

    async def transfers_between(
        self,
        low: int,
        high: int,
        any_of: Sequence[TransferCriteria],
        slots: Mapping[int, int],
        *,
        newest_first: bool,
        limit: int,
    ) -> TransferColumns:
        """See the protocol."""
        condition, values = to_sql(any_of, slots)
        return await self._fetch(
            f"WHERE t.timestamp BETWEEN %(low)s AND %(high)s AND {condition}"
            f" ORDER BY t.timestamp {'DESC' if newest_first else 'ASC'} LIMIT %(limit)s",
            values | {"low": low, "high": high, "limit": limit},
            # Conditions seldom come twice, and each would have a plan of its own.
            prepare=not any_of,
        )

    async def walk(self, slot: int, head: int, *, oldest: int, steps: int) -> TransferColumns:
        """See the protocol."""
        values = {"slot": slot, "head": head, "oldest": oldest, "steps": steps}
        return TransferColumns.from_values(await self._rows(_WALK, values))

    async def pointers_at(self, timestamps: Collection[int]) -> dict[int, Pointers]:
        """See the protocol."""
        rows = await self._rows(
            "SELECT timestamp, debit_account, debit_previous, credit_previous"
            f" FROM {SEALED} WHERE timestamp = ANY(%s)",
            (list(timestamps),),
        )
        return {row[0]: Pointers(*row[1:]) for row in rows}

    async def resolutions_of(self, pending_timestamps: Collection[int]) -> TransferColumns:
        """See the protocol."""
        return await self._fetch("WHERE t.pending_timestamp = ANY(%s)", (list(pending_timestamps),))

    async def statuses_of(self, pending_timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """See the protocol."""
        self.takes_absence_for_an_answer = True
        resolved = await self._rows(
            f"SELECT pending_timestamp, flags FROM {SEALED} WHERE pending_timestamp = ANY(%s)",
            (list(pending_timestamps),),
        )
        found = {row[0]: resolution_of(row[1]) for row in resolved}
        expired = await self.expired_at(pending_timestamps)
        return found | dict.fromkeys(expired, TransferPendingStatus.EXPIRED)

    async def expired_at(self, pending_timestamps: Collection[int]) -> dict[int, int]:
        """See the protocol."""
        rows = await self._rows(
            "SELECT pending_timestamp, timestamp FROM ledger_expiry WHERE pending_timestamp = ANY(%s)",
            (list(pending_timestamps),),
        )
        return dict(rows)

    async def expiries_between(
        self, low: int, high: int, *, slots: Collection[int] | None = None, limit: int | None = None
    ) -> list[Expiry]:
        """See the protocol."""
        statement = (
            f"SELECT {', '.join(EXPIRY_COLUMNS)} FROM ledger_expiry"
            " WHERE timestamp BETWEEN %(low)s AND %(high)s"
        )
        if slots is not None:
            statement += " AND (debit_account = ANY(%(slots)s) OR credit_account = ANY(%(slots)s))"
        statement += " ORDER BY timestamp"
        if limit is not None:
            statement += " LIMIT %(limit)s"
        values = {"low": low, "high": high, "slots": list(slots or ()), "limit": limit}
        return [
            Expiry(row[0], row[1], row[2:6], row[6:10], *row[10:])
            for row in await self._rows(statement, values)
        ]

    async def seals_between(self, low: int, high: int, limit: int | None = None) -> list[SealedRange]:
        """See the protocol."""
        rows = await self._rows(
            f"{_SEAL} WHERE last_timestamp >= %s AND first_timestamp <= %s ORDER BY number LIMIT %s",
            (low, high, limit),
        )
        return [SealedRange(*row) for row in rows]

    async def last_seal_from(self, timestamp: int) -> SealedRange | None:
        """See the protocol."""
        rows = await self._rows(
            f"{_SEAL} WHERE first_timestamp <= %s ORDER BY number DESC LIMIT 1", (timestamp,)
        )
        return SealedRange(*rows[0]) if rows else None

    async def detached(self) -> list[Detached]:
        """See the protocol."""
        return [Detached.of(row) for row in await self._rows(SELECT_DETACHED)]

    async def id_filter(self, number: int) -> list[bytes]:
        """See the protocol."""
        return [bytes(row[0]) for row in await self._rows(SELECT_FILTER, (number,), prepare=None)]

    async def id_filter_headers(self, number: int) -> list[bytes]:
        """See the protocol."""
        return [bytes(row[0]) for row in await self._rows(SELECT_FILTER_HEADERS, (number,), prepare=None)]

    async def marks(self, parts: Collection[int], first: int, last: int) -> list[MarkPart]:
        """See the protocol."""
        rows = await self._rows(
            "SELECT part, array_send(slots), array_send(timestamps) FROM ledger_history_mark"
            " WHERE part = ANY(%s) AND number BETWEEN %s AND %s ORDER BY number DESC",
            (list(parts), first, last),
        )
        return [decode_marks(*row) for row in rows]

    async def marks_of(self, slot: int, first: int, last: int) -> list[int]:
        """See the protocol."""
        # Positions are found in the server, where a part need not be sent to be looked through.
        rows = await self._rows(
            "SELECT timestamps[at[1]:at[cardinality(at)]] FROM ("
            " SELECT number, timestamps, array_positions(slots, %s) AS at FROM ledger_history_mark"
            " WHERE part = %s AND number BETWEEN %s AND %s OFFSET 0) found"
            " WHERE cardinality(at) > 0 ORDER BY number",
            (slot, slot // SLOTS_PER_PART, first, last),
        )
        return [mark for row in rows for mark in reversed(row[0])]

    async def slots_of(self, account_ids: Collection[int]) -> dict[int, int]:
        """See the protocol."""
        rows = await self._rows(
            "SELECT id, slot FROM ledger_account WHERE id = ANY(%s)", (_uuids(account_ids),)
        )
        return {row[0].int: row[1] for row in rows}

    async def newest_sequence(self) -> int:
        """See the protocol."""
        rows = await self._rows("SELECT coalesce(max(sequence), 0) FROM ledger_batch")
        sequence: int = rows[0][0]
        return sequence

    async def batch_from(self, sequence: int) -> WrittenBatch | None:
        """See the protocol."""
        rows = await self._rows(
            "SELECT sequence, timestamp, transfer_last FROM ledger_batch"
            " WHERE sequence >= %s AND transfer_last IS NOT NULL ORDER BY sequence LIMIT 1",
            (sequence,),
        )
        return WrittenBatch(*rows[0]) if rows else None

    async def first_hash(self) -> bytes | None:
        """See the protocol."""
        rows = await self._rows("SELECT hash FROM ledger_batch WHERE sequence = 1", prepare=None)
        return bytes(rows[0][0]) if rows else None

    async def _fetch(self, rest: str, values: Values, *, prepare: bool = True) -> TransferColumns:
        """Rows of sealed segments: ``rest`` is what follows FROM, where they are called t."""
        self.takes_absence_for_an_answer = True
        statement = f"SELECT {_selected('t')} FROM {SEALED} t {rest}"
        return TransferColumns.from_values(await self._rows(statement, values, prepare=prepare))

    async def _rows(
        self, statement: str, values: Values = (), *, prepare: bool | None = True
    ) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(statement, values, binary=True, prepare=prepare)
        return await cursor.fetchall()


def _uuids(ids: Collection[int]) -> list[UUID]:
    return [UUID(int=i) for i in set(ids)]
