"""Withdrawals: a customer's money paid out on chain, once, or given back whole.

    1  intend    one database transaction: the withdrawal and its order, not approved
    2  hold      the ledger: amount and fee pending, both or neither
    3  admit     room under the rules of young funds           (treasury.withdrawal_admission)
    4  approve   the order may be signed                       (treasury.payouts, from here)
    5  sign      a nonce for ever, signed by the signer, stored
    6  send      the stored bytes, as often as needed, until a block has them
    7  settle    final on chain: posted, and out of custody; or it can never be: voided
    8  close     nothing is left to do

The process may die between any two: each step reads from the ledger and the chain
tables what was done and repeats safely, since every id is derived from the
withdrawal's. Steps 1 to 3 are the request's, and its repetition by the client
completes them; the worker takes the rest up wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.addresses import checksum
from chain.lanes import attempts_for
from chain.models import ChainOrder, OrderKind
from foundation.assets import Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, RefusalCode, Retryable
from foundation.money import Money
from ledger.interface import Ledger
from treasury.breaker import breaker_trip
from treasury.custody import Custody
from treasury.errors import TreasuryCode
from treasury.models import TreasuryDeparture, TreasuryWithdrawal
from treasury.withdrawal_admission import admit_withdrawal, give_back_refused
from treasury.withdrawal_checks import checked_receiver, refuse_receiver, same_request
from treasury.withdrawal_fees import withdrawal_fee
from treasury.withdrawal_limits import (
    WITHDRAWAL_LIMITS,
    WithdrawalLimit,
    refuse_above_daily_limit,
    refuse_above_limit,
)
from treasury.withdrawal_quotes import quoted_fee
from treasury.withdrawal_transfers import (
    HoldOutcome,
    hold_transfer_id,
    hold_withdrawal,
    lost_suspense_transfer_id,
    lost_transfer_id,
    settlement_transfer_id,
    void_transfer_id,
)
from treasury.young_funds import EXCEEDED

LISTED_MAX = 100
"""Most withdrawals in a list."""


class WithdrawalState(StrEnum):
    """How far a withdrawal has got; the last three are for ever, while the chain keeps what is final."""

    REQUESTED = "requested"
    """Written down, nothing held yet: repeating the request completes it."""
    HELD = "held"
    """Amount and fee are set aside; nothing is signed."""
    SENT = "sent"
    """Signed and on its way into a final block."""
    PAID = "paid"
    """Final on chain and posted."""
    RETURNED = "returned"
    """It could not be paid, or its payment was taken back for ever; amount and fee are back in the wallet."""
    REFUSED = "refused"
    """Nothing was ever held, or what was is back, or about to be."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal as its owner sees it."""

    id: UUID
    state: WithdrawalState
    amount: Money
    fee: Money
    to_address: str
    """With checksum."""
    tx_hash: str | None
    """Of the payment, once it is signed; a replacement changes it."""
    created_at: datetime
    refusal_code: str | None


_REFUSALS: dict[HoldOutcome, tuple[TreasuryCode, str]] = {
    HoldOutcome.EXCEEDS_BALANCE: (
        TreasuryCode.WITHDRAWAL_EXCEEDS_BALANCE,
        "Amount and fee are more than the wallet has. To try again, use a new id.",
    ),
    HoldOutcome.WALLET_UNUSABLE: (
        TreasuryCode.WITHDRAWAL_WALLET_UNUSABLE,
        "The wallet's account is closed or does not exist.",
    ),
    HoldOutcome.ALREADY_FAILED: (
        TreasuryCode.WITHDRAWAL_ALREADY_REFUSED,
        "This withdrawal was refused before. To try again, use a new id.",
    ),
}

_YOUNG = "More money would have left that is held for less than 30 days. To try again, use a new id."


async def request_withdrawal(
    database: Database,
    ledger: Ledger,
    clock: Clock,
    custody: Custody,
    *,
    withdrawal_id: UUID,
    wallet_id: UUID,
    amount: Money,
    to_address: str,
    fee_max: Money | None = None,
    quote_id: UUID | None = None,
    requested_by: UUID | None = None,
    limits: Mapping[Asset, WithdrawalLimit] = WITHDRAWAL_LIMITS,
) -> Withdrawal:
    """Ask for ``amount`` to be paid on chain to an address; its money is set aside when this returns.

    ``quote_id`` names a quote whose fee holds; ``requested_by`` is the person, who can
    then not be one of the officers that approve it (without one, the wallet stands for
    them). The same request again returns the same withdrawal. Refused by the members of
    ``TreasuryCode`` in their order, and as ``address_malformed`` or
    ``address_checksum_mismatch``. ``LedgerUnavailable``: repeat with the same id.
    """
    token = custody.token_of(amount.asset)
    receiver = checked_receiver(custody, token, withdrawal_id, amount, to_address)
    async with database.session() as session:
        row = await _intend(
            session,
            clock,
            custody,
            withdrawal_id=withdrawal_id,
            wallet_id=wallet_id,
            amount=amount,
            receiver=receiver,
            fee_max=fee_max,
            quote_id=quote_id,
            requested_by=requested_by,
            limits=limits,
        )
    # Dies here: an intent that never happened; the client's retry completes it.
    if row.closed_at is None:
        outcome = await hold_withdrawal(ledger, row)
        # Dies here: held or burned, and the retry hears the same from the ledger;
        # held, the worker goes on with it by itself.
        if outcome is not HoldOutcome.HELD:
            code, detail = _REFUSALS[outcome]
            await _close_as_refused(database, clock, row.id, code)
            raise Refusal(code, detail)
        refusal = await _refused_by_rules(database, ledger, clock, row.id)
        if refusal is not None:
            raise refusal
    if row.refusal_code is not None:
        raise _refused_before(row.refusal_code)
    return (await _views(database, ledger, [row]))[0]


