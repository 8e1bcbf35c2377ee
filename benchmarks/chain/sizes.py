"""How much is measured: in full, in about a minute, and for tests in a moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of every measurement."""

    final_blocks: int
    """Blocks that are followed when they are final already."""
    young_blocks: int
    """Blocks that are followed above finality."""
    events_each: int
    """Transfer events in each of them."""
    addresses: int
    """Deposit addresses whose balances are reconciled."""
    rounds: int
    """How often that is done; the median is shown."""


FULL = Sizes(final_blocks=8_000, young_blocks=3_000, events_each=50, addresses=10_000, rounds=5)
"""What the design asks for."""

QUICK = Sizes(final_blocks=2_000, young_blocks=1_000, events_each=50, addresses=10_000, rounds=3)
"""About a minute."""
