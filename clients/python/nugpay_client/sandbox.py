"""The sandbox: a bank without real money, whose clock can be moved and whose amounts force failures.

These operations are at a sandbox alone; elsewhere they are ``NotFound``. Every answer of a
sandbox has the header ``NUGPAY-Sandbox: 1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from nugpay_client.connection import Connection
from nugpay_client.models import read


@dataclass(frozen=True, slots=True)
class SandboxTime:
    """The sandbox's time."""

    now: datetime
    ahead_seconds: int
    """How far it is ahead of the machine's."""


@dataclass(frozen=True, slots=True)
class MagicAmount:
    """An amount that forces an answer."""

    minor_units_end_in: int
    """Each amount that ends so, in minor units, has the same effect."""
    example: Decimal
    code: str
    """The problem's code, or what else happens."""
    says: str


@dataclass(frozen=True, slots=True)
class SandboxState:
    """What a client may try."""

    time: SandboxTime
    asset: str
    """In which the examples are."""
    payments: tuple[MagicAmount, ...]
    withdrawals: tuple[MagicAmount, ...]


class Sandbox:
    """What a sandbox lets clients try."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def state(self) -> SandboxState:
        """The clock, and the magic amounts."""
        content = (await self._connection.send("GET", "/v1/sandbox")).content
        payments, withdrawals = (
            tuple(read(MagicAmount, each) for each in content[name]) for name in ("payments", "withdrawals")
        )
        return SandboxState(read(SandboxTime, content["clock"]), content["asset"], payments, withdrawals)

    async def advance(self, seconds: int) -> SandboxTime:
        """Move the bank's clock forward; a request whose answer was lost may have moved it."""
        answer = await self._connection.send_once("POST", "/v1/sandbox/clock", {"advance_seconds": seconds})
        found: SandboxTime = read(SandboxTime, answer.content)
        # What is signed from now on is signed by the time of the bank.
        self._connection.clock.learn(answer.content["now"])
        return found
