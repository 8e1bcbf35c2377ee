"""The signer: decides whether an order is signed, and signs it.

It believes nobody. It is told an order's id, reads the order itself, builds the
transaction from it, and holds it against its own policy and its own log. Whoever
has everything else (API, worker, their credentials) gets signatures for approved
orders only, to the caps, each order once. What it guarantees: for one order there
is one nonce for ever, and its amount counts once; a signature is in the log, on
disk, before it leaves; the same request gives the same bytes.
"""

from __future__ import annotations

import asyncio
from typing import Final

from chain.addresses import ZERO_ADDRESS, deposit_address
from chain.calldata import calldata
from chain.deployments import Deployment
from chain.errors import ChainCode
from chain.keystore import SigningKey
from chain.orders import Order, read_order, withdrawal_word
from chain.signer_messages import SignRequest
from chain.signer_policy import SignerPolicy
from chain.signing_log import SignedOrder, SigningEntry, SigningLog
from chain.transactions import SignedTransaction, Transaction
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal, Retryable


class Signer:
    """Signs for one key on one chain; one in the world has the log open."""

    def __init__(
        self,
        *,
        key: SigningKey,
        deployment: Deployment,
        policy: SignerPolicy,
        log: SigningLog,
        database: Database,
        clock: Clock,
    ) -> None:
        self._key: Final = key
        self.deployment: Final = deployment
        self._policy: Final = policy
        self._log: Final = log
        self._database: Final = database
        self._clock: Final = clock
        self._one_at_a_time: Final = asyncio.Lock()
        # Money sent to any of these would come back to us or be lost: no order of an
        # honest customer names one.
        self._no_receivers: Final = deployment.token_addresses() | {
            ZERO_ADDRESS,
            deployment.vault,
            deployment.implementation,
            key.address,
        }

    @property
    def address(self) -> str:
        """The address it signs for, in lower case."""
        return self._key.address

    async def sign(self, request: SignRequest) -> SignedTransaction:
        """Sign the order's transaction, or raise ``Refusal``.

        Each refusal's ``signed_before`` tells whether anything was ever signed for the
        order, and ``why`` what exactly was not right. Raises ``InvariantViolation``
        when the log cannot be written: then the process must end.
        """
        # One decision at a time: two that both see the same room under a cap, or the
        # same free nonce, would both take it.
        async with self._one_at_a_time:
            before = self._log.signed(request.order_id)
            async with self._database.session() as session:
                order = await read_order(session, request.order_id)
            order = self._refuse_unexplained(request, order, before)
            if before is None:
                self._refuse_beyond_caps(order)
            gas_limit = before.first.gas_limit if before is not None else self._gas_limit(order)
            signed = self._key.sign(self._transaction(request, order, gas_limit))
            return self._logged(request, order, before, signed, gas_limit)

    def _refuse_unexplained(
        self, request: SignRequest, order: Order | None, before: SignedOrder | None
    ) -> Order:
        """Refuse whatever does not explain itself, whoever asks; in this order."""
        if request.chain_id != self.deployment.chain_id:
            raise _refused(ChainCode.ORDER_UNEXPLAINED, "It is for another chain.", "chain_id", before)
        if order is None:
            raise _refused(ChainCode.ORDER_NOT_FOUND, "There is no such order.", "order", before)
        if before is not None and not before.is_of(order):
            detail = "The order is not what was signed under its id."
            raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, "changed_since_signed", before)
        if order.revoked:
            raise _refused(ChainCode.ORDER_REVOKED, "The order was revoked.", "revoked", before)
        if not order.approved:
            raise _refused(ChainCode.ORDER_NOT_APPROVED, "Nobody approved the order.", "approved", before)
        self._refuse_nonce(request, before)
        self._refuse_fees(request, before)
        if self.deployment.asset_at(order.token) is None:
            raise _refused(ChainCode.CONTRACT_NOT_ALLOWED, "The token is none of ours.", "token", before)
        if order.is_withdrawal:
            if order.to_address in self._no_receivers:
                detail = "The receiver is zero, a contract of ours or the signer."
                raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, "receiver", before)
        elif self._deposit_address(order) != order.to_address:
            detail = "The address to sweep is not the deposit address of its salt."
            raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, "deposit_address", before)
        return order

    def _refuse_nonce(self, request: SignRequest, before: SignedOrder | None) -> None:
        """One nonce an order and one order a nonce, for ever: this is what pays once."""
        if before is not None and request.nonce != before.first.nonce:
            detail = f"The order was signed with nonce {before.first.nonce} and has no other."
            raise _refused(ChainCode.NONCE_MISMATCH, detail, "another_nonce", before)
        owner = self._log.order_of(request.nonce)
        if owner is not None and owner != request.order_id:
            detail = f"Nonce {request.nonce} was signed for order {owner}."
            raise _refused(ChainCode.NONCE_MISMATCH, detail, "nonce_of_another_order", before)

    def _refuse_fees(self, request: SignRequest, before: SignedOrder | None) -> None:
        if request.max_priority_fee_per_gas > request.max_fee_per_gas:
            detail = "The tip is above the whole fee."
            raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, "tip_above_fee", before)
        if request.max_fee_per_gas > self._policy.max_fee_per_gas:
            detail = f"The fee is above {self._policy.max_fee_per_gas} wei per unit of gas."
            # The chain's base fee falls again; then the same order can be signed.
            raise _refused(ChainCode.FEE_ABOVE_CAP, detail, "fee", before, Retryable.YES)

    def _refuse_beyond_caps(self, order: Order) -> None:
        """Hold a first signature against the caps; a sweep takes nothing out and needs none."""
        if not order.is_withdrawal:
            return
        asset = self.deployment.asset_at(order.token)
        caps = self._policy.caps_of(asset) if asset is not None else None
        if caps is None:
            raise _refused(ChainCode.CONTRACT_NOT_ALLOWED, "The policy has no caps for it.", "caps", None)
        if order.amount > caps.per_transaction:
            detail = f"More than {caps.per_transaction} units in one transaction."
            raise _refused(ChainCode.CAP_PER_TRANSACTION_EXCEEDED, detail, "per_transaction", None)
        spent = self._log.spent(order.token, now_ns=self._clock.now_ns())
        if spent + order.amount > caps.per_hour:
            detail = f"More than {caps.per_hour} units in an hour; {spent} are signed already."
            raise _refused(ChainCode.CAP_PER_HOUR_EXCEEDED, detail, "per_hour", None, Retryable.YES)

    def _logged(
        self,
        request: SignRequest,
        order: Order,
        before: SignedOrder | None,
        signed: SignedTransaction,
        gas_limit: int,
    ) -> SignedTransaction:
        """The signature, once it is in the log; one that is there already is not written again."""
        fees = (request.max_fee_per_gas, request.max_priority_fee_per_gas)
        known = before.hashes.get(fees) if before is not None else None
        if known is not None:
            # Asked again after an answer was lost. Signing is deterministic, so another
            # hash means that key, code or contracts changed under an order half sent.
            if known != signed.tx_hash:
                raise InvariantViolation(f"order {order.id} signs to other bytes than it did")
            return signed
        # A death before this line has signed nothing that anybody has. A death after
        # it, before the answer is read, leaves an entry: the same request gets the same
        # bytes, and the amount, which may never move, counts for an hour. That is the
        # side to err on.
        self._log.append(
            SigningEntry(
                at_ns=self._clock.now_ns(),
                order_id=order.id,
                kind=order.kind,
                token=order.token,
                to_address=order.to_address,
                amount=str(order.amount),
                salt=order.salt,
                nonce=request.nonce,
                max_fee_per_gas=request.max_fee_per_gas,
                max_priority_fee_per_gas=request.max_priority_fee_per_gas,
                gas_limit=gas_limit,
                tx_hash=signed.tx_hash,
                previous=self._log.previous,
            )
        )
        return signed

    def _transaction(self, request: SignRequest, order: Order, gas_limit: int) -> Transaction:
        """The call to the vault that the order means, and no other."""
        if order.is_withdrawal:
            data = calldata(
                "withdraw(address,address,uint256,bytes32)",
                order.token,
                order.to_address,
                order.amount,
                withdrawal_word(order.id),
            )
        else:
            data = calldata("sweep(address,bytes32[])", order.token, [_salt(order)])
        return Transaction(
            chain_id=self.deployment.chain_id,
            nonce=request.nonce,
            max_priority_fee_per_gas=request.max_priority_fee_per_gas,
            max_fee_per_gas=request.max_fee_per_gas,
            gas_limit=gas_limit,
            to=self.deployment.vault,
            data=data,
        )

    def _deposit_address(self, order: Order) -> str:
        return deposit_address(
            vault=self.deployment.vault, implementation=self.deployment.implementation, salt=_salt(order)
        )

    def _gas_limit(self, order: Order) -> int:
        return self._policy.withdrawal_gas if order.is_withdrawal else self._policy.sweep_gas


def _salt(order: Order) -> bytes:
    return bytes.fromhex((order.salt or "").removeprefix("0x"))


def _refused(
    code: ChainCode,
    detail: str,
    why: str,
    before: SignedOrder | None,
    retryable: Retryable = Retryable.NO,
) -> Refusal:
    return Refusal(code, detail, retryable=retryable, why=why, signed_before=before is not None)
