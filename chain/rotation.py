"""Rotation: the signer's key gives way to a new one, without a payment lost or made twice.

    1  stand still   the signer is stopped: its log is ours, and so is the lane
    2  finish        every nonce of the old key is final on chain; else refused
    3  new key       made, and kept beside the old one, not used yet
    4  roles         on chain the vault lets the new key withdraw, and the old one no more
    5  log           a line says that the one gave way to the other
    6  files         the new key takes the old one's name; the old one is kept

It may die anywhere and be run again: each step looks whether it is done. Between 4
and 6 no key can both sign here and pay there, so what waits waits. The log goes on:
what the old key signed counts against the caps of the new one, and an order that the
old one signed is never signed by another.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from chain.administration import AdministrativeCall, execute, next_nonce
from chain.calldata import calldata, hexadecimal, role
from chain.contract_reads import ContractRead, read_contracts
from chain.deployments import Deployment
from chain.development import fund
from chain.keystore import (
    NEXT_SIGNER_KEY,
    SCRYPT_WORK,
    SCRYPT_WORK_RANDOM,
    SIGNER_KEY,
    SigningKey,
    further_key,
    replace_key,
    stored_key,
)
from chain.lanes import lock_lane, take_back_place, unsigned_place
from chain.models import ChainLane
from chain.rpc import RPC
from chain.signer_server import signing_log_path
from chain.signing_log import RotationEntry, SigningLog
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import NUGPayError

ROLE: Final = "WITHDRAWER_ROLE"
"""The vault's role that the signer's key has."""

_CALL_GAS: Final = 200_000


class RotationRefused(NUGPayError):
    """The key cannot give way now; ``advice`` says what to do first."""

    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.advice: Final = advice


@dataclass(frozen=True, slots=True)
class RoleCall:
    """A call that the vault's administrator makes."""

    what: str
    to: str
    data: bytes

    def text(self) -> str:
        """The call as an administrator's tool takes it."""
        return f"{self.what}\n  to    {self.to}\n  value 0\n  data  {hexadecimal(self.data)}"


@dataclass(frozen=True, slots=True)
class Rotation:
    """How far it is."""

    old: str
    new: str
    calls: tuple[RoleCall, ...]
    """What the administrator has to call before it can be finished; nothing when it is done."""

    @property
    def is_done(self) -> bool:
        """Whether the signer signs with the new key from its next start on."""
        return not self.calls


async def rotate_signer(
    database: Database,
    rpc: RPC,
    clock: Clock,
    home: Path,
    deployment: Deployment,
    *,
    administrator: SigningKey | None = None,
) -> Rotation:
    """Rotate the signer's key as far as it goes; run it again after the calls are made.

    With an ``administrator`` (development only) the calls are made here. Raises
    ``SigningLogError`` while the signer runs, ``RotationRefused``, ``KeystoreError``
    and the RPC's errors.
    """
    with _log_of(home, deployment) as log:
        old = stored_key(home, SIGNER_KEY).address
        if log.address is not None and log.address != old:
            # It died between the log and the files, once everything was decided.
            return _finish_files(home, old, log.address)
        log.refuse_another_key(old)
        async with _lane_of(database, log, old) as highest:
            await _refuse_unfinished(rpc, old, highest)
            # A development home's passphrase is random: no work factor makes it safer.
            work = SCRYPT_WORK if administrator is None else SCRYPT_WORK_RANDOM
            new = further_key(home, NEXT_SIGNER_KEY, work=work).address
            if administrator is not None:
                await fund(rpc, new)
            calls = await _missing_calls(rpc, deployment, old=old, new=new)
            if calls and administrator is not None:
                await _make(rpc, deployment, administrator, calls)
                calls = await _missing_calls(rpc, deployment, old=old, new=new)
            if calls:
                return Rotation(old, new, calls)
            # Dies before: the next run finds the roles as they are. Dies after: the log
            # names the new key, no signer starts with the old one, and the next run
            # finishes the files.
            log.append(
                RotationEntry(
                    at_ns=clock.now_ns(),
                    kind="rotation",
                    from_address=old,
                    to_address=new,
                    previous=log.previous,
                )
            )
            return _finish_files(home, old, new)


@contextlib.contextmanager
def _log_of(home: Path, deployment: Deployment) -> Iterator[SigningLog]:
    log = SigningLog(signing_log_path(home, deployment))
    try:
        yield log
    finally:
        log.close()


@contextlib.asynccontextmanager
async def _lane_of(database: Database, log: SigningLog, address: str) -> AsyncIterator[int]:
    """Hold the lane, with nothing unsigned at its end; its highest nonce, -1 for none.

    The signer is stopped and its log says what it signed: a nonce that neither the log
    nor the tables know a signature of was never signed. It is taken back here, for with
    the old key it never will be.
    """
    async with database.session() as guard:
        await lock_lane(guard, address)
        async with database.session() as session:
            place = await unsigned_place(session, address)
            if place is not None and log.order_of(address, place.nonce) is None:
                await take_back_place(session, place)
            highest = await session.scalar(
                select(func.max(ChainLane.nonce)).where(ChainLane.from_address == address)
            )
        signed = log.nonce_max()
        # The log too: the database may have been restored from before a signature.
        yield max(-1 if highest is None else highest, -1 if signed is None else signed)


async def _refuse_unfinished(rpc: RPC, address: str, highest: int) -> None:
    """Refuse while a nonce of the key is not final: its payment could still be replaced or lost."""
    counts = [("eth_getTransactionCount", (address, tag)) for tag in ("finalized", "pending")]
    final, pending = (int(count, 16) for count in await rpc.read(counts, str))
    unfinished = max(highest + 1, pending) - final
    if unfinished > 0:
        raise RotationRefused(
            f"{unfinished} transactions of {address} are not final",
            "Start the signer and the worker, and wait until ./nugpay status shows none on their way.",
        )


async def _missing_calls(rpc: RPC, deployment: Deployment, *, old: str, new: str) -> tuple[RoleCall, ...]:
    """The calls that give the new key the old one's role: granted first, for money that waits."""
    has_new, has_old = await read_contracts(
        rpc,
        [
            ContractRead(deployment.vault, "hasRole(bytes32,address)", "bool", (role(ROLE), one))
            for one in (new, old)
        ],
    )
    calls = []
    if not has_new:
        data = calldata("grantRole(bytes32,address)", role(ROLE), new)
        calls.append(RoleCall(f"Vault.grantRole({ROLE}, {new})", deployment.vault, data))
    if has_old:
        data = calldata("revokeRole(bytes32,address)", role(ROLE), old)
        calls.append(RoleCall(f"Vault.revokeRole({ROLE}, {old})", deployment.vault, data))
    return tuple(calls)


async def _make(
    rpc: RPC, deployment: Deployment, administrator: SigningKey, calls: tuple[RoleCall, ...]
) -> None:
    nonce = await next_nonce(rpc, administrator.address)
    administrative = [AdministrativeCall(call.to, call.data, _CALL_GAS) for call in calls]
    await execute(rpc, administrator, administrative, chain_id=deployment.chain_id, first_nonce=nonce)


def _finish_files(home: Path, old: str, new: str) -> Rotation:
    found = stored_key(home, NEXT_SIGNER_KEY).address
    if found != new:
        raise RotationRefused(
            f"The log says that {new} signs now, and the key beside the signer's is {found}",
            f"Put the file of {new} in its place as {NEXT_SIGNER_KEY}.json.",
        )
    replace_key(home, old=SIGNER_KEY, new=NEXT_SIGNER_KEY, kept=f"signer.retired-{old}")
    return Rotation(old, new, ())
