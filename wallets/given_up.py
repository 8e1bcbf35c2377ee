"""Payments given up: the ledger is made to refuse an id for ever, before anybody is told so.

A payment that was sent and not answered may still arrive. Whoever wants to say that it will
not happen has the ledger refuse its id first; payment and refusal meet in the one place
where there is an order, and one of them comes first.
"""

from __future__ import annotations

from uuid import UUID

from foundation.assets import Asset
from foundation.errors import InvariantViolation
from foundation.ids import derive_id
from ledger.chart import TransferCode
from ledger.contract import CreateTransferStatus, Transfer, TransferFlags
from ledger.interface import Ledger
from wallets.wallets import wallet_account


async def give_up(ledger: Ledger, payment_id: UUID, *, payer_id: UUID, payee_id: UUID, asset: Asset) -> bool:
    """Have the ledger refuse a payment's id for ever; False if something has happened under it.

    The event voids a pending transfer that cannot exist, since no client can make its id.
    The ledger remembers such an id as failed, and refuses whatever comes under it later.
    """
    (result,) = await ledger.create_transfers(
        [
            Transfer(
                id=payment_id.int,
                debit_account_id=wallet_account(payer_id, asset),
                credit_account_id=wallet_account(payee_id, asset),
                pending_id=derive_id("payment-given-up", payment_id).int,
                ledger=asset.ledger,
                code=TransferCode.PAYMENT,
                flags=TransferFlags.VOID_PENDING_TRANSFER,
            )
        ]
    )
    status = result.status
    if status in {CreateTransferStatus.PENDING_TRANSFER_NOT_FOUND, CreateTransferStatus.ID_ALREADY_FAILED}:
        return True
    if status.name.startswith("EXISTS"):
        return False
    raise InvariantViolation(f"payment {payment_id}: the ledger answers {status.name} to giving it up")
