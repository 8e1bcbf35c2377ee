"""The contracts under a bank that is being started: found, deployed, or found lost.

In development the contracts are deployed when the chain is new. A development
chain can be lost, whole or its last blocks (its file deleted, its disk restored),
while the database still remembers it. Then both books start anew together: the database is set aside under
another name, never deleted, and the operator is told. On a real chain nothing is
ever deployed or set aside here; a chain that does not match stops the start.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from chain.deployments import Deployment, deployment_path, load_deployment, verify_deployment
from chain.development import deploy
from chain.errors import ChainCode, RPCError
from chain.keystore import ADMINISTRATOR_KEY, COLD_KEY, SIGNER_KEY, development_key
from chain.rpc import RPC, Header
from chain.signer_server import signing_log_path
from foundation.clock import Clock
from foundation.errors import Refusal
from foundation.settings import Settings
from ops.errors import OperationError
from ops.postgres_settings import ROLE

Say = Callable[[str], None]
"""Tells the operator something."""


class ChainSetupError(OperationError):
    """The node's chain is not the one that this home's books are about."""


async def prepare_contracts(settings: Settings, rpc: RPC) -> Deployment:
    """Our contracts on the node's chain: deployed in development, else as recorded and verified."""
    if settings.environment != "development":
        deployment = load_deployment(settings.home, settings.chain_id)
        await verify_deployment(rpc, deployment)
        return deployment
    administrator = development_key(settings.home, ADMINISTRATOR_KEY)
    signer = development_key(settings.home, SIGNER_KEY)
    try:
        return await deploy(
            rpc,
            settings.home,
            administrator=administrator,
            withdrawer=signer.address,
            cold=development_key(settings.home, COLD_KEY).address,
        )
    except RPCError as error:
        raise ChainSetupError(
            f"The node at {settings.rpc_url} refuses what a development node does: {error}",
            "Let nugpay start its own (unset NUGPAY_RPC_URL), or set NUGPAY_ENVIRONMENT=production "
            "and record the deployed contracts.",
        ) from error


async def chain_was_lost(settings: Settings, rpc: RPC) -> bool:
    """Whether this home's contracts were deployed on a chain that the node does not have any more."""
    if _mark(settings).exists():
        return True
    try:
        deployment = load_deployment(settings.home, settings.chain_id)
        await verify_deployment(rpc, deployment)
    except Refusal as refusal:
        return refusal.code is ChainCode.DEPLOYMENT_MISMATCH
    return False


def _mark(settings: Settings) -> Path:
    """A file that is there while what is about a lost chain is set aside."""
    return Path(f"{deployment_path(settings.home, settings.chain_id)}.lost")


async def finality_was_lost(settings: Settings, database_url: str, rpc: RPC, *, ours: bool) -> bool:
    """Whether the node's chain lacks the block that the books of this development home took for final.

    A node that is not of this home's own (``ours``) may only lag behind; then nothing is lost.
    """
    final = None if settings.environment != "development" else _final_block(database_url, settings.chain_id)
    if final is None:
        return False
    number, block_hash = final
    found = (await rpc.find([("eth_getBlockByNumber", (hex(number), False))], Header))[0]
    return ours if found is None else found.hash != block_hash


def _final_block(database_url: str, chain_id: int) -> tuple[int, str] | None:
    """Number and hash of the last block that the mirror has as final; None while there is none."""
    with psycopg.connect(database_url) as connection:
        known = connection.execute("select to_regclass('chain_cursor')").fetchone()
        if known == (None,):
            return None
        row: tuple[int, str] | None = connection.execute(
            "select number, hash from chain_block join chain_cursor using (chain_id)"
            " where chain_id = %s and number = finalized_number",
            [chain_id],
        ).fetchone()
        return row


async def start_over(settings: Settings, database_url: str, rpc: RPC, clock: Clock, say: Say) -> None:
    """Set aside what is about a lost development chain, so that both books begin anew.

    Raises ``ChainSetupError`` where that is not ours to do.
    """
    genesis = (await rpc.read([("eth_getBlockByNumber", ("0x0", False))], Header))[0]
    if settings.environment != "development" or settings.database_url is not None:
        raise ChainSetupError(
            f"The node at {settings.rpc_url} is on another chain (block 0 is {genesis.hash}) than the "
            "contracts and books of this home",
            "Point NUGPAY_RPC_URL at the right node. In development, a new NUGPAY_HOME and a new "
            "database begin anew.",
        )
    stamp = clock.now().strftime("%Y%m%d_%H%M%S")
    aside = f"{ROLE}_lost_{stamp}"
    record = deployment_path(settings.home, settings.chain_id)
    # The signer's log is about the lost chain's nonces, and a chain that begins anew from the same
    # block 0 counts them anew. It is kept too, and its caps with it are over: there is no money here.
    # The mark first and away last: if we die in between, the next start knows that the chain was lost and
    # does it all again, with an empty database at worst. Otherwise the old books could meet the new chain,
    # or new books the old contracts.
    mark = _mark(settings)
    mark.touch()
    kept = Path(f"{record}.lost_{stamp}")
    if record.exists():
        log = signing_log_path(settings.home, load_deployment(settings.home, settings.chain_id))
        if log.exists():
            log.rename(f"{log}.lost_{stamp}")
    set_database_aside(database_url, aside)
    if record.exists():
        record.rename(kept)
    mark.unlink()
    say(
        "The development chain that this home's contracts were on is gone: its state was deleted or is\n"
        f"older than the contracts, or than blocks that the books took for final. Both books begin anew.\n"
        f"The old ledger is kept as database {aside}, the old addresses in {kept}."
    )


def set_database_aside(database_url: str, name: str) -> None:
    """Rename the application's database and make an empty one in its place."""
    with psycopg.connect(database_url, dbname="postgres", autocommit=True) as connection:
        ours = sql.Identifier(ROLE)
        connection.execute(sql.SQL("alter database {} rename to {}").format(ours, sql.Identifier(name)))
        connection.execute(sql.SQL("create database {}").format(ours))
