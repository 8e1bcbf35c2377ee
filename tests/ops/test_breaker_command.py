"""The breaker's command: says why withdrawals stand still, and takes two officers to release."""

from pathlib import Path

import pytest

from chain.deployments import Deployment, TokenInfo, save_deployment
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.settings import get_settings
from ops.cli.breaker import _release, _show
from ops.errors import OperationError
from treasury.breaker import trip_breaker


@pytest.fixture
def home(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUGPAY_HOME", str(tmp_path))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", database_url)
    get_settings.cache_clear()
    token = TokenInfo("0x" + "11" * 20, 6)
    save_deployment(
        tmp_path, Deployment(31337, "0x" + "00" * 32, 1, "0x" + "22" * 20, "0x" + "33" * 20, {"USDT": token})
    )
    return tmp_path


async def test_a_tripped_breaker_is_shown_and_released_by_two_officers(home: Path, database_url: str) -> None:
    assert "has not tripped" in await _show()
    database = Database(database_url)
    async with database.session() as session:
        await trip_breaker(session, SystemClock(), 31337, reason="the books differ")
    await database.close()
    assert "the books differ" in await _show()
    with pytest.raises(OperationError, match="One officer"):
        await _release(["aye"])
    assert "the books differ" in await _show()
    assert await _release(["aye", "ko"]) == "released; withdrawals go on"
    assert "has not tripped" in await _show()
    assert await _release(["aye", "ko"]) == "the breaker had not tripped"
    get_settings.cache_clear()
