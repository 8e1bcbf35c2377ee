"""``nugpay ledger``: the ledger process by itself; and what is done with its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ledger.check import Summary
    from ledger.journal_tables import JournalTables

app = typer.Typer(help="Be the ledger process, or check, export and import its journal.")


@app.callback(invoke_without_command=True)
def command(context: typer.Context) -> None:
    """Be the ledger process: the one writer of the journal, on its socket. A second one waits as standby."""
    if context.invoked_subcommand is None:
        from ops.wiring import current_settings, run_ledger

        run_ledger(current_settings())


@app.command("check")
def check(
    *,
    head: Annotated[
        str,
        typer.Option(
            "--head", metavar="HASH", help="A head that was noted before: the journal must still have it."
        ),
    ] = "",
) -> None:
    """Replay the whole journal and verify every row; ends with 1 at the first wrong one.

    A running ledger is checked as of the moment of the start, and goes on meanwhile.
    """
    from ledger.journal_snapshot import JournalSnapshot
    from ops.wiring import current_settings, needed_database

    known_hash = _parse_hash(head)
    with JournalSnapshot(needed_database(current_settings())) as tables:
        summary = _check(tables, known_hash)
    _tell(summary)


def _parse_hash(text: str) -> bytes | None:
    from ops.errors import OperationError

    if not text:
        return None
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise OperationError(
            f"{text} is no hash of a batch", "Give the 64 hexadecimal digits that a check has printed."
        )
    return value


def _check(tables: JournalTables, known_hash: bytes | None = None) -> Summary:
    """Check with a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ledger.check import check_journal

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("transfers", total=tables.transfer_count())
        return check_journal(
            tables, lambda done: progress.update(task, completed=done), known_hash=known_hash
        )


def _tell(summary: Summary) -> None:
    """Say what a check has found; ends the process with 1 where something is wrong."""
    if summary.finding is not None:
        typer.echo(f"wrong: {summary.finding}")
        typer.echo(
            f"sound before it: {summary.batches:,} batches with {summary.transfers:,} transfers", err=True
        )
        raise typer.Exit(1)
    typer.echo(
        f"sound: {summary.batches:,} batches, {summary.accounts:,} accounts, "
        f"{summary.transfers:,} transfers, {summary.expiries:,} expiries, "
        f"{summary.failed_ids:,} failed ids in {summary.segments:,} segments\n"
        f"head {summary.head_hash.hex()}"
    )
