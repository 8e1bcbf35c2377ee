"""The mirror's writes: blocks, logs and cursor, each step one database transaction.

Every write locks the cursor and checks that it still stands where its writer read
it, so that two followers cannot interleave: the second finds the cursor moved,
writes nothing and starts over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

from sqlalchemy import DateTime, delete, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import (
    ChainBlock,
    ChainCursor,
    ChainFinalityBreak,
    ChainOrphanedLog,
    ChainTransferLog,
    ChainWatchedToken,
)
from chain.transfer_columns import COLUMNS, COPY_HEADER, COPY_TRAILER, TransferLogs
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import NUGPayError
from foundation.ids import uuid7

ROWS_PER_INSERT = 2_000
"""Rows of one INSERT where COPY cannot be used; PostgreSQL takes 65,535 parameters."""


class MirrorMoved(NUGPayError):
    """Another follower moved the cursor meanwhile; nothing was written."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the mirror stands: heights are block numbers."""

    chain_id: int
    genesis_hash: str
    start_number: int
    head_number: int
    head_hash: str
    finalized_number: int
    finality_hold: str | None = None
    """Why no block becomes final, where the second endpoint is the reason."""


@dataclass(frozen=True, slots=True)
class MirrorBlock:
    """A header as the mirror keeps it."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int


class Transfer(NamedTuple):
    """A mirrored Transfer log, all that is known of it."""

    block_number: int
    log_index: int
    block_hash: str
    tx_hash: str
    token: str
    from_address: str
    to_address: str
    value: int
    """Token units."""


@dataclass(frozen=True, slots=True)
class FinalityBreak:
    """Final blocks that the chain replaced: those above ``ancestor_number``."""

    ancestor_number: int
    finalized_number: int
    """What was final before."""
    lost_hash: str
    """The mirror's block at that height."""
    found_hash: str
    """The chain's block there now, final as well."""


