"""``nugpay migrate``: bring the database to the newest form."""

from __future__ import annotations

import typer


def command() -> None:
    """Bring the database to the newest revision; starts the embedded server if need be."""
    from ops import postgres
    from ops.migrations import migrate
    from ops.wiring import current_settings

    settings = current_settings()
    if settings.database_url is not None:
        before, head = migrate(settings.database_url)
    else:
        url = postgres.ensure_running(settings.home, report=typer.echo)
        try:
            before, head = migrate(url)
        finally:
            postgres.stop(settings.home)
    typer.echo(f"at {head}, as before" if before == head else f"brought from {before or 'nothing'} to {head}")
