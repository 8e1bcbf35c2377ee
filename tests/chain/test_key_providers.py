"""Key providers: a key service is chosen by name, and a name that is not there starts no signer.

The package of the test is the example of docs/signer.md as printed, with the files that
an installed package has, and a program in the place of a service's own tool.
"""

import secrets
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from coincurve import PrivateKey
from eth_account import Account

from chain.addresses import checksum
from chain.key_providers import GROUP, KeyProviderError, open_key_service
from chain.keystore import SIGNER_KEY, KeystoreError, stored_key
from chain.signer_client import SignerClient
from chain.transactions import key_address
from foundation.errors import Unavailable
from foundation.settings import Settings
from tests.fixtures.contracts import end_process, start_signer_process
from tests.fixtures.signing import Orders
from tests.house.vocabulary import ROOT

Install = Callable[..., Path]

TOOL = """#!{python}
import sys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
key = ec.derive_private_key(int("{secret}", 16), ec.SECP256K1())
print(key.sign(bytes.fromhex(sys.argv[1]), ec.ECDSA(Prehashed(SHA256()))).hex())
"""
"""Signs a digest and answers DER in hex, each time another signature."""


def example() -> str:
    """The module that docs/signer.md prints."""
    text = (ROOT / "docs" / "signer.md").read_text()
    return text.partition("```python\n")[2].partition("```")[0]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lay a package down where Python looks, as pip would, and have this process and its children see it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")

    def installed(module: str, content: str, *, name: str = "command", package: str = "example_kms") -> Path:
        (site / f"{module}.py").write_text(content)
        information = site / f"{package}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}:open_key\n")
        return site

    return installed


def named(home: Path, name: str) -> Settings:
    return Settings(home=home, signer_key_service=name, environment="production")


def test_the_keystore_is_the_service_where_nothing_else_is_named(tmp_path: Path) -> None:
    made = open_key_service(Settings(home=tmp_path))
    assert made.address == stored_key(tmp_path, SIGNER_KEY).address
    # In production no key is made.
    with pytest.raises(KeystoreError):
        open_key_service(Settings(home=tmp_path / "empty", environment="production"))


def test_a_name_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, install: Install) -> None:
    install("kms_of_a_bank", "", name="bank")
    with pytest.raises(KeyProviderError, match=r"there is no key service vault; there are: keystore, bank"):
        open_key_service(named(tmp_path, "vault"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "does not open"),
        ("import no_such_module", "does not open"),
        ("def open_key(settings): raise OSError('no such slot')", "no such slot"),
        ("def open_key(settings): return None", "does not open"),
        ("class Key:\n    address = '0xABC'\ndef open_key(settings): return Key()", "no address"),
    ],
    ids=["nothing", "not importable", "fails", "no service", "no address"],
)
def test_a_service_that_does_not_open_starts_no_signer(
    tmp_path: Path, install: Install, content: str, said: str, request: pytest.FixtureRequest
) -> None:
    install(f"kms_{request.node.callspec.id.replace(' ', '_')}", content)
    with pytest.raises(KeyProviderError, match=said):
        open_key_service(named(tmp_path, "command"))


def test_a_name_that_two_packages_have_is_refused(tmp_path: Path, install: Install) -> None:
    install("kms_one", "", package="kms_one")
    install("kms_two", "", package="kms_two")
    with pytest.raises(KeyProviderError, match="2 packages"):
        open_key_service(named(tmp_path, "command"))


def test_a_package_cannot_take_the_keystore_s_name(tmp_path: Path, install: Install) -> None:
    install("kms_false", "def open_key(settings): raise AssertionError", name="keystore")
    assert open_key_service(Settings(home=tmp_path)).address == stored_key(tmp_path, SIGNER_KEY).address


async def test_the_example_of_the_documentation_signs_for_the_real_process(
    orders: Orders, database_url: str, install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = secrets.token_bytes(32)
    address = key_address(PrivateKey(secret))
    install("example_kms", example())
    tool = tmp_path / "sign"
    tool.write_text(TOOL.format(python=sys.executable, secret=secret.hex()))
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("NUGPAY_SIGNER_KEY_SERVICE", "command")
    monkeypatch.setenv("EXAMPLE_KMS_TOOL", str(tool))
    monkeypatch.setenv("EXAMPLE_KMS_ADDRESS", address)

    home = orders.contracts.home
    process = start_signer_process(home, database_url)
    try:
        client = SignerClient(home / "run" / "signer.sock")
        assert (await client.identity()).address == address
        order_id = await orders.withdrawal()
        signed = await orders.sign(client, order_id)
        assert Account.recover_transaction(signed.raw) == checksum(address)
        # The tool signs with another random number each time; the log gives the first bytes again.
        assert await orders.sign(client, order_id) == signed
        tool.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n")
        with pytest.raises(Unavailable, match="ended with 3"):
            await orders.sign(client, await orders.withdrawal(), nonce=1)
        assert process.poll() is None
    finally:
        end_process(process)


def test_a_signer_with_an_unknown_key_service_does_not_start(
    orders: Orders, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUGPAY_HOME", str(orders.contracts.home))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", database_url)
    monkeypatch.setenv("NUGPAY_SIGNER_KEY_SERVICE", "cloud")
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "ops", "signer"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "there is no key service cloud; there are: keystore" in ran.stderr + ran.stdout
