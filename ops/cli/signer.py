"""``nugpay signer``: the signer process by itself."""

from __future__ import annotations


def command() -> None:
    """Be the signer process: it alone has the hot key, and its own caps."""
    from ops.wiring import current_settings, run_signer

    run_signer(current_settings())
