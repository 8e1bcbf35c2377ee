"""Journal: the books on disk, appended by one writer and never changed.

One commit is one database transaction: binary COPY of the draft's rows, then
the batch row whose hash chains it to everything before, then COMMIT. The
session that commits is the session that holds the advisory lock, so a process
that lost its lock cannot commit, and the batch's sequence is a primary key, so
that two writers could not store the same batch even then.

What a crash leaves: before the server has COMMIT's record on disk, nothing;
after it, all. A process that dies while it waits for COMMIT's answer finds out
at its next start, by reading whether the sequence is there (``stored_hash``).
A segment is opened by a row in the same database transaction as its first batch,
so that after any crash the catalog says where every batch is.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache, partial

import psycopg
from psycopg import sql

from foundation.postgres import DURABLE_SETTINGS, refuse_weak_durability, sync_url
from ledger import sealed_rows
from ledger.archive import Archive, Head
from ledger.archived import ArchivedTransfers, SegmentFinder
from ledger.columns import TransferColumns
from ledger.connection import Connection, copy_in
from ledger.contract import TransferPendingStatus
from ledger.draft import Draft
from ledger.draft_rows import TransferRow
from ledger.inserts import BATCH_COLUMNS, Inserts
from ledger.rows import (
    ACCOUNT_COLUMNS,
    COPY_HEADER,
    COPY_TRAILER,
    EXPIRY_COLUMNS,
    FAILED_COLUMNS,
    TRANSFER_COLUMNS,
    encode_account,
    encode_expiry,
    encode_failed,
    encode_transfer,
)
from ledger.segments import table_of
from ledger.stored_transfer import StoredTransfer

LOCK_KEY = 0x4E55_4750_4159
"""Advisory lock of the one writer ("NUGPAY"); advisory locks are per database."""

INSERT_ROWS_MAX = 8
"""A batch of so few transfers and nothing else is one INSERT, one round trip."""

_HEADER = struct.Struct("!qqqqiiii")


@dataclass(slots=True, frozen=True)
class Batch:
    """A draft in its canonical bytes, numbered and hashed: ready to store."""

    head: Head
    segment: int
    """The segment that its transfers go to."""
    opens_segment: bool
    """Whether it is the first of that segment."""
    transfer_first: int | None
    transfer_last: int | None
    account_count: int
    transfer_count: int
    expiry_count: int
    failed_count: int
    accounts: bytes
    expiries: bytes
    transfers: bytes
    failed: bytes
    is_few: bool = False
    """Whether a few transfers are all that there is."""


def batch_hash(
    previous: bytes,
    sequence: int,
    timestamp: int,
    transfer_range: tuple[int | None, int | None],
    counts: tuple[int, int, int, int],
    rows: Iterable[bytes],
) -> bytes:
    """SHA-256 over the previous hash, the batch's numbers and its rows.

    ``counts`` are accounts, transfers, expiries, failed ids; ``rows`` the
    canonical bytes of accounts, expiries, transfers and failed ids, in that order.
    """
    first, last = transfer_range
    digest = hashlib.sha256(previous)
    digest.update(_HEADER.pack(sequence, timestamp, first or 0, last or 0, *counts))
    for data in rows:
        digest.update(data)
    return digest.digest()


def seal(
    previous: Head, draft: Draft, timestamp: int, *, segment: int = 1, opens_segment: bool = False
) -> Batch:
    """Encode a draft as the batch that follows ``previous``."""
    accounts = b"".join(map(encode_account, draft.accounts))
    expiries = b"".join(map(encode_expiry, draft.expiries))
    failed = b"".join(map(encode_failed, draft.newly_failed))
    parts = draft.all_parts()
    transfers = b"".join([_part_bytes(part) for part in parts])
    first = _part_timestamp(parts[0], 0) if parts else None
    last = _part_timestamp(parts[-1], -1) if parts else None
    transfer_count = sum(len(part) for part in parts)
    counts = (len(draft.accounts), transfer_count, len(draft.expiries), len(draft.newly_failed))
    sequence = previous.sequence + 1
    digest = batch_hash(
        previous.hash, sequence, timestamp, (first, last), counts, (accounts, expiries, transfers, failed)
    )
    is_few = transfer_count <= INSERT_ROWS_MAX and transfer_count == sum(counts)
    return Batch(
        Head(sequence, timestamp, digest), segment, opens_segment, first, last, *counts,
        accounts, expiries, transfers, failed, is_few,
    )  # fmt: skip


def _part_bytes(part: list[TransferRow] | TransferColumns) -> bytes:
    return part.encode() if isinstance(part, TransferColumns) else b"".join(map(encode_transfer, part))


def _part_timestamp(part: list[TransferRow] | TransferColumns, index: int) -> int:
    if isinstance(part, TransferColumns):
        return int(part["timestamp"][index])
    return part[index].transfer.timestamp


def _numbers(batch: Batch) -> tuple[int, ...]:
    """The values of a batch's row but for its hash; without transfers their range is 0 to 0."""
    return (
        batch.head.sequence, batch.head.timestamp, batch.transfer_first or 0, batch.transfer_last or 0,
        batch.account_count, batch.transfer_count, batch.expiry_count, batch.failed_count,
    )  # fmt: skip


