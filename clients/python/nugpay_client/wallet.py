"""The wallet: enrol a device, pay, read, deposit and withdraw.

What moves money is sent with an id that the caller keeps; however often it is
sent, it happens once. After a lost answer the wallet asks for the id, sends the
same again, and gives up only with ``OutcomeUnknown``, never with a guess.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from nugpay_client.bulk_payments import BulkPayments
from nugpay_client.business import Business
from nugpay_client.errors import MemoRefused, PaymentCodeRefused, WaitedTooLong
from nugpay_client.ids import new_id
from nugpay_client.memos import MemoKeys, seal_memo
from nugpay_client.models import (
    Amount,
    Balance,
    Ceiling,
    Deposit,
    DepositAddress,
    Fee,
    HistoryLine,
    Limits,
    LimitWindow,
    Payee,
    Payment,
    PaymentOrder,
    WalletInfo,
    Withdrawal,
    WithdrawalOrder,
    WithdrawalQuote,
    amount_text,
    read,
)
from nugpay_client.own_handles import OwnHandles
from nugpay_client.payment_codes import PaymentCode, read_payment_code
from nugpay_client.payment_requests import Requests
from nugpay_client.personal import Personal
from nugpay_client.recalls import Recalls
from nugpay_client.receipts import Receipts
from nugpay_client.recovery import Recovery
from nugpay_client.refunds import Refunds
from nugpay_client.sandbox import Sandbox
from nugpay_client.security import Security
from nugpay_client.sessions import Session
from nugpay_client.settling import settle
from nugpay_client.splits import Splits
from nugpay_client.standing_orders import StandingOrders
from nugpay_client.statements import Statements
from nugpay_client.syncs import Changes, changes_after

Found = TypeVar("Found")

WITHDRAWAL_ENDS = frozenset({"paid", "returned", "refused"})
"""States after which a withdrawal never changes."""


class Wallet(Session):
    """A device's wallet at one server; use it as an async context manager, or ``close`` it."""

    # Enrolment -----------------------------------------------------------------

    async def enrol(self, code: str) -> UUID:
        """Enrol this device with a one-time code; its id. Safe to repeat with the same key."""
        body = {"code": code, "public_key": self._connection.signer.public_jwk}
        answer = await self._connection.send("POST", "/v1/enrolments", body)
        return UUID(answer.content["device_id"])

    async def open(self, handle: str) -> WalletInfo:
        """Open the wallet under a handle. Safe to repeat with the same handle."""
        answer = await self._connection.send("POST", "/v1/wallet", {"handle": handle})
        return _wallet(answer.content)

    async def info(self) -> WalletInfo:
        """The wallet's handle."""
        return _wallet((await self._connection.send("GET", "/v1/wallet")).content)

    @property
    def handles(self) -> OwnHandles:
        """The wallet's handle: changed, listed or not, and which it had before."""
        return OwnHandles(self._connection)

    async def payee(self, handle: str, *, payee_pass: str | None = None) -> Payee:
        """Whom a handle belongs to, to be shown before paying; ``NotFound`` when nobody has it.

        One that was given up is answered with the one of now; ``payee_pass`` is a code's.
        """
        query = {"payee_pass": payee_pass} if payee_pass is not None else None
        path = f"/v1/handles/{quote(handle, safe='@')}"
        content = (await self._connection.send("GET", path, query=query)).content
        found: Payee = read(Payee, content)
        return found

    async def publish_memo_key(self, keys: MemoKeys) -> None:
        """Have others encrypt memos to the current key from now on; keep the keys before that."""
        await self._connection.send("PUT", "/v1/memo_key", {"memo_key": keys.public_text})

    # Payments ------------------------------------------------------------------

    @property
    def requests(self) -> Requests:
        """Requests to pay: those that this wallet makes, and those that it is asked to pay."""
        return Requests(self._connection)

    @property
    def bulk_payments(self) -> BulkPayments:
        """Files of payments: those that this device brings, and those that it releases."""
        return BulkPayments(self._connection)

    @property
    def recovery(self) -> Recovery:
        """People who can let a new device in when all others are lost."""
        return Recovery(self._connection)

    @property
    def security(self) -> Security:
        """PIN, sessions and devices."""
        return Security(self._connection)

    def read_code(self, text: str) -> PaymentCode:
        """A payment code that was scanned or clicked, if it can be paid now.

        ``PaymentCodeRefused`` when it is none of this server's, is damaged or is over.
        """
        code = read_payment_code(text, base_url=self._connection.base_url)
        if code.is_over(datetime.fromtimestamp(self._connection.clock.now(), UTC)):
            raise PaymentCodeRefused("payment_code_expired", "The time of this payment code is over.")
        return code

    def order_of_code(
        self, code: PaymentCode, *, amount: Amount | None = None, fee_max: Amount | None = None
    ) -> PaymentOrder:
        """A payment order of a code, with a new id; ``amount`` only where the code leaves it open."""
        if (amount is None) == (code.amount is None):
            raise ValueError("an amount is given by the code, or else by the payer")
        chosen = code.amount if code.amount is not None else amount
        assert chosen is not None
        made = self.order(code.payee, chosen, code.asset, fee_max=fee_max, reference=code.reference)
        return replace(made, payee_pass=code.payee_pass)

    def order(
        self,
        payee: str | Payee,
        amount: Amount,
        asset: str,
        *,
        fee_max: Amount | None = None,
        reference: UUID | None = None,
        memo: str | None = None,
        keys: MemoKeys | None = None,
    ) -> PaymentOrder:
        """A payment order with a new id: keep it, then ``pay`` it as often as needed.

        A ``memo`` is encrypted for the payee, as ``payee()`` found it, and for this wallet,
        whose ``keys`` they are; ``MemoRefused`` when the payee has no key, or it is too long.
        """
        made = PaymentOrder(
            id=new_id(self._connection.clock),
            payee=payee.handle if isinstance(payee, Payee) else payee,
            amount=amount_text(amount),
            asset=asset,
            fee_max=amount_text(fee_max) if fee_max is not None else None,
            reference=reference,
        )
        if memo is None:
            return made
        if not isinstance(payee, Payee) or keys is None:
            raise ValueError("a memo needs the payee as payee() found it, and this wallet's keys")
        if payee.memo_key is None:
            raise MemoRefused("payee_has_no_memo_key", f"{payee.handle} has published no key for memos.")
        sealed = seal_memo(memo, payment_id=made.id, payer=keys, payee=payee.handle, payee_key=payee.memo_key)
        return replace(made, memo=sealed)

    async def pay(self, order: PaymentOrder) -> Payment:
        """Carry an order out once, however often this is called.

        ``RequestRefused`` (``InsufficientFunds``, ``PayeeUnknown`` …) when it did not
        happen; ``OutcomeUnknown`` when no attempt got an answer: call again with the
        same order.
        """
        path = f"/v1/payments/{order.id}"
        return _payment(await settle(self._connection, "/v1/payments", path, order.id, order.to_json()))

    async def payment(self, payment_id: UUID) -> Payment:
        """A payment of this wallet; ``NotFound`` when it did not happen or is not this wallet's."""
        return _payment((await self._connection.send("GET", f"/v1/payments/{payment_id}")).content)

    @property
    def personal(self) -> Personal:
        """What the owner tells of themselves, and who looked at it."""
        return Personal(self._connection)

    @property
    def refunds(self) -> Refunds:
        """Payments given back: those that this wallet gives, and those that it gets."""
        return Refunds(self._connection)

    @property
    def receipts(self) -> Receipts:
        """What payments were, signed by the bank."""
        return Receipts(self._connection)

    @property
    def business(self) -> Business:
        """The wallet's tills, who works there, and where its person works."""
        return Business(self._connection)

    @property
    def recalls(self) -> Recalls:
        """Payments asked back: those that this wallet asks back, and those that it is asked for."""
        return Recalls(self._connection)

    @property
    def splits(self) -> Splits:
        """Amounts that this wallet asks several people for."""
        return Splits(self._connection)

    @property
    def standing_orders(self) -> StandingOrders:
        """What this wallet pays on days to come."""
        return StandingOrders(self._connection)

    async def payment_fee(self, amount: Amount, asset: str) -> Fee:
        """What a payment would cost now."""
        return await self._fee("/v1/fees/payment", amount, asset)

    # Reading -------------------------------------------------------------------

    async def balances(self) -> dict[str, Balance]:
        """The balance in every asset, by its code."""
        content = (await self._connection.send("GET", "/v1/balances")).content
        found: list[Balance] = [read(Balance, each) for each in content["balances"]]
        return {balance.asset: balance for balance in found}

    async def limits(self, asset: str) -> Limits:
        """How much this wallet may pay in an asset, and what of it is left."""
        content = (await self._connection.send("GET", "/v1/limits", query={"asset": asset})).content
        windows = tuple(read(LimitWindow, each) for each in content["windows"])
        per_payment, ceiling = content["per_payment"], content["ceiling"]
        return Limits(
            tier=content["tier"],
            asset=content["asset"],
            per_payment=Decimal(per_payment) if per_payment is not None else None,
            windows=windows,
            ceiling=read(Ceiling, ceiling) if ceiling is not None else None,
        )

    async def history(
        self, *, asset: str | None = None, page: int = 50, memos: bool = False, memo_hash: str | None = None
    ) -> AsyncIterator[HistoryLine]:
        """The history, newest first, fetched page by page as it is read.

        With ``memos`` lines bring theirs; ``memo_hash`` is a memo's SHA-256 in hex, for its payment alone.
        """
        query = {"limit": str(page)} | ({"asset": asset} if asset is not None else {})
        query |= ({"memos": "true"} if memos else {}) | ({"memo_hash": memo_hash} if memo_hash else {})
        while True:
            content = (await self._connection.send("GET", "/v1/history", query=query)).content
            for line in content["lines"]:
                found: HistoryLine = read(HistoryLine, line)
                yield found
            if content["next_cursor"] is None:
                return
            query["cursor"] = content["next_cursor"]

    def changes(
        self, cursor: str | None = None, *, limit: int | None = None, memos: bool = False
    ) -> AsyncIterator[Changes]:
        """All that changed since ``cursor``, or ever: store each answer, then keep its cursor."""
        return changes_after(self._connection, cursor, limit, memos=memos)

    @property
    def statements(self) -> Statements:
        """Months of this wallet: as lines that add up, or as a file."""
        return Statements(self._connection)

    @property
    def sandbox(self) -> Sandbox:
        """The clock and the magic amounts of a sandbox."""
        return Sandbox(self._connection)

    # The chain -----------------------------------------------------------------

    async def deposit_address(self, asset: str) -> DepositAddress:
        """Where to send an asset's token to."""
        content = (await self._connection.send("GET", "/v1/deposit_address", query={"asset": asset})).content
        found: DepositAddress = read(DepositAddress, content)
        return found

    async def deposits(self, *, limit: int = 50) -> list[Deposit]:
        """Deposits, newest first, those on their way as well."""
        content = (await self._connection.send("GET", "/v1/deposits", query={"limit": str(limit)})).content
        return [read(Deposit, each) for each in content["deposits"]]

    async def withdrawal_quote(self, amount: Amount, asset: str) -> WithdrawalQuote:
        """The fee of a withdrawal, promised for a while; each call makes a quote."""
        body = {"asset": asset, "amount": amount_text(amount)}
        content = (await self._connection.send("POST", "/v1/withdrawals/quotes", body)).content
        quote: WithdrawalQuote = read(WithdrawalQuote, content)
        return quote

    def withdrawal_order(
        self,
        to_address: str,
        amount: Amount,
        asset: str,
        *,
        fee_max: Amount | None = None,
        quote: WithdrawalQuote | None = None,
    ) -> WithdrawalOrder:
        """A withdrawal order with a new id: keep it, then ``withdraw`` it as often as needed.

        ``quote`` holds the server to the fee it promised; one that has expired is refused.
        """
        return WithdrawalOrder(
            id=new_id(self._connection.clock),
            to_address=to_address,
            amount=amount_text(amount),
            asset=asset,
            fee_max=amount_text(fee_max) if fee_max is not None else None,
            quote_id=quote.id if quote is not None else None,
        )

    async def withdraw(self, order: WithdrawalOrder) -> Withdrawal:
        """Ask for a withdrawal once, however often this is called; raises as ``pay`` does."""
        path = f"/v1/withdrawals/{order.id}"
        return _withdrawal(await settle(self._connection, "/v1/withdrawals", path, order.id, order.to_json()))

    async def withdrawal(self, withdrawal_id: UUID) -> Withdrawal:
        """A withdrawal of this wallet, as it stands."""
        return _withdrawal((await self._connection.send("GET", f"/v1/withdrawals/{withdrawal_id}")).content)

    async def withdrawals(self, *, limit: int = 50) -> list[Withdrawal]:
        """Withdrawals, newest first."""
        content = (await self._connection.send("GET", "/v1/withdrawals", query={"limit": str(limit)})).content
        return [read(Withdrawal, each) for each in content["withdrawals"]]

    async def withdrawal_fee(self, amount: Amount, asset: str) -> Fee:
        """What a withdrawal would cost now."""
        return await self._fee("/v1/fees/withdrawal", amount, asset)

    # Waiting -------------------------------------------------------------------

    async def wait_for_deposit(
        self,
        tx_hash: str,
        states: Collection[str] = ("credited",),
        *,
        seconds: float = 120,
        every: float = 0.5,
    ) -> Deposit:
        """The deposit made by a chain tx, once it is in one of ``states``."""

        async def look() -> Deposit | None:
            found = await self.deposits(limit=100)
            return next((one for one in found if one.tx_hash == tx_hash and one.state in states), None)

        return await _until(look, f"deposit of {tx_hash} in {sorted(states)}", seconds, every)

    async def wait_for_withdrawal(
        self,
        withdrawal_id: UUID,
        states: Collection[str] = WITHDRAWAL_ENDS,
        *,
        seconds: float = 120,
        every: float = 0.5,
    ) -> Withdrawal:
        """A withdrawal, once it is in one of ``states``."""

        async def look() -> Withdrawal | None:
            found = await self.withdrawal(withdrawal_id)
            return found if found.state in states else None

        return await _until(look, f"withdrawal {withdrawal_id} in {sorted(states)}", seconds, every)

    # Inside --------------------------------------------------------------------

    async def _fee(self, path: str, amount: Amount, asset: str) -> Fee:
        query = {"asset": asset, "amount": amount_text(amount)}
        found: Fee = read(Fee, (await self._connection.send("GET", path, query=query)).content)
        return found


async def _until(
    look: Callable[[], Awaitable[Found | None]], what: str, seconds: float, every: float
) -> Found:
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found is not None:
            return found
        if time.monotonic() + every > deadline:
            raise WaitedTooLong(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(every)


def _wallet(content: Any) -> WalletInfo:
    found: WalletInfo = read(WalletInfo, content)
    return found


def _payment(content: Any) -> Payment:
    found: Payment = read(Payment, content)
    return found


def _withdrawal(content: Any) -> Withdrawal:
    found: Withdrawal = read(Withdrawal, content)
    return found
