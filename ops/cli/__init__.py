"""The command line: ``nugpay COMMAND``, one file a command.

A command's file imports what it works with only when it runs, so that help is
shown at once. An error of operation is told in two sentences (what is wrong, what
to do) and ends with status 1; only bugs show a traceback.
"""

from __future__ import annotations

import sys

import typer

from foundation.errors import InvariantViolation, NUGPayError
from ops.cli import (
    api,
    bench,
    blocked,
    breaker,
    cold,
    conform,
    contracts,
    demo,
    faucet,
    invite,
    languages,
    ledger,
    migrate,
    officers,
    personal,
    receipt,
    receivable,
    reconcile,
    review,
    signer,
    simulate,
    standby,
    status,
    test,
    tier,
    up,
    vault,
    worker,
)

app = typer.Typer(
    name="nugpay",
    help="A payments bank without branches: stablecoin custody on chain, an exact ledger beside it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("up")(up.command)
app.command("demo")(demo.command)
app.command("status")(status.command)
app.command("invite")(invite.command)
app.command("faucet")(faucet.command)
app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(test.command)
app.command("bench")(bench.command)
app.command("conform")(conform.command)
app.command("simulate")(simulate.command)
app.command("reconcile")(reconcile.command)
app.command("languages")(languages.command)
app.command("migrate")(migrate.command)
app.add_typer(ledger.app, name="ledger")
app.command("api")(api.command)
app.command("worker")(worker.command)
app.add_typer(signer.app, name="signer")
app.add_typer(officers.app, name="officers")
app.add_typer(blocked.app, name="blocked")
app.add_typer(breaker.app, name="breaker")
app.add_typer(cold.app, name="cold")
app.add_typer(personal.app, name="personal")
app.add_typer(receipt.app, name="receipt")
app.add_typer(receivable.app, name="receivable")
app.add_typer(review.app, name="review")
app.add_typer(tier.app, name="tier")
app.add_typer(vault.app, name="vault")
app.add_typer(contracts.app, name="contracts")
app.add_typer(standby.app, name="standby")


def main() -> None:
    """Run the command line and end the process."""
    try:
        app(prog_name="./nugpay")
    except InvariantViolation:
        raise
    except NUGPayError as error:
        advice = getattr(error, "advice", "")
        sys.stderr.write(f"nugpay: {error}\n{advice}\n" if advice else f"nugpay: {error}\n")
        sys.exit(1)
