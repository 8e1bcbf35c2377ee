"""Custody: the addresses that hold customers' tokens, and the tokens' units.

A token counts in units of its own decimals, the ledger in minor units of the
asset's scale. A token never has fewer decimals than its asset; where it has more,
``unit`` of its units make one minor unit, and what does not divide is dust.
Conversion happens here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from chain.deployments import Deployment
from foundation.assets import Asset, asset_by_code
from foundation.errors import Refusal
from treasury.errors import TreasuryCode


@dataclass(frozen=True, slots=True)
class CustodyToken:
    """A token that is taken into custody."""

    asset: Asset
    address: str
    """Lower case."""
    decimals: int

    def __post_init__(self) -> None:
        if self.decimals < self.asset.scale:
            raise Refusal(
                TreasuryCode.CUSTODY_UNIT_TOO_COARSE,
                f"{self.asset.code} has {self.asset.scale} decimals here, its token {self.decimals}.",
                scale=self.asset.scale,
                decimals=self.decimals,
            )

    @property
    def unit(self) -> int:
        """Token units that make one minor unit of the ledger."""
        return int(10 ** (self.decimals - self.asset.scale))

    def units_of(self, amount: int) -> int:
        """Token units of ``amount`` minor units; exact."""
        return amount * self.unit

    def split_units(self, units: int) -> tuple[int, int]:
        """Whole minor units in ``units`` token units, and the dust left, in token units."""
        return divmod(units, self.unit)


class Custody:
    """What is ours on one chain: the vault, hot addresses, tokens. Addresses in lower case."""

    def __init__(
        self,
        *,
        chain_id: int,
        vault: str,
        implementation: str,
        tokens: Iterable[CustodyToken],
        hot_addresses: Iterable[str] = (),
    ) -> None:
        self.chain_id: Final = chain_id
        self.vault: Final = vault.lower()
        self.implementation: Final = implementation.lower()
        """Contract whose clones the deposit addresses are."""
        self.hot_addresses: Final = tuple(sorted({address.lower() for address in hot_addresses}))
        """Keys' own addresses: they pay for gas and should hold no tokens, but may be sent some."""
        self.tokens: Final = tuple(tokens)
        self._by_asset: Mapping[str, CustodyToken] = {token.asset.code: token for token in self.tokens}
        self._by_address: Mapping[str, CustodyToken] = {token.address: token for token in self.tokens}

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """Custody addresses that belong to no customer."""
        return (self.vault, *self.hot_addresses)

    def token_of(self, asset: Asset) -> CustodyToken:
        """The asset's token; refused as ``asset_not_on_chain`` if it has none here."""
        token = self._by_asset.get(asset.code)
        if token is None:
            raise Refusal(
                TreasuryCode.ASSET_NOT_ON_CHAIN,
                f"{asset.code} has no token on chain {self.chain_id}.",
                asset=asset.code,
            )
        return token

    def token_at(self, address: str) -> CustodyToken | None:
        """The token at a lower-case address, if it is one of ours."""
        return self._by_address.get(address)


def decimal_units(units: int, decimals: int) -> str:
    """Token units as a signed decimal; a token may have more decimals than its asset, so this is no Money."""
    whole, part = divmod(abs(units), 10**decimals)
    sign = "-" if units < 0 else ""
    return f"{sign}{whole}.{part:0{decimals}d}" if decimals else f"{sign}{whole}"


def custody_of(deployment: Deployment, *, hot_addresses: Iterable[str] = ()) -> Custody:
    """Custody of deployed contracts; refused as ``custody_unit_too_coarse`` or ``unknown_asset``."""
    return Custody(
        chain_id=deployment.chain_id,
        vault=deployment.vault,
        implementation=deployment.implementation,
        tokens=[
            CustodyToken(asset_by_code(code), token.address.lower(), token.decimals)
            for code, token in deployment.tokens.items()
        ],
        hot_addresses=hot_addresses,
    )
