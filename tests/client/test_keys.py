"""Device keys of the client: made, saved encrypted, loaded, and refused when they are none of ours."""

import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nugpay_client import DeviceKey, key_id

ALGORITHMS = ["ed25519", "ecdsa-p256-sha256"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_saved_encrypted_and_read_back(tmp_path, algorithm):
    key, path = DeviceKey.generate(algorithm), tmp_path / "device.pem"
    key.save(path, b"a passphrase")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    read = DeviceKey.load(path, b"a passphrase")
    assert (read.algorithm, read.public_jwk) == (algorithm, key.public_jwk)
    with pytest.raises(ValueError, match="password"):
        DeviceKey.load(path, b"another")


def test_a_key_never_replaces_another(tmp_path):
    path = tmp_path / "device.pem"
    DeviceKey.generate().save(path, b"a passphrase")
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        DeviceKey.generate().save(path, b"a passphrase")
    assert path.read_bytes() == before


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_signature_has_64_bytes(algorithm):
    key = DeviceKey.generate(algorithm)
    assert {len(key.sign(bytes([number]))) for number in range(100)} == {64}


def test_other_keys_are_refused():
    with pytest.raises(ValueError, match="P-256"):
        DeviceKey(ec.generate_private_key(ec.SECP384R1()))
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(TypeError):
        DeviceKey.from_pem(pem, None)


def test_a_key_is_named_by_its_thumbprint():
    # RFC 8037 appendix A.3.
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert key_id(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
