"""Signer rules: what the policy says of a first signature, in the order in which it is asked.

Pure but for the log and the clock that are handed in: an order that passes may be
signed, every other is refused with a ``ChainCode`` and one word (``why``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chain.approvals import OFFICERS_NEEDED, Approval, Officer, count_approvals
from chain.cold_moves import refuse_beyond_cold_cap
from chain.deployments import Deployment
from chain.errors import ChainCode
from chain.orders import Order
from chain.signer_policy import DAY_SECONDS, HOUR_SECONDS, Caps, SignerPolicy
from chain.signing_log import SigningLog
from foundation.errors import Refusal, Retryable

_EXPLAINED: Final = {
    "requester": "Nobody is known to have asked for it.",
    "by_requester": "An officer approved what they asked for themselves.",
    "expired": "An approval has expired.",
    "from_the_future": "An approval's time lies ahead of the signer's clock.",
    "too_long": "An approval was made to last longer than the policy allows.",
    "signature": "An approval's signature is not under this order's content.",
    "too_few": "Fewer than two officers approved it.",
}


def refused(
    code: ChainCode, detail: str, why: str, *, signed_before: bool, retryable: Retryable = Retryable.NO
) -> Refusal:
    """A refusal as the signer gives it."""
    return Refusal(code, detail, retryable=retryable, why=why, signed_before=signed_before)


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy of one signer, its officers' keys read."""

    policy: SignerPolicy
    officers: Sequence[Officer]
    deployment: Deployment
    log: SigningLog

    @property
    def blocked(self) -> frozenset[str]:
        """Who is never paid, in lower case."""
        return frozenset(address.lower() for address in self.policy.blocked_receivers)

    @property
    def allowed(self) -> frozenset[str]:
        """Who may be paid more than others, in lower case."""
        return frozenset(address.lower() for address in self.policy.allowed_receivers)

    def officers_asked(self, order: Order) -> bool:
        """Whether the order needs officers' approval: a withdrawal above the threshold."""
        caps = self._caps_of(order)
        return order.is_withdrawal and caps is not None and order.amount > caps.without_officers

    def refuse_first_signature(
        self, order: Order, approvals: Mapping[UUID, Sequence[Approval]], *, now_ns: int
    ) -> dict[UUID, tuple[str, ...]]:
        """Refuse an order that the policy does not allow now; who approved each of its payments.

        Each payment of a batch is held to what it would be held to alone, and their sum to
        the caps of an hour and a day. What time never changes comes first, so that its
        money goes back at once. A sweep takes nothing out and is not asked about; a move
        to the cold address has a cap of its own, and uses up none of the others.
        """
        if order.is_cold_move:
            refuse_beyond_cold_cap(order, self._caps_of(order), self.log, now_ns=now_ns)
            return {}
        if not order.payments:
            return {}
        caps = self._caps_of(order)
        if caps is None:
            raise _refused(ChainCode.CONTRACT_NOT_ALLOWED, "The policy has no caps for it.", "caps")
        for one in order.payments:
            self._refuse_for_ever(one, caps)
        names = {
            one.id: self._refuse_unapproved(one, approvals.get(one.id, ()), now_ns)
            for one in order.payments
            if one.amount > caps.without_officers
        }
        self._refuse_beyond_window(order, caps, now_ns)
        return names

    def _refuse_for_ever(self, payment: Order, caps: Caps) -> None:
        if payment.to_address in self.blocked:
            raise _refused(
                ChainCode.RECEIVER_BLOCKED_BY_SIGNER, "The policy never pays this receiver.", "blocked"
            )
        if payment.amount > caps.per_transaction:
            detail = f"More than {caps.per_transaction} units in one payment."
            raise _refused(ChainCode.CAP_PER_TRANSACTION_EXCEEDED, detail, "per_transaction")
        if payment.amount > caps.to_anyone and payment.to_address not in self.allowed:
            detail = f"More than {caps.to_anyone} units to a receiver that is not on the allow-list."
            raise _refused(ChainCode.RECEIVER_NOT_ALLOWED, detail, "allow_list")

    def _refuse_unapproved(self, order: Order, approvals: Sequence[Approval], now_ns: int) -> tuple[str, ...]:
        names, why = count_approvals(
            order,
            self.deployment,
            approvals,
            self.officers,
            now_ns=now_ns,
            seconds_max=self.policy.approval_seconds_max,
        )
        if len(names) < OFFICERS_NEEDED:
            # Officers may still approve it, or approve it anew.
            raise _refused(ChainCode.APPROVALS_MISSING, _EXPLAINED[why], why, Retryable.YES)
        return names

    def _refuse_beyond_window(self, order: Order, caps: Caps, now_ns: int) -> None:
        windows = (
            (ChainCode.CAP_PER_HOUR_EXCEEDED, "an hour", "per_hour", HOUR_SECONDS, caps.per_hour),
            (ChainCode.CAP_PER_DAY_EXCEEDED, "a day", "per_day", DAY_SECONDS, caps.per_day),
        )
        for code, window, why, seconds, cap in windows:
            spent = self.log.spent(order.token, now_ns=now_ns, seconds=seconds)
            if spent + sum(one.amount for one in order.payments) > cap:
                detail = f"More than {cap} units in {window}; {spent} are signed already."
                raise _refused(code, detail, why, Retryable.YES)

    def refuse_fees_of_day(self, order_id: UUID, wei: int, *, now_ns: int, signed_before: bool) -> None:
        """Refuse a signature by which an order may burn ``wei``, where the day's fees would pass the cap.

        A replacement counts by what it allows above the order's signatures before it, since
        one of them is mined.
        """
        cap = int(self.policy.fees_per_day)
        spent = self.log.spent_on_fees(now_ns=now_ns, seconds=DAY_SECONDS, without=order_id)
        if spent + wei > cap:
            detail = f"Fees of more than {cap} wei in a day; {spent} may be burned already."
            code = ChainCode.FEES_PER_DAY_EXCEEDED
            raise refused(code, detail, "fees_per_day", signed_before=signed_before, retryable=Retryable.YES)

    def _caps_of(self, order: Order) -> Caps | None:
        asset = self.deployment.asset_at(order.token)
        return self.policy.caps_of(asset) if asset is not None else None


def _refused(code: ChainCode, detail: str, why: str, retryable: Retryable = Retryable.NO) -> Refusal:
    return refused(code, detail, why, signed_before=False, retryable=retryable)
