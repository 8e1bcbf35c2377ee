"""Receipts: verified without a network by one public key, whatever else happens to the payment."""

import json
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from nugpay_client import ReceiptKeys, ReceiptRefused, receipt_text, verify_receipt
from nugpay_client.cbor import Tagged, decode, encode
from nugpay_client.receipts import read_message
from typer.testing import CliRunner

from foundation.ids import uuid7
from ops.cli import app
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_pins import DURESS, PIN, code
from wallets.receipt_keys import rotate_receipt_key

COSE = {"Accept": "application/cose"}
VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "cose-ed25519.json").read_text())


async def known(api: API) -> ReceiptKeys:
    return ReceiptKeys.from_json((await api.http.get("/v1/receipt_keys")).text)


async def receipt_of(phone: Phone, payment: httpx.Response) -> bytes:
    answer = await phone.get(f"/v1/payments/{payment.json()['id']}/receipt", headers=COSE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/cose"), answer.text
    return answer.content


async def test_both_verify_what_was_paid_and_only_the_payer_is_told_the_fee(api, aye, ko):
    reference = uuid4()
    paid = await aye.post("/v1/payments", aye.payment(ko, "25", reference=str(reference)))
    keys = await known(api)
    for phone, fee in ((aye, Decimal("0.025")), (ko, None)):
        data = await receipt_of(phone, paid)
        found = verify_receipt(data, keys)
        assert (found.payment_id, found.asset, found.amount) == (
            UUID(paid.json()["id"]), "USDT", Decimal(25),
        )  # fmt: skip
        assert (found.payer, found.payee, found.reference) == ("@aye_aye", "@ko_ko", reference)
        assert (
            found.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
            == (paid.json()["created_at"])
        )
        assert found.fee == fee
        told = (await phone.get(f"/v1/payments/{found.payment_id}/receipt")).json()
        assert told["receipt"] == receipt_text(data)
        assert verify_receipt(told["receipt"], keys) == found
        assert told["key_id"] == found.key_id
        # What a QR code of version 14 with error correction M holds as bytes.
        assert len(told["receipt"]) <= 362
    assert b"0.025" not in await receipt_of(ko, paid)


async def test_every_changed_bit_is_refused(api, aye, ko):
    data = await receipt_of(aye, await aye.pay(ko, "25"))
    keys = await known(api)
    codes = set()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ReceiptRefused) as refusal:
            verify_receipt(bytes(changed), keys)
        codes.add(refusal.value.code)
    assert codes == {"receipt_malformed", "receipt_key_unknown", "receipt_signature_wrong"}
    text = receipt_text(data)
    for at in range(len(text)):
        other = "A" if text[at] != "A" else "B"
        with pytest.raises(ReceiptRefused):
            verify_receipt(text[:at] + other + text[at + 1 :], keys)
    for cut in (data[:-1], data + b"\x00", data[1:], b"", b"\xd2" * 2000):
        with pytest.raises(ReceiptRefused):
            verify_receipt(cut, keys)


async def test_what_nobody_has_signed_may_not_stand_beside_what_was(api, aye, ko):
    data = await receipt_of(aye, await aye.pay(ko, "25"))
    message = read_message(data)
    parts = [message.protected, {99: "refunded"}, message.payload, message.signature]
    for forged in (
        encode(Tagged(18, parts)),
        encode(Tagged(98, decode(data).value)),
        encode(decode(data).value),
    ):
        with pytest.raises(ReceiptRefused, match="receipt_malformed"):
            verify_receipt(forged, await known(api))


def test_the_working_group_s_example_verifies_and_no_other():
    message = read_message(bytes.fromhex(VECTOR["cose_sign1"]))
    key = bytes.fromhex(VECTOR["public_key"])
    assert message.payload == VECTOR["payload"].encode()
    assert message.unprotected == {4: b"11"}
    assert message.is_signed_by(key)
    assert not message.is_signed_by(bytes([key[0] ^ 1]) + key[1:])


async def test_a_payment_that_was_given_back_has_the_same_receipt_as_before(api, aye, ko):
    paid = await aye.pay(ko, "25")
    before = await receipt_of(aye, paid)
    body = {"id": str(uuid7(api.clock)), "amount": "25"}
    path = f"/v1/payments/{paid.json()['id']}"
    assert (await ko.post(f"{path}/refunds", body)).status_code == 201
    assert await receipt_of(aye, paid) == before
    # The refund is no payment, and has no receipt that would say that it was one.
    refund = await aye.get(f"/v1/payments/{body['id']}/receipt")
    assert code(refund) == "payment_not_found"


