"""Keystore: private keys at rest, encrypted, one file a key.

The files are those of Ethereum wallets (Web3 secret storage, version 3, scrypt),
so a key can be brought in and taken out with any of them. A file and its
passphrase are readable by their owner only, and are refused when anybody else
could read them. A key in memory never prints itself.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Any, Final

import msgspec
from coincurve import PrivateKey

from chain.transactions import SignedTransaction, Transaction, key_address, sign
from foundation.errors import NUGPayError

SCRYPT_WORK = 2**18
"""scrypt's N for a passphrase that a person chose: about a second and 256 MB a try."""

SCRYPT_WORK_RANDOM = 2**12
"""scrypt's N where the passphrase is 256 random bits, which no work factor makes safer."""

PASSPHRASE_FILE = "passphrase"  # noqa: S105 - the name of a file, not a passphrase.
"""Name of the file, beside the keys, that holds their passphrase."""

SIGNER_KEY = "signer"
"""The key of the signer process: pays withdrawals from the vault, sweeps into it."""

NEXT_SIGNER_KEY = "signer.next"
"""The key that the signer's is being rotated to; not used for anything until it is."""

ADMINISTRATOR_KEY = "administrator"
"""Development only: deploys the contracts, grants roles, issues the development tokens."""

COLD_KEY = "cold"
"""Development only: stands for the Safe that a real vault names as its cold address."""


class KeystoreError(NUGPayError):
    """A key cannot be used: not there, not private, or not opened by its passphrase."""


class SigningKey:
    """A private key that signs transactions and shows its address, nothing else."""

    def __init__(self, key: PrivateKey) -> None:
        self._key: Final = key
        self.address: Final = key_address(key)
        """Lower case."""

    def __repr__(self) -> str:
        return f"SigningKey({self.address})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a private key is never serialised")

    def sign(self, transaction: Transaction) -> SignedTransaction:
        """Sign; equal fields give equal bytes."""
        return sign(transaction, self._key)

    async def sign_digest(self, digest: bytes) -> bytes:
        """As ``chain.key_services.KeyService`` says; equal digests give equal signatures."""
        signature: bytes = self._key.sign(digest, hasher=None)
        return signature


def keys_dir(home: Path) -> Path:
    """Where a machine's keys are."""
    return home / "keys"


def create_key(path: Path, passphrase: str, *, work: int = SCRYPT_WORK) -> SigningKey:
    """Make a new random key and store it. Raises ``FileExistsError`` rather than replace one."""
    from eth_keyfile.keyfile import create_keyfile_json

    key = PrivateKey(secrets.token_bytes(32))
    content = create_keyfile_json(key.secret, passphrase.encode(), kdf="scrypt", iterations=work)
    # The key is used only after its file is safe on disk: an address that was shown
    # to anybody must not lose its key to a crash.
    _write_private(path, msgspec.json.encode(content))
    return SigningKey(key)


def load_key(path: Path, passphrase: str) -> SigningKey:
    """Open a stored key. Raises ``KeystoreError``."""
    # It brings in pairing arithmetic, half a second of it: only where a key is opened.
    from eth_keyfile.keyfile import decode_keyfile_json

    stored = _read_private(path)
    try:
        content = msgspec.json.decode(stored, type=dict[str, Any])
        secret = decode_keyfile_json(content, passphrase.encode())
    # msgspec's errors are ValueErrors too.
    except (ValueError, KeyError, TypeError) as error:
        raise KeystoreError(f"{path} is not opened by its passphrase, or is no keystore file") from error
    key = SigningKey(PrivateKey(secret))
    said = content.get("address", "").removeprefix("0x").lower()
    if said and "0x" + said != key.address:
        raise KeystoreError(f"{path} says it is the key of another address")
    return key


def stored_key(home: Path, name: str) -> SigningKey:
    """The key ``name`` of this machine, opened with the passphrase beside it. Raises ``KeystoreError``."""
    directory = keys_dir(home)
    return load_key(directory / f"{name}.json", _read_private(directory / PASSPHRASE_FILE).decode().strip())


def development_key(home: Path, name: str) -> SigningKey:
    """As ``stored_key``, but makes the key, and a random passphrase, where there is none.

    For the development chain only: nobody has a copy of what is made here.
    """
    directory = keys_dir(home)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    passphrase_path = directory / PASSPHRASE_FILE
    if not passphrase_path.exists():
        _write_passphrase(passphrase_path)
    path = directory / f"{name}.json"
    if not path.exists():
        passphrase = _read_private(passphrase_path).decode().strip()
        # If another process makes it at the same moment, its key is the one.
        with contextlib.suppress(FileExistsError):
            return create_key(path, passphrase, work=SCRYPT_WORK_RANDOM)
    return stored_key(home, name)


def further_key(home: Path, name: str, *, work: int = SCRYPT_WORK) -> SigningKey:
    """As ``stored_key``, but makes the key where there is none, under the passphrase that is there.

    Raises ``KeystoreError`` where no passphrase is: that is chosen by whoever set up the keys.
    """
    directory = keys_dir(home)
    path = directory / f"{name}.json"
    if not path.exists():
        passphrase = _read_private(directory / PASSPHRASE_FILE).decode().strip()
        with contextlib.suppress(FileExistsError):
            return create_key(path, passphrase, work=work)
    return stored_key(home, name)


def replace_key(home: Path, *, old: str, new: str, kept: str) -> None:
    """Give the key ``new`` the name ``old``, and keep the old one as ``kept``.

    At no moment is there no key of that name, whatever dies: the old file gets its
    second name first, and one rename puts the new one in its place.
    """
    directory = keys_dir(home)
    with contextlib.suppress(FileExistsError):
        os.link(directory / f"{old}.json", directory / f"{kept}.json")
    (directory / f"{new}.json").replace(directory / f"{old}.json")
    _sync_directory(directory)


def _write_passphrase(path: Path) -> None:
    # If another process makes it at the same moment, its passphrase is the one.
    with contextlib.suppress(FileExistsError):
        _write_private(path, secrets.token_urlsafe(32).encode() + b"\n")


def _write_private(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only; never over another."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name is taken, a rename would replace a key.
        os.link(draft, path)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeystoreError(f"{path} can be read by others: chmod 600 it, and think the key stolen")
            return file.read()
    except FileNotFoundError as error:
        raise KeystoreError(f"{path} does not exist") from error
