"""What tests of the follower hold the mirror against."""

import itertools
from typing import Any

from sqlalchemy import func, select

from chain.follower import FollowerConfig
from chain.models import ChainBlock, ChainTransferLog
from foundation.database import Database
from tests.fixtures.token import TokenOnChain

CHAIN_ID = 31337


def config_of(*tokens: TokenOnChain, **fields: Any) -> FollowerConfig:
    return FollowerConfig(CHAIN_ID, tuple(token.address for token in tokens), **fields)


async def mirrored_balances(database: Database) -> dict[str, int]:
    """Balances as the mirror's transfers add up to."""
    balances: dict[str, int] = {}
    async with database.session() as session:
        for log in await session.scalars(select(ChainTransferLog)):
            balances[log.to_address] = balances.get(log.to_address, 0) + int(log.value)
            balances[log.from_address] = balances.get(log.from_address, 0) - int(log.value)
    return balances


async def assert_mirror_is_the_chain(database: Database, token: TokenOnChain) -> None:
    balances = await mirrored_balances(database)
    for account in token.accounts:
        assert balances.get(account, 0) == token.balance(account), account
    node = token.node
    async with database.session() as session:
        blocks = (await session.scalars(select(ChainBlock).order_by(ChainBlock.number))).all()
        logs = (await session.scalars(select(ChainTransferLog))).all()
    assert [block.number for block in blocks] == list(range(node.block_number() + 1))
    assert all(child.parent_hash == parent.hash for parent, child in itertools.pairwise(blocks))
    assert blocks[-1].hash == node.call("eth_getBlockByNumber", "latest", False)["hash"]
    assert all(blocks[log.block_number].hash == log.block_hash for log in logs)


async def count(database: Database, table: Any) -> int:
    async with database.session() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)
