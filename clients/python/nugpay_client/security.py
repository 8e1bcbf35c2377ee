"""Security: the PIN, sessions, and which devices a person has.

Once a PIN is set, everything that is asked for the wallet carries a session: log in, and
what the wallet sends from then on does. A PIN to be given under duress opens another
wallet; nothing here, or in any answer, tells which one is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.models import read


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A login that is open somewhere."""

    id: UUID
    device_id: UUID
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class EnrolledDevice:
    """A device of this person."""

    id: UUID
    key_id: str
    algorithm: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A code that enrols one further device."""

    code: str
    expires_at: datetime


class Security:
    """What protects a wallet at one server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def set_pin(
        self,
        pin: str,
        *,
        current_pin: str | None = None,
        duress_pin: str | None = None,
        decoy_handle: str | None = None,
        alarm: bool = False,
    ) -> datetime:
        """Set the PIN, and with ``decoy_handle`` the one for duress; since when it is so.

        ``RequestRefused`` when the PIN is too simple, or the current one is missing or wrong.
        """
        wish = {"current_pin": current_pin, "duress_pin": duress_pin, "decoy_handle": decoy_handle}
        body: dict[str, Any] = {"pin": pin, "alarm": alarm}
        body |= {name: value for name, value in wish.items() if value is not None}
        # Sent once: after a lost answer the person tries which PIN holds, and a try may be counted.
        answer = await self._connection.send_once("PUT", "/v1/pin", body)
        return datetime.fromisoformat(answer.content["set_at"])

    async def log_in(self, pin: str) -> datetime:
        """Open a session, which all that is sent from now on carries; when it is over.

        Sent once, since a wrong PIN is counted. ``RequestRefused`` as ``pin_wrong`` (with
        ``tries_left``) or ``pin_delayed`` (with ``retry_after_seconds``).
        """
        answer = await self._connection.send_once("POST", "/v1/sessions", {"pin": pin})
        self._connection.token = answer.content["token"]
        return datetime.fromisoformat(answer.content["expires_at"])

    async def sessions(self) -> list[OpenSession]:
        """The open sessions of the wallet that is open here, on all devices."""
        content = (await self._connection.send("GET", "/v1/sessions")).content
        return [read(OpenSession, each) for each in content["sessions"]]

    async def end_session(self, session_id: UUID) -> None:
        """Log out somewhere."""
        await self._connection.send("DELETE", f"/v1/sessions/{session_id}")

    async def log_out_everywhere(self) -> None:
        """End all sessions of this wallet, the own one included."""
        await self._connection.send_once("DELETE", "/v1/sessions")
        self._connection.token = None

    async def devices(self) -> list[EnrolledDevice]:
        """The person's devices, oldest first, revoked ones included."""
        content = (await self._connection.send("GET", "/v1/devices")).content
        return [read(EnrolledDevice, each) for each in content["devices"]]

    async def revoke_device(self, device_id: UUID) -> None:
        """Take a device's rights away for ever."""
        await self._connection.send("DELETE", f"/v1/devices/{device_id}")

    async def device_code(self) -> DeviceCode:
        """A one-time code, to be typed into a further device of this person."""
        content = (await self._connection.send_once("POST", "/v1/devices/codes")).content
        found: DeviceCode = read(DeviceCode, content)
        return found
