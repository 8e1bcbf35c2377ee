"""Device keys: what is accepted as one, how it is named, what it verifies."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nugpay_client import keys as client_keys

from foundation.errors import Refusal
from identity.errors import IdentityCode
from identity.keys import KeyAlgorithm, PublicKey

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "rfc9421.json").read_text())["vectors"]


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _refused(jwk: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refusal:
        PublicKey.from_jwk(jwk)
    assert refusal.value.code is IdentityCode.PUBLIC_KEY_MALFORMED


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_signatures_of_rfc_9421_verify(vector):
    key = PublicKey.from_jwk(vector["jwk"])
    base = "\n".join(vector["signature_base"]).encode()
    signature = base64.b64decode(vector["signature"])

    assert key.algorithm == vector["algorithm"]
    assert key.verifies(signature, base)
    assert not key.verifies(signature, base + b" ")
    assert not key.verifies(bytes([signature[0] ^ 1]) + signature[1:], base)


def test_the_thumbprint_is_that_of_rfc_8037():
    # RFC 8037 appendix A.3.
    key = PublicKey.from_jwk(
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    )
    assert key.key_id == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256-sha256"])
def test_a_key_survives_its_journey_as_jwk(algorithm):
    pair = client_keys.DeviceKey.generate(algorithm)
    key = PublicKey.from_jwk(pair.public_jwk)

    assert key.key_id == client_keys.key_id(pair.public_jwk)
    assert PublicKey.from_jwk(key.to_jwk()) == key
    assert PublicKey(KeyAlgorithm(algorithm), key.raw) == key
    assert key.verifies(pair.sign(b"message"), b"message")


@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_a_signature_of_another_length_does_not_verify(length):
    for algorithm in ("ed25519", "ecdsa-p256-sha256"):
        key = PublicKey.from_jwk(client_keys.DeviceKey.generate(algorithm).public_jwk)
        assert not key.verifies(b"\0" * length, b"message")


def test_the_zero_signature_of_ecdsa_does_not_verify():
    # CVE-2022-21449: r = s = 0 passed for everything in one well-known library.
    key = PublicKey.from_jwk(client_keys.DeviceKey.generate("ecdsa-p256-sha256").public_jwk)
    assert not key.verifies(bytes(64), b"message")


@pytest.mark.parametrize(
    "y",
    [
        0,
        1,
        2**255 - 20,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        2**255 - 19,
        2**255 - 18,
        2**255 - 1,
    ],
)
@pytest.mark.parametrize("sign", [0, 1])
def test_ed25519_keys_for_which_anybody_can_sign_are_refused(y, sign):
    _refused({"kty": "OKP", "crv": "Ed25519", "x": _b64((y | sign << 255).to_bytes(32, "little"))})


def test_a_point_off_the_curve_is_refused():
    good = client_keys.DeviceKey.generate("ecdsa-p256-sha256").public_jwk
    _refused({**good, "y": good["x"]})
    _refused({**good, "x": _b64(bytes(32)), "y": _b64(bytes(32))})


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "OKP"},
        {"kty": "OKP", "crv": "X25519", "x": _b64(bytes(32))},
        {"kty": "OKP", "crv": "Ed25519", "x": _b64(bytes(31))},
        {"kty": "OKP", "crv": "Ed25519", "x": _b64(bytes(33))},
        {"kty": "OKP", "crv": "Ed25519", "x": base64.b64encode(bytes(32)).decode()},
        {"kty": "EC", "crv": "P-384", "x": _b64(bytes(32)), "y": _b64(bytes(32))},
        {"kty": "EC", "crv": "P-256", "x": _b64(bytes(32))},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "oct", "k": _b64(bytes(32))},
    ],
)
def test_what_is_no_key_of_ours_is_refused(jwk):
    _refused(jwk)


def test_a_private_key_is_refused_not_read():
    good = client_keys.DeviceKey.generate().public_jwk
    _refused({**good, "d": _b64(bytes(32))})


def test_a_second_spelling_of_a_coordinate_is_refused():
    good = client_keys.DeviceKey.generate().public_jwk
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # The last of 43 characters carries 4 bits; the other two must be zero.
    other = alphabet[alphabet.index(good["x"][-1]) | 1]
    _refused({**good, "x": good["x"][:-1] + other})


@given(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "d"]), st.text(max_size=60), max_size=5))
def test_no_dictionary_of_texts_crashes_the_reader(jwk):
    _refused(jwk)
