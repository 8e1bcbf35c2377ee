"""Tiers are changed by two officers, written down, and felt by limits at once."""

import pytest
from sqlalchemy import text

from foundation.changes import Changes
from foundation.errors import NUGPayError
from foundation.settings import get_settings
from identity.officers import appoint_officer, dismiss_officer
from identity.roles import DUTIES, Role
from ops.cli import tier
from ops.errors import OperationError
from tests.wallet_api.conftest import API, Phone, api, aye, ko, settings
from wallets.tier_changes import TierChangeRefused, change_tier, tier_changes
from wallets.tiers import Tier

__all__ = ["api", "aye", "ko", "settings"]

BOTH = ["hla", "may"]


@pytest.fixture
async def officers(api: API) -> dict[str, Phone]:
    found = {}
    for name in BOTH:
        phone = await api.phone(f"officer_{name}")
        wallet = await api.connections.wallets.by_handle(phone.handle.removeprefix("@"))
        assert wallet is not None
        async with api.database.session() as session:
            await appoint_officer(session, api.clock, person_id=wallet.person_id, name=name, roles=DUTIES)
        found[name] = phone
    return found


async def change(api: API, handle: str, to: Tier, by: list[str], reason: str = "the bank knows them"):
    async with api.database.session() as session:
        return await change_tier(session, api.clock, handle=handle, tier=to, decided_by=by, reason=reason)


@pytest.mark.usefixtures("officers")
async def test_two_officers_change_a_tier_and_it_stands_written_who_and_why(api, aye):
    before = (await aye.get("/v1/limits?asset=USDT")).json()
    made = await change(api, "@Aye_Aye", Tier.BUSINESS, BOTH)
    assert (made.before, made.after, made.decided_by) == (Tier.STANDARD, Tier.BUSINESS, ("hla", "may"))
    after = (await aye.get("/v1/limits?asset=USDT")).json()
    assert (before["tier"], after["tier"]) == ("standard", "business")
    assert float(after["per_payment"]) > float(before["per_payment"])
    api.clock.advance(seconds=1)
    await change(api, "aye_aye", Tier.STARTER, BOTH, "a mistake")
    async with api.database.session() as session:
        now, changes = await tier_changes(session, "aye_aye")
    assert now is Tier.STARTER
    assert [(one.after, one.reason) for one in changes] == [
        (Tier.BUSINESS, "the bank knows them"),
        (Tier.STARTER, "a mistake"),
    ]


async def test_what_two_officers_did_not_decide_changes_nothing(api, aye, officers):
    async with api.database.session() as session:
        await dismiss_officer(session, api.clock, name="may")
    nilar = await api.phone("nilar")
    wallet = await api.connections.wallets.by_handle(nilar.handle.removeprefix("@"))
    async with api.database.session() as session:
        roles = set(Role) - {Role.COMPLIANCE}
        await appoint_officer(session, api.clock, person_id=wallet.person_id, name="nilar", roles=roles)
    for handle, by, reason in (
        ("aye_aye", ["hla", "nilar"], "one has every role but this"),
        ("aye_aye", BOTH, "one is dismissed"),
        ("aye_aye", ["hla"], "one alone"),
        ("aye_aye", ["hla", "hla"], "one twice"),
        ("aye_aye", ["hla", "nobody"], "one is none"),
        ("officer_hla", ["hla", "may"], "for oneself"),
        ("nobody_here", BOTH, "no such wallet"),
        ("aye_aye", BOTH, "  "),
    ):
        with pytest.raises(TierChangeRefused):
            await change(api, handle, Tier.BUSINESS, by, reason)
    with pytest.raises(NUGPayError):
        await change(api, "no handle", Tier.BUSINESS, BOTH)
    assert officers
    assert (await aye.get("/v1/limits?asset=USDT")).json()["tier"] == "standard"
    async with api.database.session() as session:
        assert (await tier_changes(session, "aye_aye"))[1] == []


@pytest.mark.usefixtures("officers", "aye")
async def test_the_command_shows_and_changes(api, monkeypatch):
    monkeypatch.setenv("NUGPAY_HOME", str(api.connections.settings.home))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", api.database.url)
    get_settings.cache_clear()
    try:
        assert await tier._show("@aye_aye") == "@aye_aye is standard"
        told = await tier._set("@aye_aye", "business", BOTH, "a mill")
        assert told == "@aye_aye is business; it was standard"
        assert (await tier._show("@aye_aye")).endswith("standard to business  by hla, may: a mill")
        with pytest.raises(OperationError, match="no tier gold"):
            await tier._set("@aye_aye", "gold", BOTH, "a mill")
    finally:
        get_settings.cache_clear()


async def test_a_change_is_told_to_processes_that_remember_wallets(api, aye, officers):
    changes = Changes(api.database.url)
    told: list[str | None] = []
    changes.subscribe("wallet", told.append)
    async with changes.followed():
        while not changes.are_followed:
            await api.database.check_durability()
        told.clear()
        await change(api, "aye_aye", Tier.BUSINESS, BOTH)
        async with api.database.session() as session:
            wallet_id = await session.scalar(text("SELECT id FROM wallets_wallet WHERE handle = 'aye_aye'"))
        while not told:
            await api.database.check_durability()
    assert told == [str(wallet_id)]
    assert officers
