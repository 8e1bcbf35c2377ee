"""Withdrawals: a customer's money paid out on chain, once, or given back whole.

    1  intend    one database transaction: the withdrawal and its order, not approved
    2  hold      the ledger: amount and fee pending, both or neither
    3  approve   the order may be signed                       (treasury.payouts, from here)
    4  sign      a nonce for ever, signed by the signer, stored
    5  send      the stored bytes, as often as needed, until a block has them
    6  settle    final on chain: posted, and out of custody; or it can never be: voided
    7  close     nothing is left to do

The process may die between any two: each step reads from the ledger and the chain
tables what was done and repeats safely, since every id is derived from the
withdrawal's. Steps 1 and 2 are the request's, and its repetition by the client
completes them; the worker takes the rest up wherever it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.addresses import ZERO_ADDRESS, checksum, parse_address
from chain.models import ChainAttempt, ChainOrder, OrderKind
from foundation.assets import Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, RefusalCode, Retryable
from foundation.money import Money
from ledger.interface import Ledger
from treasury.breaker import breaker_trip
from treasury.custody import Custody, CustodyToken
from treasury.errors import TreasuryCode
from treasury.models import TreasuryDeparture, TreasuryDepositAddress, TreasuryWithdrawal
from treasury.withdrawal_fees import withdrawal_fee
from treasury.withdrawal_transfers import (
    HoldOutcome,
    hold_transfer_id,
    hold_withdrawal,
    settlement_transfer_id,
    void_transfer_id,
)

LISTED_MAX = 100
"""Most withdrawals in a list."""

_CLIENT_ID_VERSION = 7


class WithdrawalState(StrEnum):
    """How far a withdrawal has got; the last three are for ever."""

    REQUESTED = "requested"
    """Written down, nothing held yet: repeating the request completes it."""
    HELD = "held"
    """Amount and fee are set aside; nothing is signed."""
    SENT = "sent"
    """Signed and on its way into a final block."""
    PAID = "paid"
    """Final on chain and posted."""
    RETURNED = "returned"
    """It could not be paid; amount and fee are back in the wallet."""
    REFUSED = "refused"
    """Nothing was ever held."""


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
) -> Withdrawal:
    """Ask for ``amount`` to be paid on chain to an address; its money is set aside when this returns.

    The same request again returns the same withdrawal. Refused by the members of
    ``TreasuryCode`` in their order, and as ``address_malformed`` or
    ``address_checksum_mismatch``. ``LedgerUnavailable``: repeat with the same id.
    """
    token = custody.token_of(amount.asset)
    receiver = _checked(custody, token, withdrawal_id, amount, to_address)
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


def _checked(
    custody: Custody, token: CustodyToken, withdrawal_id: UUID, amount: Money, to_address: str
) -> str:
    """The receiver's address, after what can be refused without asking anybody."""
    # A client's id of another version could be one that is derived from the world,
    # such as that of a deposit on its way, and block it.
    if withdrawal_id.version != _CLIENT_ID_VERSION:
        raise Refusal(TreasuryCode.WITHDRAWAL_ID_MALFORMED, "A withdrawal's id is a UUIDv7.")
    if amount.minor <= 0:
        raise Refusal(
            TreasuryCode.WITHDRAWAL_AMOUNT_NOT_POSITIVE, "The amount of a withdrawal is more than zero."
        )
    receiver = parse_address(to_address)
    if receiver == ZERO_ADDRESS:
        raise Refusal(TreasuryCode.RECEIVER_IS_ZERO, "Nobody holds the key of the zero address.")
    if custody.token_at(receiver) is not None:
        raise Refusal(
            TreasuryCode.RECEIVER_IS_CONTRACT, f"The address is a token, such as {token.asset.code}."
        )
    if receiver in custody.own_addresses or receiver == custody.implementation:
        raise _receiver_is_ours()
    return receiver


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
) -> TreasuryWithdrawal:
    """The withdrawal's row: the one that is there, if it is the same, else a new one with its order."""
    row = await session.get(TreasuryWithdrawal, withdrawal_id)
    if row is not None:
        return _same(row, wallet_id, amount, receiver)
    if await session.scalar(select(exists().where(TreasuryDepositAddress.address == receiver))):
        raise _receiver_is_ours()
    fee = withdrawal_fee(amount)
    if fee_max is not None and fee > fee_max:
        raise Refusal(
            TreasuryCode.WITHDRAWAL_FEE_ABOVE_MAXIMUM,
            f"The fee is {fee}; you agreed to at most {fee_max}.",
            fee=fee.format(),
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
            created_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(ChainOrder.id)
    )
    if made is None:
        # The insert waited for another request with this id to commit; it is there now.
        row = await session.get_one(TreasuryWithdrawal, withdrawal_id)
        return _same(row, wallet_id, amount, receiver)
    row = TreasuryWithdrawal(
        id=withdrawal_id,
        wallet_id=wallet_id,
        asset=amount.asset.code,
        amount=amount.minor,
        fee=fee.minor,
        to_address=receiver,
        created_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    return row


def _same(row: TreasuryWithdrawal, wallet_id: UUID, amount: Money, receiver: str) -> TreasuryWithdrawal:
    """The row, if the request repeats it; refused with the first field that differs."""
    differing: list[tuple[bool, TreasuryCode, str]] = [
        (row.wallet_id != wallet_id, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_WALLET, "wallet"),
        (row.asset != amount.asset.code, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_ASSET, "asset"),
        (row.amount != amount.minor, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_AMOUNT, "amount"),
        (row.to_address != receiver, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_RECEIVER, "receiver"),
    ]
    for differs, code, field in differing:
        if differs:
            raise Refusal(code, f"This id was used for a withdrawal with another {field}.", field=field)
    return row


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
    detail = next((text for one, text in _REFUSALS.values() if one is known), "It was refused before.")
    return Refusal(known, detail)


def _receiver_is_ours() -> Refusal:
    return Refusal(
        TreasuryCode.RECEIVER_IS_OURS,
        "The address belongs to the bank or to a customer's wallet; pay the wallet instead.",
    )


async def _views(database: Database, ledger: Ledger, rows: Sequence[TreasuryWithdrawal]) -> list[Withdrawal]:
    """What the ledger and the chain tables say of withdrawals."""
    if not rows:
        return []
    ids = [row.id for row in rows]
    async with database.session() as session:
        attempts = await session.execute(
            select(ChainAttempt.order_id, ChainAttempt.tx_hash)
            .where(ChainAttempt.order_id.in_(ids))
            .order_by(ChainAttempt.max_fee_per_gas, ChainAttempt.max_priority_fee_per_gas)
        )
        hashes = {row.order_id: row.tx_hash for row in attempts}
        departures = await session.execute(
            select(TreasuryDeparture.order_id, TreasuryDeparture.tx_hash).where(
                TreasuryDeparture.order_id.in_(ids)
            )
        )
        hashes |= {row.order_id: row.tx_hash for row in departures}
    asked = [
        transfer
        for one in ids
        for transfer in (hold_transfer_id(one), settlement_transfer_id(one), void_transfer_id(one))
    ]
    booked = {transfer.id for transfer in await ledger.lookup_transfers([one.int for one in asked])}
    return [_view(row, booked, hashes.get(row.id)) for row in rows]


def _view(row: TreasuryWithdrawal, booked: set[int], tx_hash: str | None) -> Withdrawal:
    asset: Asset = asset_by_code(row.asset)
    if row.refusal_code is not None:
        state = WithdrawalState.REFUSED
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
