"""Addresses of the EVM: read, shown, and computed before anything is there.

Inside the house an address is ``0x`` and 40 lower-case hex digits, as the tables
hold it. ``parse_address`` lets a person's text in and refuses a mistyped one,
``checksum`` is the EIP-55 form in which people are shown it. A customer's deposit
address is the CREATE2 address of a minimal clone (EIP-1167) made by the vault; it
is computed here without asking a node, and no key for it exists.
"""

from __future__ import annotations

import re
from uuid import UUID

from eth_hash.auto import keccak

from chain import rlp
from chain.errors import ChainCode
from foundation.errors import Refusal

ZERO_ADDRESS = "0x" + "00" * 20
"""The address that stands for minting and burning; nobody holds its key."""

_FORM = re.compile(r"0x[0-9a-fA-F]{40}")

# The minimal proxy of EIP-1167, as OpenZeppelin's Clones deploys it: creation code
# and run-time code around the implementation's address.
_CLONE_PREFIX = bytes.fromhex("3d602d80600a3d3981f3363d3d373d3d3d363d73")
_CLONE_SUFFIX = bytes.fromhex("5af43d82803e903d91602b57fd5bf3")


def parse_address(text: str) -> str:
    """The address that a person wrote, in lower case.

    All lower or all upper case digits carry no checksum and are taken; mixed case
    must be that of the checksum. Raises ``Refusal`` with ``address_malformed`` or
    ``address_checksum_mismatch``.
    """
    if not _FORM.fullmatch(text):
        raise Refusal(ChainCode.ADDRESS_MALFORMED, "An address is 0x and 40 hexadecimal digits.")
    digits = text[2:]
    # A wrong letter in a mixed-case address changes its checksum: the one defence
    # against a typing error, since every 20 bytes are somebody's address.
    if digits not in {digits.lower(), digits.upper()} and checksum(text) != text:
        raise Refusal(
            ChainCode.ADDRESS_CHECKSUM_MISMATCH, "The address' capitals do not fit it: it was mistyped."
        )
    return text.lower()


def checksum(address: str) -> str:
    """The address in EIP-55 form: capitals chosen by its hash."""
    digits = address[2:].lower()
    nibbles = keccak(digits.encode()).hex()[:40]
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(digits, nibbles, strict=True)
    )


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address in any letter case."""
    value = bytes.fromhex(address.removeprefix("0x"))
    if len(value) != 20:
        raise ValueError(f"{address} is not an address")
    return value


def deposit_salt(owner: UUID, epoch: int = 0) -> bytes:
    """The 32-byte CREATE2 salt of an owner's deposit address; each epoch is another address.

    The salt is public once the address is swept; only who knows the owner's id
    can tell whose it is.
    """
    return keccak(b"nugpay deposit address\x00" + owner.bytes + epoch.to_bytes(8, "big"))


def deposit_address(*, vault: str, implementation: str, salt: bytes) -> str:
    """The deposit address that ``vault`` deploys for ``salt`` (32 bytes), in lower case.

    Equal to the contract's ``depositAddress(salt)``. ``implementation`` is the
    vault's ``IMPLEMENTATION()``.
    """
    if len(salt) != 32:
        raise ValueError(f"a salt has 32 bytes, not {len(salt)}")
    code = _CLONE_PREFIX + address_bytes(implementation) + _CLONE_SUFFIX
    return "0x" + keccak(b"\xff" + address_bytes(vault) + salt + keccak(code))[12:].hex()


def contract_address(deployer: str, nonce: int) -> str:
    """The address of the contract that ``deployer`` creates with ``nonce``, in lower case."""
    return "0x" + keccak(rlp.encode([address_bytes(deployer), nonce]))[12:].hex()
