"""The keystore: keys are encrypted, private to their owner, and never shown."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from eth_account import Account

from chain.keystore import (
    SCRYPT_WORK_RANDOM,
    SIGNER_KEY,
    KeystoreError,
    create_key,
    development_key,
    keys_dir,
    load_key,
    stored_key,
)

PASSPHRASE = "correct horse battery staple"


def test_a_stored_key_is_opened_by_its_passphrase_and_by_other_wallets(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    made = create_key(path, PASSPHRASE, work=SCRYPT_WORK_RANDOM)

    assert load_key(path, PASSPHRASE).address == made.address
    opened = Account.from_key(Account.decrypt(json.loads(path.read_text()), PASSPHRASE))
    assert opened.address.lower() == made.address


def test_a_wrong_passphrase_opens_nothing(tmp_path: Path) -> None:
    create_key(tmp_path / "key.json", PASSPHRASE, work=SCRYPT_WORK_RANDOM)

    with pytest.raises(KeystoreError):
        load_key(tmp_path / "key.json", "wrong")


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    made = create_key(path, PASSPHRASE, work=SCRYPT_WORK_RANDOM)

    with pytest.raises(FileExistsError):
        create_key(path, PASSPHRASE, work=SCRYPT_WORK_RANDOM)

    assert load_key(path, PASSPHRASE).address == made.address
    assert [one.name for one in tmp_path.iterdir()] == ["key.json"]


def test_a_file_that_others_could_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    create_key(path, PASSPHRASE, work=SCRYPT_WORK_RANDOM)
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    path.chmod(0o640)

    with pytest.raises(KeystoreError):
        load_key(path, PASSPHRASE)


def test_a_file_of_another_address_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    create_key(path, PASSPHRASE, work=SCRYPT_WORK_RANDOM)
    content = json.loads(path.read_text())
    content["address"] = "ab" * 20
    path.write_text(json.dumps(content))

    with pytest.raises(KeystoreError):
        load_key(path, PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"nothing", b'{"version": 3, "crypto": {}}'])
def test_a_file_that_is_no_keystore_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(KeystoreError):
        load_key(path, PASSPHRASE)


def test_a_key_that_is_not_there_is_an_error_outside_development(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError):
        stored_key(tmp_path, SIGNER_KEY)


def test_a_development_key_is_made_once_even_by_several_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        addresses = {
            key.address for key in pool.map(lambda _: development_key(tmp_path, SIGNER_KEY), range(16))
        }

    assert addresses == {stored_key(tmp_path, SIGNER_KEY).address}
    assert oct(keys_dir(tmp_path).stat().st_mode & 0o777) == "0o700"
    assert {oct(one.stat().st_mode & 0o777) for one in keys_dir(tmp_path).iterdir()} == {"0o600"}


def test_a_key_shows_its_address_only_and_is_never_serialised(tmp_path: Path) -> None:
    key = create_key(tmp_path / "key.json", PASSPHRASE, work=SCRYPT_WORK_RANDOM)
    secret = Account.decrypt(json.loads((tmp_path / "key.json").read_text()), PASSPHRASE).hex()

    assert repr(key) == f"SigningKey({key.address})"
    assert secret not in f"{key!r} {key!s} {vars(key)}"
    with pytest.raises(TypeError):
        pickle.dumps(key)
