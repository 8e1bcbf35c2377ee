"""The sandbox's application: the API, with magic amounts and a header on every answer."""

from __future__ import annotations

from typing import Final

from starlette.types import Message, Receive, Scope, Send

from wallet_api.express import ExpressAPI
from wallet_api.mobile import payments, withdrawals
from wallet_api.sandbox.forcing import forcing
from wallet_api.sandbox.magic_amounts import MAGIC_PAYMENTS, MAGIC_WITHDRAWALS

HEADER: Final = (b"nugpay-sandbox", b"1")
"""Stands on every answer, so that nobody takes a sandbox's money for money."""

SANDBOX_EXPRESS: Final = {
    ("POST", "/v1/payments"): forcing(payments.make_payment, payments.PaymentRequest, MAGIC_PAYMENTS),
    ("POST", "/v1/withdrawals"): forcing(
        withdrawals.make_withdrawal, withdrawals.WithdrawalRequest, MAGIC_WITHDRAWALS
    ),
}
"""Operations that amounts can force to fail; they are routes as well, which describe them."""


class SandboxAPI(ExpressAPI):
    """The application of a sandbox."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and say on the answer that this is a sandbox."""

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), HEADER]
            await send(message)

        await super().__call__(scope, receive, send_marked)
