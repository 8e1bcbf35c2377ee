"""Settings: typed, from the environment, with defaults that run everything on one machine."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from foundation.settings import SOCKET_PATH_LIMIT, Settings, default_home, get_settings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("NUGPAY_"):
            monkeypatch.delenv(name)


def test_the_defaults_are_a_developers_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = Settings()
    assert settings.environment == "development"
    assert settings.home == tmp_path / "nugpay" == default_home()
    assert settings.database_url is None
    assert settings.api_host == "127.0.0.1"


def test_each_setting_is_its_name_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUGPAY_API_PORT", "9000")
    monkeypatch.setenv("NUGPAY_HOME", "/srv/bank")
    monkeypatch.setenv("NUGPAY_DATABASE_URL", "postgresql://db/bank")
    monkeypatch.setenv("NUGPAY_NOBODY_KNOWS_THIS", "1")
    settings = Settings()
    assert (settings.api_port, settings.home) == (9000, Path("/srv/bank"))
    assert settings.database_url == "postgresql://db/bank"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUGPAY_API_PORT", "70000"), ("NUGPAY_API_PORT", "http"), ("NUGPAY_API_PORT", "-1"),
        ("NUGPAY_API_WORKERS", "0"), ("NUGPAY_ENVIRONMENT", "staging"), ("NUGPAY_LOG_LEVEL", "loud"),
        ("NUGPAY_CHAIN_ID", "mainnet"),
    ],
)  # fmt: skip
def test_a_value_that_is_none_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_sockets_live_in_the_home_where_its_path_is_short() -> None:
    settings = Settings(home=Path("/srv/bank"))
    assert settings.run_dir == Path("/srv/bank/run")
    assert settings.ledger_address == "unix:/srv/bank/run/ledger.sock"
    assert settings.signer_socket == Path("/srv/bank/run/signer.sock")


@pytest.mark.parametrize("home", ["/" + "long/" * 40, "/" + "ü" * 60])
def test_sockets_of_a_home_with_a_long_path_live_in_a_short_place_of_their_own(home: str) -> None:
    settings, other = Settings(home=Path(home)), Settings(home=Path(home) / "other")
    for path in (settings.run_dir / "ledger.sock", settings.signer_socket):
        assert len(bytes(path)) <= SOCKET_PATH_LIMIT
    assert settings.run_dir == Settings(home=Path(home)).run_dir
    assert settings.run_dir != other.run_dir


def test_the_longest_home_that_fits_is_used_itself() -> None:
    room = SOCKET_PATH_LIMIT - len("/run/ledger.sock")
    fits, too_long = Path("/" + "x" * (room - 1)), Path("/" + "x" * room)
    assert Settings(home=fits).run_dir == fits / "run"
    assert Settings(home=too_long).run_dir != too_long / "run"


def test_a_ledger_elsewhere_is_taken_as_it_is_named() -> None:
    assert Settings(ledger_url="https://ledger:7000").ledger_address == "https://ledger:7000"


def test_the_ledger_process_listens_where_it_is_looked_for_unless_it_is_told() -> None:
    url = "https://a:7000,https://b:7000"
    assert Settings(ledger_url="unix:/tmp/one.sock").ledger_listen_address == "unix:/tmp/one.sock"
    assert (
        Settings(ledger_url=url, ledger_listen="https://[::]:7000").ledger_listen_address
        == "https://[::]:7000"
    )


def test_the_process_reads_its_settings_once() -> None:
    get_settings.cache_clear()
    try:
        assert get_settings() is get_settings()
    finally:
        get_settings.cache_clear()
