"""Looking a handle up: what a payer may see before paying, and no list of customers.

A payer sees the handle as it is written and in which assets it can be paid; who asks for
one that a wallet gave up a short time ago sees the one that it has now. A handle that nobody
has takes the same statements of the database and the ledger as one that somebody has, so
that the time tells nothing more than the answer does; and a wallet that is not listed is
answered as nobody, to the byte, unless its pass is shown.

Handles are guessable, so a person may look up ``LOOKUPS_PER_MINUTE`` of them in a
minute of the clock, counted in the database for all processes and all devices of the
person together. What else tells whether a handle exists counts as well: opening a wallet,
asking somebody to pay, and paying a handle that nobody has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select, text

from foundation.assets import ASSETS, Asset
from foundation.clock import SECOND_NS, Clock
from foundation.database import Database
from foundation.errors import Refusal, Retryable
from foundation.ids import derive_id
from foundation.turns import Turns
from ledger.contract import AccountFlags
from ledger.interface import Ledger
from wallets.handles import parse_handle
from wallets.memo_models import MemoKeyRow
from wallets.models import WalletRow
from wallets.request_errors import AskingCode
from wallets.wallets import Wallet, WalletDirectory, is_named, wallet_account

LOOKUPS_PER_MINUTE: Final = 60
"""Handles that a person may look up in a minute."""

BLOCKED_MAX: Final = 100_000
"""People over their bound whom one process remembers."""

_MINUTE_NS: Final = 60 * SECOND_NS

# One row a person, which starts anew with each minute: nothing piles up, and nothing has to
# be cleared away. Two minutes side by side allow twice the bound in a row, and no more.
_COUNT = text("""
INSERT INTO wallets_handle_lookups AS seen (person_id, minute, count) VALUES (:person_id, :minute, 1)
ON CONFLICT (person_id) DO UPDATE SET
    minute = greatest(seen.minute, excluded.minute),
    count = CASE WHEN seen.minute < excluded.minute THEN 1 ELSE least(seen.count + 1, 1000000) END
RETURNING count
""")

_PAYEE = select(WalletRow.id, WalletRow.handle, WalletRow.unlisted_at, MemoKeyRow.public_key).outerjoin(
    MemoKeyRow, MemoKeyRow.wallet_id == WalletRow.id
)

# A count that a crash forgets allows a few look-ups more; nobody waits for the disk for that.
_NO_WAIT = text("SET LOCAL synchronous_commit = off")


class HandleLookups:
    """Counts who looks up how many handles."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._blocked: dict[UUID, int] = {}
        self.turns = Turns()
        """For questions that are asked several times at once and are one: only the first is a look-up."""

    async def count(self, person_id: UUID) -> None:
        """Count one look-up of a person; refused as ``too_many_lookups`` beyond the bound."""
        minute = self._clock.now_ns() // _MINUTE_NS
        async with self._database.connection() as connection:
            await connection.execute(_NO_WAIT)
            count = await connection.scalar(_COUNT, {"person_id": person_id, "minute": minute})
        if count is not None and count > LOOKUPS_PER_MINUTE:
            if len(self._blocked) >= BLOCKED_MAX:
                self._blocked.pop(next(iter(self._blocked)))
            self._blocked[person_id] = minute
            raise self._refusal()

    def check(self, person_id: UUID) -> None:
        """Refuse a person who is known to be over the bound; counts nothing and asks nobody.

        For payments, which must not wait for a counter. This process learns of somebody
        who is over the bound by the first handle that nobody has, so that each process
        gives away one answer a minute at most.
        """
        minute = self._blocked.get(person_id)
        if minute is None:
            return
        if minute < self._clock.now_ns() // _MINUTE_NS:
            del self._blocked[person_id]
            return
        raise self._refusal()

    def _refusal(self) -> Refusal:
        left_seconds = 60 - self._clock.now_ns() % _MINUTE_NS // SECOND_NS
        return Refusal(
            AskingCode.TOO_MANY_LOOKUPS,
            f"More than {LOOKUPS_PER_MINUTE} handles were looked up in a minute; go on in {left_seconds} s.",
            retryable=Retryable.YES,
            retry_after_seconds=left_seconds,
        )


@dataclass(frozen=True, slots=True)
class LookupBooks:
    """What handles are looked up with."""

    database: Database
    ledger: Ledger
    clock: Clock
    lookups: HandleLookups
    directory: WalletDirectory


@dataclass(frozen=True, slots=True)
class Payee:
    """What a payer may see of somebody before paying."""

    handle: str
    """The one that it has now, as it is written, without @."""
    assets: tuple[Asset, ...]
    """In which the payer can pay; none for the payer's own handle."""
    memo_key: bytes | None = None
    """To which memos for this payee are encrypted; None when none was published."""


async def look_up_handle(
    books: LookupBooks, *, payer: Wallet, handle: str, shown: bytes | None = None
) -> Payee:
    """What ``payer`` may see of a handle; ``shown`` is the pass of a code, if there was one.

    Refused as ``handle_malformed``, ``too_many_lookups`` or ``handle_not_found``.
    """
    wanted = parse_handle(handle)
    await books.lookups.count(payer.person_id)
    # Never from memory: a handle that was found before would be answered sooner than others.
    async with books.database.connection() as connection:
        named = _PAYEE.where(is_named(wanted, books.clock.now()))
        row = (await connection.execute(named)).one_or_none()
    if row is not None and row.id != payer.id and not books.directory.opens(row.id, row.unlisted_at, shown):
        row = None
    # The accounts of nobody are looked for as those of somebody are.
    wallet_id = row.id if row is not None else derive_id("wallet-of-nobody", wanted)
    accounts = {
        account.id: account
        for account in await books.ledger.lookup_accounts(
            [wallet_account(wallet_id, asset) for asset in ASSETS]
        )
    }
    if row is None:
        raise Refusal(AskingCode.HANDLE_NOT_FOUND, "No wallet has this handle.")
    payable = []
    for asset in ASSETS:
        account = accounts.get(wallet_account(wallet_id, asset))
        is_open = account is not None and not account.flags & AccountFlags.CLOSED
        if is_open and wallet_id != payer.id:
            payable.append(asset)
    return Payee(row.handle, tuple(payable), row.public_key)
