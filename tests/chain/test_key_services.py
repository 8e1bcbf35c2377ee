"""Key services: another implementation than the keystore signs, and nothing of it is believed."""

import asyncio
import secrets
from typing import Any

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from chain.addresses import checksum
from chain.key_services import CURVE_ORDER, KeyService, sign_with, unavailable
from chain.keystore import SigningKey
from chain.signer import Signer
from chain.signer_client import SignerClient
from chain.signer_policy import SignerPolicy
from chain.signer_server import serving, signing_log_path
from chain.signing_log import SigningLog, SigningLogError
from chain.transactions import Transaction, key_address
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import InvariantViolation, Unavailable
from identity.keys import PublicKey
from tests.fixtures.contracts import CAPS, running_signer
from tests.fixtures.signing import Orders

TRANSACTION = Transaction(
    chain_id=31337,
    nonce=7,
    max_priority_fee_per_gas=1,
    max_fee_per_gas=2,
    gas_limit=21_000,
    to="0x" + "22" * 20,
    data=b"\x01\x02",
)


class CloudKey:
    """A key as a cloud's service holds it: random signatures in DER, half of them with a high s."""

    def __init__(self, secret: bytes) -> None:
        self._key = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256K1())
        self.address = key_address(PrivateKey(secret))
        self.asked = 0
        self.away = False

    async def sign_digest(self, digest: bytes) -> bytes:
        self.asked += 1
        if self.away:
            raise unavailable("it does not answer")
        r, s = decode_dss_signature(self._key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
        high = max(s, CURVE_ORDER - s) if self.asked % 2 else min(s, CURVE_ORDER - s)
        return encode_dss_signature(r, high)


class LyingKey:
    """A service that answers what it likes."""

    def __init__(self, address: str, answer: bytes) -> None:
        self.address = address
        self.answer = answer

    async def sign_digest(self, _digest: bytes) -> bytes:
        return self.answer


async def test_the_keystore_as_a_service_gives_the_bytes_that_it_gives_itself() -> None:
    key = SigningKey(PrivateKey(secrets.token_bytes(32)))

    assert await sign_with(key, TRANSACTION) == key.sign(TRANSACTION)


async def test_a_cloud_s_signature_is_taken_with_the_low_s_and_is_the_address_s() -> None:
    key = CloudKey(secrets.token_bytes(32))

    for _ in range(20):
        signed = await sign_with(key, TRANSACTION)
        # eth-account, another implementation, refuses no high s; the chain does: so look.
        assert Account.recover_transaction(signed.raw) == checksum(key.address)
        # A number is written without its leading zeros, so it is not always the last 32 bytes.
        s = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()["s"]
        assert int(s) <= CURVE_ORDER // 2


@pytest.mark.parametrize("kind", ["nonsense", "empty", "another key", "zero", "another digest"])
async def test_what_is_no_signature_of_the_address_does_not_leave(kind: str) -> None:
    key, other = CloudKey(secrets.token_bytes(32)), CloudKey(secrets.token_bytes(32))
    answer = {
        "nonsense": b"\x30\x03abc",
        "empty": b"",
        "another key": await other.sign_digest(TRANSACTION.digest()),
        "zero": encode_dss_signature(0, 0),
        "another digest": await key.sign_digest(b"\x07" * 32),
    }[kind]

    with pytest.raises(InvariantViolation):
        await sign_with(LyingKey(key.address, answer), TRANSACTION)


class TestSignerWithACloudKey:
    @pytest.fixture
    def key(self) -> CloudKey:
        return CloudKey(secrets.token_bytes(32))

    def signer(self, orders: Orders, key: KeyService, database: Database, clock: SettableClock) -> Any:
        log = SigningLog(signing_log_path(orders.contracts.home, orders.contracts.deployment))
        signer = Signer(
            key=key,
            deployment=orders.contracts.deployment,
            policy=SignerPolicy(caps=CAPS),
            read_key=PublicKey.from_jwk,
            log=log,
            database=database,
            clock=clock,
        )
        return log, signer

    async def test_the_same_request_gives_the_bytes_of_the_log_and_asks_the_service_once(
        self, orders: Orders, key: CloudKey, database: Database, clock: SettableClock
    ) -> None:
        order_id = await orders.withdrawal()
        socket = orders.contracts.home / "signer.sock"
        given = []
        for _ in range(2):
            log, signer = self.signer(orders, key, database, clock)
            async with serving(signer, socket):
                given += [await orders.sign(SignerClient(socket), order_id) for _ in range(2)]
            log.close()

        assert len({signed.raw for signed in given}) == 1
        assert key.asked == 1
        assert len(orders.log_lines()) == 1

    async def test_a_service_that_is_away_holds_up_and_decides_nothing(
        self, orders: Orders, key: CloudKey, database: Database, clock: SettableClock
    ) -> None:
        order_id = await orders.withdrawal()
        socket = orders.contracts.home / "signer.sock"
        log, signer = self.signer(orders, key, database, clock)
        async with serving(signer, socket) as failed:
            key.away = True
            with pytest.raises(Unavailable) as away:
                await orders.sign(SignerClient(socket), order_id)
            assert away.value.outcome_unknown is False
            assert orders.log_lines() == []
            key.away = False
            await orders.sign(SignerClient(socket), order_id)
            await asyncio.sleep(0)
            assert not failed.done()
        log.close()

    async def test_a_key_put_in_another_s_place_by_hand_does_not_sign(
        self, orders: Orders, key: CloudKey, database: Database, clock: SettableClock
    ) -> None:
        async with running_signer(orders.contracts, database, clock) as signer:
            await orders.sign(signer, await orders.withdrawal())

        with pytest.raises(SigningLogError, match="rotate"):
            self.signer(orders, key, database, clock)