async def withdrawal_by_id(
    database: Database, ledger: Ledger, *, withdrawal_id: UUID, wallet_id: UUID
) -> Withdrawal:
    """A wallet's own withdrawal; refused as ``withdrawal_not_found`` if there is none or it is another's."""
    async with database.session() as session:
        row = await session.get(TreasuryWithdrawal, withdrawal_id)
    if row is None or row.wallet_id != wallet_id:
        raise Refusal(TreasuryCode.WITHDRAWAL_NOT_FOUND, "There is no such withdrawal.")
    return (await _views(database, ledger, [row]))[0]


async def list_withdrawals(
    database: Database, ledger: Ledger, *, wallet_id: UUID, limit: int = LISTED_MAX
) -> list[Withdrawal]:
    """A wallet's withdrawals, newest first."""
    async with database.session() as session:
        rows = await session.scalars(
            select(TreasuryWithdrawal)
            .where(TreasuryWithdrawal.wallet_id == wallet_id)
            .order_by(TreasuryWithdrawal.created_at.desc(), TreasuryWithdrawal.id.desc())
            .limit(min(limit, LISTED_MAX))
        )
        found = rows.all()
    return await _views(database, ledger, found)


async def withdrawals_by_ids(
    database: Database, ledger: Ledger, *, wallet_id: UUID, ids: Sequence[UUID]
) -> list[Withdrawal]:
    """Those of some withdrawals that are a wallet's, as they stand, oldest first."""
    if not ids:
        return []
    async with database.session() as session:
        rows = await session.scalars(
            select(TreasuryWithdrawal)
            .where(TreasuryWithdrawal.id.in_(ids), TreasuryWithdrawal.wallet_id == wallet_id)
            .order_by(TreasuryWithdrawal.created_at, TreasuryWithdrawal.id)
        )
        found = rows.all()
    return await _views(database, ledger, found)


async def list_open_withdrawals(session: AsyncSession, *, wallet_id: UUID, limit: int) -> list[UUID]:
    """Ids of a wallet's withdrawals that are under way, the newest first."""
    rows = await session.scalars(
        select(TreasuryWithdrawal.id)
        .where(TreasuryWithdrawal.wallet_id == wallet_id, TreasuryWithdrawal.closed_at.is_(None))
        .order_by(TreasuryWithdrawal.created_at.desc(), TreasuryWithdrawal.id.desc())
        .limit(limit)
    )
    return list(rows)


