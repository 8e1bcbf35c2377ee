"""Webhooks: a real server of a shop is told, checks signatures, fails, and is told again."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import certifi
import pytest
from sqlalchemy import text

from foundation.clock import SECOND_NS
from foundation.ids import uuid7
from ledger.client import LedgerClient
from tests.ledger.certificates import Authority
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_tills import Shop, code_of, shop
from tests.wallets.webhook_receiver import Receiver, receiver
from wallets.tasks import WebhookTools, advance_webhooks
from wallets.webhook_events import write_events
from wallets.webhook_sending import (
    AT_ONCE_EACH,
    DISABLED_AFTER,
    PAUSES_SECONDS,
    SendingTools,
    send_due,
)
from wallets.webhook_targets import TargetRules
from wallets.webhooks import WEBHOOKS_MAX

__all__ = ["receiver", "shop"]


@dataclass
class Bank:
    """The worker's part."""

    api: API
    tools: WebhookTools

    async def run(self) -> None:
        await advance_webhooks(self.tools)

    async def later(self, seconds: int) -> None:
        self.api.clock.advance(seconds=seconds)
        await self.run()

    def resolving(self, *addresses: str) -> "Bank":
        """The same where every host has these addresses."""

        async def resolve(host: str, port: int) -> Sequence[str]:
            return addresses

        sending = replace(self.tools.sending, rules=TargetRules(allows_loopback=False, resolve=resolve))
        return Bank(self.api, replace(self.tools, sending=sending))


@pytest.fixture
def bank(api: API) -> Bank:
    tls = ssl.create_default_context(cafile=certifi.where())
    sending = SendingTools(api.database, api.clock, TargetRules(allows_loopback=True), tls)
    return Bank(api, WebhookTools(api.connections.merchant_books(), sending))


async def register(shop: Shop, url: str) -> dict[str, Any]:
    made = await shop.owner.post("/v1/merchant/webhooks", {"url": url})
    assert made.status_code == 201, made.text
    return dict(made.json())


async def events(shop: Shop) -> list[dict[str, Any]]:
    return list((await shop.owner.get("/v1/merchant/events")).json()["events"])


async def paid(payer: Phone, shop: Shop, amount: str = "5", **more: str) -> str:
    order = payer.payment(shop.owner, amount, **{"reference": shop.id, **more})
    answer = await payer.post("/v1/payments", order)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_server_is_told_what_happens_at_a_till_and_can_check_it(api, aye, ko, shop, bank, receiver):
    await paid(aye, shop)
    webhook = await register(shop, receiver.url())
    order = shop.invoice("7")
    assert (await ko.post(f"{shop.path}/invoices", order)).status_code == 201
    at_till = await paid(aye, shop)
    exact = await paid(aye, shop, "7", reference=order["id"])
    second = await paid(aye, shop, "7", reference=order["id"])
    # What is no till's business is told to nobody.
    assert (await aye.pay(ko, "1")).status_code == 201
    assert (await ko.pay(aye, "1")).status_code == 201
    back = {"id": str(uuid7(api.clock)), "amount": "2"}
    assert (await ko.post(f"/v1/payments/{second}/refunds", back)).status_code == 201
    await bank.run()
    told = {each.content["data"]["payment_id"] + each.content["type"]: each for each in receiver.told}
    assert len(receiver.told) == len(told) == 4
    wanted = [
        ("payment.received", at_till, None, None, "5.000000"),
        ("invoice.paid", exact, order["id"], None, "7.000000"),
        ("payment.received", second, order["id"], None, "7.000000"),
        ("payment.refunded", second, order["id"], back["id"], "2.000000"),
    ]
    for kind, payment_id, invoice_id, refund_id, amount in wanted:
        one = told[payment_id + kind]
        assert one.content["data"] == {
            "till_id": shop.id,
            "invoice_id": invoice_id,
            "payment_id": payment_id,
            "refund_id": refund_id,
            "asset": "USDT",
            "amount": amount,
        }
        assert one.is_signed_by(webhook["secret"])
        assert not one.is_signed_by("whsec_AAAA")
        assert (one.path, one.headers["content-type"]) == ("/told", "application/json")
        assert int(one.headers["webhook-timestamp"]) == api.clock.now_ns() // SECOND_NS
    listed = await events(shop)
    assert [each["type"] for each in listed] == [kind for kind, *_ in reversed(wanted)]
    assert {each["id"] for each in listed} == {each.headers["webhook-id"] for each in receiver.told}
    assert all(each["deliveries"][0]["delivered_at"] is not None for each in listed)
    # Nothing is told twice while nothing is asked for.
    await bank.later(86_400)
    assert len(receiver.told) == 4


