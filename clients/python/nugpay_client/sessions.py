"""Sessions: one device's way to one server, opened and closed; what a wallet and an officer are made of."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from nugpay_client.clock import DeviceClock
from nugpay_client.connection import Connection, RetryPolicy
from nugpay_client.keys import RequestSigner

TIMEOUT_SECONDS = 15.0
"""How long one attempt may take."""


class Session:
    """A device at one server; use it as an async context manager, or ``close`` it."""

    def __init__(
        self,
        base_url: str,
        signer: RequestSigner,
        *,
        http: httpx.AsyncClient | None = None,
        clock: DeviceClock | None = None,
        retry: RetryPolicy | None = None,
        language: str | None = None,
        compact: bool = False,
    ) -> None:
        """``base_url`` is where /v1 is: ``https://pay.example.org``. A given ``http`` stays the caller's.

        ``language`` is what the person reads, as ``Accept-Language`` says it: ``my``, or
        ``shn, my;q=0.8``. Refusals come in it; unset, they come in English.
        ``compact`` speaks CBOR instead of JSON, for bad networks.
        """
        self._own_http = http is None
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT_SECONDS)
        self._connection = Connection(
            base_url,
            signer,
            http=self._http,
            clock=clock or DeviceClock(),
            retry=retry or RetryPolicy(),
            language=language,
            compact=compact,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that this session opened."""
        if self._own_http:
            await self._http.aclose()
