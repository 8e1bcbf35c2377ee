"""Sending of webhooks: at least once, in any order, for some days.

A delivery is claimed by moving its time on, committed, and only then sent: killed in
between, a worker leaves it to be sent when that time comes, perhaps a second time. The id is
the event's, so that a receiver tells a repetition. An answer of 2xx delivers; anything else,
a redirect too, fails, and it is tried again after the pauses that the Standard Webhooks
specification proposes. An address that has done nothing but fail for five days, or says that
it is gone (410), is disabled: the list says so, events stay, and a new secret enables it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import httpx
from sqlalchemy import func, select, tuple_, update

from foundation.clock import SECOND_NS, Clock
from foundation.database import Database
from foundation.errors import Refusal
from wallets.webhook_models import WebhookDeliveryRow, WebhookEventRow, WebhookRow
from wallets.webhook_signatures import signature_of
from wallets.webhook_targets import Target, TargetRules, find_target

PAUSES_SECONDS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Between one attempt and the next; after the last one an event is given up: some three days in all."""

DISABLED_AFTER: Final = timedelta(days=5)
"""How long an address may fail and nothing else."""

ANSWER_SECONDS_MAX: Final = 15.0
"""How long resolving, connecting, sending and the answer's first line may take together."""

AT_ONCE: Final = 40
"""Deliveries that are sent at the same time."""

AT_ONCE_EACH: Final = 4
"""Of these to one webhook: one that is slow holds up nobody else's."""

_CLAIMED: Final = timedelta(seconds=120)
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class SendingTools:
    """What sending takes."""

    database: Database
    clock: Clock
    rules: TargetRules
    tls: ssl.SSLContext
    """Whose certificates are believed."""


@dataclass(frozen=True, slots=True)
class _Due:
    event_id: UUID
    webhook_id: UUID
    attempts: int
    """This one included."""
    url: str
    keys: tuple[bytes, ...]
    body: bytes


async def send_due(tools: SendingTools) -> int:
    """Send what is due, ``AT_ONCE`` at most; how much of it was delivered."""
    due = await _claim(tools)
    if not due:
        return 0
    # The environment may name a proxy, which would resolve names by itself.
    async with httpx.AsyncClient(
        verify=tools.tls, trust_env=False, follow_redirects=False, timeout=ANSWER_SECONDS_MAX
    ) as http:
        done = await asyncio.gather(*(_send(tools, http, each) for each in due))
    return sum(done)


async def _claim(tools: SendingTools) -> list[_Due]:
    now = tools.clock.now()
    row = WebhookDeliveryRow
    ranked = (
        select(
            row.event_id,
            row.webhook_id,
            row.due_at,
            func.row_number().over(partition_by=row.webhook_id, order_by=row.due_at).label("place"),
        )
        .join(WebhookRow, WebhookRow.id == row.webhook_id)
        .where(row.due_at <= now, WebhookRow.disabled_at.is_(None))
        .subquery()
    )
    first = (
        select(ranked.c.event_id, ranked.c.webhook_id)
        .where(ranked.c.place <= AT_ONCE_EACH)
        .order_by(ranked.c.due_at)
        .limit(AT_ONCE)
    )
    async with tools.database.session() as session:
        claimed = (
            await session.scalars(
                update(row)
                # Another worker may have claimed some of them a moment ago: their time is later now.
                .where(tuple_(row.event_id, row.webhook_id).in_(first), row.due_at <= now)
                .values(due_at=now + _CLAIMED, attempts=row.attempts + 1)
                .returning(row)
                .execution_options(synchronize_session=False)
            )
        ).all()
        events = await session.scalars(
            select(WebhookEventRow).where(WebhookEventRow.id.in_([each.event_id for each in claimed]))
        )
        webhooks = await session.scalars(
            select(WebhookRow).where(WebhookRow.id.in_([each.webhook_id for each in claimed]))
        )
        bodies = {event.id: event.body.encode() for event in events}
        ends = {webhook.id: webhook for webhook in webhooks}
    return [
        _Due(
            each.event_id,
            each.webhook_id,
            each.attempts,
            ends[each.webhook_id].url,
            _keys(ends[each.webhook_id], tools.clock),
            bodies[each.event_id],
        )
        for each in claimed
    ]


def _keys(row: WebhookRow, clock: Clock) -> tuple[bytes, ...]:
    if row.old_secret is None or row.old_until is None or row.old_until <= clock.now():
        return (row.secret,)
    return (row.secret, row.old_secret)


async def _send(tools: SendingTools, http: httpx.AsyncClient, due: _Due) -> bool:
    failure, is_gone = await _post(tools, http, due)
    now = tools.clock.now()
    async with tools.database.session() as session:
        webhook = await session.get(WebhookRow, due.webhook_id, with_for_update=True)
        if webhook is None:
            # Ended meanwhile, and its deliveries with it.
            return failure is None
        values: dict[str, object] = {"due_at": None, "last_failure": failure}
        if failure is None:
            values["delivered_at"] = now
            webhook.failing_since = None
        else:
            if due.attempts <= len(PAUSES_SECONDS):
                values["due_at"] = now + timedelta(seconds=PAUSES_SECONDS[due.attempts - 1])
            webhook.failing_since = webhook.failing_since or now
            if is_gone or now - webhook.failing_since >= DISABLED_AFTER:
                webhook.disabled_at = webhook.disabled_at or now
        await session.execute(
            update(WebhookDeliveryRow)
            .where(
                WebhookDeliveryRow.event_id == due.event_id,
                WebhookDeliveryRow.webhook_id == due.webhook_id,
                # Who asked meanwhile to have it sent again gets that as well.
                WebhookDeliveryRow.attempts == due.attempts,
            )
            .values(**values)
        )
    return failure is None


async def _post(tools: SendingTools, http: httpx.AsyncClient, due: _Due) -> tuple[str | None, bool]:
    """What went wrong, None if nothing did; and whether the address says that it is gone."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            target = await find_target(tools.rules, due.url)
            status = await _status(http, target, _headers(tools.clock, due), due.body)
    except Refusal as refusal:
        return refusal.detail, False
    except (httpx.HTTPError, OSError) as error:
        return type(error).__name__, False
    return (None if 200 <= status < 300 else f"HTTP {status}"), status == _GONE


async def _status(
    http: httpx.AsyncClient, target: Target, headers: Sequence[tuple[str, str]], body: bytes
) -> int:
    """The status of the answer from the address that was checked; nothing else of it is read."""
    request = http.build_request(
        "POST",
        target.url.copy_with(host=target.address),
        headers=[("host", target.url.netloc.decode("ascii")), *headers],
        content=body,
        # The certificate is the host's, not the address'.
        extensions={"sni_hostname": target.url.raw_host.decode("ascii").strip("[]")},
    )
    request.extensions["timeout"] = httpx.Timeout(ANSWER_SECONDS_MAX).as_dict()
    response = await http.send(request, stream=True)
    await response.aclose()
    return response.status_code


def _headers(clock: Clock, due: _Due) -> list[tuple[str, str]]:
    timestamp = clock.now_ns() // SECOND_NS
    signature = signature_of(due.keys, message_id=str(due.event_id), timestamp=timestamp, body=due.body)
    return [
        ("content-type", "application/json"),
        ("user-agent", "nugpay-webhooks"),
        ("webhook-id", str(due.event_id)),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", signature),
    ]
