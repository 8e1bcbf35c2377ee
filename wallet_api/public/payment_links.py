"""Payment links: what somebody sees who opens one in a browser, with or without the app.

The page names the payee, the amount and the time, and has the code as a URI, which opens
the app, and as a QR code for a phone beside the screen. It is made from the link alone:
whether the payee exists is not looked up, so it tells nothing about customers.
"""

from __future__ import annotations

from html import escape
from typing import Annotated, Final

from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response

from wallet_api.connections import connections_of
from wallet_api.wire import handle_text, time_text
from wallets.payment_code_pictures import svg
from wallets.payment_codes import TEXT_LENGTH_MAX, PaymentCode, check_not_expired, read_payload, uri

PATH: Final = "/p/{payload}"
"""Where links lead to; short, since it stands in QR codes and messages."""

_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>Pay {payee}</title></head>
<body><h1>Pay {payee}</h1>
<p>{amount}</p>
<p>{expiry}</p>
<p><a href="{uri}">Open in NUG Pay</a></p>
{picture}
</body></html>
"""


async def payment_page(
    request: Request, payload: Annotated[str, Path(max_length=TEXT_LENGTH_MAX)]
) -> Response:
    """The page of a payment link; a link that is none is refused as a payment code is."""
    code = read_payload(payload)
    check_not_expired(code, connections_of(request).clock)
    return Response(_page(code), media_type="text/html; charset=utf-8")


def _page(code: PaymentCode) -> str:
    amount = str(code.amount) if code.amount is not None else f"An amount of your choice in {code.asset.code}"
    expires_at_ns = code.expires_at_ns
    expiry = f"Until {time_text(expires_at_ns)}" if expires_at_ns is not None else "At any time"
    return _PAGE.format(
        payee=escape(handle_text(code.payee_handle)),
        amount=escape(amount),
        expiry=escape(expiry),
        uri=escape(uri(code)),
        picture=svg(code),
    )
