"""Customers: enrolled phones with funded wallets, and the signed requests that they send."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx
from nugpay_client.keys import DeviceKey
from nugpay_client.signing import signature_headers

from foundation.assets import USDT
from foundation.clock import SECOND_NS, SystemClock
from foundation.database import Database
from foundation.ids import uuid7
from foundation.money import Money
from identity.enrolment import enrol_device, issue_enrolment_code
from identity.keys import PublicKey
from identity.signatures import SignedRequest
from ledger.chart import AccountCode, open_system_accounts, system_account_id, wallet_account_id
from ledger.client import LedgerClient
from ledger.contract import Transfer
from wallets.wallets import open_wallet

FUNDS = Money.parse("10000", USDT)
"""What each has at the start."""

PIN = "730512"
"""Of those who read with a session."""


@dataclass(frozen=True)
class Customer:
    """A phone, and the handle of its wallet."""

    key: DeviceKey
    handle: str


async def enrolled(database_url: str, ledger_url: str, count: int) -> list[Customer]:
    """So many customers, each with a device, a wallet and money."""
    clock = SystemClock()
    database, ledger = Database(database_url, pool_size=4), LedgerClient(ledger_url)
    try:
        await open_system_accounts(ledger)
        found = []
        for number in range(count):
            key = DeviceKey.generate()
            async with database.session() as session:
                code = await issue_enrolment_code(session, clock)
            asked = _asked_by(key)
            public = PublicKey.from_jwk(key.public_jwk)
            enrolment = await enrol_device(database, clock, request=asked, code=code, key=public)
            handle, person_id = f"customer_{number}", enrolment.device.person_id
            wallet = await open_wallet(database, ledger, clock, person_id=person_id, handle=handle)
            await ledger.create_transfers(
                [
                    Transfer(
                        id=uuid7(clock).int,
                        debit_account_id=system_account_id(AccountCode.CUSTODY, USDT),
                        credit_account_id=wallet_account_id(wallet.id, USDT),
                        amount=FUNDS.minor,
                        ledger=USDT.ledger,
                        code=1,
                    )
                ]
            )
            found.append(Customer(key, handle))
        return found
    finally:
        await ledger.close()
        await database.close()


def _asked_by(key: DeviceKey) -> SignedRequest:
    """An enrolment's request, signed by the new key as it must be."""
    url, body = "http://bench.invalid/v1/enrolments", b"{}"
    signed = signature_headers(
        key, method="POST", url=url, body=body, created=SystemClock().now_ns() // SECOND_NS
    )
    return SignedRequest(
        method="POST",
        target_uri=url,
        signature_input=[signed["Signature-Input"]],
        signature=[signed["Signature"]],
        content_digest=[signed["Content-Digest"]],
        body=body,
    )


def payments(customers: Sequence[Customer], base: str, count: int) -> Iterator[bytes]:
    """Signed payments of one dollar as they go over the wire, from one to the next in the round."""
    clock = SystemClock()
    for number in range(count):
        payer = customers[number % len(customers)]
        payee = customers[(number * 7 + 1) % len(customers)]
        if payee is payer:
            payee = customers[(number * 7 + 2) % len(customers)]
        asked = {"id": str(uuid7(clock)), "payee": f"@{payee.handle}", "asset": "USDT", "amount": "1.00"}
        yield _request(payer, base, "POST", "/v1/payments", json.dumps(asked).encode())


async def tokens(customers: Sequence[Customer], base: str) -> list[str]:
    """Sessions of these customers, each of whom sets a PIN for it."""
    async with httpx.AsyncClient(timeout=60.0) as http:
        return [await _token(http, customer, base) for customer in customers]


async def _token(http: httpx.AsyncClient, customer: Customer, base: str) -> str:
    for method, path in (("PUT", "/v1/pin"), ("POST", "/v1/sessions")):
        body = json.dumps({"pin": PIN}).encode()
        headers = {**_signed(customer, method, base + path, body), "Content-Type": "application/json"}
        answer = await http.request(method, base + path, content=body, headers=headers)
        if not answer.is_success:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
    return str(answer.json()["token"])


def token_balances(tokens: Sequence[str], base: str, count: int) -> Iterator[bytes]:
    """Questions for one's own balances with a session's token."""
    host = base.removeprefix("http://")
    for number in range(count):
        token = tokens[number % len(tokens)]
        yield _written("GET", "/v1/balances", {"Host": host, "Authorization": f"Bearer {token}"}, b"")


def balances(customers: Sequence[Customer], base: str, count: int) -> Iterator[bytes]:
    """Signed questions for one's own balances."""
    for number in range(count):
        yield _request(customers[number % len(customers)], base, "GET", "/v1/balances", b"")


def echoes(base: str, count: int) -> Iterator[bytes]:
    """As many bytes to a server that sends them back."""
    body = json.dumps({"id": "0" * 36, "payee": "@customer_0", "asset": "USDT", "amount": "1.00"}).encode()
    headers = {
        "Host": base.removeprefix("http://"),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    for _ in range(count):
        yield _written("POST", "/echo", headers, body)


def _request(customer: Customer, base: str, method: str, path: str, body: bytes) -> bytes:
    headers = {"Host": base.removeprefix("http://"), **_signed(customer, method, base + path, body)}
    if body:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return _written(method, path, headers, body)


def _signed(customer: Customer, method: str, url: str, body: bytes) -> dict[str, str]:
    created = SystemClock().now_ns() // SECOND_NS
    return signature_headers(customer.key, method=method, url=url, body=body, created=created)


def _written(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = "".join(f"\r\n{name}: {value}" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1{head}\r\n\r\n".encode() + body
