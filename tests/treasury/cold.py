"""What tests do around the cold: name and record an address, move tokens to it and out of it."""

from typing import Any

from chain.calldata import calldata
from foundation.assets import USDT, Asset
from foundation.ids import uuid7
from foundation.money import Money
from tests.treasury.conftest import Treasury
from tests.treasury.moves import administer
from treasury.cold_addresses import record_cold_address
from treasury.cold_models import TreasuryColdMove
from treasury.cold_moves import ColdMoveReport, advance_cold_moves, ask_cold_move
from treasury.custody_balances import UnitsByPlace
from treasury.reconciliation import Reconciliation

COLD = "0x00000000000000000000000000000000c01dc01d"
"""Stands for a Safe: an address whose key nobody here has."""


async def name_cold(treasury: Treasury, address: str = COLD) -> None:
    """The administrator names the vault's cold address, and that becomes final."""
    await administer(treasury, treasury.custody.vault, "setColdAddress(address)", address)
    await treasury.finalize()


async def record(treasury: Treasury, address: str = COLD) -> bool:
    return await record_cold_address(
        treasury.database,
        treasury.rpc,
        treasury.clock,
        treasury.custody,
        address=address,
        recorded_by="aye, ko",
    )


async def with_cold(treasury: Treasury) -> None:
    """A cold address that the vault names and that counts as custody."""
    await name_cold(treasury)
    assert await record(treasury)


async def ask(treasury: Treasury, text: str, asset: Asset = USDT, **fields: Any) -> TreasuryColdMove:
    chosen: dict[str, Any] = {"move_id": uuid7(treasury.clock), "asked_by": "aye"} | fields
    return await ask_cold_move(
        treasury.database,
        treasury.rpc,
        treasury.clock,
        treasury.custody,
        amount=Money.parse(text, asset),
        **chosen,
    )


async def carry(treasury: Treasury) -> ColdMoveReport:
    """The worker's step."""
    return await advance_cold_moves(
        treasury.database, treasury.rpc, treasury.clock, treasury.custody, treasury.sender
    )


def arrived(treasury: Treasury) -> int:
    """USDT at the cold address, with all that is on its way there."""
    # What was sent is mined a moment after the node has answered.
    treasury.contracts.node.mine(1)
    return treasury.contracts.balance(COLD)


async def books(treasury: Treasury, asset: Asset = USDT) -> Reconciliation:
    """The asset's books at a new final block."""
    await treasury.finalize()
    return next(one for one in await treasury.reconcile() if one.asset == asset)


async def places(treasury: Treasury) -> UnitsByPlace:
    """Where the USDT lie, by books that agree."""
    found = await books(treasury)
    assert found.agrees, found
    assert found.places is not None
    assert found.places.hot + found.places.deposit + found.places.cold == found.chain_units
    return found.places


async def pay_out_of(treasury: Treasury, address: str, to: str, units: int) -> None:
    """A transfer that the Safe's people make."""
    node = treasury.contracts.node
    node.call("anvil_impersonateAccount", address)
    node.set_balance(address, 10**18)
    data = "0x" + calldata("transfer(address,uint256)", to, units).hex()
    tx = {"from": address, "to": treasury.contracts.token(), "data": data, "gas": hex(200_000)}
    receipt = treasury.contracts.receipt(node.call("eth_sendTransaction", tx))
    assert receipt["status"] == "0x1"
    node.call("anvil_stopImpersonatingAccount", address)
