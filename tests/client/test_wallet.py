"""The client's wallet: what it does when all is well, and what when answers are lost."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from nugpay_client import (
    AnswerMalformed,
    DeviceClock,
    DeviceKey,
    DeviceRevoked,
    EnrolmentRefused,
    FeeTooHigh,
    HandleUnavailable,
    IdAlreadyUsed,
    InsufficientFunds,
    LimitExceeded,
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    PayeeUnknown,
    PaymentOrder,
    RequestRefused,
    RetryPolicy,
    ServiceUnavailable,
    Unreachable,
    WaitedTooLong,
    Wallet,
    WithdrawalOrder,
)

from chain.deployments import Deployment, TokenInfo, save_deployment
from foundation.assets import USDT
from identity.devices import list_devices, revoke_device
from tests.wallet_api.conftest import API, BASE, Phone

QUICK = RetryPolicy(attempts=4, pause_seconds=0.001, pause_seconds_max=0.002)


class Network(httpx.AsyncBaseTransport):
    """The way to the API, with accidents: each is asked to do as it likes with one request."""

    def __init__(self, api: API) -> None:
        self._inner = api.http._transport
        self.accidents: list[Callable[[httpx.Request, httpx.AsyncBaseTransport], Any]] = []
        self.seen: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, request.url.path))
        if self.accidents:
            answer: httpx.Response = await self.accidents.pop(0)(request, self._inner)
            return answer
        return await self._inner.handle_async_request(request)


async def lost_request(request, inner):
    raise httpx.ConnectError("no route", request=request)


async def lost_answer(request, inner):
    await (await inner.handle_async_request(request)).aread()
    raise httpx.ReadTimeout("no answer", request=request)


async def bad_gateway(request, inner):
    return httpx.Response(502, html="<h1>Bad gateway</h1>", request=request)


async def lost_behind_a_gateway(request, inner):
    await (await inner.handle_async_request(request)).aread()
    return httpx.Response(504, html="<h1>Gateway timeout</h1>", request=request)


def problem(status: int, code: str, *, retryable: str, money_moved: str):
    async def answer(request, inner):
        body = {
            "code": code,
            "retryable": retryable,
            "money_moved": money_moved,
            "detail": "",
            "status": status,
        }
        return httpx.Response(status, json=body, request=request)

    return answer


unknown = problem(503, "ledger_unavailable", retryable="unknown", money_moved="unknown")
busy = problem(503, "ledger_busy", retryable="true", money_moved="false")


@pytest.fixture
def network(api):
    return Network(api)


@pytest.fixture
async def wallets(api, network):
    """Opens wallets of the client, each with its own key and funds."""
    opened: list[Wallet] = []

    async def make(handle: str, funds: str | None = None, **how: Any) -> Wallet:
        http = httpx.AsyncClient(transport=network)
        clock = how.pop("clock", None) or DeviceClock(lambda: api.clock.now_ns() / 10**9)
        wallet = Wallet(BASE, DeviceKey.generate(), http=http, clock=clock, retry=QUICK, **how)
        await wallet.enrol(await api.code())
        await wallet.open(handle)
        if funds is not None:
            await api.fund(Phone(api, DeviceKey.generate(), handle), funds, USDT)
        opened.append(wallet)
        network.seen.clear()
        return wallet

    yield make
    for wallet in opened:
        await wallet._http.aclose()


@pytest.fixture
async def aye(wallets):
    return await wallets("@aye_aye", "100")


@pytest.fixture
async def ko(wallets):
    return await wallets("@ko_ko")


async def held(wallet: Wallet) -> Decimal:
    return (await wallet.balances())["USDT"].available


class TestPay:
    async def test_a_payment_with_everything_in_it(self, aye, ko):
        reference = uuid4()
        fee = await aye.payment_fee("25", "USDT")
        order = aye.order("@ko_ko", Decimal("25.0"), "USDT", fee_max=fee.fee, reference=reference)
        payment = await aye.pay(order)

        assert payment.id == order.id
        assert (payment.payer, payment.payee, payment.asset) == ("@aye_aye", "@ko_ko", "USDT")
        assert (payment.amount, payment.fee, payment.total) == (
            Decimal(25),
            Decimal("0.025"),
            Decimal("25.025"),
        )
        assert payment.reference == reference
        assert await aye.payment(order.id) == payment == await ko.payment(order.id)
        assert await held(ko) == 25

    async def test_an_order_that_was_kept_pays_once(self, aye, ko):
        order = aye.order("ko_ko", "25", "USDT", fee_max="1", reference=uuid4())
        first = await aye.pay(order)
        kept = PaymentOrder.from_json(order.to_json())
        assert kept == order
        assert await aye.pay(kept) == first
        assert await held(ko) == 25

    @pytest.mark.parametrize(
        "accidents",
        [
            [lost_request],
            [lost_answer],
            [bad_gateway],
            [lost_behind_a_gateway],
            [unknown],
            [busy],
            [busy, busy, busy],
            [lost_request, lost_request, lost_request],
            [lost_answer, lost_request, lost_answer, lost_request],
            [lost_answer, bad_gateway, unknown],
            [lost_request, lost_request, busy, lost_request],
        ],
        ids=lambda accidents: "+".join(each.__qualname__.split(".")[0] for each in accidents),
    )
    async def test_whatever_is_lost_on_the_way_it_pays_once(self, network, aye, ko, accidents):
        network.accidents = list(accidents)
        payment = await aye.pay(aye.order("@ko_ko", "25", "USDT"))
        network.accidents = []
        assert payment.amount == 25
        assert await held(ko) == 25
        assert await held(aye) == Decimal("74.975")

    @pytest.mark.usefixtures("ko")
    async def test_a_lost_answer_is_settled_by_asking_for_the_id(self, network, aye):
        network.accidents = [lost_answer]
        order = aye.order("@ko_ko", "25", "USDT")
        await aye.pay(order)
        assert network.seen == [("POST", "/v1/payments"), ("GET", f"/v1/payments/{order.id}")]

    async def test_when_nobody_answers_the_outcome_is_unknown_and_the_same_order_settles_it(
        self, network, aye, ko
    ):
        order = aye.order("@ko_ko", "25", "USDT")
        network.accidents = [lost_answer] + [lost_request] * 20
        with pytest.raises(OutcomeUnknown) as unsettled:
            await aye.pay(order)
        assert unsettled.value.order_id == order.id
        network.accidents = []
        await aye.pay(order)
        assert await held(ko) == 25

    async def test_a_service_that_is_busy_for_long_has_done_nothing(self, network, aye, ko):
        network.accidents = [busy] * 4
        with pytest.raises(ServiceUnavailable):
            await aye.pay(aye.order("@ko_ko", "25", "USDT"))
        assert await held(ko) == 0

    async def test_who_is_locked_out_after_a_lost_answer_is_not_told_that_it_did_not_happen(
        self, network, aye, ko
    ):
        locked_out = problem(403, "device_revoked", retryable="false", money_moved="false")
        network.accidents = [lost_answer, lost_request, locked_out]
        with pytest.raises(OutcomeUnknown):
            await aye.pay(aye.order("@ko_ko", "25", "USDT"))
        assert await held(ko) == 25

    async def test_many_payments_over_a_bad_network_each_pay_once(self, network, aye, ko):
        accidents = [lost_answer, lost_request, bad_gateway, lost_behind_a_gateway, unknown, busy]
        network.accidents = [accidents[i % 6] for i in range(25)]
        orders = [aye.order("@ko_ko", "1", "USDT") for _ in range(20)]
        outcomes = await asyncio.gather(*(aye.pay(order) for order in orders), return_exceptions=True)
        network.accidents = []
        for order, outcome in zip(orders, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                await aye.pay(order)
        assert await held(ko) == 20


class TestRefused:
    @pytest.mark.usefixtures("ko")
    async def test_each_refusal_has_its_class_its_code_and_advice(self, aye):
        kept = aye.order("@ko_ko", "1", "USDT")
        await aye.pay(kept)
        poor = aye.order("@ko_ko", "1000", "USDT")
        for order, kind, code, needs_new_id in [
            (poor, InsufficientFunds, "insufficient_funds", True),
            (poor, IdAlreadyUsed, "payment_already_refused", True),
            (aye.order("@nobody_here", "1", "USDT"), PayeeUnknown, "payee_unknown", False),
            (aye.order("@ko_ko", "1", "USDT", fee_max="0"), FeeTooHigh, "fee_above_maximum", False),
            (aye.order("@ko_ko", "1", "EUR"), RequestRefused, "unknown_asset", False),
            (aye.order("@ko_ko", "0", "USDT"), RequestRefused, "amount_not_positive", False),
            (
                PaymentOrder(kept.id, "@ko_ko", "2", "USDT"),
                IdAlreadyUsed,
                "payment_id_used_differently",
                True,
            ),
        ]:
            with pytest.raises(kind) as refusal:
                await aye.pay(order)
            assert type(refusal.value) is kind
            assert (refusal.value.code, refusal.value.needs_new_id) == (code, needs_new_id)
            assert refusal.value.problem.what_to_do
            assert refusal.value.problem.money_moved == "false"

    async def test_what_is_not_there(self, aye):
        with pytest.raises(NotFound):
            await aye.payment(uuid4())

    async def test_a_float_is_no_amount(self, aye):
        with pytest.raises(TypeError):
            aye.order("@ko_ko", 0.1, "USDT")
        with pytest.raises(TypeError):
            aye.order("@ko_ko", True, "USDT")

    @pytest.mark.usefixtures("aye")
    async def test_handles_and_codes_that_cannot_be_used(self, api, wallets):
        with pytest.raises(HandleUnavailable):
            await wallets("@AYE_AYE")
        async with Wallet(BASE, DeviceKey.generate(), http=api.http) as stranger:
            stranger._connection.clock = DeviceClock(lambda: api.clock.now_ns() / 10**9)
            with pytest.raises(EnrolmentRefused):
                await stranger.enrol("K7QF2M9X-3JD8WZ-PQ4T7V-N2C5RA")
            with pytest.raises(NotAuthenticated):
                await stranger.balances()

    async def test_a_revoked_device_is_told_so(self, api, aye):
        key_id = (await api.connections.wallets.by_handle("aye_aye")).person_id
        async with api.database.session() as session:
            (device,) = await list_devices(session, key_id)
            await revoke_device(session, api.clock, person_id=key_id, device_id=device.id)
        with pytest.raises(DeviceRevoked):
            await aye.balances()


class TestClock:
    @pytest.mark.parametrize("days", [-14, 3650])
    async def test_a_clock_that_is_days_wrong_is_corrected_by_the_server(self, api, network, wallets, days):
        wrong = DeviceClock(lambda: api.clock.now_ns() / 10**9 + days * 86_400)
        wallet = await wallets("@late", "10", clock=wrong)
        await wallets("@ko_ko")
        await wallet.pay(wallet.order("@ko_ko", "1", "USDT"))
        assert network.seen == [("POST", "/v1/payments")]

    async def test_a_server_that_keeps_refusing_the_clock_is_asked_twice_only(self, network, aye):
        async def always(request, inner):
            body = {
                "code": "signature_clock_out_of_window",
                "server_time": "2027-01-15T08:00:00.000Z",
                "retryable": "false",
                "money_moved": "false",
            }
            return httpx.Response(401, json=body, request=request)

        network.accidents = [always, always]
        with pytest.raises(NotAuthenticated):
            await aye.balances()
        assert len(network.seen) == 2


class TestReads:
    async def test_history_is_read_page_by_page(self, network, aye, ko):
        for amount in range(1, 6):
            await aye.pay(aye.order("@ko_ko", amount, "USDT"))
        network.seen.clear()
        lines = [line async for line in ko.history(page=2)]
        assert [line.amount for line in lines] == [5, 4, 3, 2, 1]
        assert [line.balance for line in lines] == [15, 10, 6, 3, 1]
        assert {line.counterparty for line in lines} == {"@aye_aye"}
        assert network.seen == [("GET", "/v1/history")] * 3
        assert [line async for line in ko.history(asset="THB")] == []

    async def test_a_read_is_repeated_until_it_is_answered_and_then_given_up(self, network, aye):
        network.accidents = [lost_request, bad_gateway, lost_answer]
        assert (await aye.info()).handle == "@aye_aye"
        network.accidents = [lost_request] * 4
        with pytest.raises(Unreachable):
            await aye.info()

    async def test_what_is_not_this_api_is_not_taken_for_it(self, network, aye):
        async def something(request, inner):
            return httpx.Response(200, json={"hello": "world"}, request=request)

        async def nothing(request, inner):
            return httpx.Response(200, text="hello", request=request)

        for accident in (something, nothing):
            network.accidents = [accident]
            with pytest.raises(AnswerMalformed):
                await aye.info()

    async def test_a_service_without_a_chain_says_so_at_once(self, network, aye):
        with pytest.raises(ServiceUnavailable) as unavailable:
            await aye.deposit_address("USDT")
        assert unavailable.value.problem.code == "deployment_not_found"
        assert len(network.seen) == 1

    async def test_waiting_ends(self, network, aye):
        async def none(request, inner):
            return httpx.Response(200, json={"deposits": []}, request=request)

        network.accidents = [none] * 50
        with pytest.raises(WaitedTooLong):
            await aye.wait_for_deposit("0x00", seconds=0.02, every=0.005)


class TestWithdraw:
    @pytest.fixture(autouse=True)
    def deployment(self, settings):
        token = TokenInfo(address="0x" + "33" * 20, decimals=6)
        save_deployment(
            settings.home,
            Deployment(
                chain_id=settings.chain_id,
                genesis_hash="0x" + "00" * 32,
                block_number=1,
                vault="0x" + "11" * 20,
                implementation="0x" + "22" * 20,
                tokens={"USDT": token},
            ),
        )

    @pytest.mark.parametrize("accidents", [[], [lost_answer], [lost_request, bad_gateway], [unknown, busy]])
    async def test_whatever_is_lost_on_the_way_the_money_is_set_aside_once(self, network, aye, accidents):
        fee = await aye.withdrawal_fee("20", "USDT")
        order = aye.withdrawal_order("0x" + "ab" * 20, 20, "USDT", fee_max=fee.fee)
        network.accidents = list(accidents)
        withdrawal = await aye.withdraw(order)
        network.accidents = []
        assert (withdrawal.id, withdrawal.state, withdrawal.total) == (order.id, "held", Decimal(21))
        assert await aye.withdraw(order) == withdrawal == await aye.withdrawal(order.id)
        assert await aye.withdrawals() == [withdrawal]
        assert await aye.wait_for_withdrawal(order.id, {"held"}) == withdrawal
        assert await held(aye) == 79

    async def test_a_quote_holds_its_fee_for_its_amount(self, aye):
        quote = await aye.withdrawal_quote("20", "USDT")
        assert (quote.amount, quote.fee, quote.total) == (Decimal(20), Decimal(1), Decimal(21))
        # It came in on chain as what leaves: nothing of it needs room.
        assert quote.young == 0
        assert [(room.window, room.left) for room in quote.young_rooms] == [("day", 1000), ("week", 5000)]
        other = aye.withdrawal_order("0x" + "ab" * 20, 21, "USDT", quote=quote)
        with pytest.raises(RequestRefused) as refused:
            await aye.withdraw(other)
        assert refused.value.code == "quote_is_for_another"
        order = aye.withdrawal_order("0x" + "ab" * 20, 20, "USDT", quote=quote)
        assert (await aye.withdraw(order)).fee == quote.fee
        assert await held(aye) == 79

    async def test_what_cannot_be_is_refused_by_its_class(self, aye):
        for order, kind in [
            (aye.withdrawal_order("0x" + "ab" * 20, "100", "USDT"), InsufficientFunds),
            (aye.withdrawal_order("0x" + "ab" * 20, "1", "USDT", fee_max="0.5"), FeeTooHigh),
            (aye.withdrawal_order("0x12", "1", "USDT"), RequestRefused),
        ]:
            with pytest.raises(kind):
                await aye.withdraw(order)
        with pytest.raises(NotFound):
            await aye.withdrawal(uuid4())

    async def test_a_deposit_address_is_told(self, aye):
        address = await aye.deposit_address("USDT")
        assert (address.asset, address.chain_id, address.token_decimals) == ("USDT", 31337, 6)
        assert await aye.deposits() == []


def test_a_withdrawal_order_can_be_kept():
    order = WithdrawalOrder(uuid4(), "0x" + "ab" * 20, "1.5", "USDT", "1", uuid4())
    assert WithdrawalOrder.from_json(order.to_json()) == order


async def test_limits_are_told_and_a_payment_beyond_one_says_what_is_left(wallets):
    aye, ko = await wallets("aye_aye", "50000"), await wallets("ko_ko")
    await aye.pay(aye.order("@ko_ko", "9000", "USDT"))
    told = await aye.limits("USDT")
    assert (told.tier, told.per_payment) == ("standard", Decimal(10_000))
    assert [(one.window, one.limit - one.left) for one in told.windows] == [
        ("day", Decimal(9_000)),
        ("week", Decimal(9_000)),
        ("month", Decimal(9_000)),
    ]
    theirs = (await ko.limits("USDT")).ceiling
    assert theirs is not None
    assert (theirs.limit, theirs.left) == (Decimal(250_000), Decimal(241_000))
    with pytest.raises(LimitExceeded):
        await aye.pay(aye.order("@ko_ko", "10000.01", "USDT"))
    await aye.pay(aye.order("@ko_ko", "10000", "USDT"))
    with pytest.raises(LimitExceeded) as refused:
        await aye.pay(aye.order("@ko_ko", "1000.01", "USDT"))
    assert (refused.value.code, refused.value.problem.data["left"]) == (
        "daily_value_limit_exceeded",
        "1000.000000",
    )
    assert refused.value.needs_new_id
    assert (await ko.balances())["USDT"].available == Decimal(19_000)
