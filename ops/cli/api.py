"""``nugpay api``: the API by itself."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes; default: NUGPAY_API_WORKERS.")
    ] = None,
) -> None:
    """Serve the API; it is stateless, and any number of processes and machines may serve it."""
    from ops.wiring import current_settings, run_api

    settings = current_settings()
    run_api(settings, workers or settings.api_workers)
