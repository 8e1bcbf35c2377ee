"""Forcing: how a magic amount's answer comes about.

What is refused by force is refused after the signature, the session and the form of the
request were looked at, as it would be, and by the same words. Refusals that use an id up
really do: the ledger refuses a payment's id for ever afterwards. Outcomes that are told to
be unknown are so to the client alone: the payment was made, or it never will be by that
request, and asking for the id tells which.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final, Protocol

from pydantic import ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import Asset, asset_by_code
from foundation.errors import Refusal, RefusalCode, RefusalData, Retryable, Unavailable
from foundation.ids import derive_id, parse_id
from foundation.money import Money
from ledger.interface import LedgerBusy, LedgerUnavailable
from wallet_api.callers import wallet_of
from wallet_api.cbor_bodies import is_cbor, json_of
from wallet_api.connections import connections_of
from wallet_api.gate import body_of
from wallet_api.problem_kinds import PROBLEM_KINDS
from wallet_api.problem_texts import DETAILS
from wallet_api.wire import Asked, read
from wallets.given_up import give_up
from wallets.payments import check_id
from wallets.wallets import Wallet

Endpoint = Callable[[Request], Awaitable[Response]]
"""A route's function that takes the request alone."""

RETRY_SECONDS: Final = 2
"""What Retry-After of a forced answer says."""

ATTEMPTS_KEPT: Final = 10_000
"""Ids of which one process remembers how often they were told to be busy."""


class MoneyAsked(Asked):
    """What says whether an amount is magic; the rest of a body is for the operation to read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    asset: str
    amount: str

    @property
    def money(self) -> Money:
        """The amount; refused as the operation refuses one that is none."""
        return Money.parse(self.amount, asset_by_code(self.asset))


@dataclass(frozen=True, slots=True)
class Forced:
    """A request whose amount is magic, and the operation that it asked for."""

    request: Request
    asked: MoneyAsked
    endpoint: Endpoint
    kind: type[Asked]
    """The model of its body."""
    attempts: Attempts

    async def admitted(self) -> Wallet:
        """The caller's wallet, once signature, session and form are as the operation wants them."""
        wallet = await wallet_of(self.request, carries_id=True)
        read(self.kind, body_of(self.request.scope))
        check_id(parse_id(self.asked.id))
        return wallet


class Attempts:
    """How often each id was told to be busy, in this process."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, int] = OrderedDict()

    def count(self, text: str) -> int:
        """How often this id has been told so before; counts one more."""
        before = self._seen.pop(text, 0)
        self._seen[text] = before + 1
        if len(self._seen) > ATTEMPTS_KEPT:
            self._seen.popitem(last=False)
        return before


class Effect(Protocol):
    """What a magic amount does."""

    async def play(self, forced: Forced) -> Response:
        """Answer the request, or raise what is to be answered."""


@dataclass(frozen=True, slots=True)
class Refuses:
    """The request is refused with a code; nothing happens but what the code says of its id."""

    code: RefusalCode
    detail: str
    retry_seconds: int | None = None

    async def play(self, forced: Forced) -> Response:
        """Refuse."""
        wallet = await forced.admitted()
        asked, amount = forced.asked, forced.asked.money
        if PROBLEM_KINDS[self.code].new_id_needed and forced.endpoint.__name__ == "make_payment":
            # The ledger refuses the id from here on, as after a real refusal of this kind. An id
            # under which something has happened already is left as it is.
            await give_up(
                connections_of(forced.request).ledger,
                parse_id(asked.id),
                payer_id=wallet.id,
                payee_id=derive_id("sandbox-nobody", asked.id),
                asset=amount.asset,
            )
        retryable = Retryable.NO if self.retry_seconds is None else Retryable.YES
        raise Refusal(self.code, self.detail, retryable=retryable, **self._data(amount))

    def _data(self, amount: Money) -> dict[str, Any]:
        """What the code's sentence speaks of, as the operation itself would say it."""
        known: dict[str, RefusalData] = {
            "asset": amount.asset.code,
            "amount": amount.format(),
            "fee": amount.format(),
            "limit": amount.format(),
            "handle": "nobody",
            "field": "payee",
        }
        sentence = DETAILS.get(self.code, "")
        assert isinstance(sentence, str), "a sentence with a plural has a number that nothing here knows"
        names = [name for _, name, _, _ in Formatter().parse(sentence) if name is not None]
        data = {name: known[name] for name in names}
        return data if self.retry_seconds is None else data | {"retry_after_seconds": self.retry_seconds}


@dataclass(frozen=True, slots=True)
class Busy:
    """The ledger is busy the first times that an id is sent; then it is carried out."""

    times: int

    async def play(self, forced: Forced) -> Response:
        """Be busy, or carry out."""
        if forced.attempts.count(forced.asked.id) >= self.times:
            return await forced.endpoint(forced.request)
        await forced.admitted()
        raise LedgerBusy(RETRY_SECONDS)


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer is that the outcome is unknown."""

    is_made: bool
    """Whether it was carried out; the same request again is then answered as the repetition it is."""
    code: str = "ledger_unavailable"

    async def play(self, forced: Forced) -> Response:
        """Carry out or not, and say that it is unknown."""
        if self.is_made:
            response = await forced.endpoint(forced.request)
            if forced.attempts.count(forced.asked.id):
                return response
        else:
            await forced.admitted()
        if self.code == "ledger_unavailable":
            raise LedgerUnavailable("The sandbox lost the answer.", outcome_unknown=True)
        raise Unavailable(self.code, "The sandbox lost the answer.", outcome_unknown=True)


@dataclass(frozen=True, slots=True)
class Slow:
    """The request is carried out after a while."""

    seconds: float

    async def play(self, forced: Forced) -> Response:
        """Wait, by the machine's own clock, and carry out."""
        await asyncio.sleep(self.seconds)
        return await forced.endpoint(forced.request)


@dataclass(frozen=True, slots=True)
class Magic:
    """A magic amount."""

    number: int
    """The amount's last digits, in minor units."""
    code: str
    """What is answered: a problem's code, or what else happens."""
    says: str
    effect: Effect


MODULUS: Final = 10_000
"""An amount is magic by its minor units modulo this."""


def forcing(endpoint: Endpoint, kind: type[Asked], table: Mapping[int, Magic]) -> Endpoint:
    """The operation, with magic amounts."""
    attempts = Attempts()

    async def answer(request: Request) -> Response:
        asked = _asked(body_of(request.scope))
        magic = table.get(asked.money.minor % MODULUS) if asked is not None else None
        if asked is None or magic is None:
            return await endpoint(request)
        return await magic.effect.play(Forced(request, asked, endpoint, kind, attempts))

    return answer


def example_amount(magic: Magic, asset: Asset) -> Money:
    """The smallest amount of an asset that has this effect."""
    return Money(magic.number, asset)


def _asked(body: bytes) -> MoneyAsked | None:
    """What is asked for; None for what cannot be read, which the operation itself refuses."""
    try:
        asked = MoneyAsked.model_validate_json(json_of(body) if is_cbor(body) else body)
        is_amount = asked.money.minor > 0
    except (ValidationError, Refusal):
        return None
    return asked if is_amount else None