async def test_receipts_are_for_payer_and_payee_alone(api, aye, ko, refusals):
    su = await api.phone("su_su")
    paid = await aye.pay(ko, "25")
    for payment_id, wanted in (
        (paid.json()["id"], "payment_not_found"),
        (str(uuid4()), "payment_not_found"),
        ("x" * 36, "id_malformed"),
    ):
        asked = su.get(f"/v1/payments/{payment_id}/receipt", headers=COSE)
        assert await refusals.code(asked, nonces=1) == wanted
    assert (await api.http.get(f"/v1/payments/{paid.json()['id']}/receipt")).status_code == 401


async def test_after_a_rotation_old_receipts_stay_good_and_new_ones_need_the_new_key(api, aye, ko):
    paid = await aye.pay(ko, "25")
    old, before = await receipt_of(aye, paid), await known(api)
    rotate_receipt_key(api.connections.settings.receipt_keys_path, api.clock)
    new, after = await receipt_of(aye, paid), await known(api)
    assert verify_receipt(old, after).key_id != verify_receipt(new, after).key_id
    with pytest.raises(ReceiptRefused, match="receipt_key_unknown"):
        verify_receipt(new, before)
    listed = (await api.http.get("/v1/receipt_keys")).json()["keys"]
    assert [each["until"] is None for each in listed] == [True, False]
    # Nothing private is told.
    assert {name for each in listed for name in each} == {
        "kty", "crv", "alg", "use", "kid", "x", "since", "until",
    }  # fmt: skip


async def test_a_decoy_s_receipts_are_as_good_and_as_large(api, aye, ko):
    await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle="@a_decoy_with_a_much_longer_na")
    await aye.log_in(PIN)
    real = await aye.pay("@a_decoy_with_a_much_longer_na", "20")
    sizes = set()
    for pin in (PIN, DURESS):
        await aye.log_in(pin)
        paid = real if pin == PIN else await aye.pay(ko, "2")
        answer = await aye.get(f"/v1/payments/{paid.json()['id']}/receipt", headers=COSE)
        assert answer.headers["content-type"] == "application/json"
        sizes.add((len(answer.content), *((name, len(value)) for name, value in answer.headers.items())))
        found = verify_receipt(answer.json()["receipt"], await known(api))
        assert (found.payer, found.amount) == (paid.json()["payer"], Decimal(paid.json()["amount"]))
    assert len(sizes) == 1


class TestCommand:
    async def test_it_verifies_bytes_text_and_answers_and_refuses_the_rest(self, api, aye, ko, tmp_path):
        paid = await aye.pay(ko, "25")
        data = await receipt_of(aye, paid)
        keys, file = tmp_path / "keys.json", tmp_path / "receipt"
        keys.write_text((await api.http.get("/v1/receipt_keys")).text)
        for content in (
            data,
            receipt_text(data).encode() + b"\n",
            (await aye.get(f"/v1/payments/{paid.json()['id']}/receipt")).content,
        ):
            file.write_bytes(content)
            shown = CliRunner().invoke(app, ["receipt", "verify", str(file), "--key", str(keys)])
            assert shown.exit_code == 0, shown.output
            assert "25.000000 USDT by @aye_aye to @ko_ko" in shown.output
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        refused = CliRunner().invoke(app, ["receipt", "verify", str(file), "--key", str(keys)])
        assert refused.exit_code == 1
        assert "receipt_signature_wrong" in str(refused.exception)
        keys.write_text("{}")
        refused = CliRunner().invoke(app, ["receipt", "verify", str(file), "--key", str(keys)])
        assert "holds no receipt keys" in str(refused.exception)

    def test_it_rotates_the_key_of_this_home(self, api, monkeypatch):
        settings = api.connections.settings
        before = api.connections.receipt_keys.keys().key_id
        monkeypatch.setattr("ops.wiring.current_settings", lambda: settings)
        shown = CliRunner().invoke(app, ["receipt", "rotate"])
        assert shown.exit_code == 0
        after = api.connections.receipt_keys.keys().key_id
        assert after != before
        assert after in shown.output