async def _intend(
    session: AsyncSession,
    clock: Clock,
    custody: Custody,
    *,
    withdrawal_id: UUID,
    wallet_id: UUID,
    amount: Money,
    receiver: str,
    fee_max: Money | None,
    quote_id: UUID | None,
    requested_by: UUID | None,
    limits: Mapping[Asset, WithdrawalLimit],
) -> TreasuryWithdrawal:
    """The withdrawal's row: the one that is there, if it is the same, else a new one with its order."""
    row = await session.get(TreasuryWithdrawal, withdrawal_id)
    if row is not None:
        return same_request(row, wallet_id, amount, receiver)
    await refuse_receiver(session, receiver)
    refuse_above_limit(amount, limits)
    fee = withdrawal_fee(amount)
    if quote_id is not None:
        fee = await quoted_fee(session, clock, quote_id=quote_id, wallet_id=wallet_id, amount=amount)
    if fee_max is not None and fee > fee_max:
        raise Refusal(
            TreasuryCode.WITHDRAWAL_FEE_ABOVE_MAXIMUM,
            f"The fee is {fee}; you agreed to at most {fee_max}.",
            fee=fee.format(),
            asset=fee.asset.code,
        )
    if await breaker_trip(session, custody.chain_id) is not None:
        raise Refusal(
            TreasuryCode.WITHDRAWALS_STOPPED,
            "Withdrawals are stopped while the books are checked. Nothing was done; try later.",
            retryable=Retryable.YES,
        )
    token = custody.token_of(amount.asset)
    made = await session.scalar(
        insert(ChainOrder)
        .values(
            id=withdrawal_id,
            kind=OrderKind.WITHDRAWAL,
            token=token.address,
            to_address=receiver,
            amount=token.units_of(amount.minor),
            fee=token.units_of(fee.minor),
            requester=requested_by or wallet_id,
            created_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(ChainOrder.id)
    )
    if made is None:
        # The insert waited for another request with this id to commit; it is there now.
        row = await session.get(TreasuryWithdrawal, withdrawal_id)
        if row is None:
            # The ids of batches and of moves to the cold are orders' too, and the chain shows
            # the latter to everybody.
            raise Refusal(
                TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_WALLET, "This id was used for another order."
            )
        return same_request(row, wallet_id, amount, receiver)
    # After the id is ours: of two of one request, the second must find the first and not
    # be refused for it. A refusal here takes the order back with the database transaction.
    await refuse_above_daily_limit(session, clock, wallet_id, amount, limits)
    row = TreasuryWithdrawal(
        id=withdrawal_id,
        wallet_id=wallet_id,
        asset=amount.asset.code,
        amount=amount.minor,
        fee=fee.minor,
        to_address=receiver,
        created_at=clock.now(),
        quote_id=quote_id,
    )
    session.add(row)
    await session.flush()
    return row


async def _refused_by_rules(
    database: Database, ledger: Ledger, clock: Clock, withdrawal: UUID
) -> Refusal | None:
    """Admit a withdrawal that is held and not approved; why the rules refuse it."""
    async with database.session() as session:
        row = await session.get_one(TreasuryWithdrawal, withdrawal)
        order = await session.get_one(ChainOrder, withdrawal)
    # An order that was approved has been admitted; one that is revoked needs no room.
    if order.approved_at is not None or order.revoked_at is not None or row.closed_at is not None:
        return None
    refusal = await admit_withdrawal(database, ledger, clock, row)
    if refusal is not None:
        await give_back_refused(database, ledger, clock, row)
    return refusal


async def _close_as_refused(database: Database, clock: Clock, withdrawal: UUID, code: RefusalCode) -> None:
    """Nothing was held and, the id being burned, nothing ever will be; the order is never signed."""
    async with database.session() as session:
        await session.execute(
            update(TreasuryWithdrawal)
            .where(TreasuryWithdrawal.id == withdrawal, TreasuryWithdrawal.closed_at.is_(None))
            .values(closed_at=clock.now(), refusal_code=str(code))
        )
        await session.execute(
            update(ChainOrder)
            .where(ChainOrder.id == withdrawal, ChainOrder.revoked_at.is_(None))
            .values(revoked_at=clock.now())
        )


def _refused_before(code: str) -> Refusal:
    known = TreasuryCode(code)
    if known in EXCEEDED.values():
        return Refusal(known, _YOUNG)
    detail = next((text for one, text in _REFUSALS.values() if one is known), "It was refused before.")
    return Refusal(known, detail)


async def _views(database: Database, ledger: Ledger, rows: Sequence[TreasuryWithdrawal]) -> list[Withdrawal]:
    """What the ledger and the chain tables say of withdrawals."""
    if not rows:
        return []
    ids = [row.id for row in rows]
    async with database.session() as session:
        hashes = {one: attempts[-1].tx_hash for one, attempts in (await attempts_for(session, ids)).items()}
        departures = await session.execute(
            select(TreasuryDeparture.order_id, TreasuryDeparture.tx_hash).where(
                TreasuryDeparture.order_id.in_(ids)
            )
        )
        hashes |= {row.order_id: row.tx_hash for row in departures}
    asked = [
        transfer
        for one in ids
        for transfer in (
            hold_transfer_id(one),
            settlement_transfer_id(one),
            void_transfer_id(one),
            lost_transfer_id(one),
            lost_suspense_transfer_id(one),
        )
    ]
    booked = {transfer.id for transfer in await ledger.lookup_transfers([one.int for one in asked])}
    return [_view(row, booked, hashes.get(row.id)) for row in rows]


def _view(row: TreasuryWithdrawal, booked: set[int], tx_hash: str | None) -> Withdrawal:
    asset: Asset = asset_by_code(row.asset)
    if row.refusal_code is not None:
        state = WithdrawalState.REFUSED
    elif {lost_transfer_id(row.id).int, lost_suspense_transfer_id(row.id).int} & booked:
        # The chain took the payment back, and it can never be made again.
        state = WithdrawalState.RETURNED
    elif settlement_transfer_id(row.id).int in booked:
        state = WithdrawalState.PAID
    elif void_transfer_id(row.id).int in booked:
        state = WithdrawalState.RETURNED
    elif hold_transfer_id(row.id).int not in booked:
        state = WithdrawalState.REQUESTED
    else:
        state = WithdrawalState.SENT if tx_hash else WithdrawalState.HELD
    return Withdrawal(
        row.id,
        state,
        Money(row.amount, asset),
        Money(row.fee, asset),
        checksum(row.to_address),
        tx_hash,
        row.created_at,
        row.refusal_code,
    )
