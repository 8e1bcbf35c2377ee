"""The command that has an address count as the bank's own: two officers of treasury say so."""

from typing import Any

import pytest

from foundation.settings import get_settings
from identity.officers import appoint_officer
from identity.roles import Role
from ops.cli import cold
from ops.errors import OperationError
from tests.fixtures.officers import OfficerDevice
from tests.treasury.cold import COLD, name_cold
from tests.treasury.conftest import Treasury
from treasury.cold_addresses import recorded_cold_addresses


async def test_an_address_is_recorded_by_two_officers_of_treasury_and_by_nobody_else(
    treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUGPAY_HOME", str(treasury.contracts.home))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", treasury.database.url)
    monkeypatch.setenv("NUGPAY_RPC_URL", treasury.rpc.url)
    get_settings.cache_clear()
    try:
        await name_cold(treasury)
        for name in ("may", "hla", "su"):
            device = await OfficerDevice(name).enrol(treasury.database, treasury.clock)
        async with treasury.database.session() as session:
            how: dict[str, Any] = {"person_id": device.person_id, "name": "su", "roles": [Role.COMPLIANCE]}
            await appoint_officer(session, treasury.clock, **how)
        for names in ([], ["may"], ["may", " may "], ["may", "su"], ["may", "nobody"]):
            with pytest.raises(OperationError, match="It takes 2 officers who are treasury"):
                await cold._record(COLD, names)
        assert await cold._record(COLD, ["may", "hla"]) == f"{COLD} counts as custody from now on"
        async with treasury.database.session() as session:
            (recorded,) = await recorded_cold_addresses(session, treasury.custody)
        assert recorded.recorded_by == "hla, may"
    finally:
        get_settings.cache_clear()
