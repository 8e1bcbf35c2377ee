"""The signer: decides whether an order is signed, and signs it.

It believes nobody. It is told an order's id, reads the order itself, builds the
transaction from it, and holds it against its own policy and its own log. Whoever
has everything else (API, worker, their credentials) gets signatures to the caps,
each order once, above the threshold only what two officers signed to the letter with
keys that the policy names, and after a trip of the breaker nothing until two of them
signed its release. What it guarantees: for one order there is one key and one nonce for
ever, alone or as a member of one batch, and its amount counts once; a signature is in
the log, on disk, before it leaves; the same request gives the same bytes.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from chain.addresses import ZERO_ADDRESS, deposit_address
from chain.approvals import Approval, ReadKey, read_approvals
from chain.batches import batch_fault
from chain.calldata import calldata
from chain.cold_moves import cold_move_data, why_no_cold_move
from chain.deployments import Deployment
from chain.errors import ChainCode
from chain.key_services import KeyService, sign_with
from chain.models import OrderKind
from chain.orders import Order, read_order, withdrawal_word
from chain.signer_breaker import SignerBreaker
from chain.signer_messages import CheckRequest, RecalledAnswer, RecallRequest, SignRequest
from chain.signer_policy import SignerPolicy
from chain.signer_recall import recalled
from chain.signer_rules import Rules, refused
from chain.signing_log import SignedMember, SignedOrder, SigningEntry, SigningLog
from chain.transactions import SignedTransaction, Transaction
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal, Retryable

_KINDS: Final = frozenset(OrderKind)

_GOES_ON_STOPPED: Final = frozenset({OrderKind.SWEEP, OrderKind.SWEEP_BATCH, OrderKind.COLD_MOVE})
"""What may be begun while the breaker is tripped: it pays nobody."""


class Signer:
    """Signs for one key on one chain; one in the world has the log open."""

    def __init__(
        self,
        *,
        key: KeyService,
        deployment: Deployment,
        policy: SignerPolicy,
        read_key: ReadKey,
        log: SigningLog,
        database: Database,
        clock: Clock,
    ) -> None:
        """``read_key`` reads the officers' keys of the policy.

        Raises ``PolicyError`` where two officers could be one, and ``SigningLogError``
        for a key that is not the log's.
        """
        log.refuse_another_key(key.address)
        self._key: Final = key
        self.deployment: Final = deployment
        self._read_key: Final = read_key
        self._rules = Rules(policy, policy.officers_with(read_key), deployment, log)
        self._log: Final = log
        self._breaker: Final = SignerBreaker(log, clock)
        self._database: Final = database
        self._clock: Final = clock
        self._one_at_a_time: Final = asyncio.Lock()
        # Money sent to any of these would come back to us or be lost: no order of an
        # honest customer names one.
        self._no_receivers: Final = (
            deployment.token_addresses()
            | log.retired
            | {ZERO_ADDRESS, deployment.vault, deployment.implementation, key.address}
        )

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
            found, approvals = await self._read(request.order_id)
            order = self._refuse_unexplained(request, found, before)
            self._refuse_nonce(request, before)
            self._refuse_fees(request, before)
            given = self._given_away(request, before)
            if given is not None:
                return given
            officers: dict[UUID, tuple[str, ...]] = {}
            now_ns = self._clock.now_ns()
            if before is None:
                self._refuse_stopped(order)
                officers = self._rules.refuse_first_signature(order, approvals, now_ns=now_ns)
            gas_limit = before.first.gas_limit if before is not None else self.policy.gas_limit(order)
            self._rules.refuse_fees_of_day(
                order.id,
                gas_limit * request.max_fee_per_gas,
                now_ns=now_ns,
                signed_before=before is not None,
            )
            signed = await sign_with(self._key, self._transaction(request, order, gas_limit))
            return self._logged(request, order, before, signed, gas_limit, officers)

    async def check(self, request: CheckRequest) -> bool:
        """Raise the ``Refusal`` that signing the order for the first time would raise now.

        True if it was signed before. Decides nothing and writes nothing but a trip of the
        breaker that it sees; what is refused here needs no nonce.
        """
        async with self._one_at_a_time:
            before = self._log.signed(request.order_id)
            found, approvals = await self._read(request.order_id)
            order = self._refuse_unexplained(request, found, before)
            if before is None:
                self._refuse_stopped(order)
                self._rules.refuse_first_signature(order, approvals, now_ns=self._clock.now_ns())
            return before is not None

    async def recall(self, request: RecallRequest) -> RecalledAnswer:
        """What was signed for an order, whatever the database says; for a member its batch's."""
        async with self._one_at_a_time:
            return recalled(self._log, request, address=self.address)

    async def look(self) -> None:
        """See whether the breaker has tripped or is released, as every question does too.

        Somebody has to look while nobody asks: a trip's row may be taken away again, and
        officers' signatures live for a while only. Raises as ``sign`` does.
        """
        async with self._one_at_a_time, self._database.session() as session:
            await self._breaker.look(session, self._rules)

    async def replace_policy(self, policy: SignerPolicy) -> None:
        """Decide by another policy from now on. Raises ``PolicyError`` and keeps the old one."""
        rules = Rules(policy, policy.officers_with(self._read_key), self.deployment, self._log)
        # What is being decided is decided by one policy from its beginning to its end.
        async with self._one_at_a_time:
            self._rules = rules

    @property
    def policy(self) -> SignerPolicy:
        """What it decides by now."""
        return self._rules.policy

    async def _read(self, order_id: UUID) -> tuple[Order | None, dict[UUID, list[Approval]]]:
        """The order with its members, and the approvals of each payment that needs some."""
        keys = {officer.key.key_id for officer in self._rules.officers}
        async with self._database.session() as session:
            await self._breaker.look(session, self._rules)
            order = await read_order(session, order_id)
            asked = [one.id for one in order.payments if self._rules.officers_asked(one)] if order else []
            return order, {one: await read_approvals(session, one, key_ids=keys) for one in asked}

    def _refuse_unexplained(
        self, request: SignRequest | CheckRequest, order: Order | None, before: SignedOrder | None
    ) -> Order:
        """Refuse whatever does not explain itself, whoever asks; in this order."""
        if request.chain_id != self.deployment.chain_id:
            raise _refused(ChainCode.ORDER_UNEXPLAINED, "It is for another chain.", "chain_id", before)
        batch_id = self._log.batch_of(request.order_id)
        if batch_id is not None:
            # Before anything else can be said of it: something was signed for it, so it is
            # neither signed again nor given back, whatever the database says by now.
            detail = f"It was signed in batch {batch_id}."
            raise refused(ChainCode.ORDER_IN_BATCH, detail, "signed_in_batch", signed_before=True)
        if order is None:
            raise _refused(ChainCode.ORDER_NOT_FOUND, "There is no such order.", "order", before)
        # The kind goes into the log's line: one that the table's check does not let in, such as
        # that of a line which is no signature, would make a log that cannot be read again.
        if order.kind not in _KINDS:
            raise _refused(ChainCode.ORDER_UNEXPLAINED, "There is no such kind of order.", "kind", before)
        if before is not None and not before.is_of(order):
            detail = "The order is not what was signed under its id."
            raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, "changed_since_signed", before)
        if before is None and order.batch_id is not None:
            detail = f"It goes in batch {order.batch_id}."
            raise _refused(ChainCode.ORDER_IN_BATCH, detail, "batch", before, Retryable.YES)
        if order.is_batch:
            self._refuse_unsound_batch(order, before)
        for one in (order, *order.members):
            self._refuse_undecided(one, before)
        if self.deployment.asset_at(order.token) is None:
            raise _refused(ChainCode.CONTRACT_NOT_ALLOWED, "The token is none of ours.", "token", before)
        for one in order.parts:
            self._refuse_other_ends(one, before)
        return order

    def _refuse_unsound_batch(self, batch: Order, before: SignedOrder | None) -> None:
        """Refuse a batch that is none, or one with a member that was signed in another way."""
        fault = batch_fault(batch, vault=self.deployment.vault, members_max=self.policy.batch_members_max)
        # What was signed was sound, and has not changed; a policy that is stricter by now
        # must not keep it from being replaced.
        if fault is not None and before is None:
            why, detail = fault
            raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, why, before)
        for member in batch.members:
            if self._log.signed(member.id) is not None:
                detail = f"Order {member.id} was signed alone."
                raise _refused(ChainCode.ORDER_IN_BATCH, detail, "signed_alone", before)
            if self._log.batch_of(member.id) not in {None, batch.id}:
                detail = f"Order {member.id} was signed in batch {self._log.batch_of(member.id)}."
                raise _refused(ChainCode.ORDER_IN_BATCH, detail, "signed_in_another_batch", before)

    def _refuse_undecided(self, order: Order, before: SignedOrder | None) -> None:
        if order.revoked:
            detail = f"Order {order.id} was revoked."
            raise _refused(ChainCode.ORDER_REVOKED, detail, "revoked", before)
        if not order.approved:
            detail = f"Nobody approved order {order.id}."
            raise _refused(ChainCode.ORDER_NOT_APPROVED, detail, "approved", before)

    def _refuse_other_ends(self, order: Order, before: SignedOrder | None) -> None:
        """Refuse a payment to where money is lost, and a sweep from what is no deposit address."""
        if order.is_withdrawal:
            if order.to_address in self._no_receivers:
                detail = "The receiver is zero, a contract of ours or the signer."
                raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, "receiver", before)
        elif order.is_cold_move:
            why = why_no_cold_move(order, self.deployment)
            if why is not None:
                detail = "The move names an address that cannot be the cold one, or no amount."
                raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, why, before)
        elif self._deposit_address(order) != order.to_address:
            detail = "The address to sweep is not the deposit address of its salt."
            raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, "deposit_address", before)

    def _refuse_stopped(self, order: Order) -> None:
        """Refuse to begin a payment while the breaker is tripped.

        What was signed before is followed to its end, with a higher fee too: it may be mined
        in any case. A sweep takes nothing out, and a move leads to the vault's own cold
        address, where what is in doubt is safest.
        """
        if order.kind not in _GOES_ON_STOPPED:
            self._breaker.refuse_stopped()

    def _refuse_nonce(self, request: SignRequest, before: SignedOrder | None) -> None:
        """One key and nonce an order, one order a nonce, for ever: this is what pays once."""
        signed_by = self.address if before is None else before.from_address or self.address
        if (request.from_address or self.address) != self.address or signed_by != self.address:
            detail = f"The key of now is {self.address}; a nonce of another key is not its to sign."
            # Keys were rotated since: with a nonce of the key of now it can be signed.
            raise _refused(ChainCode.NONCE_MISMATCH, detail, "another_key", before, Retryable.YES)
        if before is not None and request.nonce != before.first.nonce:
            detail = f"The order was signed with nonce {before.first.nonce} and has no other."
            raise _refused(ChainCode.NONCE_MISMATCH, detail, "another_nonce", before)
        owner = self._log.order_of(self.address, request.nonce)
        if owner is not None and owner != request.order_id:
            detail = f"Nonce {request.nonce} was signed for order {owner}."
            raise _refused(ChainCode.NONCE_MISMATCH, detail, "nonce_of_another_order", before)

    def _refuse_fees(self, request: SignRequest, before: SignedOrder | None) -> None:
        if request.max_priority_fee_per_gas > request.max_fee_per_gas:
            detail = "The tip is above the whole fee."
            raise _refused(ChainCode.ORDER_UNEXPLAINED, detail, "tip_above_fee", before)
        if request.max_fee_per_gas > self.policy.max_fee_per_gas:
            detail = f"The fee is above {self.policy.max_fee_per_gas} wei per unit of gas."
            # The chain's base fee falls again; then the same order can be signed.
            raise _refused(ChainCode.FEE_ABOVE_CAP, detail, "fee", before, Retryable.YES)

    def _given_away(self, request: SignRequest, before: SignedOrder | None) -> SignedTransaction | None:
        """What was signed with these fees before, as it is in the log; asked again after a lost answer."""
        fees = (request.max_fee_per_gas, request.max_priority_fee_per_gas)
        line = before.lines.get(fees) if before is not None else None
        raw = self._log.signed_bytes(line) if line is not None else b""
        return SignedTransaction(raw, line.tx_hash) if line is not None and raw else None

    def _logged(
        self,
        request: SignRequest,
        order: Order,
        before: SignedOrder | None,
        signed: SignedTransaction,
        gas_limit: int,
        officers: Mapping[UUID, tuple[str, ...]],
    ) -> SignedTransaction:
        """The signature, once it is in the log; one that is there already is not written again."""
        fees = (request.max_fee_per_gas, request.max_priority_fee_per_gas)
        known = before.lines.get(fees) if before is not None else None
        if known is not None:
            # A line older than the bytes' being kept. Signing was deterministic then, so
            # another hash means that key, code or contracts changed under an order half sent.
            if known.tx_hash != signed.tx_hash:
                raise InvariantViolation(f"order {order.id} signs to other bytes than it did")
            return signed
        # A death before this line has signed nothing that anybody has. A death after
        # it, before the answer is read, leaves an entry: the same request gets the same
        # bytes, and the amount, which may never move, counts for a day. That is the
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
                from_address=self.address,
                raw=base64.b64encode(signed.raw).decode(),
                officers=officers.get(order.id, ()),
                members=tuple(
                    SignedMember(one.id, one.to_address, str(one.amount), one.salt, officers.get(one.id, ()))
                    for one in order.members
                ),
            )
        )
        return signed

    def _transaction(self, request: SignRequest, order: Order, gas_limit: int) -> Transaction:
        """The call to the vault that the order means, and no other."""
        data = _call(order)
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


def _call(order: Order) -> bytes:
    if order.is_cold_move:
        return cold_move_data(order)
    if order.kind == OrderKind.PAYOUT_BATCH:
        payments = [(one.to_address, one.amount, withdrawal_word(one.id)) for one in order.members]
        return calldata("withdrawBatch(address,(address,uint256,bytes32)[])", order.token, payments)
    if order.is_withdrawal:
        return calldata(
            "withdraw(address,address,uint256,bytes32)",
            order.token,
            order.to_address,
            order.amount,
            withdrawal_word(order.id),
        )
    return calldata("sweep(address,bytes32[])", order.token, [_salt(one) for one in order.parts])


def _salt(order: Order) -> bytes:
    return bytes.fromhex((order.salt or "").removeprefix("0x"))


def _refused(
    code: ChainCode,
    detail: str,
    why: str,
    before: SignedOrder | None,
    retryable: Retryable = Retryable.NO,
) -> Refusal:
    return refused(code, detail, why, signed_before=before is not None, retryable=retryable)
