"""The wallet's own handle: another one, whether it is listed, and those of before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nugpay_client.connection import Connection
from nugpay_client.models import read


@dataclass(frozen=True, slots=True)
class FormerHandle:
    """A handle that the wallet gave up; nobody else gets it."""

    handle: str
    given_up_at: datetime
    pays_until: datetime
    """Until then it still pays this wallet."""


@dataclass(frozen=True, slots=True)
class OwnHandle:
    """How the wallet is found."""

    handle: str
    listed: bool
    """False: only with the pass of a payment code that the wallet made."""
    former: tuple[FormerHandle, ...]
    """The newest first."""


class OwnHandles:
    """The handle of a wallet at one server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def own(self) -> OwnHandle:
        """The handle of now and those of before."""
        return _read((await self._connection.send("GET", "/v1/wallet/handle")).content)

    async def change(self, handle: str) -> OwnHandle:
        """Take another handle; safe to repeat. Keep the memo keys under it: ``MemoKeys.renamed``."""
        return _read((await self._connection.send("PUT", "/v1/wallet/handle", {"handle": handle})).content)

    async def set_listed(self, listed: bool) -> OwnHandle:
        """Be found by the handle, or only by codes that are made from now on; safe to repeat."""
        return _read((await self._connection.send("PUT", "/v1/wallet/listing", {"listed": listed})).content)


def _read(content: Mapping[str, Any]) -> OwnHandle:
    former = tuple(read(FormerHandle, each) for each in content["former"])
    return OwnHandle(content["handle"], content["listed"], former)
