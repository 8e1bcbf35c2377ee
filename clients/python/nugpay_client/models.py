"""What the API tells, as values: amounts are exact decimals, times are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from nugpay_client.errors import AnswerMalformed
from nugpay_client.memos import MemoKeys, open_memo, open_memo_of_line

Amount = str | int | Decimal
"""What callers may give as an amount; a float is refused."""

JSON = Mapping[str, Any]
"""A decoded object of the API."""


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """A payment to make. Keep it before you send it: the same order again pays once."""

    id: UUID
    payee: str
    amount: str
    asset: str
    fee_max: str | None = None
    reference: UUID | None = None
    memo: str | None = None
    """Encrypted for this payment (``Wallet.order``); sent again, it is the same."""
    payee_pass: str | None = None
    """Of a payment code: by it a payee is found who is not listed."""

    def to_json(self) -> dict[str, str]:
        """The order as it is sent, and as it may be kept."""
        made = {"id": str(self.id), "payee": self.payee, "asset": self.asset, "amount": self.amount}
        for name in ("fee_max", "reference", "memo", "payee_pass"):
            if getattr(self, name) is not None:
                made[name] = str(getattr(self, name))
        return made

    @classmethod
    def from_json(cls, content: JSON) -> PaymentOrder:
        """An order that was kept."""
        reference = content.get("reference")
        return cls(
            id=UUID(content["id"]),
            payee=content["payee"],
            amount=content["amount"],
            asset=content["asset"],
            fee_max=content.get("fee_max"),
            reference=UUID(reference) if reference else None,
            memo=content.get("memo"),
            payee_pass=content.get("payee_pass"),
        )


@dataclass(frozen=True, slots=True)
class WithdrawalOrder:
    """A withdrawal to ask for. Keep it before you send it."""

    id: UUID
    to_address: str
    amount: str
    asset: str
    fee_max: str | None = None
    quote_id: UUID | None = None
    """A quote for this amount, whose fee holds."""

    def to_json(self) -> dict[str, str]:
        """The order as it is sent, and as it may be kept."""
        made = {
            "id": str(self.id),
            "to_address": self.to_address,
            "asset": self.asset,
            "amount": self.amount,
        }
        if self.fee_max is not None:
            made["fee_max"] = self.fee_max
        if self.quote_id is not None:
            made["quote_id"] = str(self.quote_id)
        return made

    @classmethod
    def from_json(cls, content: JSON) -> WithdrawalOrder:
        """An order that was kept."""
        return cls(
            id=UUID(content["id"]),
            to_address=content["to_address"],
            amount=content["amount"],
            asset=content["asset"],
            fee_max=content.get("fee_max"),
            quote_id=UUID(content["quote_id"]) if "quote_id" in content else None,
        )


@dataclass(frozen=True, slots=True)
class RequestOrder:
    """A request to pay to make. Keep it before you send it: the same order again asks once."""

    id: UUID
    payer: str
    amount: str
    asset: str
    expires_in_seconds: int
    reference: UUID | None = None

    def to_json(self) -> dict[str, Any]:
        """The order as it is sent, and as it may be kept."""
        made: dict[str, Any] = {
            "id": str(self.id),
            "payer": self.payer,
            "asset": self.asset,
            "amount": self.amount,
            "expires_in_seconds": self.expires_in_seconds,
        }
        if self.reference is not None:
            made["reference"] = str(self.reference)
        return made

    @classmethod
    def from_json(cls, content: JSON) -> RequestOrder:
        """An order that was kept."""
        reference = content.get("reference")
        return cls(
            id=UUID(content["id"]),
            payer=content["payer"],
            amount=content["amount"],
            asset=content["asset"],
            expires_in_seconds=content["expires_in_seconds"],
            reference=UUID(reference) if reference else None,
        )


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A request to pay, and the payment that answers it. Keep it before you send it."""

    request_id: UUID
    payment_id: UUID
    fee_max: str | None = None

    def to_json(self) -> dict[str, str]:
        """The acceptance as it may be kept."""
        made = {"request_id": str(self.request_id), "payment_id": str(self.payment_id)}
        if self.fee_max is not None:
            made["fee_max"] = self.fee_max
        return made

    @classmethod
    def from_json(cls, content: JSON) -> Acceptance:
        """An acceptance that was kept."""
        return cls(UUID(content["request_id"]), UUID(content["payment_id"]), content.get("fee_max"))


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """A request to pay as it stood when it was read; any state but open is final."""

    id: UUID
    state: str
    """``open``, ``accepted``, ``declined``, ``cancelled`` or ``expired``."""
    payee: str
    payer: str
    asset: str
    amount: Decimal
    reference: UUID | None
    payment_id: UUID | None
    """Once accepted: the payment."""
    created_at: datetime
    expires_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Payee:
    """Whom a handle belongs to."""

    handle: str
    can_be_paid: bool
    """False for the own handle."""
    assets: tuple[str, ...]
    """In which this wallet can pay."""
    memo_key: str | None = None
    """To which memos are encrypted; None when none was published."""


@dataclass(frozen=True, slots=True)
class WalletInfo:
    """The own wallet."""

    handle: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Balance:
    """The wallet's money in one asset."""

    asset: str
    balance: Decimal
    reserved: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True)
