"""Lives of a withdrawal's processes: each is forked, and killed with -9 at its appointed effect.

    python -m tests.treasury.payout_lives JOB.json

A program that imports everything once and then forks one process for each line that it
reads: a life makes a withdrawal's request and works as the worker does, against a real
ledger process, signer process, node and PostgreSQL, until it is done or SIGKILL ends
it. What it did is written, effect by effect, to a pipe that outlives it.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chain.deployments import Deployment, load_deployment
from chain.follower import FollowerConfig, follow_to_head
from chain.rpc import RPC
from chain.sender import Sender
from chain.signer_client import SignerClient
from foundation.assets import USDT
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.money import Money
from ledger.client import LedgerClient
from tests.treasury.mortality import Fate, MortalDatabase, MortalLedger, MortalRPC, MortalSigner
from treasury.custody import Custody, custody_of
from treasury.deposits import book_deposits
from treasury.payouts import advance_withdrawals
from treasury.withdrawals import WithdrawalState, request_withdrawal, withdrawal_by_id

ROUNDS_MAX = 12
"""Worker's rounds until a withdrawal must be paid, when nobody kills it."""

ENDED = {WithdrawalState.PAID, WithdrawalState.RETURNED}


class Place(msgspec.Struct, frozen=True):
    """Where everything is that a life works with."""

    home: str
    database_url: str
    ledger_url: str
    rpc_url: str
    wallet_id: UUID


class Payout(msgspec.Struct, frozen=True):
    """A withdrawal that a life asks for."""

    id: UUID
    to_address: str
    amount: int
    """Minor units."""


class Life(msgspec.Struct, frozen=True):
    """What one process does, and when it dies."""

    payouts: tuple[Payout, ...]
    """What it asks for: several go in one transaction, where nothing keeps them apart."""
    stuck: bool = False
    """Whether the node leaves the payment in its pool until it was replaced once."""
    last: str | None = None
    """The effect after which it dies, as ``KillingFate`` names it; None lets it live."""
    kill_after: float | None = None
    """Seconds after which it is killed from outside, wherever it is."""
    until_paid: bool = False
    """Go on until all is paid: what the next process does after a death."""


class KillingFate(Fate):
    """Ends the process with SIGKILL, as ``kill -9`` does, right after the appointed effect.

    Effects are named by step, kind and number: ``send: commit 3`` is the third commit of
    the step in which a withdrawal is sent.
    """

    def __init__(self, last: str | None, told: int) -> None:
        super().__init__(None)
        self.step = ""
        self._dies_after = last
        self._told = told
        self._numbers: Counter[str] = Counter()

    def after(self, what: str) -> None:
        kind = f"{self.step}: {what}"
        self._numbers[kind] += 1
        name = f"{kind} {self._numbers[kind]}"
        # Before the death: a pipe's content outlives its writer.
        os.write(self._told, f"{name}\n".encode())
        if name == self._dies_after:
            os.kill(os.getpid(), signal.SIGKILL)


class WritingDatabase(MortalDatabase):
    """A database whose commits count as effects where something was written: reads change nothing."""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        async with self._real.session() as session:
            yield session
            await session.flush()
            # A transaction gets its number with the first thing that it writes or locks.
            wrote = await session.scalar(text("SELECT pg_current_xact_id_if_assigned()::text"))
        if wrote is not None:
            self._fate.after("commit")