@cache
def _copy(table: str, columns: tuple[str, ...]) -> str:
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY);"


def _statements(batch: Batch) -> tuple[str, list[tuple[bytes, bytes, bytes]]]:
    """The batch as one message of several statements, and what their COPYs take."""
    statements, data = [], []
    for table, columns, rows in (
        ("ledger_account", ACCOUNT_COLUMNS, batch.accounts),
        ("ledger_expiry", EXPIRY_COLUMNS, batch.expiries),
        (table_of(batch.segment), TRANSFER_COLUMNS, batch.transfers),
        ("ledger_failed_id", FAILED_COLUMNS, batch.failed),
    ):
        if rows:
            statements.append(_copy(table, columns))
            data.append((COPY_HEADER, rows, COPY_TRAILER))
    if batch.opens_segment:
        statements.append(
            "INSERT INTO ledger_segment (number, first_sequence)"
            f" VALUES ({batch.segment}, {batch.head.sequence});"
        )
    first, second, *transfers, accounts, count, expiries, failed = map(str, _numbers(batch))
    ends = transfers if batch.transfer_count else ["NULL", "NULL"]
    numbers = ", ".join((first, second, *ends, accounts, count, expiries, failed))
    statements.append(
        f"INSERT INTO ledger_batch ({', '.join(BATCH_COLUMNS)})"
        f" VALUES ({numbers}, '\\x{batch.head.hash.hex()}')"
    )
    return "".join(statements), data


_EMPTY_COMMIT = "SELECT pg_logical_emit_message(true, 'nugpay', 'lock')"
"""A commit that changes no table: nothing reads the message."""