async def test_events_are_written_once_however_often_they_are_read(api, aye, ko, shop, bank, receiver):
    await register(shop, receiver.url())
    payments = [await paid(aye, shop, "1") for _ in range(5)]
    books = bank.tools.books
    written = await asyncio.gather(*(write_events(books) for _ in range(4)))
    assert sum(written) == 5
    assert await write_events(books) == 0
    assert [each["content"]["data"]["payment_id"] for each in await events(shop)] == payments[::-1]


async def test_a_server_that_fails_is_told_again_and_again_after_longer_pauses(
    api, aye, ko, shop, bank, receiver
):
    await register(shop, receiver.url())
    receiver.status = "500 Internal Server Error"
    await paid(aye, shop)
    await bank.run()
    for count, pause in enumerate(PAUSES_SECONDS, start=1):
        assert len(receiver.told) == count
        (event,) = await events(shop)
        (delivery,) = event["deliveries"]
        assert (delivery["attempts"], delivery["last_failure"]) == (count, "HTTP 500")
        await bank.later(pause - 1)
        assert len(receiver.told) == count
        await bank.later(1)
    assert len(receiver.told) == len(PAUSES_SECONDS) + 1
    assert len({(each.headers["webhook-id"], each.body) for each in receiver.told}) == 1
    # Given up: it stays in the list, and is sent again when somebody asks.
    await bank.later(30 * 86_400)
    (event,) = await events(shop)
    assert event["deliveries"][0]["next_attempt_at"] is None
    assert len(receiver.told) == len(PAUSES_SECONDS) + 1
    receiver.status = "200 OK"
    assert (await ko.post(f"/v1/merchant/events/{event['id']}/resend")).json() == {"id": event["id"]}
    await bank.run()
    assert receiver.told[-1].headers["webhook-id"] == event["id"]
    (event,) = await events(shop)
    assert event["deliveries"][0]["delivered_at"] is not None
    (webhook,) = (await ko.get("/v1/merchant/webhooks")).json()["webhooks"]
    assert (webhook["failing_since"], webhook["disabled_at"]) == (None, None)


async def test_a_redirect_is_a_failure_and_is_not_followed(api, aye, shop, bank, receiver):
    await register(shop, receiver.url())
    receiver.status, receiver.more = "302 Found", f"location: {receiver.url('/elsewhere')}\r\n"
    await paid(aye, shop)
    await bank.run()
    assert [each.path for each in receiver.told] == ["/told"]
    assert (await events(shop))[0]["deliveries"][0]["last_failure"] == "HTTP 302"


async def test_a_server_that_says_nothing_has_not_been_told(api, aye, shop, bank, receiver):
    await register(shop, receiver.url())
    receiver.silent = True
    await paid(aye, shop)
    await bank.run()
    assert (await events(shop))[0]["deliveries"][0]["last_failure"] == "RemoteProtocolError"
    receiver.silent = False
    await bank.later(PAUSES_SECONDS[0])
    assert len(receiver.told) == 2


