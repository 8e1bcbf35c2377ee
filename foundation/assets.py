"""Assets: what is counted, and in which smallest unit.

Each asset is one TigerBeetle ``ledger`` number with an asset scale (decimals of
the minor unit). Both are registered once, here, and never change: every stored
amount depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from foundation.errors import FoundationCode, Refusal


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset: its code, its ledger number and its scale in decimals."""

    code: str
    """Upper-case ticker, as clients write it."""
    ledger: int
    """Number of the asset's ledger; transfers never cross ledgers."""
    scale: int
    """Decimals of the minor unit: 6 means that 1 USDT is 1,000,000 units."""
    name: str
    """Name for people."""


USDT = Asset("USDT", 1, 6, "Tether USD")
USDC = Asset("USDC", 2, 6, "USD Coin")
DMMK = Asset("DMMK", 3, 2, "Digital Myanmar Kyat")
THB = Asset("THB", 4, 2, "Thai Baht")
XAU = Asset("XAU", 5, 4, "Gold, grams")

ASSETS: tuple[Asset, ...] = (USDT, USDC, DMMK, THB, XAU)
"""Every registered asset, in order of its ledger number."""

_BY_CODE = {asset.code: asset for asset in ASSETS}
_BY_LEDGER = {asset.ledger: asset for asset in ASSETS}


def asset_by_code(code: str) -> Asset:
    """The asset written ``code``; refused as ``unknown_asset`` otherwise."""
    asset = _BY_CODE.get(code)
    if asset is None:
        raise Refusal(
            FoundationCode.UNKNOWN_ASSET,
            f"There is no asset {code[:16]!r}; known are {', '.join(_BY_CODE)}.",
        )
    return asset


def asset_by_ledger(ledger: int) -> Asset:
    """The asset of a ledger number; refused as ``unknown_asset`` otherwise."""
    asset = _BY_LEDGER.get(ledger)
    if asset is None:
        raise Refusal(FoundationCode.UNKNOWN_ASSET, f"No asset has the ledger number {ledger}.")
    return asset
