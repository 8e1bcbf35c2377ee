"""What the door is built from: rights, certificates, keys, addresses; what is doubtful stops the start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.settings import Settings
from ledger.chart import AccountCode, TransferCode
from ledger.door.rights import OWNER, RightsRefused, load_rights
from ledger.door.tls import TLSRefused, client_context
from ledger.server import bind, make_door
from tests.ledger.certificates import Authority

GOOD = """
[callers."nugpay:bank"]
full = true

[callers."unix:owner"]
read = true

[callers."agents.example"]
read = true
import = true
close = true

[[callers."agents.example".accounts]]
ledgers = "any"
codes = ["wallet", 22]

[[callers."agents.example".transfers]]
ledgers = ["USDT", 5]
codes = ["payment", 201, "payment"]
debit = ["agent_float"]

[[callers."agents.example".transfers]]
ledgers = [3]
codes = "any"
debit = "any"
credit = ["fees"]
"""


def _file(directory: Path, text: str) -> Path:
    path = directory / "rights.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_rights_file_says_by_name_or_number_what_each_caller_may(tmp_path: Path) -> None:
    callers = load_rights(_file(tmp_path, GOOD))
    assert set(callers) == {"nugpay:bank", OWNER, "agents.example"}
    assert callers["nugpay:bank"].full
    assert (callers[OWNER].full, callers[OWNER].read, callers[OWNER].transfers) == (False, True, ())
    agents = callers["agents.example"]
    assert (agents.full, agents.read, agents.imports, agents.close) == (False, True, True, True)
    (account,) = agents.accounts
    assert account.ledgers is None
    assert account.codes is not None
    assert account.codes.tolist() == [AccountCode.WALLET, AccountCode.LIMIT]
    first, second = agents.transfers
    choices = (first.ledgers, first.codes, first.debit, first.credit)
    assert [None if numbers is None else numbers.tolist() for numbers in choices] == [
        [1, 5], [TransferCode.PAYMENT, TransferCode.PAYMENT_FEE], [AccountCode.AGENT_FLOAT], None,
    ]  # fmt: skip
    assert (second.codes, second.debit) == (None, None)


TRANSFERS = '[[callers.a.transfers]]\nledgers = ["USDT"]\ncodes = ["payment"]\ndebit = ["wallet"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "callers"),
        ("colour = 1\n[callers]", "colour"),
        ("[callers.a]\nreads = true", "reads"),
        ("[callers.a]\nread = 1", "read"),
        ("[callers.a]\nread = true\n[callers.a]\nread = true", "callers"),
        ("[callers.a]\nfull = true\nread = true", "full rights"),
        ("[callers.a]\nfull = true\n" + TRANSFERS, "full rights"),
        ('[callers."unix:root"]\nread = true', "unix:root"),
        ('[callers."with space"]\nread = true', "with space"),
        ('[callers.""]\nread = true', "no identity"),
        (TRANSFERS + 'colour = "red"', "colour"),
        (TRANSFERS.replace("USDT", "BTC"), "BTC"),
        (TRANSFERS.replace('"USDT"', "77"), "77"),
        (TRANSFERS.replace('"USDT"', "0"), "no ledger 0"),
        (TRANSFERS.replace('"USDT"', "true"), "ledgers"),
        (TRANSFERS.replace('"USDT"', "1.0"), "ledgers"),
        (TRANSFERS.replace('["USDT"]', '"USDT"'), "ledgers"),
        (TRANSFERS.replace('["USDT"]', "[]"), "empty"),
        (TRANSFERS.replace('"payment"', '"wallet"'), "transfer code 'wallet'"),
        (TRANSFERS.replace('"wallet"', '"payment"'), "account code 'payment'"),
        (TRANSFERS.replace('"wallet"', "200"), "account code 200"),
        (TRANSFERS.replace('debit = ["wallet"]\n', ""), "debit"),
        ('[[callers.a.accounts]]\nledgers = "any"', "codes"),
        ("[callers.a\n", "rights.toml"),
        ("[callers.a]\nread = true # \udcff", "rights.toml"),
    ],
)
def test_a_rights_file_with_anything_unknown_is_refused_whole(tmp_path: Path, text: str, says: str) -> None:
    path = _file(tmp_path, "")
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RightsRefused, match=says):
        load_rights(path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_rights_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = _file(tmp_path, GOOD)
    path.chmod(mode)
    with pytest.raises(RightsRefused, match="written by others"):
        load_rights(path)


def test_a_rights_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RightsRefused, match="cannot be read"):
        load_rights(tmp_path / "none.toml")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def rights(tmp_path: Path) -> Path:
    return _file(tmp_path, GOOD)


URL = "https://127.0.0.1:1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_file_that_others_may_read_is_refused_on_both_sides(
    authority: Authority, rights: Path, mode: int
) -> None:
    server = authority.server_settings(rights)
    assert server.ledger_tls_key is not None
    server.ledger_tls_key.chmod(mode)
    with pytest.raises(TLSRefused, match=r"NUGPAY_LEDGER_TLS_KEY.*by others"):
        make_door(server, URL)
    pair = authority.issue(uris=("nugpay:bank",))
    pair[1].chmod(mode)
    with pytest.raises(TLSRefused, match=r"NUGPAY_LEDGER_CLIENT_KEY.*by others"):
        client_context(authority.client_settings(URL, pair))


def test_a_certificate_that_others_may_write_is_refused(authority: Authority, rights: Path) -> None:
    server = authority.server_settings(rights)
    authority.path.chmod(0o664)
    with pytest.raises(TLSRefused, match=r"NUGPAY_LEDGER_TLS_CLIENT_CA.*written by others"):
        make_door(server, URL)


@pytest.mark.parametrize(
    "name", ["ledger_tls_certificate", "ledger_tls_key", "ledger_tls_client_ca", "ledger_rights"]
)
def test_https_without_one_of_its_files_is_refused(authority: Authority, rights: Path, name: str) -> None:
    missing = authority.server_settings(rights, **{name: None})
    with pytest.raises((TLSRefused, RightsRefused), match=f"NUGPAY_{name.upper()}"):
        make_door(missing, URL)
    absent = authority.server_settings(rights, **{name: rights.with_name("absent")})
    with pytest.raises((TLSRefused, RightsRefused), match="absent cannot be read"):
        make_door(absent, URL)


@pytest.mark.parametrize("name", ["ledger_client_certificate", "ledger_client_key", "ledger_server_ca"])
def test_a_caller_of_https_without_one_of_its_files_is_refused(authority: Authority, name: str) -> None:
    pair = authority.issue(uris=("nugpay:bank",))
    with pytest.raises(TLSRefused, match=f"NUGPAY_{name.upper()}"):
        client_context(authority.client_settings(URL, pair, **{name: None}))


def test_files_that_are_not_what_they_should_be_are_refused(authority: Authority, rights: Path) -> None:
    other = authority.issue(uris=("nugpay:bank",))
    with pytest.raises(TLSRefused, match="no certificate and its key"):
        make_door(authority.server_settings(rights, ledger_tls_key=other[1]), URL)
    with pytest.raises(TLSRefused, match="no CA's certificate"):
        make_door(authority.server_settings(rights, ledger_tls_client_ca=rights), URL)


def test_an_encrypted_key_is_refused_instead_of_asked_about(authority: Authority, rights: Path) -> None:
    certificate, key = authority.issue(uris=("nugpay:bank",), password=b"secret")
    settings = authority.server_settings(rights, ledger_tls_certificate=certificate, ledger_tls_key=key)
    with pytest.raises(TLSRefused, match="encrypted"):
        make_door(settings, URL)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:7000", "http://localhost:7000", "http://[::1]:7000", "tcp://127.0.0.1:7000", ""],
)
def test_plain_tcp_is_refused_on_loopback_too(authority: Authority, rights: Path, address: str) -> None:
    for refuse in (bind, lambda url: make_door(authority.server_settings(rights), url)):
        with pytest.raises(TLSRefused, match="plain http is refused"):
            refuse(address)


@pytest.mark.parametrize("address", ["https://127.0.0.1", "https://:7000", "https://"])
def test_an_https_address_names_host_and_port(address: str) -> None:
    with pytest.raises(TLSRefused, match="names host and port"):
        bind(address)


def test_callers_refuse_a_plain_address_even_among_others(authority: Authority) -> None:
    pair = authority.issue(uris=("nugpay:bank",))
    for url in ("http://127.0.0.1:7000", "https://127.0.0.1:1,http://127.0.0.1:2", "unix:/a,http://b:1"):
        with pytest.raises(TLSRefused, match="plain http is refused"):
            client_context(authority.client_settings(url, pair))
    assert client_context(Settings(ledger_url="unix:/a,unix:/b")) is None
    assert client_context(authority.client_settings("unix:/a,https://b:1", pair)) is not None


def test_the_process_ends_at_once_and_says_why(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "ops", "ledger"],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("NUGPAY_")},
            "NUGPAY_HOME": str(tmp_path),
            "NUGPAY_DATABASE_URL": "postgresql://127.0.0.1:1/nobody",
            "NUGPAY_LEDGER_URL": "http://127.0.0.1:7000",
        },
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "plain http is refused, on loopback too" in ended.stderr
    assert "Traceback" not in ended.stderr