@dataclass
class Worker:
    """What a life works with; ``fate`` counts its effects."""

    place: Place
    deployment: Deployment
    fate: KillingFate
    database: Database
    ledger: Any
    rpc: RPC
    sender: Sender
    custody: Custody

    @classmethod
    def of(cls, place: Place, fate: KillingFate) -> "Worker":
        home = Path(place.home)
        deployment = load_deployment(home, 31337)
        database = WritingDatabase(Database(place.database_url, pool_size=4), fate)
        rpc = MortalRPC(place.rpc_url, fate)
        signer = MortalSigner(SignerClient(home / "run" / "signer.sock"), fate)
        sender = Sender(
            database=database,
            rpc=rpc,
            signer=signer,
            clock=SystemClock(),
            deployment=deployment,
            stuck_seconds=0,
        )
        ledger: Any = MortalLedger(LedgerClient(place.ledger_url), fate)  # type: ignore[arg-type]  # Same calls.
        return cls(place, deployment, fate, database, ledger, rpc, sender, custody_of(deployment))

    async def request(self, life: Life) -> None:
        """Steps 1 and 2: the customer's requests, which are the same however often they are sent."""
        self.fate.step = "request"
        for payout in life.payouts:
            await request_withdrawal(
                self.database,
                self.ledger,
                SystemClock(),
                self.custody,
                withdrawal_id=payout.id,
                wallet_id=self.place.wallet_id,
                amount=Money(payout.amount, USDT),
                to_address=payout.to_address,
            )

    async def advance(self, step: str) -> None:
        """Steps 3 to 7, as far as they go now."""
        self.fate.step = step
        await advance_withdrawals(
            self.database, self.ledger, self.rpc, SystemClock(), self.custody, self.sender
        )

    async def finalize(self) -> None:
        """The chain goes on until what is mined is final, and is followed and written down."""
        self.fate.step = "finality"
        await self.rpc.call("evm_setAutomine", True)
        await self.rpc.call("anvil_mine", "0x4")
        config = FollowerConfig(
            self.deployment.chain_id,
            tuple(self.deployment.token_addresses()),
            start_number=self.deployment.block_number,
        )
        await follow_to_head(self.database, self.rpc, config, SystemClock())
        await book_deposits(self.database, self.ledger, SystemClock(), self.custody)

    async def live(self, life: Life) -> bool:
        """One life; true if all that it asked for is paid at its end."""
        await self.request(life)
        if life.stuck and not life.until_paid:
            await self.rpc.call("evm_setAutomine", False)
            await self.advance("send")
            await self.advance("replace")
        else:
            await self.advance("send")
        await self.finalize()
        await self.advance("settle")
        for _ in range(ROUNDS_MAX if life.until_paid else 0):
            if await self._states(life) <= ENDED:
                break
            await self.finalize()
            await self.advance("settle")
        return await self._states(life) == {WithdrawalState.PAID}

    async def _states(self, life: Life) -> set[WithdrawalState]:
        found = [
            await withdrawal_by_id(
                self.database, self.ledger, withdrawal_id=payout.id, wallet_id=self.place.wallet_id
            )
            for payout in life.payouts
        ]
        return {one.state for one in found}


def main() -> None:
    """Fork a life for each line of standard input, and answer with a line of what became of it."""
    place = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Place)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # What lives log is for a person, and must not come between the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin.buffer:
        answers.write(json.dumps(_fork(place, msgspec.json.decode(line, type=Life))) + "\n")
        answers.flush()


def _fork(place: Place, life: Life) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be(place, life, writing)
    os.close(writing)
    if life.kill_after is not None:
        time.sleep(life.kill_after)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    told = b""
    while chunk := os.read(reading, 65_536):
        told += chunk
    os.close(reading)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    return {"killed": killed, "code": code, "effects": told.decode().splitlines()}


def _be(place: Place, life: Life, writing: int) -> NoReturn:
    """Live, in the forked process; leaves with 0 if the withdrawal is paid, else 1, 2 after an error."""
    code = 2
    try:
        worker = Worker.of(place, KillingFate(life.last, writing))
        code = 0 if asyncio.run(worker.live(life)) else 1
    except Refusal as refusal:
        sys.stderr.write(f"{life}: {refusal}\n")
    except BaseException as error:  # noqa: BLE001 - the fork must not run the parent's program on.
        sys.stderr.write(f"{life}: {error!r}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