class Journal:
    """The writer's session with PostgreSQL: holds the lock, appends batches."""

    def __init__(self, connection: Connection, files: SegmentFinder | None = None) -> None:
        self.connection = connection
        self._archived = ArchivedTransfers(connection, files)
        self._inserts = Inserts(connection)
        self._warning: str | None = None
        connection.add_notice_handler(self._note)

    @classmethod
    def open(cls, url: str, files: SegmentFinder | None = None) -> Journal:
        """Connect, without the lock; refuses a server that could forget a commit.

        ``files`` has the rows of detached segments, where this process has them.
        """
        connection: Connection = psycopg.connect(
            sync_url(url),
            autocommit=True,
            connect_timeout=5,
            application_name="nugpay-ledger",
            # A dead peer must not hold the lock for hours.
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )
        try:
            values = {
                name: str(connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()[0])  # type: ignore[index]  # SHOW always gives a row
                for name in DURABLE_SETTINGS
            }
            refuse_weak_durability(values)
        except BaseException:
            connection.close()
            raise
        return cls(connection, files)

    def try_lock(self) -> bool:
        """Become the one writer of this database, if nobody else is.

        A backend whose client died keeps the lock until it has ended, and so
        until a COMMIT that it was working on is done or gone: whoever gets the
        lock sees everything that was ever acknowledged.

        It may see more: a primary that crashed while a commit waited for its standby
        shows that commit after its restart, though no standby has it. So this waits
        for a commit of its own, and with it for every earlier one. Raises
        ``psycopg.OperationalError`` on a server that takes no writes.
        """
        row = self.connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone()
        if row is None or not row[0]:
            return False
        standby = self.connection.execute("SELECT pg_is_in_recovery()").fetchone()
        if standby is None or standby[0]:
            raise psycopg.OperationalError("the server is a standby and takes no writes")
        self._waited(partial(self.connection.execute, _EMPTY_COMMIT))
        return True

    def confirm_lock(self) -> None:
        """Make sure that the lock is still ours; ``psycopg.OperationalError`` when it is not.

        The lock lives as long as the session does, so a session that answers
        held it when it was asked.
        """
        self.connection.execute("SELECT 1")

    def append(self, batch: Batch) -> None:
        """Store a batch durably; ``psycopg.Error`` means that the outcome is unknown."""
        if batch.is_few and not batch.opens_segment:
            self._waited(
                partial(
                    self._inserts.insert, table_of(batch.segment), batch.transfer_count, batch.transfers,
                    _numbers(batch), batch.head.hash,
                )
            )  # fmt: skip
            return
        self._waited(partial(copy_in, self.connection, *_statements(batch)))

    def _waited(self, commit: Callable[[], object]) -> None:
        """Commit; ``psycopg.OperationalError`` when the server warns.

        A commit whose wait for the standby was cancelled (by an operator, a time-out)
        succeeds with no more than a warning, and the standby may not have it. Taking the
        lock again waits for it.
        """
        self._warning = None
        commit()
        if self._warning is not None:
            raise psycopg.OperationalError(f"the outcome is not known: {self._warning}")

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary or "a warning"

    def stored_hash(self, sequence: int) -> bytes | None:
        """The hash of the batch with that number, or None when there is none."""
        row = self.connection.execute(
            "SELECT hash FROM ledger_batch WHERE sequence = %s", (sequence,)
        ).fetchone()
        return None if row is None else bytes(row[0])  # type: ignore[call-overload]  # bytea is bytes

    @property
    def archive(self) -> Archive:
        """Reads the journal through this session."""
        return Archive(self.connection)

    def has_archived(self) -> bool:
        """Whether there are detached segments."""
        return bool(self._archived.segments)

    def find_transfers(self, ids: Collection[int]) -> list[StoredTransfer]:
        """Transfers of sealed and detached segments with these ids; a pending one shows as such.

        ``SegmentArchived`` where a detached segment may have one and its file is not at hand;
        so do the next ones.
        """
        found = sealed_rows.find_transfers(self.connection, ids)
        return found + self._archived.find_transfers(set(ids) - {stored.transfer.id for stored in found})

    def find_statuses(self, timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """What expiries, sealed and detached segments made of the pending transfers of these timestamps."""
        found = sealed_rows.find_statuses(self.connection, timestamps)
        return found | self._archived.find_statuses(set(timestamps) - found.keys())

    def find_failed(self, ids: Collection[int]) -> set[int]:
        """Which of these ids have failed for a passing reason."""
        return sealed_rows.find_failed(self.connection, ids)

    def find_timestamps(self, timestamps: Collection[int]) -> set[int]:
        """Which of these are timestamps of transfers in sealed and detached segments."""
        found = sealed_rows.find_timestamps(self.connection, timestamps)
        return found | self._archived.find_timestamps(set(timestamps) - found)

    def close(self) -> None:
        """End the session, and with it the lock."""
        self.connection.close()
