"""Custody addresses: every place on chain where customers' tokens lie."""

from __future__ import annotations

from sqlalchemy import Select, Text, literal, select, union

from treasury.cold_models import TreasuryColdAddress
from treasury.custody import Custody
from treasury.models import TreasuryDepositAddress


def custody_addresses(custody: Custody) -> Select[str]:
    """Query of them all: the vault, the hot, the cold and the deposit addresses."""
    ours = [select(literal(address, Text)) for address in custody.own_addresses]
    everything = union(select(TreasuryDepositAddress.address), cold_addresses(custody), *ours).subquery()
    return select(everything.c[0])


def cold_addresses(custody: Custody) -> Select[str]:
    """Query of every address that the vault named as its cold one and that was recorded as ours."""
    return select(TreasuryColdAddress.address).where(TreasuryColdAddress.chain_id == custody.chain_id)
