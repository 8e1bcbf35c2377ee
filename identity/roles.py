"""Roles: what an officer may do for the bank, in one table.

Nobody may do everything, and what can hurt takes two. An officer has one role or several;
each action names the roles that may do it, how many different officers it takes, and
whether somebody whom it is about may be among them. What stands in no row, nobody may.

Two roles are held alone. An operator says who the officers are, so an operator who could
also move money or read about people would appoint themselves to it; an auditor looks at
what the others did, and judges nothing of their own. The table speaks of this database's
officers only: the signer believes the keys of its own policy, and reads no role.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What an officer is there for."""

    OPERATOR = "operator"
    """Runs the bank's machines, and says with another one who its officers are. Held alone."""
    SUPPORT = "support"
    """Stands by customers: hears of logins under duress."""
    COMPLIANCE = "compliance"
    """Answers for who the customers are: tiers, disputed recalls, blocked receivers, personal data."""
    TREASURY = "treasury"
    """Answers for the bank's money: withdrawals, the breaker, the cold address, debts."""
    AUDITOR = "auditor"
    """Sees what officers decide on, and decides nothing. Held alone."""


HELD_ALONE: Final = frozenset({Role.OPERATOR, Role.AUDITOR})
"""Roles whose bearer has no other."""

DUTIES: Final = frozenset(Role) - HELD_ALONE
"""Roles of those who act for customers and money; a small bank's officers may have all of them."""


class Action(StrEnum):
    """What officers do, each once in the table."""

    SEE_WITHDRAWALS = "see_withdrawals"
    """See which withdrawals await officers, and the text that approves one."""
    APPROVE_WITHDRAWAL = "approve_withdrawal"
    """Sign a withdrawal above the threshold."""
    SEE_BREAKER = "see_breaker"
    """See the breaker's trips, and the text that releases one."""
    RELEASE_BREAKER = "release_breaker"
    """Sign a trip's release, and release it."""
    SEE_BLOCKED_RECEIVERS = "see_blocked_receivers"
    """See which addresses are never paid."""
    BLOCK_RECEIVER = "block_receiver"
    """Add an address to them: it holds money back and moves none, so one is enough and fast."""
    SEE_DURESS_LOGINS = "see_duress_logins"
    """Hear of logins under duress, of those who wished for it."""
    SEE_RECALLS = "see_recalls"
    """See recalls that await officers."""
    DECIDE_RECALL = "decide_recall"
    """Say who has the money of a disputed recall."""
    SEE_REVIEWS = "see_reviews"
    """See withdrawals by which much passed through."""
    CLOSE_REVIEW = "close_review"
    """Say what was found of one; it was paid anyhow, so one is enough."""
    CHANGE_TIER = "change_tier"
    """Say how much a wallet may pay."""
    RECORD_COLD_ADDRESS = "record_cold_address"
    """Have an address count as the bank's own."""
    WRITE_OFF_DEBT = "write_off_debt"
    """Have the bank bear what somebody owes it."""
    READ_PERSONAL_DATA = "read_personal_data"
    """Read what a customer has told of themselves; it is written down first, and they see it."""
    SEE_PERSONAL_ACCESSES = "see_personal_accesses"
    """See which officers read whose personal data, and why."""
    DECIDE_ON_OFFICERS = "decide_on_officers"
    """Appoint and dismiss officers, and change their roles."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may do an action."""

    roles: frozenset[Role]
    """Any of these is enough."""
    persons: int = 1
    """How many different officers must agree."""
    subjects_may: bool = True
    """Whether somebody whom it is about, or who asked for it, may be one of them."""


def _rule(*roles: Role, persons: int = 1, subjects_may: bool = True) -> Rule:
    return Rule(frozenset(roles), persons, subjects_may)


RIGHTS: Final[Mapping[Action, Rule]] = {
    Action.SEE_WITHDRAWALS: _rule(Role.TREASURY, Role.AUDITOR),
    Action.APPROVE_WITHDRAWAL: _rule(Role.TREASURY, persons=2, subjects_may=False),
    # Whoever runs the machines must see that withdrawals stand still.
    Action.SEE_BREAKER: _rule(Role.TREASURY, Role.OPERATOR, Role.AUDITOR),
    Action.RELEASE_BREAKER: _rule(Role.TREASURY, persons=2),
    Action.SEE_BLOCKED_RECEIVERS: _rule(Role.TREASURY, Role.COMPLIANCE, Role.AUDITOR),
    Action.BLOCK_RECEIVER: _rule(Role.TREASURY, Role.COMPLIANCE),
    # Who was forced is nobody's business but theirs who help.
    Action.SEE_DURESS_LOGINS: _rule(Role.SUPPORT),
    Action.SEE_RECALLS: _rule(Role.COMPLIANCE, Role.AUDITOR),
    Action.DECIDE_RECALL: _rule(Role.COMPLIANCE, persons=2, subjects_may=False),
    Action.SEE_REVIEWS: _rule(Role.COMPLIANCE, Role.AUDITOR),
    Action.CLOSE_REVIEW: _rule(Role.COMPLIANCE, subjects_may=False),
    Action.CHANGE_TIER: _rule(Role.COMPLIANCE, persons=2, subjects_may=False),
    Action.RECORD_COLD_ADDRESS: _rule(Role.TREASURY, persons=2),
    Action.WRITE_OFF_DEBT: _rule(Role.TREASURY, persons=2, subjects_may=False),
    # Support asks a customer for their name; who must know it without asking answers for it.
    Action.READ_PERSONAL_DATA: _rule(Role.COMPLIANCE, subjects_may=False),
    # Not compliance's, whose looks they are.
    Action.SEE_PERSONAL_ACCESSES: _rule(Role.AUDITOR),
    Action.DECIDE_ON_OFFICERS: _rule(Role.OPERATOR, persons=2, subjects_may=False),
}
"""The matrix of rights."""


def may(roles: Collection[Role], action: Action) -> bool:
    """Whether an officer with these roles may do the action, or be one of those who do."""
    return not RIGHTS[action].roles.isdisjoint(roles)


def may_be_held(roles: Collection[Role]) -> bool:
    """Whether one officer may have exactly these roles: at least one, and one that is held alone alone."""
    return bool(roles) and (len(set(roles)) == 1 or HELD_ALONE.isdisjoint(roles))
