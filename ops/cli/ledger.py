"""``nugpay ledger``: the ledger process by itself."""

from __future__ import annotations


def command() -> None:
    """Be the ledger process: the one writer of the journal, on its socket. A second one waits as standby."""
    from ops.wiring import current_settings, run_ledger

    run_ledger(current_settings())
