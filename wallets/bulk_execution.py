"""Paying released files, line by line, once each, whenever and however often this dies.

The order of effects, and what a death between two of them leaves:

1. The sum takes its room under the payer's limits, once, under an id that follows from the
   bulk payment's. Dead after that: the next run is told that the room is taken, and goes on.
2. Lines are paid in the file's order, as many at a time as a request of the ledger holds:
   payer to payee, payer to fees, and through the payee's gate where that has a ceiling
   (wallets.ceilings), linked. Every id follows from the bulk payment's id and
   the line's number, so that the ledger itself knows of each line whether it was decided.
3. What the ledger answered is stored, with the count of lines that are done, in one database
   transaction. Dead between 2 and 3: the next run sends the same lines again, and is told
   ``exists`` of those that were paid. Of those that were refused for a reason that time can
   change, the ledger remembers the id as failed for ever: they stay refused, with the code
   ``payment_already_refused``, since the first reason died with this process.

So no line is paid twice, none is lost, and no result is ever taken back. Two that execute the
same file at once, which the worker's lock prevents, would be told the same by the ledger, and
only one of them stores it: the count must be as it was when its lines were read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, cast
from uuid import UUID

import numpy as np
import numpy.typing as npt
import structlog
from sqlalchemy import select, text

from foundation.assets import Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation
from foundation.ids import derive_ids
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, limit_ledger, system_account_id
from ledger.contract import BATCH_MAX, CreateTransferStatus, TransferFlags
from ledger.interface import Ledger
from ledger.records import TRANSFER_DTYPE
from wallets.bulk_models import BulkLineRow, BulkPaymentRow
from wallets.bulk_payments import PAID
from wallets.ceilings import DAY_SECONDS, gate_pool, gate_use_ids
from wallets.errors import WalletCode
from wallets.limits import EXCEEDED, Limits, Window
from wallets.models import WalletRow
from wallets.payments import payment_fee_ids
from wallets.tiers import CEILINGS, Tier
from wallets.wallets import Wallet, WalletDirectory, wallet_account

logger = structlog.get_logger()

LINES_AT_ONCE: Final = BATCH_MAX // 3
"""Most lines in a request: each is a payment, its fee, and what it uses of the payee's gate."""

FILES_AT_ONCE: Final = 100
"""Most files that one run takes up."""

Records = npt.NDArray[np.void]
"""Packed transfers or results (ledger.records)."""

_RESULTS: Final[dict[CreateTransferStatus, str]] = {
    CreateTransferStatus.CREATED: PAID,
    CreateTransferStatus.EXISTS: PAID,
    CreateTransferStatus.ID_ALREADY_FAILED: WalletCode.PAYMENT_ALREADY_REFUSED,
    CreateTransferStatus.EXCEEDS_CREDITS: WalletCode.INSUFFICIENT_FUNDS,
    # Only a gate is bounded on that side.
    CreateTransferStatus.EXCEEDS_DEBITS: WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED,
    CreateTransferStatus.DEBIT_ACCOUNT_NOT_FOUND: WalletCode.WALLET_ACCOUNT_MISSING,
    CreateTransferStatus.CREDIT_ACCOUNT_NOT_FOUND: WalletCode.WALLET_ACCOUNT_MISSING,
    CreateTransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED: WalletCode.WALLET_CLOSED,
    CreateTransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED: WalletCode.WALLET_CLOSED,
    # Only the payer reads results, and has the money by the check at the release: what the
    # payee ever received is told to nobody who could not have paid.
    CreateTransferStatus.OVERFLOWS_DEBITS_POSTED: WalletCode.PAYEE_BALANCE_FULL,
    CreateTransferStatus.OVERFLOWS_DEBITS: WalletCode.PAYEE_BALANCE_FULL,
    CreateTransferStatus.OVERFLOWS_CREDITS_POSTED: WalletCode.PAYEE_BALANCE_FULL,
    CreateTransferStatus.OVERFLOWS_CREDITS: WalletCode.PAYEE_BALANCE_FULL,
}
"""What the ledger's answer to a line means."""

