"""The commands of officers, of the signer's policy, and of blocked receivers."""

import json
from pathlib import Path
from uuid import UUID

import pytest
from nugpay_client import DeviceKey, key_id
from sqlalchemy import select
from typer.testing import CliRunner

from chain.deployments import Deployment, TokenInfo, save_deployment
from chain.errors import ChainCode
from chain.models import ChainOrder
from chain.signer_policy import CapsText, SignerPolicy, load_policy, write_policy
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.settings import get_settings
from identity.devices import revoke_device
from identity.keys import PublicKey
from identity.models import Device
from identity.officer_decisions import OfficerDecisionRefused
from ops.cli import app
from ops.cli.blocked import _add, _list, _remove
from ops.cli.officers import _approve, _awaited, _dismiss
from ops.cli.signer import _distrust, _trust
from ops.errors import OperationError
from tests.fixtures.officers import enrol_officer
from treasury.models import TreasuryWithdrawal

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


@pytest.fixture
def home(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUGPAY_HOME", str(tmp_path))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", database_url)
    get_settings.cache_clear()
    token = TokenInfo("0x" + "11" * 20, 6)
    save_deployment(
        tmp_path, Deployment(31337, "0x" + "00" * 32, 1, "0x" + "22" * 20, "0x" + "33" * 20, {"USDT": token})
    )
    write_policy(tmp_path, SignerPolicy(caps={"USDT": CapsText("10", "20")}))
    return tmp_path


async def enrolled_officer(database: Database, key: DeviceKey, name: str) -> UUID:
    """A person with a device who is an officer."""
    return await enrol_officer(database, SystemClock(), PublicKey.from_jwk(key.public_jwk), name)


async def test_officers_sign_what_awaits_them_and_are_dismissed(home: Path, database_url: str) -> None:
    database, clock = Database(database_url), SystemClock()
    keys = {"may": DeviceKey.generate(), "hla": DeviceKey.generate("ecdsa-p256-sha256")}
    for name, key in keys.items():
        await enrolled_officer(database, key, name)
    assert await _awaited() == "nothing awaits officers"
    withdrawal_id = uuid7(clock)
    async with database.session() as session:
        session.add(
            ChainOrder(
                id=withdrawal_id,
                kind="withdrawal",
                token="0x" + "11" * 20,
                to_address=ADDRESS.lower(),
                amount=60_000_000_000,
                fee=1_000_000,
                requester=uuid7(clock),
                created_at=clock.now(),
                approved_at=clock.now(),
            )
        )
        await session.flush()
        session.add(
            TreasuryWithdrawal(
                id=withdrawal_id,
                wallet_id=uuid7(clock),
                asset="USDT",
                amount=60_000_000_000,
                fee=1_000_000,
                to_address=ADDRESS.lower(),
                created_at=clock.now(),
                awaits_officers_since=clock.now(),
            )
        )
    assert f"{withdrawal_id}  60000.000000 USDT  to {ADDRESS}" in await _awaited()
    shown = []

    def agree(said: str) -> bool:
        shown.append(said)
        return len(shown) > 1

    assert await _approve(withdrawal_id, keys["may"], agree) == "not signed"
    assert await _approve(withdrawal_id, keys["may"], agree) == "signed; approved by 1"
    assert await _approve(withdrawal_id, keys["hla"], agree) == "signed; approved by 2"
    assert f"withdrawal: {withdrawal_id}\n" in shown[0]
    assert "approved by 2" in await _awaited()
    with pytest.raises(OperationError, match="No enrolled device"):
        await _approve(withdrawal_id, DeviceKey.generate(), agree)
    async with database.session() as session:
        device = await session.scalar(select(Device).where(Device.key_id == key_id(keys["hla"].public_jwk)))
        assert device is not None
        await revoke_device(session, clock, person_id=device.person_id, device_id=device.id)
    with pytest.raises(OperationError, match="revoked"):
        await _approve(withdrawal_id, keys["hla"], agree)
    assert "signer distrust may" in await _dismiss("may", [], "gone")
    with pytest.raises(Refusal, match="approver_is_no_officer"):
        await _approve(withdrawal_id, keys["may"], agree)
    with pytest.raises(OfficerDecisionRefused, match="no officer nobody"):
        await _dismiss("nobody", [], "never was one")
    await database.close()
    get_settings.cache_clear()


def test_the_policy_s_officers_are_written_as_the_signer_reads_them(home: Path, tmp_path: Path) -> None:
    key, other, person = DeviceKey.generate(), DeviceKey.generate(), uuid7(SystemClock())
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key.public_jwk))

    runner = CliRunner()
    ran = runner.invoke(app, ["signer", "trust", "may", str(file), "--known-as", str(person)])
    assert ran.exit_code == 0, ran.output
    assert key_id(key.public_jwk) in ran.output
    assert key_id(other.public_jwk) in _trust("may", other.public_jwk, (person,))
    [officer] = load_policy(home).officers
    assert (officer.name, officer.key, officer.known_as) == ("may", other.public_jwk, (person,))
    assert '"per_hour": "20"' in runner.invoke(app, ["signer", "policy"]).output
    with pytest.raises(Exception, match="two officers have one key"):
        _trust("hla", other.public_jwk, ())
    assert len(load_policy(home).officers) == 1
    assert "does not believe may" in _distrust("may")
    assert load_policy(home).officers == ()
    with pytest.raises(OperationError, match="names no officer"):
        _distrust("may")
    get_settings.cache_clear()


@pytest.mark.usefixtures("home")
async def test_receivers_are_blocked_listed_and_paid_again() -> None:
    assert await _list() == "no address is blocked"
    await _add(ADDRESS, "stolen", "may")
    assert f"{ADDRESS}  since" in await _list()
    assert "by may: stolen" in await _list()
    with pytest.raises(Refusal) as refused:
        await _add("0x12", "typo", "may")
    assert refused.value.code is ChainCode.ADDRESS_MALFORMED
    assert await _remove(ADDRESS) == f"{ADDRESS} is paid again"
    assert await _remove(ADDRESS) == f"{ADDRESS} was not blocked"
    get_settings.cache_clear()
