"""The breaker's command: says why withdrawals stand still, and takes two officers' signatures to release."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from nugpay_client import DeviceKey
from typer.testing import CliRunner

from chain.deployments import Deployment, TokenInfo, save_deployment
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.settings import get_settings
from identity.keys import PublicKey
from ops.cli import app
from ops.cli.breaker import _release, _restore, _show, _sign
from ops.errors import OperationError
from tests.fixtures.officers import enrol_officer
from treasury.breaker import trip_breaker
from treasury.errors import TreasuryCode


@pytest.fixture
def home(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NUGPAY_HOME", str(tmp_path))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", database_url)
    get_settings.cache_clear()
    token = TokenInfo("0x" + "11" * 20, 6)
    save_deployment(
        tmp_path, Deployment(31337, "0x" + "00" * 32, 1, "0x" + "22" * 20, "0x" + "33" * 20, {"USDT": token})
    )
    yield tmp_path
    get_settings.cache_clear()


async def trip(database_url: str, reason: str) -> None:
    database = Database(database_url)
    async with database.session() as session:
        await trip_breaker(session, SystemClock(), 31337, reason=reason)
    await database.close()


async def officer(database_url: str, name: str, key: DeviceKey) -> None:
    database = Database(database_url)
    await enrol_officer(database, SystemClock(), PublicKey.from_jwk(key.public_jwk), name)
    await database.close()


def agreeing(_said: str) -> bool:
    return True


@pytest.mark.usefixtures("home")
async def test_a_tripped_breaker_is_shown_signed_by_two_officers_and_released(database_url: str) -> None:
    assert "has not tripped" in await _show()
    may, hla, stranger = DeviceKey.generate(), DeviceKey.generate("ecdsa-p256-sha256"), DeviceKey.generate()
    await officer(database_url, "may", may)
    await officer(database_url, "hla", hla)
    with pytest.raises(OperationError, match="has not tripped"):
        await _sign(None, may, agreeing)
    await trip(database_url, "the books differ")
    shown: list[str] = []

    def look(said: str) -> bool:
        shown.append(said)
        return False

    assert await _sign(None, may, look) == "not signed"
    assert 'reason: "the books differ"\n' in shown[0]
    assert "signed now by nobody" in await _show()
    with pytest.raises(OperationError, match="No enrolled device"):
        await _sign(None, stranger, agreeing)
    assert await _sign(None, may, agreeing) == "signed; signed now by may"
    assert await _sign(None, may, agreeing) == "signed; signed now by may"
    with pytest.raises(Refusal) as one:
        await _release(None)
    assert one.value.code is TreasuryCode.RELEASE_SIGNATURES_MISSING
    assert "withdrawals are stopped since" in await _show()
    assert await _sign(None, hla, agreeing) == "signed; signed now by hla, may"
    assert await _release(None) == "released by hla, may"
    assert (await _show()).startswith("withdrawals go on\n")
    with pytest.raises(OperationError, match="has not tripped"):
        await _release(None)


@pytest.mark.usefixtures("home")
async def test_trip_that_a_restored_database_has_forgotten_is_put_back_and_signed(database_url: str) -> None:
    may, gone = DeviceKey.generate(), uuid7(SystemClock())
    await officer(database_url, "may", may)
    at = "2026-11-27T08:00:00.123456+00:00"
    shown: list[str] = []
    with pytest.raises(Refusal) as missing:
        await _sign(gone, may, agreeing)
    assert missing.value.code is TreasuryCode.TRIP_NOT_FOUND
    with pytest.raises(OperationError, match="no time"):
        await _restore(str(gone), "yesterday", "the books differ")
    await _restore(str(gone), at, "an easier reason")
    assert "the books differ" in await _restore(str(gone), at, "the books differ")
    assert (await _show()).startswith("withdrawals go on\n")

    def look(said: str) -> bool:
        shown.append(said)
        return True

    assert await _sign(gone, may, look) == "signed; signed now by may"
    assert f'reason: "the books differ"\ntripped: {at}\n' in shown[0]


@pytest.mark.usefixtures("home")
async def test_signatures_of_an_earlier_trip_release_no_later_one(database_url: str) -> None:
    keys = {"may": DeviceKey.generate(), "hla": DeviceKey.generate()}
    await trip(database_url, "first")
    for name, key in keys.items():
        await officer(database_url, name, key)
        await _sign(None, key, agreeing)
    await _release(None)
    first = (await _show()).splitlines()[1].split()[0]
    await trip(database_url, "second")
    with pytest.raises(Refusal) as missing:
        await _release(None)
    assert missing.value.code is TreasuryCode.RELEASE_SIGNATURES_MISSING
    # Released again by its id, the first is as it was, and the second stops on.
    assert await _release(UUID(first)) == "released by hla, may"
    assert "second" in (await _show()).splitlines()[0]
    with pytest.raises(Refusal) as unknown:
        await _release(uuid7(SystemClock()))
    assert unknown.value.code is TreasuryCode.TRIP_NOT_FOUND


@pytest.mark.usefixtures("home")
def test_names_release_nothing_any_more() -> None:
    ran = CliRunner().invoke(app, ["breaker", "release", "--officer", "aye", "--officer", "ko"])
    assert ran.exit_code == 2
    assert "No such option" in ran.output
