"""The client asks: payees shown, payment codes made and paid, requests answered once on bad networks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nugpay_client import (
    Acceptance,
    InsufficientFunds,
    NotFound,
    OutcomeUnknown,
    PayeeUnknown,
    PaymentCode,
    PaymentCodeRefused,
    RequestNotOpen,
    RequestOrder,
    TooManyRequests,
    read_payment_code,
)
from nugpay_client.payment_codes import ASSETS as CLIENT_ASSETS

from foundation.assets import ASSETS, USDT
from foundation.clock import SECOND_NS
from foundation.errors import Refusal
from foundation.money import AMOUNT_LIMIT, Money
from tests.client.test_wallet import lost_answer, lost_request, unknown
from tests.wallet_api.conftest import BASE
from wallets import payment_codes as server
from wallets.handle_lookups import LOOKUPS_PER_MINUTE


class TestPayee:
    async def test_whom_a_handle_belongs_to_is_shown_before_paying(self, wallets):
        aye, ko = await wallets("aye_aye"), await wallets("ko_ko")
        found = await aye.payee("@KO_ko")
        assert (found.handle, found.can_be_paid, found.assets[0]) == ("@ko_ko", True, "USDT")
        assert not (await ko.payee("ko_ko")).can_be_paid
        with pytest.raises(NotFound):
            await aye.payee("nobody_here")

    async def test_asking_too_often_is_said_at_once_and_not_tried_again(self, wallets, network):
        aye = await wallets("aye_aye")
        # Opening the wallet was one look-up.
        for number in range(LOOKUPS_PER_MINUTE - 1):
            with pytest.raises(NotFound):
                await aye.payee(f"nobody_{number}")
        network.seen.clear()
        with pytest.raises(TooManyRequests) as refusal:
            await aye.payee("nobody_more")
        assert refusal.value.problem.data["retry_after_seconds"] > 0
        assert len(network.seen) == 1


@st.composite
def codes(draw: st.DrawFn) -> tuple[PaymentCode, server.PaymentCode]:
    """The same code as the client and as the server has it."""
    asset = draw(st.sampled_from(ASSETS))
    handle = draw(st.from_regex(r"[a-z][a-z0-9_]{2,29}", fullmatch=True))
    minor = draw(st.none() | st.integers(1, AMOUNT_LIMIT))
    seconds = draw(st.none() | st.integers(1, 253_402_300_799))
    reference = draw(st.none() | st.uuids(allow_nil=False))
    amount = Money(minor, asset) if minor is not None else None
    expires_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds) if seconds else None
    expires_at_ns = seconds * SECOND_NS if seconds else None
    decimal = Decimal(amount.format()) if amount is not None else None
    return (
        PaymentCode(f"@{handle}", asset.code, decimal, expires_at, reference),
        server.PaymentCode(handle, asset, amount, expires_at_ns, reference),
    )


class TestCodes:
    def test_the_client_knows_every_asset(self):
        assert {asset.ledger: (asset.code, asset.scale) for asset in ASSETS} == CLIENT_ASSETS

    @settings(deadline=None)
    @given(codes())
    def test_client_and_server_write_and_read_the_same_texts(self, both):
        ours, theirs = both
        forms = [ours.qr_text, ours.uri, ours.link(BASE)]
        assert forms == [server.qr_text(theirs), server.uri(theirs), server.link(theirs, BASE)]
        with localcontext() as context:
            # Whatever the application's decimal context is, amounts are exact.
            context.prec = 3
            for text in forms:
                assert read_payment_code(text, base_url=BASE) == ours
                assert server.read_payment_code(text, base_url=BASE) == theirs

    @settings(deadline=None, max_examples=300)
    @given(codes(), st.data())
    def test_client_and_server_refuse_the_same_texts_by_the_same_code(self, both, data):
        text = list(both[0].link(BASE) if data.draw(st.booleans()) else both[0].qr_text)
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(text) - 1))
            text[place] = data.draw(st.sampled_from("ABCXYZ234567019abz:/.- \n") | st.characters())
        assert client_says("".join(text)) == server_says("".join(text))

    @pytest.mark.parametrize(
        "changes",
        [
            {"payee": "K"},
            {"payee": "@@ko_ko"},
            {"asset": "XYZ"},
            {"amount": Decimal(0)},
            {"amount": Decimal(-1)},
            {"amount": Decimal("0.0000001")},
            {"amount": Decimal("1.0000000000000000000000000000000001")},
            {"amount": Decimal("1E30")},
            {"expires_at": datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)},
            {"expires_at": datetime(1970, 1, 1, tzinfo=UTC)},
            {"reference": UUID(int=0)},
        ],
    )
    def test_a_code_that_cannot_be_is_not_made(self, changes):
        with pytest.raises(ValueError, match=r"a payment code|an amount|an expiry|a reference"):
            PaymentCode(**{"payee": "@ko_ko", "asset": "USDT", **changes})

    async def test_a_code_is_made_scanned_and_paid(self, api, wallets):
        aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
        reference = uuid4()
        expires_at = datetime.fromtimestamp(api.clock.now_ns() // SECOND_NS + 600, UTC)
        made = PaymentCode((await ko.info()).handle, "USDT", Decimal(25), expires_at, reference)
        for text in (made.qr_text, made.uri, made.link(BASE)):
            assert aye.read_code(text) == made
        order = aye.order_of_code(aye.read_code(made.qr_text), fee_max="0.03")
        payment = await aye.pay(order)
        assert (payment.payee, payment.amount, payment.reference) == ("@ko_ko", 25, reference)
        assert payment == await aye.pay(order)

        api.clock.advance(600)
        with pytest.raises(PaymentCodeRefused) as refusal:
            aye.read_code(made.uri)
        assert refusal.value.code == "payment_code_expired"

    async def test_the_payer_chooses_an_amount_where_the_code_has_none_and_only_there(self, wallets):
        aye = await wallets("aye_aye", "100")
        await wallets("ko_ko")
        free, fixed = PaymentCode("@ko_ko", "USDT"), PaymentCode("@ko_ko", "USDT", Decimal(1))
        assert (await aye.pay(aye.order_of_code(free, amount="2.5"))).amount == Decimal("2.5")
        for code, amount in ((free, None), (fixed, "1")):
            with pytest.raises(ValueError, match="an amount is given"):
                aye.order_of_code(code, amount=amount)

    def test_the_client_counts_minor_units_as_the_server_does(self):
        read = server.read_payment_code(PaymentCode("@ko_ko", "USDT", Decimal("0.000001")).uri)
        assert read.amount == Money(1, USDT)


def server_says(text: str) -> str:
    """The code in a text, or why there is none."""
    try:
        return server.uri(server.read_payment_code(text, base_url=BASE))
    except Refusal as refusal:
        return str(refusal.code)


def client_says(text: str) -> str:
    try:
        return read_payment_code(text, base_url=BASE).uri
    except PaymentCodeRefused as refusal:
        return refusal.code


class TestRequests:
    async def test_a_request_is_made_listed_and_accepted_once(self, wallets):
        aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
        order = ko.requests.order("@aye_aye", "25", "USDT", reference=uuid4())
        made = await ko.requests.ask(RequestOrder.from_json(order.to_json()))
        assert made == await ko.requests.ask(order)
        (listed,) = [each async for each in aye.requests.list("payer", state="open")]
        assert listed == made

        acceptance = aye.requests.acceptance(listed, fee_max="0.03")
        payment = await aye.requests.accept(Acceptance.from_json(acceptance.to_json()))
        assert payment == await aye.requests.accept(acceptance)
        assert (payment.reference, payment.amount) == (made.id, 25)
        seen = await ko.requests.get(made.id)
        assert (seen.state, seen.payment_id) == ("accepted", payment.id)
        for deciding in (
            aye.requests.decline(made.id),
            ko.requests.cancel(made.id),
            aye.requests.accept(aye.requests.acceptance(listed)),
        ):
            with pytest.raises(RequestNotOpen) as refusal:
                await deciding
            assert refusal.value.problem.data["state"] == "accepted"

    @pytest.mark.parametrize(
        "accidents",
        [[lost_answer], [lost_request, lost_answer], [lost_answer, lost_request], [unknown, unknown]],
        ids=["answer", "request+answer", "answer+request", "unknown+unknown"],
    )
    async def test_an_acceptance_whose_answer_is_lost_pays_once(self, wallets, network, accidents):
        aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
        made = await ko.requests.ask(ko.requests.order("@aye_aye", "25", "USDT"))
        acceptance = aye.requests.acceptance(made)
        network.accidents = list(accidents)
        payment = await aye.requests.accept(acceptance)
        assert payment == await aye.requests.accept(acceptance)
        assert (await ko.balances())["USDT"].available == 25

    async def test_an_outcome_that_stays_unknown_is_said_to_be_and_settled_later(self, wallets, network):
        aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
        made = await ko.requests.ask(ko.requests.order("@aye_aye", "25", "USDT"))
        acceptance = aye.requests.acceptance(made)
        network.accidents = [lost_answer, *[lost_request] * 20]
        with pytest.raises(OutcomeUnknown):
            await aye.requests.accept(acceptance)
        network.accidents = []
        assert (await aye.requests.accept(acceptance)).id == acceptance.payment_id
        assert (await ko.balances())["USDT"].available == 25

    async def test_asking_and_closing_survive_lost_answers(self, wallets, network):
        aye, ko = await wallets("aye_aye"), await wallets("ko_ko")
        order = ko.requests.order("@aye_aye", "25", "USDT")
        network.accidents = [lost_answer, lost_request]
        made = await ko.requests.ask(order)
        network.accidents = [lost_answer]
        assert (await aye.requests.decline(made.id)).state == "declined"
        other = await ko.requests.ask(ko.requests.order("@aye_aye", "25", "USDT"))
        network.accidents = [lost_answer]
        assert (await ko.requests.cancel(other.id)).state == "cancelled"

    async def test_pages_are_fetched_as_they_are_read(self, wallets, network):
        aye, ko = await wallets("aye_aye"), await wallets("ko_ko")
        made = [(await ko.requests.ask(ko.requests.order("@aye_aye", "1", "USDT"))).id for _ in range(5)]
        network.seen.clear()
        found = [each.id async for each in aye.requests.list("payer", page=2)]
        assert sorted(found) == sorted(made)
        assert len(network.seen) == 3

    async def test_refusals_have_their_classes(self, wallets):
        aye, ko = await wallets("aye_aye", "1"), await wallets("ko_ko")
        made = await ko.requests.ask(ko.requests.order("@aye_aye", "1000", "USDT"))
        with pytest.raises(InsufficientFunds) as refusal:
            await aye.requests.accept(aye.requests.acceptance(made))
        assert refusal.value.needs_new_id
        with pytest.raises(PayeeUnknown):
            await ko.requests.ask(ko.requests.order("@nobody", "1", "USDT"))
        with pytest.raises(NotFound):
            await ko.requests.decline(made.id)
        for _ in range(4):
            await ko.requests.ask(ko.requests.order("@aye_aye", "1", "USDT"))
        with pytest.raises(TooManyRequests):
            await ko.requests.ask(ko.requests.order("@aye_aye", "1", "USDT"))