_ROOM_THERE: Final = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})
_NO_ROOM: Final = frozenset({CreateTransferStatus.EXCEEDS_CREDITS, CreateTransferStatus.ID_ALREADY_FAILED})
_LINKED: Final = int(TransferFlags.LINKED)

_COPY_RESULTS: Final = "COPY wallets_bulk_result (bulk_id, number, result) FROM STDIN"
_COUNT_DONE: Final = text("""
UPDATE wallets_bulk_payment
SET done = done + :done, paid = paid + :paid, paid_total = paid_total + :paid_total,
    finished_at = CASE WHEN done + :done = lines THEN CAST(:now AS timestamptz) END
WHERE id = :id AND done = :before
""")


class BulkLedger(Ledger, Protocol):
    """A ledger that takes packed transfers: the engine in process, and its client."""

    async def create_transfer_records(self, records: Records) -> Records:
        """``create_transfers`` of ``TRANSFER_DTYPE``, giving ``RESULT_DTYPE``."""


@dataclass(frozen=True, slots=True)
class BulkTools:
    """What paying files takes."""

    database: Database
    ledger: BulkLedger
    clock: Clock
    directory: WalletDirectory
    limits: Limits


@dataclass(slots=True)
class BulkReport:
    """What a run did."""

    files: int = 0
    """Files whose last line got its result."""
    lines: int = 0
    """Lines that got a result."""
    paid: int = 0


class _Line(NamedTuple):
    number: int
    payee_id: UUID
    amount: int
    fee: int
    payee_tier: str | None


class _Prepared(NamedTuple):
    records: Records
    firsts: npt.NDArray[np.intp]
    """Where each line's payment stands among them."""


async def advance_bulk_payments(tools: BulkTools, *, lines_at_once: int = LINES_AT_ONCE) -> BulkReport:
    """Pay what is released and not finished, the oldest release first.

    ``LedgerUnavailable`` leaves the rest to the next run, whatever the outcome was.
    """
    report = BulkReport()
    async with tools.database.session() as session:
        rows = (
            await session.scalars(
                select(BulkPaymentRow)
                .where(BulkPaymentRow.released_at.is_not(None), BulkPaymentRow.finished_at.is_(None))
                .order_by(BulkPaymentRow.released_at, BulkPaymentRow.id)
                .limit(FILES_AT_ONCE)
            )
        ).all()
    for row in rows:
        await _execute(tools, row, report, lines_at_once)
        report.files += 1
    return report


async def _execute(tools: BulkTools, row: BulkPaymentRow, report: BulkReport, lines_at_once: int) -> None:
    asset = asset_by_code(row.asset)
    payer = (await tools.directory.by_ids([row.payer_id]))[row.payer_id]
    lines = await _lines_left(tools.database, row)
    no_room = await _take_room(tools, row, payer, asset)
    results = _Results(tools, row, report)
    if no_room is not None:
        await results.store(lines, [no_room.value] * len(lines))
        return
    parts = [lines[start : start + lines_at_once] for start in range(0, len(lines), lines_at_once)]
    gates = await _gates(tools, lines, asset)
    prepared = _prepare(row, asset, parts[0], gates)
    decided: tuple[Sequence[_Line], list[str]] = ([], [])
    for part, following in zip(parts, [*parts[1:], []], strict=True):
        # While the ledger decides these lines, the ones before are stored and the next ones
        # prepared. Parts are stored one after another: what is stored is a beginning of the file.
        answers, _, prepared_next = await _all_of(
            tools.ledger.create_transfer_records(prepared.records),
            results.store(*decided),
            asyncio.to_thread(_prepare, row, asset, following, gates),
        )
        # Dies here: the ledger has these lines, and the next run asks it for them again.
        decided = part, _meaning(row, prepared, answers)
        prepared = prepared_next
    await results.store(*decided)


async def _gates(tools: BulkTools, lines: Sequence[_Line], asset: Asset) -> dict[UUID, int]:
    """The gates through which lines come in, of those payees who have one, set by the sums."""
    sums: Counter[UUID] = Counter()
    ceilings: dict[UUID, int] = {}
    by_tier = {tier.value: CEILINGS[tier].get(asset) for tier in Tier}
    for line in lines:
        # A tier that this process does not know ends the run: it may have a ceiling.
        ceiling = by_tier[line.payee_tier] if line.payee_tier is not None else None
        if ceiling is not None:
            sums[line.payee_id] += line.amount
            ceilings[line.payee_id] = ceiling
    return await tools.limits.ceilings.gates({each: (sums[each], ceilings[each]) for each in sums}, asset)


