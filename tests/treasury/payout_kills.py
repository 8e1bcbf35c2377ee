"""Kill -9 at every step of a withdrawal: one payout on chain, and the ledger posted once.

``Theatre`` has a real node, signer process and ledger process; each withdrawal, or some
that go in one transaction, is a life that is killed after its n-th effect, and a second
one that must bring it to its end. At the end the chain, the ledger and the tables are
counted.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self
from uuid import UUID

import msgspec
from eth_hash.auto import keccak
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.calldata import calldata, hexadecimal
from chain.deployments import Deployment
from chain.development import deploy, mint
from chain.keystore import ADMINISTRATOR_KEY, SIGNER_KEY, development_key
from chain.models import ChainAttempt, ChainBatchMember, ChainLane
from chain.orders import withdrawal_word
from chain.rpc import RPC
from chain.signer_server import signing_log_path
from foundation.assets import USDT
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.ids import uuid7
from ledger.chart import (
    AccountCode,
    new_account,
    open_accounts,
    open_system_accounts,
    system_account_id,
    wallet_account_id,
)
from ledger.client import LedgerClient
from ledger.contract import Transfer
from tests.fixtures.anvil import ROOT, Anvil, die_with_parent, running_anvil
from tests.fixtures.contracts import end_process, start_signer_process
from tests.ledger.crashes import LedgerProcess
from tests.ledger.invariants import check_journal
from tests.treasury.payout_lives import Life, Payout, Place
from treasury.models import TreasuryDeparture, TreasuryWithdrawal
from treasury.withdrawal_transfers import hold_transfer_id, settlement_transfer_id, void_transfer_id

FUNDS = 1_000_000 * 10**6
"""What the one wallet has at the start, in minor units."""

FEE = 1_000_000
"""A withdrawal's fee in minor units."""

WITHDRAWN = "0x" + keccak(b"Withdrawn(bytes32,address,address,uint256)").hex()

SIGNER_DEATHS = {
    "before its log has it": """
import os, signal
from chain.signing_log import SigningLog
SigningLog.append = lambda log, entry: os.kill(os.getpid(), signal.SIGKILL)
""",
    "half a line in its log": """
import os, signal
write = os.write
def write_half(descriptor, data):
    write(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
import chain.signing_log
class Half:
    def __getattr__(self, name):
        return getattr(os, name)
    write = staticmethod(write_half)
chain.signing_log.os = Half()
""",
    "after its log has it, before it answers": """
import os, signal
from chain.signing_log import SigningLog
append = SigningLog.append
def append_and_die(log, entry):
    append(log, entry)
    os.kill(os.getpid(), signal.SIGKILL)
SigningLog.append = append_and_die
""",
}
"""How the signer dies while it signs: programs that it runs before it starts."""


@dataclass
class Tally:
    """What was done, for the one who reads it."""

    withdrawals: int = 0
    batches: int = 0
    """Transactions in which several of them went; known after ``verify``."""
    kills: Counter[str] = field(default_factory=Counter)
    """Kills by where they came."""


