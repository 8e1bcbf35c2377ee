"""Sizes: how much is measured, in full and in a hurry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    customers: int
    """Phones that pay one another."""
    readers: int
    """Phones that have a PIN, and read with a session."""
    requests: int
    """Requests of one run."""
    connections: tuple[int, ...]
    """Connections that are kept, in the runs one after the other."""
    arrival_rates: tuple[int, ...]
    """Arrivals a second in the open loop."""
    workers: tuple[int, ...] = (1, 2)
    """Processes of the API, and of the echo that it is measured beside; one, as ``./nugpay up`` starts
    it, and then more."""


FULL = Sizes(
    customers=1_000, readers=64, requests=30_000, connections=(64, 256), arrival_rates=(1_000, 2_000, 3_000)
)
QUICK = Sizes(customers=100, readers=8, requests=3_000, connections=(64,), arrival_rates=(500,))
