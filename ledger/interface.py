"""What callers of the ledger see, in process or through its socket.

Every method answers after the commit that its answer depends on: a created
transfer is durable, and a read is never stale. When an outcome cannot be known
(the process died, the connection broke) ``LedgerUnavailable`` says so with
``outcome_unknown``; the same events may then be sent again, with the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from foundation.errors import Unavailable
from ledger.contract import (
    Account,
    AccountBalance,
    AccountFilter,
    ChangeEvent,
    ChangeEventsFilter,
    CreateAccountResult,
    CreateTransferResult,
    QueryFilter,
    StatementLine,
    Transfer,
)
from ledger.queries.questions import (
    AccountPage,
    AccountSearch,
    BalancesAsOf,
    BalancesPage,
    ChangesAfter,
    ChangesPage,
    PendingState,
    PeriodStatement,
    Snapshot,
    StatementPage,
    TransferPage,
    TransferSearch,
)


class LedgerUnavailable(Unavailable):
    """The ledger did not answer; repeat with the same ids."""

    def __init__(self, detail: str, *, outcome_unknown: bool) -> None:
        super().__init__("ledger_unavailable", detail, outcome_unknown=outcome_unknown)


class SegmentArchived(LedgerUnavailable):
    """What was asked needs transfers of a segment that is archived; nothing was done.

    The same request succeeds when the segment is attached again, or (look-ups,
    creations, and expiries of what is archived) when the process knows the archive's
    directory.
    """

    def __init__(self, number: int, reason: str = "and this process has no file of it") -> None:
        Unavailable.__init__(
            self, "ledger_segment_archived", f"Segment {number} is archived, {reason}.", outcome_unknown=False
        )
        self.number = number

    @classmethod
    def told(cls, detail: str, number: int) -> SegmentArchived:
        """The same error as another process has told it."""
        error = cls(number)
        error.detail, error.args = detail, (f"{error.code}: {detail}",)
        return error


class LedgerBusy(Unavailable):
    """The ledger's queue is full; nothing was done. ``retry_seconds`` says when to come back."""

    def __init__(self, retry_seconds: int) -> None:
        super().__init__(
            "ledger_busy", f"The ledger is busy; try again in {retry_seconds} s.", outcome_unknown=False
        )
        self.retry_seconds = retry_seconds


class Ledger(Protocol):
    """A double-entry ledger with TigerBeetle's contract."""

    async def create_accounts(self, accounts: Sequence[Account]) -> list[CreateAccountResult]:
        """Create up to 8,189 accounts; one result each, in order."""

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]:
        """Create up to 8,189 transfers; one result each, in order."""

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        """The accounts that exist, in the order asked, with their balances."""

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        """The transfers that exist, in the order asked."""

    async def get_account_transfers(self, filter: AccountFilter) -> list[Transfer]:
        """Transfers of one account, oldest first unless reversed."""

    async def get_account_balances(self, filter: AccountFilter) -> list[AccountBalance]:
        """Counters after each of those transfers; only for accounts with ``history``."""

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        """Accounts by their fields."""

    async def query_transfers(self, filter: QueryFilter) -> list[Transfer]:
        """Transfers by their fields."""

    async def get_change_events(self, filter: ChangeEventsFilter) -> list[ChangeEvent]:
        """Every change of balances, expiries included, in order."""

    async def get_statement(
        self, account_id: int, *, before: int | None = None, limit: int = 50
    ) -> list[StatementLine]:
        """An account's history with running balance, newest first.

        ``before`` is the timestamp of the last line seen: lines older than it
        follow. Works for every account.
        """

    async def search_transfers(self, search: TransferSearch) -> TransferPage:
        """A page of transfers by alternatives of their fields; its cursor leads to the next."""

    async def search_accounts(self, search: AccountSearch) -> AccountPage:
        """A page of accounts by what they are and hold now."""

    async def get_balances_as_of(self, question: BalancesAsOf) -> BalancesPage:
        """Accounts as they stood at a time: some, or all of them page by page."""

    async def get_snapshot(self, ids: Sequence[int]) -> Snapshot:
        """The accounts that exist, all at one and the same instant, with its timestamp."""

    async def get_pending_states(self, ids: Sequence[int]) -> list[PendingState]:
        """What has become of transfers that may be pending ones; those that do not exist are left out."""

    async def get_period_statement(self, question: PeriodStatement) -> StatementPage:
        """An account's history over a time, oldest first; opening balance and lines make the closing one."""

    async def get_changes(self, question: ChangesAfter) -> ChangesPage:
        """The next changes after a position; waits for some when asked to.

        See :mod:`ledger.queries.following`.
        """

    async def close(self) -> None:
        """Let go of connections; the ledger itself goes on."""