class LimitWindow:
    """A limit over a time, and what of it is left."""

    window: str
    """``day`` (any 24 hours), ``week`` or ``month`` (of the calendar, UTC)."""
    limit: Decimal
    left: Decimal
    full_at: datetime | None
    """When all of it is free again at the latest; None if it is."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What payments may fill the wallet up to."""

    limit: Decimal
    left: Decimal


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the wallet may pay in one asset; fees do not count."""

    tier: str
    asset: str
    per_payment: Decimal | None
    """None where the asset has no limits."""
    windows: tuple[LimitWindow, ...]
    ceiling: Ceiling | None
    """What the wallet may hold; None where that has no end."""


@dataclass(frozen=True, slots=True)
class Fee:
    """What sending an amount would cost."""

    asset: str
    amount: Decimal
    fee: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class YoungRoom:
    """How much money that is held for less than 30 days may still leave the platform."""

    window: str
    """``day``: any 24 hours; ``week``: any 7 days."""
    limit: Decimal
    left: Decimal
    more_at: datetime | None
    """When the first of what is used comes back; None where nothing is."""


@dataclass(frozen=True, slots=True)
class WithdrawalQuote:
    """A withdrawal's fee, promised to this wallet until it expires."""

    id: UUID
    asset: str
    amount: Decimal
    fee: Decimal
    total: Decimal
    expires_at: datetime
    young: Decimal
    """What of the amount is held for less than 30 days, as of now, and needs room."""
    young_rooms: tuple[YoungRoom, ...]
    """What of that room is left, as of now; none for an asset that the rules do not name."""


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment that has happened."""

    id: UUID
    payer: str
    payee: str
    asset: str
    amount: Decimal
    fee: Decimal
    total: Decimal
    reference: UUID | None
    created_at: datetime
    memo: str | None = None
    """Encrypted."""

    def memo_text(self, keys: MemoKeys) -> str | None:
        """What the payer wrote, None for nothing; ``MemoRefused`` when these keys cannot read it."""
        if self.memo is None:
            return None
        return open_memo(self.memo, keys, payment_id=self.id, payer=self.payer, payee=self.payee)


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One line of history, with the balance after it."""

    id: UUID
    kind: str
    direction: str
    effect: str
    asset: str
    amount: Decimal
    balance: Decimal
    available: Decimal
    counterparty: str | None
    reference: UUID | None
    at: datetime
    memo: str | None = None
    """Encrypted; only where memos were asked for."""

    def memo_text(self, keys: MemoKeys) -> str | None:
        """What the payer wrote, None for nothing; ``MemoRefused`` when these keys cannot read it."""
        if self.memo is None or self.counterparty is None:
            return None
        return open_memo_of_line(
            self.memo, keys, payment_id=self.id, outward=self.direction == "out", other=self.counterparty
        )


@dataclass(frozen=True, slots=True)
class DepositAddress:
    """Where to send tokens to."""

    asset: str
    address: str
    chain_id: int
    token: str
    token_decimals: int


@dataclass(frozen=True, slots=True)
class Deposit:
    """Tokens that came to the wallet's address."""

    id: UUID
    state: str
    asset: str
    amount: Decimal
    tx_hash: str
    block_number: int
    from_address: str
    credited_at: datetime | None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal and how far it has got."""

    id: UUID
    state: str
    asset: str
    amount: Decimal
    fee: Decimal
    total: Decimal
    to_address: str
    tx_hash: str | None
    created_at: datetime
    refusal_code: str | None


def amount_text(amount: str | int | Decimal) -> str:
    """An amount as it is sent: a plain decimal, never a float."""
    if isinstance(amount, bool) or not isinstance(amount, str | int | Decimal):
        raise TypeError(
            f"an amount is text, int or Decimal, not {type(amount).__name__}: floats are not exact"
        )
    return (
        amount if isinstance(amount, str) else f"{amount:f}" if isinstance(amount, Decimal) else str(amount)
    )


def read(kind: type[Any], content: Any) -> Any:
    """A value of ``kind`` from a decoded object; members that are not known here are left out."""
    try:
        # Where there is a default, the server may have nothing to say.
        return kind(
            **{
                name: _value(kind, name, content[name])
                for name, each in kind.__dataclass_fields__.items()
                if each.default is MISSING or name in content
            }
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise AnswerMalformed(f"not a {kind.__name__}: {error!r}") from error


def _value(kind: type[Any], name: str, value: Any) -> Any:
    declared = kind.__dataclass_fields__[name].type
    if value is None:
        if "None" not in declared:
            raise ValueError(f"{name} is null")
        return None
    if declared.startswith("UUID"):
        return UUID(value)
    if declared.startswith("Decimal"):
        return Decimal(value)
    if declared.startswith("datetime"):
        return datetime.fromisoformat(value)
    if declared == "tuple[str, ...]":
        if not all(isinstance(each, str) for each in value):
            raise TypeError(f"{name} is not text only")
        return tuple(value)
    if declared == "tuple[YoungRoom, ...]":
        return tuple(read(YoungRoom, each) for each in value)
    expected = {"int": int, "bool": bool, "str": str}[declared.removesuffix(" | None")]
    if not isinstance(value, expected):
        raise TypeError(f"{name} is {type(value).__name__}")
    return value
