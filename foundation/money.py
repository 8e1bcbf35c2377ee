"""Money: an integer count of an asset's minor units.

Money combines only with money of the same asset, is never a float and is never
rounded: text with more decimals than the asset's scale is an error, and the
only division is :meth:`Money.split`, whose parts sum to the whole. The range is
that of the journal's BIGINT columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from foundation.assets import Asset
from foundation.errors import FoundationCode, InvariantViolation, Refusal

AMOUNT_LIMIT = 2**63 - 1
"""Largest count of minor units that the ledger can hold in one column."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,18}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Money:
    """``minor`` units of ``asset``; may be negative only as a difference."""

    minor: int
    asset: Asset

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise TypeError(f"money is counted in int, not {type(self.minor).__name__}")
        if not -AMOUNT_LIMIT <= self.minor <= AMOUNT_LIMIT:
            raise Refusal(
                FoundationCode.AMOUNT_OUT_OF_RANGE,
                f"{self.minor} minor units of {self.asset.code} are beyond 64 bits.",
            )

    @classmethod
    def parse(cls, text: str, asset: Asset) -> Money:
        """Read a plain decimal such as "12.5"; no sign, exponent or spaces.

        Refused as ``amount_malformed``, ``amount_too_precise`` (trailing zeros
        count: what is written must be what is meant) or ``amount_out_of_range``.
        """
        match = _DECIMAL.fullmatch(text) if len(text) <= 40 else None
        if match is None:
            raise Refusal(
                FoundationCode.AMOUNT_MALFORMED,
                'An amount is a plain decimal number written like "12.50".',
            )
        whole, decimals = match.group(1), match.group(2) or ""
        if len(decimals) > asset.scale:
            raise Refusal(
                FoundationCode.AMOUNT_TOO_PRECISE,
                f"{asset.code} has {asset.scale} decimals; {len(decimals)} were given.",
                asset=asset.code,
                scale=asset.scale,
            )
        return cls(int(whole + decimals.ljust(asset.scale, "0")), asset)

    def format(self) -> str:
        """The amount as a decimal string at the asset's full scale: "12.500000"."""
        sign, digits = ("-", str(-self.minor)) if self.minor < 0 else ("", str(self.minor))
        scale = self.asset.scale
        if scale == 0:
            return sign + digits
        digits = digits.rjust(scale + 1, "0")
        return f"{sign}{digits[:-scale]}.{digits[-scale:]}"

    def __str__(self) -> str:
        return f"{self.format()} {self.asset.code}"

    def split(self, parts: int) -> tuple[Money, ...]:
        """``parts`` nearly equal amounts that sum to this one; the first ones get the rest."""
        if parts < 1:
            raise ValueError("money is split into at least one part")
        each, rest = divmod(self.minor, parts)
        return tuple(Money(each + (1 if i < rest else 0), self.asset) for i in range(parts))

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.asset)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.asset)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.minor > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.minor >= self._same(other)

    def _same(self, other: Money) -> int:
        # A sum of two assets is a bug of ours, not a request to refuse.
        if other.asset is not self.asset and other.asset != self.asset:
            raise InvariantViolation(f"{self.asset.code} combined with {other.asset.code}")
        return other.minor
