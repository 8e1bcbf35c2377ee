"""Personal data: what the wallet's owner tells the bank of themselves, and who there looked at it.

All of it is optional. The bank keeps it encrypted under a key of this person's alone, and
erasing it destroys that key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from nugpay_client.connection import Connection
from nugpay_client.models import read

_PATH = "/v1/wallet/personal_data"


@dataclass(frozen=True, slots=True)
class PersonalData:
    """What is there; its texts are in no representation of it."""

    display_name: str | None = field(repr=False)
    contact: str | None = field(repr=False)
    legal_name: str | None = field(repr=False)
    registration_number: str | None = field(repr=False)
    given_at: datetime | None
    """When all of it was given; None: nothing is there."""
    erased_at: datetime | None
    """When it was erased last."""


@dataclass(frozen=True, slots=True)
class PersonalAccess:
    """An officer of the bank looked at it."""

    at: datetime
    role: str


class Personal:
    """The personal data of a wallet's owner; found as ``Wallet.personal``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def give(
        self,
        *,
        display_name: str | None = None,
        contact: str | None = None,
        legal_name: str | None = None,
        registration_number: str | None = None,
    ) -> PersonalData:
        """Have exactly this be there from now on: what is left out is gone. Safe to repeat.

        ``RequestRefused`` as ``personal_data_tier_needed`` for the last two of no business.
        """
        given = {
            "display_name": display_name,
            "contact": contact,
            "legal_name": legal_name,
            "registration_number": registration_number,
        }
        body = {name: text for name, text in given.items() if text is not None}
        found: PersonalData = read(PersonalData, (await self._connection.send("PUT", _PATH, body)).content)
        return found

    async def get(self) -> PersonalData:
        """What is there now."""
        found: PersonalData = read(PersonalData, (await self._connection.send("GET", _PATH)).content)
        return found

    async def erase(self) -> PersonalData:
        """Have the bank destroy the key; nothing opens without it. Safe to repeat."""
        found: PersonalData = read(PersonalData, (await self._connection.send("DELETE", _PATH)).content)
        return found

    async def accesses(self) -> list[PersonalAccess]:
        """When officers looked at it, and as what, the newest first."""
        content = (await self._connection.send("GET", f"{_PATH}/accesses")).content
        return [read(PersonalAccess, each) for each in content["accesses"]]
