"""Files of payments for tests: a business with two devices, its payees, and what must hold afterwards."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from benchmarks.bulk.business import device
from foundation.assets import USDT, Asset
from foundation.ids import uuid7
from tests.wallets.conftest import Bank
from wallets.bulk_execution import BulkReport, BulkTools, advance_bulk_payments
from wallets.bulk_payments import BulkPayment, LineResult, bulk_payment_by_id, list_bulk_lines
from wallets.bulk_releases import BulkRelease, release_bulk_payment
from wallets.bulk_uploads import BulkBooks, BulkOrder, upload_bulk_payment
from wallets.handle_lookups import HandleLookups
from wallets.wallets import Wallet

HEADER = "handle,amount,reference\n"


@dataclass
class Business:
    """A wallet of the business tier with a maker's and a checker's device."""

    bank: Bank
    wallet: Wallet
    maker: UUID
    checker: UUID

    @property
    def books(self) -> BulkBooks:
        bank = self.bank
        return BulkBooks(bank.database, bank.ledger, bank.clock, HandleLookups(bank.database, bank.clock))

    def tools(self, ledger=None) -> BulkTools:
        bank = self.bank
        return BulkTools(bank.database, ledger or bank.ledger, bank.clock, bank.directory, bank.limits)

    def order(self, *lines: str, asset: Asset = USDT, **more) -> BulkOrder:
        content = (HEADER + "\n".join(lines)).encode()
        made = {"id": uuid7(self.bank.clock), "payer": self.wallet, "made_by": self.maker, "asset": asset}
        return BulkOrder(**{**made, "content": content, **more})

    async def upload(self, *lines: str, **more) -> BulkPayment:
        return (await upload_bulk_payment(self.books, self.order(*lines, **more))).bulk_payment

    async def release(self, bulk: BulkPayment, **more) -> BulkPayment:
        said = {
            "bulk_id": bulk.id,
            "payer": self.wallet,
            "released_by": self.checker,
            "digest": bulk.digest,
            "total": bulk.total.format(),
        }
        bank = self.bank
        release = BulkRelease(**{**said, **more})
        return (
            await release_bulk_payment(bank.database, bank.ledger, bank.clock, bank.limits, release)
        ).bulk_payment

    async def advance(self, *, lines_at_once: int = 4) -> BulkReport:
        return await advance_bulk_payments(self.tools(), lines_at_once=lines_at_once)

    async def look(self, bulk: BulkPayment) -> BulkPayment:
        return await bulk_payment_by_id(self.bank.database, wallet=self.wallet, bulk_id=bulk.id)

    async def lines(self, bulk: BulkPayment, **more) -> list[LineResult]:
        found: list[LineResult] = []
        after = 0
        while True:
            page = await list_bulk_lines(
                self.bank.database, wallet=self.wallet, bulk_id=bulk.id, after=after, limit=3, **more
            )
            found += page.lines
            if page.next_after is None:
                return found
            after = page.next_after

    async def codes(self, bulk: BulkPayment) -> list[str | None]:
        return [line.code for line in await self.lines(bulk)]


async def business(bank: Bank, handle: str = "the_mill", funds: str | None = "1000") -> Business:
    """A business with money."""
    wallet = await bank.wallet(handle)
    async with bank.database.session() as session:
        await session.execute(
            text("UPDATE wallets_wallet SET tier = 'business' WHERE id = :id"), {"id": wallet.id}
        )
    found = (await bank.directory.by_ids([wallet.id]))[wallet.id]
    if funds is not None:
        await bank.fund(found, funds, USDT)
    maker, checker = [await device(bank.database, bank.clock, wallet.person_id) for _ in range(2)]
    return Business(bank, found, maker, checker)
