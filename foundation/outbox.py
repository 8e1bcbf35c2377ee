"""The outbox: what must happen later, written in the transaction that decides it.

A row is the truth; a broker only wakes somebody who drains. Delivery is at
least once: ``drain`` holds a row's lock while its handler runs and marks it done
in the same database transaction as the handler's own writes, so an effect inside
PostgreSQL happens exactly once, and an effect outside must be idempotent by the
row's id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Index, Integer, Text, Uuid, select, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from foundation.clock import Clock
from foundation.database import Base, Database
from foundation.ids import derive_id, uuid7

RETRY_SECONDS_MAX = 3600
"""Longest pause between two attempts; pauses double from one second."""

Handler = Callable[[AsyncSession, UUID, dict[str, Any]], Awaitable[None]]
"""Carries a row out: gets the session of the drain, the row's id, the payload."""


class OutboxMessage(Base):
    """One thing to do: a topic that names its handler, and a payload."""

    __tablename__ = "foundation_outbox"
    __table_args__ = (
        Index("ix_foundation_outbox_due_at", "due_at", postgresql_where=text("done_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    topic: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    done_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)


async def enqueue(
    session: AsyncSession,
    clock: Clock,
    topic: str,
    payload: dict[str, Any],
    *,
    key: str | None = None,
    due_at: datetime | None = None,
) -> UUID:
    """Write a message in the caller's transaction; the same ``key`` writes it once."""
    now = clock.now()
    message_id = derive_id("outbox", topic, key) if key is not None else uuid7(clock)
    await session.execute(
        insert(OutboxMessage)
        .values(id=message_id, topic=topic, payload=payload, created_at=now, due_at=due_at or now, attempts=0)
        .on_conflict_do_nothing(index_elements=["id"])
    )
    return message_id


async def drain(
    database: Database, clock: Clock, handlers: Mapping[str, Handler], *, limit: int = 100
) -> int:
    """Carry out up to ``limit`` due messages; the number that succeeded.

    Rows locked by another drain are skipped. Each message is its own database
    transaction. If the process dies inside one, its lock goes with it and the
    row is due again.
    """
    done = 0
    for _ in range(limit):
        outcome = await _drain_one(database, clock, handlers)
        if outcome is None:
            break
        done += outcome
    return done


async def _drain_one(database: Database, clock: Clock, handlers: Mapping[str, Handler]) -> int | None:
    async with database.session() as session:
        message = await session.scalar(
            select(OutboxMessage)
            .where(
                OutboxMessage.done_at.is_(None),
                OutboxMessage.due_at <= clock.now(),
                OutboxMessage.topic.in_(list(handlers)),
            )
            .order_by(OutboxMessage.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if message is None:
            return None
        message.attempts += 1
        try:
            async with session.begin_nested():
                await handlers[message.topic](session, message.id, message.payload)
        # Whatever a handler raises, the row must stay and be tried again later:
        # an unknown error is not a reason to forget what was promised.
        except Exception as error:  # noqa: BLE001
            pause = min(2 ** min(message.attempts, 12), RETRY_SECONDS_MAX)
            message.due_at = clock.now() + timedelta(seconds=pause)
            message.last_error = f"{type(error).__name__}: {error}"[:500]
            return 0
        message.done_at = clock.now()
        message.last_error = None
        return 1