class Mirror:
    """One chain's mirror in one database."""

    def __init__(self, database: Database, clock: Clock, chain_id: int) -> None:
        self._database: Final = database
        self._clock: Final = clock
        self.chain_id: Final = chain_id

    async def cursor(self) -> Cursor | None:
        """Where the mirror stands; None before its first block."""
        async with self._database.session() as session:
            row = await session.get(ChainCursor, self.chain_id)
        return None if row is None else _cursor(row)

    async def watched_tokens(self) -> frozenset[str]:
        """Tokens whose every log is mirrored."""
        async with self._database.session() as session:
            found = await session.scalars(
                select(ChainWatchedToken.token).where(ChainWatchedToken.chain_id == self.chain_id)
            )
            return frozenset(found)

    async def hashes(self, first: int, last: int) -> dict[int, str]:
        """Hashes of the mirrored blocks from ``first`` to ``last``, by number."""
        async with self._database.session() as session:
            rows = await session.execute(
                select(ChainBlock.number, ChainBlock.hash).where(
                    ChainBlock.chain_id == self.chain_id, ChainBlock.number.between(first, last)
                )
            )
            return {row.number: row.hash for row in rows}

    async def transfers(self, first: int, last: int, tokens: Sequence[str]) -> set[Transfer]:
        """The tokens' mirrored transfers in the blocks from ``first`` to ``last``."""
        columns = [getattr(ChainTransferLog, name) for name in Transfer._fields]
        async with self._database.session() as session:
            rows = await session.execute(
                select(*columns).where(
                    ChainTransferLog.chain_id == self.chain_id,
                    ChainTransferLog.block_number.between(first, last),
                    ChainTransferLog.token.in_(tokens),
                )
            )
            return {Transfer._make((*row[:-1], int(row.value))) for row in rows}

    async def begin(
        self, genesis_hash: str, tokens: Sequence[str], block: MirrorBlock, logs: TransferLogs
    ) -> Cursor:
        """Write the first block, its logs, the tokens and the cursor; refused if there is one."""
        cursor = Cursor(self.chain_id, genesis_hash, block.number, block.number, block.hash, block.number - 1)
        async with self._database.session() as session:
            made = await session.execute(
                upsert(ChainCursor)
                .values(
                    chain_id=self.chain_id, genesis_hash=genesis_hash, start_number=block.number,
                    head_number=block.number, head_hash=block.hash,
                    finalized_number=block.number - 1, followed_at=self._clock.now(),
                )
                .on_conflict_do_nothing()
                .returning(ChainCursor.chain_id)
            )  # fmt: skip
            if made.first() is None:
                raise MirrorMoved("another follower began the mirror")
            await self._write_tokens(session, tokens)
            await self._copy_blocks(session, [block])
            await self._copy_logs(session, logs)
        return cursor

    async def append(
        self, at: Cursor, blocks: Sequence[MirrorBlock], logs: TransferLogs, finalized_number: int
    ) -> Cursor:
        """Write blocks that follow ``at``, their logs and the cursor, all or nothing.

        If the process dies before the commit none of it happened and the same
        window is fetched again; after it the next window starts behind these.
        """
        last = blocks[-1] if blocks else None
        head_number, head_hash = (last.number, last.hash) if last else (at.head_number, at.head_hash)
        async with self._database.session() as session:
            await self._lock(session, at)
            await self._copy_blocks(session, blocks)
            await self._copy_logs(session, logs)
            return await self._move(
                session, at, head_number, head_hash, max(finalized_number, at.finalized_number)
            )

    async def rewind(
        self, at: Cursor, *, number: int, block_hash: str, finality_break: FinalityBreak | None = None
    ) -> Cursor:
        """Take away every block above ``number``; its logs are kept as orphans.

        What is final goes with them only if it is told as broken, and is on record then.
        """
        assert finality_break is not None or number >= at.finalized_number, "final blocks stay"
        above = (ChainTransferLog.chain_id == self.chain_id, ChainTransferLog.block_number > number)
        columns = (
            "chain_id", "block_hash", "log_index", "block_number", "tx_hash",
            "token", "from_address", "to_address", "value",
        )  # fmt: skip
        async with self._database.session() as session:
            await self._lock(session, at)
            gone = select(
                *(getattr(ChainTransferLog, name) for name in columns),
                literal(self._clock.now(), DateTime(timezone=True)),
            ).where(*above)
            await session.execute(
                upsert(ChainOrphanedLog)
                .from_select([*columns, "orphaned_at"], gone)
                # The same block may come and go several times; the first time stands.
                .on_conflict_do_nothing()
            )
            await session.execute(delete(ChainTransferLog).where(*above))
            await session.execute(
                delete(ChainBlock).where(ChainBlock.chain_id == self.chain_id, ChainBlock.number > number)
            )
            if finality_break is not None:
                session.add(
                    ChainFinalityBreak(
                        id=uuid7(self._clock),
                        chain_id=self.chain_id,
                        created_at=self._clock.now(),
                        **asdict(finality_break),
                    )
                )
            return await self._move(session, at, number, block_hash, min(number, at.finalized_number))

    async def add_logs(self, at: Cursor, logs: TransferLogs, complete: Sequence[str] = ()) -> None:
        """Logs of tokens watched from now on, of blocks already mirrored; may be repeated.

        ``complete`` names the tokens that have all their logs with this write.
        """
        async with self._database.session() as session:
            await self._lock(session, at)
            rows = logs.fields(self.chain_id)
            for first in range(0, len(rows), ROWS_PER_INSERT):
                part = rows[first : first + ROWS_PER_INSERT]
                await session.execute(upsert(ChainTransferLog).values(part).on_conflict_do_nothing())
            await self._write_tokens(session, complete)

    async def hold_finality(self, at: Cursor, reason: str | None) -> Cursor:
        """Note why no block becomes final, or that it may again."""
        if reason == at.finality_hold:
            return at
        async with self._database.session() as session:
            await self._lock(session, at)
            await session.execute(
                update(ChainCursor).where(ChainCursor.chain_id == self.chain_id).values(finality_hold=reason)
            )
        return replace(at, finality_hold=reason)

    async def _lock(self, session: AsyncSession, at: Cursor) -> None:
        row = await session.get(ChainCursor, self.chain_id, with_for_update=True)
        if row is None or _cursor(row) != at:
            raise MirrorMoved("another follower moved the cursor")

    async def _move(
        self, session: AsyncSession, at: Cursor, head_number: int, head_hash: str, finalized_number: int
    ) -> Cursor:
        moved = replace(at, head_number=head_number, head_hash=head_hash, finalized_number=finalized_number)
        await session.execute(
            update(ChainCursor)
            .where(ChainCursor.chain_id == self.chain_id)
            .values(
                head_number=head_number, head_hash=head_hash,
                finalized_number=finalized_number, followed_at=self._clock.now(),
            )
        )  # fmt: skip
        return moved

    async def _write_tokens(self, session: AsyncSession, tokens: Iterable[str]) -> None:
        rows = [{"chain_id": self.chain_id, "token": token} for token in tokens]
        if rows:
            await session.execute(insert(ChainWatchedToken).values(rows))

    async def _copy_blocks(self, session: AsyncSession, blocks: Sequence[MirrorBlock]) -> None:
        lines = [
            f"{self.chain_id}\t{block.number}\t{block.hash}\t{block.parent_hash}\t{block.timestamp}\n"
            for block in blocks
        ]
        # Only numbers and hex, which need no escaping.
        if lines:
            columns = "chain_id, number, hash, parent_hash, timestamp"
            await _copy(session, f"COPY chain_block ({columns}) FROM STDIN", "".join(lines).encode())

    async def _copy_logs(self, session: AsyncSession, logs: TransferLogs) -> None:
        if not len(logs):
            return
        statement = f"COPY chain_transfer_log ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
        rows = logs.rows(self.chain_id).tobytes()
        await _copy(session, statement, COPY_HEADER, rows, COPY_TRAILER)


async def _copy(session: AsyncSession, statement: str, *data: bytes) -> None:
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for part in data:
            await copy.write(part)


def _cursor(row: ChainCursor) -> Cursor:
    return Cursor(
        row.chain_id,
        row.genesis_hash,
        row.start_number,
        row.head_number,
        row.head_hash,
        row.finalized_number,
        row.finality_hold,
    )
