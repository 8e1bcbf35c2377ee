"""Memos are sealed as RFC 9180 says, open beside their own payment only, and tell no length."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nugpay_client import MemoKeys, MemoRefused, open_memo, seal_memo
from nugpay_client.memos import MEMO_BYTES, SUITE, TEXT_BYTES_MAX

from wallets import memos as of_the_server

VECTOR = json.loads((Path(__file__).parents[1] / "vectors/hpke-x25519-chacha20poly1305.json").read_text())

AYE, KO, EVE = (MemoKeys.generate(handle) for handle in ("@aye_aye", "@ko_ko", "@eve_eve"))
PAYMENT = uuid4()


def sealed(text: str, payee_key: str = KO.public_text) -> str:
    return seal_memo(text, payment_id=PAYMENT, payer=AYE, payee="@ko_ko", payee_key=payee_key)


def opened(memo: str, keys: MemoKeys, **more: Any) -> str:
    about: dict[str, Any] = {"payment_id": PAYMENT, "payer": "@aye_aye", "payee": "@ko_ko"}
    return open_memo(memo, keys, **(about | more))


def raw(memo: str) -> bytes:
    return base64.urlsafe_b64decode(memo)


def text_of(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()


def test_the_suite_opens_what_rfc_9180_sealed():
    values = {name: bytes.fromhex(value) for name, value in VECTOR.items() if name != "source"}
    key = X25519PrivateKey.from_private_bytes(values["skRm"])
    assert key.public_key().public_bytes_raw() == values["pkRm"]
    # The RFC's vectors have additional data, which the public methods leave empty.
    found = openssl.hpke._decrypt_with_aad(
        SUITE, values["enc"] + values["ct"], key, values["info"], values["aad"]
    )
    assert found == values["pt"] == b"Beauty is truth, truth beauty"


@pytest.mark.parametrize("text", ["", "For the rice", "ဆန်ဖိုး", "a\0b", "x" * TEXT_BYTES_MAX])
def test_both_parties_read_it(text):
    memo = sealed(text)
    assert opened(memo, AYE) == text == opened(memo, KO)
    assert opened(memo, KO, payer="AYE_AYE", payee="Ko_Ko") == text


def test_lengths_are_three_and_are_those_of_the_server():
    lengths = {len(raw(sealed("x" * count))) for count in range(TEXT_BYTES_MAX + 1)}
    assert lengths == set(MEMO_BYTES) == set(of_the_server.MEMO_BYTES)


def test_the_same_text_is_never_the_same_memo():
    assert len({sealed("For the rice") for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"text": "x" * (TEXT_BYTES_MAX + 1)}, "memo_too_long"),
        ({"text": "\ud800"}, "memo_malformed"),
        ({"payee_key": "AAAA"}, "memo_key_malformed"),
        ({"payee_key": "A" * 43}, "memo_key_malformed"),
        ({"payee_key": "A" * 41}, "memo_key_malformed"),
    ],
    ids=["long", "no text", "short key", "key of small order", "no base64url"],
)
def test_what_cannot_be_sealed_is_refused_by_a_code(how, code):
    with pytest.raises(MemoRefused) as refusal:
        sealed(**({"text": "hello"} | how))
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "moved",
    [{"payment_id": uuid4()}, {"payer": "@eve_eve"}, {"payee": "@eve_eve"}],
    ids=["payment", "payer", "payee"],
)
@pytest.mark.parametrize("keys", [AYE, KO], ids=["by its payer", "by its payee"])
def test_a_memo_that_was_moved_opens_for_nobody(keys, moved):
    with pytest.raises(MemoRefused) as refusal:
        opened(sealed("hello"), keys, **moved)
    assert refusal.value.code == "memo_not_readable"


def test_nobody_else_reads_it_and_no_handle_helps():
    memo = sealed("hello")
    for handle in ("@eve_eve", "@aye_aye", "@ko_ko"):
        with pytest.raises(MemoRefused):
            opened(memo, replace(EVE, handle=handle))


def test_every_bit_that_the_payee_reads_is_protected():
    memo = raw(sealed("hello"))
    for place in range(len(memo)):
        bent = memo[:place] + bytes([memo[place] ^ 1]) + memo[place + 1 :]
        with pytest.raises(MemoRefused) as refusal:
            opened(text_of(bent), KO)
        assert refusal.value.code == ("memo_not_readable" if place else "memo_malformed")


@pytest.mark.parametrize("memo", ["", "AAAA", "!" * 512, "A" * 513, "A" * 512])
def test_what_is_no_memo_is_refused_as_such(memo):
    with pytest.raises(MemoRefused) as refusal:
        opened(memo, KO)
    assert refusal.value.code == "memo_malformed"


def test_a_former_key_reads_former_memos_and_the_new_one_does_not():
    memo = sealed("hello")
    renewed = KO.renewed()
    assert renewed.public_text != KO.public_text
    kept = MemoKeys.from_json(json.loads(json.dumps(renewed.to_json())))
    assert (kept.public_text, kept.to_json()) == (renewed.public_text, renewed.to_json())
    assert opened(memo, kept) == "hello"
    with pytest.raises(MemoRefused):
        opened(memo, replace(kept, former=()))
    assert "PrivateKey" not in repr(kept)
