"""Cold moves: tokens from the vault to its cold address, as the signer sees them.

The call says how much and under which id, never where to: ``moveToCold`` has no
receiver, it pays the one address that the vault itself knows. So what is signed here can
be signed by nobody's wish to another place, and what bounds it is not theft. The cap is
there for the customers: whoever can write orders can have the vault emptied into the
cold, and payments would wait until it is brought back.
"""

from __future__ import annotations

from chain.addresses import ZERO_ADDRESS
from chain.calldata import calldata
from chain.deployments import Deployment
from chain.errors import ChainCode
from chain.orders import Order, withdrawal_word
from chain.signer_policy import DAY_SECONDS, Caps
from chain.signing_log import SigningLog
from foundation.errors import Refusal, Retryable


def cold_move_data(order: Order) -> bytes:
    """The call that the order means."""
    return calldata(
        "moveToCold(address,uint256,bytes32)", order.token, order.amount, withdrawal_word(order.id)
    )


def why_no_cold_move(order: Order, deployment: Deployment) -> str | None:
    """In one word, why an order of this kind does not explain itself; None if it does.

    The address it names decides nothing. One that no vault can have as its cold address
    shows that whoever wrote the order did not know what it would do.
    """
    impossible = deployment.token_addresses() | {ZERO_ADDRESS, deployment.vault, deployment.implementation}
    if order.to_address in impossible:
        return "cold_address"
    return "amount" if order.amount <= 0 else None


def refuse_beyond_cold_cap(order: Order, caps: Caps | None, log: SigningLog, *, now_ns: int) -> None:
    """Refuse a first signature that the policy does not allow now.

    As ``contract_not_allowed`` where the token has no caps, and ``cap_per_day_exceeded``
    above what may be moved in a day. What was signed before is in the log, so neither a
    restart nor another database frees the cap.
    """
    if caps is None:
        detail = "The policy has no caps for it."
        raise Refusal(ChainCode.CONTRACT_NOT_ALLOWED, detail, why="caps", signed_before=False)
    spent = log.spent(order.token, now_ns=now_ns, seconds=DAY_SECONDS, to_cold=True)
    if spent + order.amount > caps.cold_per_day:
        # An order above the whole cap will never pass; the rest passes in time.
        never = order.amount > caps.cold_per_day
        raise Refusal(
            ChainCode.CAP_PER_DAY_EXCEEDED,
            f"More than {caps.cold_per_day} units to the cold address in a day; {spent} are signed already.",
            retryable=Retryable.NO if never else Retryable.YES,
            why="cold_per_day",
            signed_before=False,
        )
