"""Clients: they send, wait, are refused, try again, forget, repeat and lie.

An answer that arrives must be the one that the plain ledger gave, and may only
arrive for a request that is durable.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from ledger.commands import Command, CreateAccounts, CreateTransfers, FindHead, LookupAccounts
from ledger.contract import Account, Transfer
from ledger.decisions import TransferRequest
from ledger.intake import Intake
from ledger.interface import LedgerBusy, LedgerUnavailable
from ledger.records import TRANSFER_DTYPE
from tests.simulation.auditor import Auditor, Request
from tests.simulation.memory_server import Violation
from tests.simulation.workload import LARGE, Workload

_RECORD = struct.Struct("<12QQIIIHHQ")
_MASK = 2**64 - 1
WAITING_MAX = 30
"""So many requests wait to be sent again; the oldest are forgotten."""


class DirectLoop:
    """Stands for a caller's event loop: runs at once what it is asked to run soon."""

    def call_soon_threadsafe(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run it."""
        callback(*arguments)


class WatchedAnswer:
    """Stands for :class:`ledger.answers.Answer` and its future: tells the clients what it is given."""

    loop = DirectLoop()

    def __init__(self, clients: Clients, request: Request) -> None:
        self.clients = clients
        self.request = request
        self.is_given = False
        self.future = self

    def done(self) -> bool:
        """Whether the caller has gone away."""
        return False

    def set_result(self, value: Any) -> None:
        """Its answer."""
        self.clients.answered(self.request, value)

    def set_exception(self, error: BaseException) -> None:
        """Why there is none."""
        self.clients.refused(self.request, error)


class Clients:
    """All of them; they share what they know."""

    def __init__(self, random: Random, workload: Workload, auditor: Auditor, counts: Counter[str]) -> None:
        self._random = random
        self._workload = workload
        self._auditor = auditor
        self._counts = counts
        self.waiting: list[Request] = []
        """Requests that will be sent again."""
        self.outstanding: dict[Request, Intake] = {}

    def send(self, intake: Intake) -> None:
        """Make a request, or take an old one, and send it."""
        self._send(intake, self._next())

    def look(self, intake: Intake) -> None:
        """Ask for accounts."""
        self._send(intake, Request("lookup", self._workload.reads()))

    def _send(self, intake: Intake, request: Request) -> None:
        command = self._command(request)
        try:
            intake.submit(command)
        except (LedgerBusy, LedgerUnavailable) as error:
            self.refused(request, error)
        else:
            self.outstanding[request] = intake

    def lose(self, intake: Intake) -> None:
        """An engine has died: nobody knows what became of what it was asked."""
        for request in [r for r, where in self.outstanding.items() if where is intake]:
            del self.outstanding[request]
            self._counts["answer: never came"] += 1
            self._send_again(request, 70)

    def answered(self, request: Request, value: Any) -> None:
        """An answer has arrived."""
        self.outstanding.pop(request, None)
        if not request.is_settled:
            raise Violation(f"answered before it is durable: {request}")
        if request.kind == "head":
            self._auditor.heads.append((request, value))
        self._counts["answer: given"] += 1
        # A large one that is done already is hundreds of events that say nothing new.
        self._send_again(request, 4 if len(request.events) < LARGE else 1)

    def refused(self, request: Request, error: BaseException) -> None:
        """A refusal has arrived."""
        self.outstanding.pop(request, None)
        if isinstance(error, LedgerBusy):
            self._counts["answer: busy"] += 1
            request.is_refused = True
        elif isinstance(error, LedgerUnavailable):
            unknown = error.outcome_unknown
            self._counts["answer: outcome unknown" if unknown else "answer: unavailable"] += 1
            request.is_refused = not unknown
            if request.is_refused and request.is_settled:
                raise Violation(f"told that it is not done, but it is durable: {request}")
        else:
            raise Violation(f"answered with {error!r}")
        self._send_again(request, 80)

    def _send_again(self, request: Request, percent: float) -> None:
        if request.kind in ("transfers", "accounts") and self._random.random() * 100 < percent:
            events = request.events
            if request.kind == "transfers" and self._random.random() < 0.15:
                events = self._workload.again(list(events))
                self._counts["client: other content"] += 1
            self.waiting.append(Request(request.kind, events, repeats=request.repeats + 1))
            del self.waiting[:-WAITING_MAX]

    def _next(self) -> Request:
        at = self._random.random()
        if self.waiting and at < 0.25:
            self._counts["client: repeated"] += 1
            # Not in the order in which they were sent first.
            return self.waiting.pop(int(self._random.random() * len(self.waiting)))
        if at < 0.35:
            return Request("lookup", self._workload.reads())
        if at < 0.40:
            return Request("head", self._workload.reads()[:1])
        return Request(*self._workload.request())

    def _command(self, request: Request) -> Command:
        answer: Any = WatchedAnswer(self, request)
        if request.kind == "lookup":
            return LookupAccounts(request.events, answer)
        if request.kind == "head":
            return FindHead(request.events[0], answer)
        if request.kind == "accounts":
            return CreateAccounts([Account(*event) for event in request.events], answer)
        if self._random.random() < 0.3:
            objects = [Transfer(*event) for event in request.events]
            return CreateTransfers([TransferRequest(objects=objects)], answer)
        data = b"".join([_pack(*event) for event in request.events])
        return CreateTransfers([TransferRequest(records=np.frombuffer(data, TRANSFER_DTYPE))], answer)


def _pack(own: int, debit: int, credit: int, amount: int, pending: int, wide: int, *rest: int) -> bytes:
    return _RECORD.pack(
        own & _MASK, own >> 64, debit & _MASK, debit >> 64, credit & _MASK, credit >> 64, amount & _MASK,
        amount >> 64, pending & _MASK, pending >> 64, wide & _MASK, wide >> 64, *rest,
    )  # fmt: skip