async def test_the_certificate_must_be_the_name_s_and_of_a_known_authority(
    api, aye, ko, shop, bank, tmp_path
):
    authority = Authority(tmp_path)
    tls = ssl.create_default_context(cafile=str(authority.path))

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async def outcome(name: str, believed: ssl.SSLContext) -> str | None:
        """What became of an event whose server shows a certificate for ``name``."""
        served = Receiver()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate, key = authority.issue(dns=(name,))
        context.load_cert_chain(certificate, key)
        server = await asyncio.start_server(served.answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        rules = TargetRules(allows_loopback=True, resolve=resolve)
        api.connections.targets = rules
        webhook = await register(shop, f"https://shop.example.com:{port}/told")
        await paid(aye, shop, "1")
        sending = replace(bank.tools.sending, rules=rules, tls=believed)
        await Bank(api, replace(bank.tools, sending=sending)).run()
        failure = (await events(shop))[0]["deliveries"][0]["last_failure"]
        assert len(served.told) == (0 if failure else 1)
        assert (await ko.delete(f"/v1/merchant/webhooks/{webhook['id']}")).status_code == 200
        server.close()
        return None if failure is None else str(failure)

    assert await outcome("shop.example.com", tls) is None
    assert await outcome("other.example.com", tls) == "ConnectError"
    assert (
        await outcome("shop.example.com", ssl.create_default_context(cafile=certifi.where()))
        == "ConnectError"
    )


async def test_a_name_that_leads_home_after_it_was_checked_is_not_called(api, aye, ko, shop, bank, receiver):
    """DNS rebinding: public at registration, this machine or its metadata at the sending."""

    async def public(host: str, port: int) -> Sequence[str]:
        return ["1.1.1.1"]

    api.connections.targets = TargetRules(resolve=public)
    await register(shop, f"https://shop.example.com:{receiver.port}/told")
    await paid(aye, shop)
    await bank.run()
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1"):
        await bank.resolving(address).later(86_400)
        delivery = (await events(shop))[0]["deliveries"][0]
        assert "not a public address" in delivery["last_failure"]
    assert receiver.connections == 0


async def test_the_connection_goes_to_the_address_that_was_checked(api, aye, shop, bank, receiver):
    await register(shop, receiver.url())
    asked = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        # A second look would lead elsewhere.
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with api.database.session() as session:
        await session.execute(
            text("UPDATE wallets_webhook SET url = :url"), {"url": receiver.url(host="no-such-host.invalid")}
        )
    await paid(aye, shop)
    rules = TargetRules(allows_loopback=True, resolve=resolve)
    await Bank(api, replace(bank.tools, sending=replace(bank.tools.sending, rules=rules))).run()
    (one,) = receiver.told
    assert one.headers["host"] == f"no-such-host.invalid:{receiver.port}"
    assert asked == ["no-such-host.invalid"]


async def test_addresses_of_our_own_network_are_refused_at_registration(api, ko, shop):
    for url in ("http://example.com/", "https://10.0.0.1/", "https://169.254.169.254/", "https://[::1]:22/"):
        assert code_of(await ko.post("/v1/merchant/webhooks", {"url": url})) == (422, "webhook_url_refused")
    api.connections.targets = TargetRules()
    for url in ("http://127.0.0.1:8080/", "https://127.0.0.1/", "https://localhost/"):
        assert code_of(await ko.post("/v1/merchant/webhooks", {"url": url})) == (422, "webhook_url_refused")
    assert (await ko.get("/v1/merchant/webhooks")).json() == {"webhooks": []}


async def test_while_a_secret_is_replaced_both_sign_and_then_the_new_one_alone(
    api, aye, ko, shop, bank, receiver
):
    webhook = await register(shop, receiver.url())
    replaced = (await ko.post(f"/v1/merchant/webhooks/{webhook['id']}/secret")).json()
    assert replaced["secret"] != webhook["secret"]
    await paid(aye, shop, "1")
    await bank.run()
    assert [receiver.told[-1].is_signed_by(each["secret"]) for each in (webhook, replaced)] == [True, True]
    api.clock.advance(seconds=86_400)
    await paid(aye, shop, "1")
    await bank.run()
    assert [receiver.told[-1].is_signed_by(each["secret"]) for each in (webhook, replaced)] == [False, True]


async def test_a_server_that_fails_for_days_is_disabled_and_a_new_secret_enables_it(
    api, aye, ko, shop, bank, receiver
):
    webhook = await register(shop, receiver.url())
    receiver.status = "503 Service Unavailable"
    await paid(aye, shop, "1")
    await bank.run()
    await bank.later(DISABLED_AFTER.days * 86_400)
    (seen,) = (await ko.get("/v1/merchant/webhooks")).json()["webhooks"]
    assert seen["failing_since"] is not None
    assert seen["disabled_at"] is not None
    count = len(receiver.told)
    await paid(aye, shop, "1")
    await bank.later(86_400)
    assert len(receiver.told) == count
    receiver.status = "200 OK"
    assert (await ko.post(f"/v1/merchant/webhooks/{webhook['id']}/secret")).json()["disabled_at"] is None
    await bank.run()
    assert all(each["deliveries"][0]["delivered_at"] is not None for each in await events(shop))


async def test_a_server_that_says_that_it_is_gone_is_disabled_at_once(api, aye, ko, shop, bank, receiver):
    await register(shop, receiver.url())
    receiver.status = "410 Gone"
    await paid(aye, shop)
    await bank.run()
    (seen,) = (await ko.get("/v1/merchant/webhooks")).json()["webhooks"]
    assert seen["disabled_at"] is not None


async def test_a_worker_that_dies_between_claiming_and_sending_leaves_it_to_be_sent(
    api, aye, shop, bank, receiver, monkeypatch
):
    await register(shop, receiver.url())
    await paid(aye, shop)
    with monkeypatch.context() as patch:
        # As if it were killed: what was committed stays, and nothing after it happens.
        async def killed(*_: object) -> bool:
            raise asyncio.CancelledError

        patch.setattr("wallets.webhook_sending._send", killed)
        with pytest.raises(asyncio.CancelledError):
            await bank.run()
    await bank.run()
    assert receiver.told == []
    await bank.later(120)
    assert len(receiver.told) == 1
    await bank.later(86_400)
    assert len(receiver.told) == 1


async def test_what_is_written_is_sent_while_the_ledger_is_away(api, aye, shop, bank, receiver, tmp_path):
    await register(shop, receiver.url())
    await paid(aye, shop)
    await write_events(bank.tools.books)
    away = LedgerClient(f"unix:{tmp_path / 'nobody.sock'}", deadline_seconds=0.5)
    books = replace(bank.tools.books, ledger=away)
    await Bank(api, replace(bank.tools, books=books)).run()
    assert len(receiver.told) == 1
    await away.close()


async def test_a_server_that_is_slow_holds_up_no_others(api, aye, ko, shop, bank, receiver):
    await register(shop, receiver.url("/one"))
    await register(shop, receiver.url("/two"))
    for _ in range(AT_ONCE_EACH + 3):
        await paid(aye, shop, "1")
    await write_events(bank.tools.books)
    await send_due(bank.tools.sending)
    paths = [each.path for each in receiver.told]
    assert (paths.count("/one"), paths.count("/two")) == (AT_ONCE_EACH, AT_ONCE_EACH)
    await send_due(bank.tools.sending)
    assert len(receiver.told) == 2 * (AT_ONCE_EACH + 3)


async def test_a_webhook_that_is_ended_gets_nothing_and_others_go_on(api, aye, ko, shop, bank, receiver):
    gone, kept = await register(shop, receiver.url("/gone")), await register(shop, receiver.url("/kept"))
    await paid(aye, shop)
    await write_events(bank.tools.books)
    assert (await ko.delete(f"/v1/merchant/webhooks/{gone['id']}")).json()["id"] == gone["id"]
    assert code_of(await ko.delete(f"/v1/merchant/webhooks/{gone['id']}")) == (404, "webhook_not_found")
    await bank.run()
    assert [each.path for each in receiver.told] == ["/kept"]
    assert [each["id"] for each in (await ko.get("/v1/merchant/webhooks")).json()["webhooks"]] == [kept["id"]]


async def test_there_are_so_many_webhooks_and_no_more(ko, shop, receiver):
    body = {"url": receiver.url()}
    answers = await asyncio.gather(*(ko.post("/v1/merchant/webhooks", body) for _ in range(WEBHOOKS_MAX + 2)))
    assert sorted(answer.status_code for answer in answers) == [201] * WEBHOOKS_MAX + [409] * 2


async def test_events_are_the_business_own_and_read_page_by_page(api, aye, ko, shop, bank, receiver):
    await register(shop, receiver.url())
    for _ in range(3):
        await paid(aye, shop, "1")
    await bank.run()
    everything = [each["id"] for each in await events(shop)]
    first = (await ko.get("/v1/merchant/events?limit=2")).json()
    rest = (await ko.get(f"/v1/merchant/events?limit=2&before={first['next_before']}")).json()
    assert [each["id"] for page in (first, rest) for each in page["events"]] == everything
    assert rest["next_before"] is None
    assert (await aye.put("/v1/merchant", {"name": "Other"})).status_code == 200
    assert (await aye.get("/v1/merchant/events")).json() == {"events": [], "next_before": None}
    for what in (
        aye.get(f"/v1/merchant/events?before={everything[0]}"),
        aye.post(f"/v1/merchant/events/{everything[0]}/resend"),
    ):
        assert code_of(await what) == (404, "webhook_event_not_found")


async def test_a_server_is_told_what_was_recalled_and_nothing_of_what_is_held(
    api, aye, ko, shop, bank, receiver
):
    await register(shop, receiver.url())
    recalls: list[str] = []
    for payment_id in (given := [await paid(aye, shop), await paid(aye, shop, "6")]):
        recalls.append(str(uuid7(api.clock)))
        answer = await aye.post(f"/v1/payments/{payment_id}/recall", {"id": recalls[-1]})
        assert answer.status_code == 201, answer.text
    assert (await ko.post(f"/v1/recalls/{recalls[0]}/agree")).json()["state"] == "agreed"
    await bank.run()
    (back,) = [each.content["data"] for each in receiver.told if each.content["type"] == "payment.refunded"]
    assert len(receiver.told) == 3
    assert (back["payment_id"], back["refund_id"], back["amount"]) == (given[0], None, "5.000000")
