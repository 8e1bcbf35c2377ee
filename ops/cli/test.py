"""``nugpay test``: all tests; the work is ``./nugpay``'s, which also installs what they need."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from ops.errors import OperationError


def command(context: typer.Context) -> None:
    """Run all tests; arguments go to pytest."""
    program = Path(__file__).parents[2] / "nugpay"
    if not program.is_file():
        raise OperationError(
            "The tests are not part of an installed package", "Run ./nugpay test in a clone."
        )
    os.execv(program, [str(program), "test", *context.args])
