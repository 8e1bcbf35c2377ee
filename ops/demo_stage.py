"""The demo's stage: a running bank, an outside person with tokens, and both books at a glance.

What the story cannot do through the API (hand out an enrolment code, put tokens
on the development chain, take a block back, kill a process) is done here. The
rest is asked like anybody asks, with the public client.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

from nugpay_client import DeviceKey, RetryPolicy, Wallet
from rich.console import Console
from rich.text import Text

from chain.deployments import Deployment, load_deployment
from chain.development import mint
from chain.keystore import ADMINISTRATOR_KEY, SigningKey, development_key
from chain.rpc import RPC
from foundation.assets import DMMK, USDT, Asset
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.money import Money
from foundation.settings import Settings
from identity.enrolment import issue_enrolment_code
from ledger.chart import AccountCode, system_account_id
from ledger.client import LedgerClient
from ledger.door.tls import client_context
from ops.errors import OperationError
from ops.processes import running_roster
from ops.up import running_bank
from ops.wiring import current_settings, needed_database
from treasury.custody import Custody, custody_of
from treasury.custody_addresses import custody_addresses
from treasury.custody_balances import units_at

PATIENT = RetryPolicy(attempts=120, pause_seconds=0.25, pause_seconds_max=1.0)
"""How a phone of the story asks again while it is told to wait."""


@dataclass(slots=True)
class Stage:
    """Everything that the story touches."""

    settings: Settings
    clock: SystemClock
    database: Database
    ledger: LedgerClient
    rpc: RPC
    deployment: Deployment
    custody: Custody
    administrator: SigningKey
    console: Console

    @property
    def api(self) -> str:
        """Base URL of the API."""
        return f"http://{self.settings.api_host}:{self.settings.api_port}"

    # What people see ------------------------------------------------------------

    def chapter(self, number: int, title: str) -> None:
        """Begin a step of the story."""
        self.console.print()
        self.console.print(Text.assemble((f" {number:>2} ", "bold reverse"), (f" {title}", "bold")))

    def asked(self, who: str, what: str) -> None:
        """Somebody asks for something."""
        self._line(f"{who} →", what, "cyan")

    def answered(self, what: str) -> None:
        """What came back."""
        self._line("←", what, "green")

    def note(self, what: str) -> None:
        """What happens meanwhile."""
        self._line("·", what, "dim")

    async def books(self) -> None:
        """Custody on chain beside the ledger's custody account, asset by asset."""
        parts = []
        for asset in (USDT, DMMK):
            chain, ledger = await self.custody_on_chain(asset), await self.custody_in_ledger(asset)
            sign = "=" if chain == ledger else "≠"
            parts.append(f"{asset.code} chain {chain.format()} {sign} ledger {ledger.format()}")
        self._line("books", "   ".join(parts), "bold yellow")

    def _line(self, label: str, text: str, style: str) -> None:
        self.console.print(Text.assemble((f"{label:>10} ", style), text), soft_wrap=True)

    # Both books ----------------------------------------------------------------

    async def custody_on_chain(self, asset: Asset) -> Money:
        """Tokens of the asset at every custody address, at the newest block."""
        token = self.custody.token_of(asset)
        async with self.database.session() as session:
            addresses = list(await session.scalars(custody_addresses(self.custody)))
        head = await self.rpc.call("eth_getBlockByNumber", "latest", False)
        held = await units_at(
            self.rpc, token=token.address, addresses=sorted(addresses), block_hash=head["hash"]
        )
        return Money(token.split_units(sum(held))[0], asset)

    async def custody_in_ledger(self, asset: Asset) -> Money:
        """What the ledger says is held."""
        (account,) = await self.ledger.lookup_accounts([system_account_id(AccountCode.CUSTODY, asset)])
        return Money(account.debits_posted - account.credits_posted, asset)

    # What only the stage can do --------------------------------------------------

    async def phone(self, handle: str, *, algorithm: str) -> Wallet:
        """A new phone: its own key, enrolled with a one-time code, and its wallet."""
        async with self.database.session() as session:
            code = await issue_enrolment_code(session, self.clock)
        key = DeviceKey.generate("ed25519" if algorithm == "ed25519" else "ecdsa-p256-sha256")
        wallet = Wallet(self.api, key, retry=PATIENT)
        self.asked(f"@{handle}", f"enrol this {algorithm} key with the one-time code {code[:8]}-…")
        device = await wallet.enrol(code)
        self.answered(f"device {device}")
        info = await wallet.open(handle)
        self.answered(f"wallet @{info.handle.removeprefix('@')} is open")
        return wallet

    async def issue(self, asset: Asset, to: str, amount: str) -> str:
        """Put tokens of the development chain on an address; the tx hash."""
        units = self.custody.token_of(asset).units_of(Money.parse(amount, asset).minor)
        return await mint(self.rpc, self.deployment, self.administrator, asset=asset.code, to=to, units=units)

    async def token_balance(self, asset: Asset, address: str) -> Money:
        """What an address holds at the newest block."""
        token = self.custody.token_of(asset)
        head = await self.rpc.call("eth_getBlockByNumber", "latest", False)
        (units,) = await units_at(self.rpc, token=token.address, addresses=[address], block_hash=head["hash"])
        return Money(token.split_units(units)[0], asset)

    @contextlib.asynccontextmanager
    async def blocks_by_hand(self) -> AsyncIterator[None]:
        """No block comes by itself meanwhile."""
        interval = await self.rpc.call("anvil_getIntervalMining")
        await self.rpc.call("evm_setIntervalMining", 0)
        try:
            yield
        finally:
            await self.rpc.call("evm_setIntervalMining", interval or 0)

    def kill_ledger(self) -> int:
        """Kill the ledger process with SIGKILL; its pid."""
        roster = running_roster(self.settings.home)
        for child in roster.children if roster is not None else ():
            if child.name == "ledger" and child.mark is not None:
                os.kill(child.mark.pid, signal.SIGKILL)
                return child.mark.pid
        raise OperationError("The ledger process is not running", "./nugpay status shows what is.")


@contextlib.asynccontextmanager
async def open_stage(console: Console, settings: Settings) -> AsyncIterator[Stage]:
    """A stage on a running bank; one that was started for it is stopped afterwards."""

    def say(words: str) -> None:
        console.print(Text(words, "dim"))

    async with running_bank(settings, say=say, busy=console.status):
        settings = current_settings()
        database = Database(needed_database(settings), pool_size=2)
        ledger = LedgerClient(settings.ledger_address, tls=client_context(settings))
        rpc = RPC(settings.rpc_url)
        deployment = load_deployment(settings.home, settings.chain_id)
        try:
            yield Stage(
                settings=settings,
                clock=SystemClock(),
                database=database,
                ledger=ledger,
                rpc=rpc,
                deployment=deployment,
                custody=custody_of(deployment),
                administrator=development_key(settings.home, ADMINISTRATOR_KEY),
                console=console,
            )
        finally:
            await rpc.close()
            await ledger.close()
            await database.close()
