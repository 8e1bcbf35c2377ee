"""Business: the wallet's tills, the people who work there, and keys for a shop's server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.ids import new_id
from nugpay_client.models import read
from nugpay_client.till import TillDesk

_TILLS = "/v1/merchant/tills"
_WEBHOOKS = "/v1/merchant/webhooks"
_EVENTS = "/v1/merchant/events"


@dataclass(frozen=True, slots=True)
class Till:
    """A place where a business is paid, in one asset."""

    id: UUID
    name: str
    business: str
    owner: str
    asset: str


@dataclass(frozen=True, slots=True)
class TillOrder:
    """A till to open, with the id that makes it one however often it is sent."""

    id: UUID
    name: str
    asset: str


@dataclass(frozen=True, slots=True)
class TillStaff:
    """Somebody who works at a till, or was asked to."""

    handle: str
    rights: tuple[str, ...]
    accepted_at: datetime | None
    """None: no rights until it is accepted."""


@dataclass(frozen=True, slots=True)
class TillKey:
    """A key of a till."""

    id: UUID
    name: str
    last_four: str
    rights: tuple[str, ...]
    revoked_at: datetime | None
    key: str | None
    """The key itself, when it was just made: it is shown this once."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address to which the business' events are sent."""

    id: UUID
    url: str
    failing_since: datetime | None
    disabled_at: datetime | None
    """It failed for days or is gone: nothing is sent there until it has a new secret."""
    secret: str | None
    """What signs, when it was just made: it is shown this once."""


class Business:
    """A wallet's business; found as ``Wallet.business``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def name(self, name: str) -> None:
        """Make the wallet a business of this name, or give the business another one."""
        await self._connection.send("PUT", "/v1/merchant", {"name": name})

    def till_order(self, name: str, asset: str) -> TillOrder:
        """An order with a new id: keep it, then ``open_till`` as often as needed."""
        return TillOrder(new_id(self._connection.clock), name, asset)

    async def open_till(self, order: TillOrder) -> Till:
        """Open a till once, however often this is called."""
        body = {"id": str(order.id), "name": order.name, "asset": order.asset}
        return _till((await self._connection.send("POST", _TILLS, body)).content)

    async def tills(self) -> list[Till]:
        """The wallet's tills, and those where its person works."""
        content = (await self._connection.send("GET", _TILLS)).content
        return [_till(each) for each in content["tills"]]

    async def invitations(self) -> list[Till]:
        """Tills at which the person was asked to work; ``accept`` or ``leave`` them."""
        content = (await self._connection.send("GET", _TILLS)).content
        return [_till(each) for each in content["invitations"]]

    def till(self, till_id: UUID) -> TillDesk:
        """The desk of a till: invoices, refunds and settlements."""
        return TillDesk(self._connection, till_id)

    async def invite(self, till_id: UUID, handle: str, rights: Iterable[str]) -> TillStaff:
        """Ask somebody to work at a till, with rights of ``see``, ``charge`` and ``refund``."""
        body = {"rights": list(rights)}
        path = f"{_TILLS}/{till_id}/staff/{handle}"
        return _staff((await self._connection.send("PUT", path, body)).content)

    async def staff(self, till_id: UUID) -> list[TillStaff]:
        """Who works at a till or was asked to."""
        content = (await self._connection.send("GET", f"{_TILLS}/{till_id}/staff")).content
        return [_staff(each) for each in content["staff"]]

    async def accept(self, till_id: UUID) -> None:
        """Accept to work at a till."""
        await self._connection.send("PUT", f"{_TILLS}/{till_id}/acceptance")

    async def end_work(self, till_id: UUID, handle: str) -> None:
        """End somebody's work at a till, or the own one; ``NotFound`` where there is none (any more)."""
        await self._connection.send("DELETE", f"{_TILLS}/{till_id}/staff/{handle}")

    async def make_key(self, till_id: UUID, name: str, rights: Iterable[str]) -> TillKey:
        """Make a key for a server. If no answer comes, there may be one that nobody has: revoke it."""
        body = {"name": name, "rights": list(rights)}
        path = f"{_TILLS}/{till_id}/keys"
        return _key((await self._connection.send_once("POST", path, body)).content)

    async def keys(self, till_id: UUID) -> list[TillKey]:
        """A till's keys, the oldest first, revoked ones as well."""
        content = (await self._connection.send("GET", f"{_TILLS}/{till_id}/keys")).content
        return [_key(each) for each in content["keys"]]

    async def revoke_key(self, till_id: UUID, key_id: UUID) -> TillKey:
        """End a key from the next request on."""
        path = f"{_TILLS}/{till_id}/keys/{key_id}"
        return _key((await self._connection.send("DELETE", path)).content)

    async def register_webhook(self, url: str) -> Webhook:
        """Have events sent to a server. If no answer comes, look for it in the list and end it."""
        return _webhook((await self._connection.send_once("POST", _WEBHOOKS, {"url": url})).content)

    async def webhooks(self) -> list[Webhook]:
        """Where the business' events are sent."""
        content = (await self._connection.send("GET", _WEBHOOKS)).content
        return [_webhook(each) for each in content["webhooks"]]

    async def replace_secret(self, webhook_id: UUID) -> Webhook:
        """Give a webhook a new secret; the old one signs beside it for a day."""
        return _webhook(
            (await self._connection.send_once("POST", f"{_WEBHOOKS}/{webhook_id}/secret")).content
        )

    async def end_webhook(self, webhook_id: UUID) -> None:
        """Send nothing there any more."""
        await self._connection.send("DELETE", f"{_WEBHOOKS}/{webhook_id}")

    async def events(self, *, page: int = 50) -> AsyncIterator[dict[str, Any]]:
        """What happened at the tills, newest first: as sent, with its ``id`` and ``deliveries``."""
        query = {"limit": str(page)}
        while True:
            content = (await self._connection.send("GET", _EVENTS, query=query)).content
            for each in content["events"]:
                yield each
            if content["next_before"] is None:
                return
            query["before"] = content["next_before"]

    async def resend(self, event_id: UUID) -> None:
        """Have an event sent to every webhook again."""
        await self._connection.send("POST", f"{_EVENTS}/{event_id}/resend")


def _till(content: object) -> Till:
    found: Till = read(Till, content)
    return found


def _staff(content: object) -> TillStaff:
    found: TillStaff = read(TillStaff, content)
    return found


def _key(content: dict[str, object]) -> TillKey:
    found: TillKey = read(TillKey, {"key": None, **content})
    return found


def _webhook(content: dict[str, object]) -> Webhook:
    found: Webhook = read(Webhook, {"secret": None, **content})
    return found
