"""The commands for officers, as the operators of a bank type them."""

import pytest
from typer.testing import CliRunner

from foundation.settings import get_settings
from identity.officer_decisions import OfficerDecisionRefused
from identity.roles import Action
from ops.cli import app, officers
from ops.errors import OperationError
from tests.wallet_api.conftest import API, api, settings

__all__ = ["api", "settings"]

BOTH = ["hla", "may"]


@pytest.fixture
async def bank(api: API, monkeypatch: pytest.MonkeyPatch):
    """A bank whose people have wallets, and nobody an office."""
    monkeypatch.setenv("NUGPAY_HOME", str(api.connections.settings.home))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", api.database.url)
    get_settings.cache_clear()
    for handle in ("hla_hla", "may_may", "su_su"):
        await api.phone(handle)
    yield api
    get_settings.cache_clear()


@pytest.mark.usefixtures("bank")
async def test_a_bank_is_given_operators_who_appoint_change_and_dismiss_the_others():
    assert await officers._list() == "there are no officers\n0 decisions"
    for name in BOTH:
        told = await officers._appoint(f"@{name}_{name}", name, ["operator"], [], "founds the bank")
        assert told.endswith(f"{name} appointed as operator")
        assert "signer trust" not in told
    told = await officers._appoint("@su_su", "su", ["treasury", "support"], BOTH, "pays for us")
    assert told.startswith("decision 3: su appointed as support, treasury\n")
    assert "./nugpay signer trust su KEY.json --known-as" in told
    assert "signer distrust su" in await officers._roles("su", ["support"], BOTH, "too much")
    first, second, third, last = (await officers._list()).splitlines()
    assert [line.split("  ")[:2] for line in (first, second, third)] == [
        ["hla", "operator"],
        ["may", "operator"],
        ["su", "support"],
    ]
    assert last.startswith("4 decisions, the newest ")
    assert "signer distrust su" in await officers._dismiss("su", BOTH, "left us")
    decided = (await officers._decisions()).splitlines()
    assert decided[0].endswith("hla appointed operator  by the command: founds the bank")
    assert decided[-1].endswith("su dismissed   by hla, may: left us")


@pytest.mark.usefixtures("bank")
async def test_what_cannot_be_is_told():
    with pytest.raises(OperationError, match="There is no role king"):
        await officers._appoint("@su_su", "su", ["king"], [], "why")
    with pytest.raises(OperationError, match="There is no wallet @nobody"):
        await officers._appoint("@nobody", "su", ["operator"], [], "why")
    with pytest.raises(OfficerDecisionRefused, match="make them first"):
        await officers._appoint("@su_su", "su", ["treasury"], [], "why")
    assert await officers._list() == "there are no officers\n0 decisions"


def test_the_rights_are_printed_and_an_appointment_needs_role_and_reason():
    ran = CliRunner().invoke(app, ["officers", "rights"])
    assert [line.split("  ")[0] for line in ran.output.splitlines()] == list(Action)
    assert "decide_recall  compliance  2  nobody whom it is about" in ran.output
    for missing in (["--role", "treasury"], ["--reason", "why"]):
        ran = CliRunner().invoke(app, ["officers", "appoint", "@su_su", "su", *missing])
        assert (ran.exit_code, "Missing option" in ran.output) == (2, True)