async def _all_of(
    asked: Awaitable[Records], stored: Awaitable[None], prepared: Awaitable[_Prepared]
) -> tuple[Records, None, _Prepared]:
    """Wait for all of them, also when one fails: nothing goes on behind a run that has ended."""
    ended = await asyncio.gather(asked, stored, prepared, return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    return cast("tuple[Records, None, _Prepared]", tuple(ended))


async def _lines_left(database: Database, row: BulkPaymentRow) -> list[_Line]:
    async with database.connection() as connection:
        found = await connection.execute(
            select(
                BulkLineRow.number, BulkLineRow.payee_id, BulkLineRow.amount, BulkLineRow.fee, WalletRow.tier
            )
            # Also a line whose payee were none: lines are counted, and the ledger refuses that one.
            .outerjoin(WalletRow, WalletRow.id == BulkLineRow.payee_id)
            .where(BulkLineRow.bulk_id == row.id)
            .order_by(BulkLineRow.number)
            # Results are stored in the file's order, so that as many lines are done as are counted.
            .offset(row.done)
        )
        return list(map(_Line._make, found.all()))


async def _take_room(tools: BulkTools, row: BulkPaymentRow, payer: Wallet, asset: Asset) -> WalletCode | None:
    """Take the sum's room under the payer's limits; the code of the limit that it does not fit."""
    room = await tools.limits.uses_in_sum(payer, row.id, Money(row.total, asset))
    if not room:
        return None
    answers = await tools.ledger.create_transfers(room)
    at, status = next(
        (at, answer.status)
        for at, answer in enumerate(answers)
        if answer.status is not CreateTransferStatus.LINKED_EVENT_FAILED
    )
    if status in _ROOM_THERE:
        return None
    if status in _NO_ROOM and row.paid == 0:
        # The ledger remembers that: every line stays refused, in whichever run it is stored.
        return EXCEEDED[tuple(Window)[at]]
    raise InvariantViolation(f"bulk payment {row.id}: the ledger answers {status.name} to taking its room")


def _meaning(row: BulkPaymentRow, prepared: _Prepared, answers: Records) -> list[str]:
    """What the ledger decided on each line, now or before."""
    statuses, firsts = answers["status"], prepared.firsts
    at_payment = statuses[firsts]
    linked_failed = int(CreateTransferStatus.LINKED_EVENT_FAILED)
    # A payment that failed with its fee or at the payee's gate says nothing itself; which of
    # these, that follow it, failed says why.
    of_line = at_payment
    for behind in (1, 2):
        after = statuses[np.minimum(firsts + behind, len(statuses) - 1)]
        of_line = np.where(of_line == linked_failed, after, of_line)
    meaning: dict[int, str] = {}
    for status in np.unique(of_line).tolist():
        name = CreateTransferStatus(status)
        result = _RESULTS.get(name)
        if result is None:
            raise InvariantViolation(f"bulk payment {row.id}: the ledger answers {name.name} to a line")
        meaning[status] = str(result)
    return [meaning[status] for status in of_line.tolist()]


def _prepare(
    row: BulkPaymentRow, asset: Asset, lines: Sequence[_Line], gates: Mapping[UUID, int]
) -> _Prepared:
    """The lines' transfers: each payment, behind it its fee, if one is due, and what it uses of a gate."""
    payment_ids = derive_ids("bulk-payment", row.id, lasts=[line.number for line in lines])
    fees = np.array([line.fee for line in lines], dtype=np.uint64)
    has_fee = fees != 0
    has_gate = np.array([line.payee_id in gates for line in lines], dtype=bool)
    members = 1 + has_fee.astype(np.intp) + has_gate
    firsts = np.cumsum(members) - members
    records = np.zeros(int(members.sum()), TRANSFER_DTYPE)
    payer = _words([wallet_account(row.payer_id, asset)])
    payments = np.zeros(len(lines), TRANSFER_DTYPE)
    payments["id"] = _words([each.int for each in payment_ids])
    payments["debit_account_id"] = payer
    payments["credit_account_id"] = _words([wallet_account(line.payee_id, asset) for line in lines])
    payments["amount"][:, 0] = [line.amount for line in lines]
    payments["user_data_128"] = _words([row.id.int])
    payments["ledger"] = asset.ledger
    payments["code"] = int(TransferCode.PAYMENT)
    payments["flags"] = np.where(has_fee | has_gate, _LINKED, 0)
    records[firsts] = payments
    if has_fee.any():
        of = [each for each, due in zip(payment_ids, has_fee.tolist(), strict=True) if due]
        charged = np.zeros(len(of), TRANSFER_DTYPE)
        charged["id"] = _words([each.int for each in payment_fee_ids(of)])
        charged["debit_account_id"] = payer
        charged["credit_account_id"] = _words([system_account_id(AccountCode.FEES, asset)])
        charged["amount"][:, 0] = fees[has_fee]
        charged["user_data_128"] = payments["id"][has_fee]
        charged["ledger"] = asset.ledger
        charged["code"] = int(TransferCode.PAYMENT_FEE)
        charged["flags"] = np.where(has_gate[has_fee], _LINKED, 0)
        records[firsts[has_fee] + 1] = charged
    if has_gate.any():
        behind = list(zip(payment_ids, lines, strict=True))
        through = [(one, line) for one, line in behind if line.payee_id in gates]
        uses = np.zeros(len(through), TRANSFER_DTYPE)
        uses["id"] = _words([each.int for each in gate_use_ids([one for one, _ in through])])
        uses["debit_account_id"] = _words([gate_pool(asset).id])
        uses["credit_account_id"] = _words([gates[line.payee_id] for _, line in through])
        uses["amount"][:, 0] = [line.amount for _, line in through]
        uses["timeout"] = DAY_SECONDS
        uses["ledger"] = limit_ledger(asset)
        uses["code"] = int(TransferCode.LIMIT_USED)
        uses["flags"] = int(TransferFlags.PENDING)
        records[(firsts + members - 1)[has_gate]] = uses
    return _Prepared(records, firsts)


def _words(numbers: Sequence[int]) -> npt.NDArray[np.uint64]:
    """128-bit numbers as rows of (low, high)."""
    packed = b"".join([number.to_bytes(16, "little") for number in numbers])
    return np.frombuffer(packed, "<u8").reshape(-1, 2) if packed else np.zeros((0, 2), "<u8")


class _Results:
    """Stores what became of lines, in the file's order."""

    def __init__(self, tools: BulkTools, row: BulkPaymentRow, report: BulkReport) -> None:
        self._tools = tools
        self._row = row
        self._report = report
        self._done = row.done

    async def store(self, lines: Sequence[_Line], results: Sequence[str]) -> None:
        """Store these lines' results and count them, all or nothing."""
        if not lines:
            return
        bulk_id = self._row.id
        paid = [line.amount for line, result in zip(lines, results, strict=True) if result == PAID]
        # Numbers and codes of our own: nothing in them would have to be escaped.
        name = str(bulk_id)
        rows = "".join(
            [f"{name}\t{line.number}\t{result}\n" for line, result in zip(lines, results, strict=True)]
        )
        async with self._tools.database.connection() as connection:
            counted = await connection.execute(
                _COUNT_DONE,
                {
                    "id": bulk_id,
                    "before": self._done,
                    "done": len(lines),
                    "paid": len(paid),
                    "paid_total": sum(paid),
                    "now": self._tools.clock.now(),
                },
            )
            if counted.rowcount != 1:
                raise InvariantViolation(f"bulk payment {bulk_id} is executed twice at once")
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with driver.cursor() as cursor, cursor.copy(_COPY_RESULTS) as copy:
                await copy.write(rows.encode())
        self._done += len(lines)
        self._report.lines += len(lines)
        self._report.paid += len(paid)
        refused = Counter(results)
        del refused[PAID]
        if refused:
            logger.warning("bulk lines refused", bulk_id=str(bulk_id), codes=dict(refused))
