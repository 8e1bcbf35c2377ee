"""``nugpay worker``: the worker process by itself."""

from __future__ import annotations


def command() -> None:
    """Be the worker: follows the chain, credits deposits, sends withdrawals, sweeps, reconciles."""
    from ops.wiring import current_settings, run_worker

    run_worker(current_settings())
