"""The officer: approve and review withdrawals, release the breaker, block receivers, decide on recalls.

What an officer decides of the first two is a signature of their device under a text. The server gives
the text, the caller shows it, and only then it is signed; a text that is not about what
was asked for is not signed at all. Everything here is safe to repeat.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

from nugpay_client.errors import AnswerMalformed
from nugpay_client.models import read
from nugpay_client.officer_models import AwaitedWithdrawal, BlockedReceiver, Breaker, Review, Statement, Trip
from nugpay_client.recalls import DisputedRecall, disputed_of
from nugpay_client.sessions import Session

_APPROVAL = "NUG Pay withdrawal approval, version 1"
_RELEASE = "NUG Pay breaker release, version 1"


class Officer(Session):
    """An officer's device at one server; ``NotAnOfficer`` is raised to anybody else.

    What an officer's roles do not allow is ``RequestRefused`` as ``officer_role_missing``.
    """

    # Withdrawals ---------------------------------------------------------------

    async def awaited(self) -> list[AwaitedWithdrawal]:
        """Withdrawals that await officers, the longest waiting first."""
        content = (await self._connection.send("GET", "/v1/officers/withdrawals")).content
        return [read(AwaitedWithdrawal, each) for each in content["withdrawals"]]

    async def approval_statement(self, withdrawal_id: UUID) -> Statement:
        """One withdrawal, whole, as the text to sign: show it before you ``approve``.

        ``NotFound``, or ``ApprovalRefused`` when it awaits nobody.
        """
        path = f"/v1/officers/withdrawals/{withdrawal_id}/statement"
        content = (await self._connection.send("GET", path)).content
        return _statement(content, "approved_at")

    async def approve(self, withdrawal_id: UUID, statement: Statement) -> int:
        """Sign a statement that the officer has read, and send it; how many have approved now.

        ``ApprovalRefused`` when it does not count. Two officers must, neither of them the
        requester.
        """
        body = self._signed(statement, _APPROVAL, f"withdrawal: {withdrawal_id}", "approved")
        path = f"/v1/officers/withdrawals/{withdrawal_id}/approvals"
        content = (await self._connection.send("POST", path, body)).content
        return int(content["approvals"])

    # The breaker ---------------------------------------------------------------

    async def breaker(self) -> Breaker:
        """Whether withdrawals stand still, and the last trips."""
        content = (await self._connection.send("GET", "/v1/officers/breaker")).content
        trips: list[Trip] = [read(Trip, each) for each in content["trips"]]
        return Breaker(bool(content["stopped"]), tuple(trips))

    async def release_statement(self, trip_id: UUID) -> Statement:
        """One trip as the text to sign: show it before you ``sign_release``."""
        path = f"/v1/officers/breaker/{trip_id}/statement"
        content = (await self._connection.send("GET", path)).content
        return _statement(content, "signed_at")

    async def sign_release(self, trip_id: UUID, statement: Statement) -> Trip:
        """Sign a statement that the officer has read, and send it; releases nothing yet.

        ``ReleaseRefused`` when the signature does not count.
        """
        body = self._signed(statement, _RELEASE, f"trip: {trip_id}", "signed")
        path = f"/v1/officers/breaker/{trip_id}/signatures"
        return _trip((await self._connection.send("POST", path, body)).content)

    async def release(self, trip_id: UUID) -> Trip:
        """Let withdrawals go on after a trip that two officers signed.

        ``ReleaseRefused`` while signatures are missing or the books do not agree.
        """
        body = {"trip_id": str(trip_id)}
        return _trip((await self._connection.send("POST", "/v1/officers/breaker/releases", body)).content)

    # Receivers -----------------------------------------------------------------

    async def blocked_receivers(self) -> list[BlockedReceiver]:
        """Addresses that are never paid, the newest first."""
        content = (await self._connection.send("GET", "/v1/officers/blocked_receivers")).content
        return [read(BlockedReceiver, each) for each in content["receivers"]]

    async def block_receiver(self, address: str, reason: str) -> list[BlockedReceiver]:
        """Never pay an address from now on; the first reason stays. Every blocked address."""
        body = {"address": address, "reason": reason}
        content = (await self._connection.send("POST", "/v1/officers/blocked_receivers", body)).content
        return [read(BlockedReceiver, each) for each in content["receivers"]]

    # Reviews -------------------------------------------------------------------

    async def reviews(self) -> list[Review]:
        """Withdrawals by which much passed through and that nobody has looked at, the oldest first."""
        content = (await self._connection.send("GET", "/v1/officers/reviews")).content
        return [read(Review, each) for each in content["reviews"]]

    async def close_review(self, withdrawal_id: UUID, reason: str) -> Review:
        """Say what was found; what was closed stays as it was closed. ``NotFound``: there is none."""
        path = f"/v1/officers/reviews/{withdrawal_id}/close"
        closed: Review = read(Review, (await self._connection.send("POST", path, {"reason": reason})).content)
        return closed

    # Recalls -------------------------------------------------------------------

    async def disputed_recalls(self, *, page: int = 20) -> AsyncIterator[DisputedRecall]:
        """Recalls that await officers, oldest first, fetched page by page as they are read."""
        query = {"limit": str(page)}
        while True:
            content = (await self._connection.send("GET", "/v1/officers/recalls", query=query)).content
            for each in content["disputed"]:
                yield disputed_of(each)
            if content["next_after"] is None:
                return
            query["after"] = content["next_after"]

    async def vote_on_recall(self, recall_id: UUID, says: str) -> DisputedRecall:
        """Say ``return`` or ``keep``; the second officer who says the same ends the recall.

        ``RequestRefused`` when this officer is one of the parties, has said otherwise, or
        nothing is to be decided.
        """
        path = f"/v1/officers/recalls/{recall_id}/votes"
        return disputed_of((await self._connection.send("POST", path, {"says": says})).content)

    # Inside --------------------------------------------------------------------

    def _signed(self, statement: Statement, title: str, subject: str, begins: str) -> dict[str, Any]:
        """A statement's times and the device's signature under it, once it is about what is meant."""
        lines = statement.text.split("\n")
        needed = (f"{begins}: {statement.begins_at}", f"expires: {statement.expires_at}", "")
        # A server that is not honest could give the text of something else to sign.
        if lines[0] != title or subject not in lines or tuple(lines[-3:]) != needed:
            raise AnswerMalformed(f"the statement is not about {subject}")
        signature = self._connection.signer.sign(statement.text.encode())
        return {
            f"{begins}_at": statement.begins_at,
            "expires_at": statement.expires_at,
            "signature": base64.b64encode(signature).decode(),
        }


def _statement(content: Mapping[str, Any], begins: str) -> Statement:
    try:
        named = {
            "text": content["statement"],
            "begins_at": content[begins],
            "expires_at": content["expires_at"],
        }
    except (KeyError, TypeError) as error:
        raise AnswerMalformed(f"not a Statement: {error!r}") from error
    found: Statement = read(Statement, named)
    return found


def _trip(content: Any) -> Trip:
    found: Trip = read(Trip, content)
    return found