@dataclass
class Theatre:
    """The processes, and the lives that have been lived in them."""

    home: Path
    node: Anvil
    deployment: Deployment
    ledger: LedgerProcess
    database_url: str
    place: Place
    random: Random
    tally: Tally = field(default_factory=Tally)
    payouts: dict[UUID, Payout] = field(default_factory=dict)
    _forks: subprocess.Popen[bytes] | None = None
    _signer: subprocess.Popen[bytes] | None = None

    def begin(self) -> Self:
        """Start the signer, and the program that forks lives."""
        self.start_signer()
        job = self.home / "place.json"
        job.write_bytes(msgspec.json.encode(self.place))
        with (self.home / "lives.said").open("ab") as said:
            self._forks = subprocess.Popen(
                [sys.executable, "-m", "tests.treasury.payout_lives", str(job)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - prctl alone runs there, which takes no lock.
            )
        return self

    def end(self) -> None:
        """End both; the node and the ledger are their owner's."""
        for process in (self._forks, self._signer):
            if process is not None:
                end_process(process)

    def start_signer(self, *, accident: str = "") -> None:
        """Have a signer, in place of the one that is there, if any is."""
        if self._signer is not None:
            end_process(self._signer)
        self._signer = start_signer_process(self.home, self.database_url, accident=accident)

    def new_life(self, members: int = 1, **how: Any) -> Life:
        """So many withdrawals, each of its own amount to an address of its own."""
        made = []
        for _ in range(members):
            number = len(self.payouts) + 1
            payout = Payout(
                id=uuid7(SystemClock()),
                to_address=f"0x{0xFACE:04x}{number:036x}",
                # Of money that is younger than 30 days no more leaves in a day than 1,000 dollars.
                amount=10_000 + number,
            )
            self.payouts[payout.id] = payout
            made.append(payout)
        self.tally.withdrawals += members
        return Life(payouts=tuple(made), **how)

    def run(self, life: Life) -> dict[str, Any]:
        """Have a life lived; what became of it."""
        forks = self._forks
        assert forks is not None
        assert forks.stdin is not None
        assert forks.stdout is not None
        forks.stdin.write(msgspec.json.encode(life) + b"\n")
        forks.stdin.flush()
        answer: dict[str, Any] = json.loads(forks.stdout.readline())
        return answer

    def recover(self, life: Life) -> None:
        """The next process: it must bring the withdrawal to its end."""
        again = msgspec.structs.replace(life, last=None, kill_after=None, until_paid=True)
        ended = self.run(again)
        assert ended["code"] == 0, (life, ended, self.last_words())

    def effects(self, members: int, *, stuck: bool) -> list[str]:
        """The effects of a life that nobody kills: where the others are killed."""
        # The first life of all writes a little more than those after it, such as cursors.
        for _ in range(2):
            ended = self.run(self.new_life(members, stuck=stuck))
            assert ended["code"] == 0, (ended, self.last_words())
        return list(ended["effects"])

    def kill_after_every_effect(self, kills: int, *, stuck: bool, members: int = 1) -> None:
        """For each effect of one withdrawal, or of several, so many processes that are killed after it."""
        of_what = ("stuck, " if stuck else "") + (f"{members} together, " if members > 1 else "")
        for effect in self.effects(members, stuck=stuck):
            for _ in range(kills):
                life = self.new_life(members, stuck=stuck, last=effect)
                ended = self.run(life)
                assert ended["killed"], (effect, ended, self.last_words())
                self.tally.kills[f"after {of_what}{effect}"] += 1
                self.recover(life)

    def kill_at_random(self, kills: int) -> None:
        """Processes that are killed from outside at a random moment: between effects, too."""
        for _ in range(kills):
            stuck, members = self.random.random() < 0.3, self.random.choice([1, 1, 3])
            life = self.new_life(members, stuck=stuck, kill_after=self.random.random() * 0.5)
            ended = self.run(life)
            self.tally.kills["at a random moment" if ended["killed"] else "too late: it had ended"] += 1
            self.recover(life)

    def kill_signer(self, kills: int, *, members: int = 1) -> None:
        """Signers that die in the middle of a signature, each in every way."""
        of_what = f", {members} together" if members > 1 else ""
        for how, accident in SIGNER_DEATHS.items():
            for _ in range(kills):
                self.start_signer(accident=accident)
                life = self.new_life(members)
                assert self.run(life)["code"] == 1, self.last_words()
                assert self._signer is not None
                assert self._signer.wait(timeout=30) == -9
                self.tally.kills[f"signer, {how}{of_what}"] += 1
                self.start_signer()
                self.recover(life)

    def last_words(self) -> str:
        """What the lives and the signer said before."""
        said = [self.home / name for name in ("lives.said", "signer.said")]
        return "\n".join(path.read_text(errors="replace")[-3_000:] for path in said if path.exists())

    async def verify(self) -> None:
        """Chain, ledger and tables: each withdrawal once, to the unit, and nothing else."""
        self._verify_chain()
        database, ledger = Database(self.database_url), LedgerClient(self.ledger.url)
        try:
            await self._verify_tables(database)
            await self._verify_ledger(ledger)
        finally:
            await ledger.close()
            await database.close()
        self._verify_log()
        check_journal(self.database_url)

    def _verify_chain(self) -> None:
        asked = {
            "address": self.deployment.vault,
            "fromBlock": "0x0",
            "toBlock": "latest",
            "topics": [WITHDRAWN],
        }
        paid = Counter(log["topics"][1] for log in self.node.call("eth_getLogs", asked))
        expected = {"0x" + withdrawal_word(one).hex() for one in self.payouts}
        assert paid == Counter(expected), "each withdrawal left the vault exactly once"
        token = self.deployment.tokens["USDT"].address
        for payout in self.payouts.values():
            data = hexadecimal(calldata("balanceOf(address)", payout.to_address))
            assert int(self.node.call("eth_call", {"to": token, "data": data}, "latest"), 16) == payout.amount

    async def _verify_tables(self, database: Database) -> None:
        async with database.session() as session:
            departures = Counter(await session.scalars(select(TreasuryDeparture.order_id)))
            assert departures == Counter(self.payouts.keys())
            open_ones = select(func.count()).where(TreasuryWithdrawal.closed_at.is_(None))
            assert await session.scalar(open_ones) == 0
            lane = list(
                await session.execute(select(ChainLane.nonce, ChainLane.order_id).order_by(ChainLane.nonce))
            )
            assert [row.nonce for row in lane] == list(range(len(lane))), "nonces without gaps"
            members = await self._members(session)
            sent = Counter(one for row in lane for one in members.get(row.order_id, [row.order_id]))
            assert sent == Counter(self.payouts.keys()), "each has one nonce, its own or its batch's"
            self.tally.batches = sum(row.order_id in members for row in lane)
            nonces = await session.execute(
                select(ChainAttempt.order_id, func.count(ChainAttempt.nonce.distinct())).group_by(
                    ChainAttempt.order_id
                )
            )
            assert {count for _, count in nonces} == {1}, "one nonce for all attempts"

    async def _members(self, session: AsyncSession) -> dict[UUID, list[UUID]]:
        """The members of each batch; what was dissolved before it was signed has no nonce."""
        found: dict[UUID, list[UUID]] = {}
        for row in await session.scalars(select(ChainBatchMember)):
            found.setdefault(row.batch_id, []).append(row.member_id)
        return found

    async def _verify_ledger(self, ledger: LedgerClient) -> None:
        for payout in self.payouts.values():
            ids = [make(payout.id).int for make in (hold_transfer_id, settlement_transfer_id)]
            booked = await ledger.lookup_transfers([*ids, void_transfer_id(payout.id).int])
            assert [transfer.id for transfer in booked] == ids, "held and settled, and not given back"
        spent = sum(payout.amount + FEE for payout in self.payouts.values())
        wallet, in_flight = await ledger.lookup_accounts(
            [
                wallet_account_id(self.place.wallet_id, USDT),
                system_account_id(AccountCode.WITHDRAWAL_IN_FLIGHT, USDT),
            ]
        )
        assert (wallet.credits_posted, wallet.debits_posted) == (FUNDS, spent)
        assert (wallet.debits_pending, in_flight.credits_pending) == (0, 0)
        assert in_flight.credits_posted == in_flight.debits_posted

    def _verify_log(self) -> None:
        """Each was signed under one nonce, by itself or with others, and never both ways."""
        nonces: dict[UUID, set[int]] = {}
        for line in signing_log_path(self.home, self.deployment).read_bytes().splitlines():
            entry = json.loads(line)
            members = entry.get("members") or [entry]
            for member in members:
                nonces.setdefault(UUID(member["order_id"]), set()).add(entry["nonce"])
        assert nonces.keys() == self.payouts.keys()
        assert all(len(found) == 1 for found in nonces.values())


@asynccontextmanager
async def theatre(database_url: str, *, seed: int) -> AsyncIterator[Theatre]:
    """Real processes around a migrated database; one wallet with a million."""
    with tempfile.TemporaryDirectory(prefix="nl-pay-") as directory:
        home = Path(directory)
        with running_anvil(home / "anvil.log") as node:
            async with ledger_of(database_url, home) as (process, ledger):
                rpc = RPC(node.url)
                administrator = development_key(home, ADMINISTRATOR_KEY)
                signer = development_key(home, SIGNER_KEY)
                deployment = await deploy(rpc, home, administrator=administrator, withdrawer=signer.address)
                await mint(rpc, deployment, administrator, asset="USDT", to=deployment.vault, units=FUNDS)
                await rpc.close()
                wallet_id = await _fund(ledger)
                place = Place(str(home), database_url, process.url, node.url, wallet_id)
                stage = Theatre(home, node, deployment, process, database_url, place, Random(seed))
                try:
                    yield await asyncio.to_thread(stage.begin)
                finally:
                    stage.end()


@asynccontextmanager
async def ledger_of(database_url: str, home: Path) -> AsyncIterator[tuple[LedgerProcess, LedgerClient]]:
    """A ledger process and its client."""
    process = LedgerProcess(database_url, home)
    await process.start()
    ledger = LedgerClient(process.url)
    try:
        yield process, ledger
    finally:
        await ledger.close()
        await process.stop()


async def _fund(ledger: LedgerClient) -> UUID:
    """A wallet with a million; the vault's own tokens stand for it on chain."""
    wallet_id = uuid7(SystemClock())
    await open_system_accounts(ledger)
    account = new_account(wallet_account_id(wallet_id, USDT), AccountCode.WALLET, USDT, owner=wallet_id)
    await open_accounts(ledger, [account])
    funding = Transfer(
        id=uuid7(SystemClock()).int,
        debit_account_id=system_account_id(AccountCode.CUSTODY, USDT),
        credit_account_id=account.id,
        amount=FUNDS,
        ledger=USDT.ledger,
        code=1,
    )
    await ledger.create_transfers([funding])
    return wallet_id
