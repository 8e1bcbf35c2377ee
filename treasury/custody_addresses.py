"""Custody addresses: every place on chain where customers' tokens lie."""

from __future__ import annotations

from sqlalchemy import Select, Text, literal, select, union

from treasury.custody import Custody
from treasury.models import TreasuryDepositAddress


def custody_addresses(custody: Custody) -> Select[str]:
    """Query of them all: the vault, the hot addresses and the deposit addresses."""
    ours = [select(literal(address, Text)) for address in custody.own_addresses]
    everything = union(select(TreasuryDepositAddress.address), *ours).subquery()
    return select(everything.c[0])
