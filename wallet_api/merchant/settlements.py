"""Settlements: what a till took and gave back in a day, as JSON or CSV."""

from __future__ import annotations

import csv
import io
from datetime import date
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import Refusal
from wallet_api.connections import connections_of
from wallet_api.errors import ApiCode
from wallet_api.merchant.access import BY_KEY, till_by_any
from wallet_api.merchant.tills import TillPath
from wallet_api.operations import OF_THE_LEDGER, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    AmountAnswer,
    Answer,
    Asked,
    AssetText,
    HandleText,
    TimeAnswer,
    UUIDText,
    answered,
    handle_text,
    shown,
    time_text,
)
from wallets.settlements import LINES_MAX, Settlement, SettlementKind, SettlementLine, settlement_of
from wallets.wallets import Wallet

router = APIRouter(tags=["merchants"], prefix="/merchant/tills/{till_id}/settlement")

CSV: Final = "text/csv"

LINES_PADDED: Final = 200
"""In a session a day of fewer lines is as long as one of so many."""

_LINE = {
    "id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
    "kind": "payment",
    "amount": "25.000000",
    "invoice_id": "019ab0c4-c1c1-7c11-9d2b-3f6f0c1d2e4a",
    "payment_id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
    "created_at": "2026-11-23T14:09:11.000321Z",
    "by": None,
    "by_key_id": None,
}
_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            CSV: {"schema": {"type": "string"}, "example": "id,kind,asset,amount,invoice_id,payment_id,…"}
        }
    }
}
"""What Accept may ask for instead of JSON."""


class SettlementQuery(Asked):
    """Which day."""

    day: Annotated[
        str | None,
        Field(
            max_length=10,
            description="Of UTC; today if left out.",
            examples=["2026-11-23"],
            json_schema_extra={"pattern": r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$"},
        ),
    ] = None


class SettlementLineAnswer(Answer):
    """A payment, a refund or a recall of the day."""

    model_config = shown(_LINE)

    id: UUIDText
    kind: SettlementKind
    amount: AmountAnswer
    invoice_id: Annotated[UUIDText | None, Field(description="Null: paid by the till's own code.")]
    payment_id: Annotated[UUIDText, Field(description="Of what was given back: the payment.")]
    created_at: TimeAnswer
    by: Annotated[HandleText | None, Field(description="Of a refund: the person who ordered it at the till.")]
    by_key_id: Annotated[UUIDText | None, Field(description="Of a refund: the till's key that ordered it.")]


class SettlementAnswer(Answer):
    """A till's day, read from the ledger."""

    model_config = shown(
        {
            "till_id": "019ab0c4-a1b2-7c11-9d2b-3f6f0c1d2e4a",
            "day": "2026-11-23",
            "is_over": True,
            "asset": "USDT",
            "payments": "25.000000",
            "refunds": "0.000000",
            "net": "25.000000",
            "lines": [_LINE],
            "is_whole": True,
        }
    )

    till_id: UUIDText
    day: str
    is_over: Annotated[bool, Field(description="Whether nothing can come to this day any more.")]
    asset: AssetText
    payments: AmountAnswer
    refunds: Annotated[AmountAnswer, Field(description="What was given back, by refunds and by recalls.")]
    net: Annotated[str, Field(description="Payments less what was given back; may be below zero.")]
    lines: Annotated[list[SettlementLineAnswer], Field(description=f"In order of time, {LINES_MAX} at most.")]
    is_whole: Annotated[bool, Field(description="Whether all lines are there; the sums are of all.")]


@router.get(
    "",
    response_model=SettlementAnswer,
    summary="What a till took in a day",
    description="Payments, refunds and recalls of a day of UTC, and their sums. With Accept: text/csv the "
    "lines come as CSV, whose last line says cut where there are more than fit.",
    responses=_CSV | problems(BY_KEY, OF_THE_LEDGER),
    openapi_extra=signed(or_key=True),
)
async def settlement(
    request: Request, till_id: TillPath, query: Annotated[SettlementQuery, Query()]
) -> Response:
    """A till's day."""
    pad_list(request, lines_max=LINES_PADDED, line_bytes=360)
    access = await till_by_any(request, till_id)
    connections = connections_of(request)
    day = _day(query.day) if query.day is not None else connections.clock.now().date()
    found = await settlement_of(connections.merchant_books(), access, day=day)
    people = await connections.wallets.by_ids(
        each.by.wallet_id for each in found.lines if each.by is not None and each.by.wallet_id is not None
    )
    if request.headers.get("accept", "").partition(";")[0].strip().lower() == CSV:
        return Response(_csv(found, people), media_type=CSV)
    return answered(
        SettlementAnswer(
            till_id=str(found.till.id),
            day=found.day.isoformat(),
            is_over=found.is_over,
            asset=found.till.asset.code,
            payments=found.payments.format(),
            refunds=found.refunds.format(),
            net=found.net.format(),
            lines=[SettlementLineAnswer(**_fields(each, people)) for each in found.lines],
            is_whole=found.is_whole,
        )
    )


def _day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    # Other forms of ISO 8601 would be a second way to say the same; times are counted from 1970 on.
    if found is None or found.isoformat() != text or not 1971 <= found.year <= 2261:
        raise Refusal(ApiCode.REQUEST_MALFORMED, "day: A day is written as 2026-11-23.", field="day")
    return found


def _fields(line: SettlementLine, people: dict[UUID, Wallet]) -> dict[str, Any]:
    by = line.by
    return {
        "id": str(line.id),
        "kind": line.kind,
        "amount": line.amount.format(),
        "invoice_id": str(line.invoice_id) if line.invoice_id is not None else None,
        "payment_id": str(line.payment_id),
        "created_at": time_text(line.at_ns),
        "by": handle_text(people[by.wallet_id].handle)
        if by is not None and by.wallet_id is not None
        else None,
        "by_key_id": str(by.key_id) if by is not None and by.key_id is not None else None,
    }


def _csv(found: Settlement, people: dict[UUID, Wallet]) -> str:
    # Every cell is an id, a number, a time or a word of ours: nothing that a spreadsheet takes for a formula.
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(
        ["id", "kind", "asset", "amount", "invoice_id", "payment_id", "created_at", "by", "by_key_id"]
    )
    for line in found.lines:
        fields = _fields(line, people)
        writer.writerow(
            [
                fields["id"],
                line.kind.value,
                found.till.asset.code,
                fields["amount"],
                fields["invoice_id"] or "",
                fields["payment_id"],
                fields["created_at"],
                # Without the @, which a spreadsheet takes for the beginning of a formula.
                (fields["by"] or "").removeprefix("@"),
                fields["by_key_id"] or "",
            ]
        )
    if not found.is_whole:
        # Whoever adds the lines up must not take a part of a day for the whole.
        writer.writerow(["", "cut", found.till.asset.code, "", "", "", "", "", ""])
    return text.getvalue()
