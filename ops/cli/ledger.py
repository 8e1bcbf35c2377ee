"""``nugpay ledger``: the ledger process by itself; and what is done with its journal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from foundation.settings import Settings
    from ledger.checks.journal import Report, Summary
    from ledger.checks.snapshot import JournalSnapshot
    from ledger.checks.tables import JournalTables

_Archive = Annotated[
    Path | None,
    typer.Option(
        "--archive", metavar="DIR", help="Where archived segments are; else what NUGPAY_LEDGER_ARCHIVE says."
    ),
]

app = typer.Typer(help="Be the ledger process, or check, export, import and archive its journal.")


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
    archive: _Archive = None,
) -> None:
    """Replay the whole journal and verify every row; ends with 1 at the first wrong one.

    A running ledger is checked as of the moment of the start, and goes on meanwhile.
    """
    from ledger.checks.journal import check_journal
    from ops.wiring import current_settings

    known_hash = _parse_hash(head)
    settings = current_settings()
    began = time.perf_counter()
    with _snapshot(settings, archive) as tables, _progress(tables) as report:
        summary = check_journal(tables, report, known_hash=known_hash)
    _tell(summary)
    seconds = time.perf_counter() - began
    # Beside the result, which is the same for the same journal.
    typer.echo(f"in {seconds:.1f} s, {summary.transfers / seconds:,.0f} transfers/s", err=True)


@app.command("export")
def export(
    directory: Annotated[Path, typer.Argument(help="A new or empty directory.")],
    *,
    archive: _Archive = None,
) -> None:
    """Write the journal as Parquet with a manifest, read it back and check it; a running ledger goes on."""
    _need_parquet()
    from ledger.parquet.export import export_journal
    from ops.wiring import current_settings

    with _snapshot(current_settings(), archive) as tables, _progress(tables) as report:
        summary = export_journal(tables, directory, report)
    _tell(summary)
    typer.echo(f"exported to {directory}")


@app.command("archive")
def archive(
    number: Annotated[int, typer.Argument(min=1, help="A sealed segment; the oldest first.")],
    directory: Annotated[Path, typer.Argument(help="Where archived segments are.")],
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Take it out of the journal's tables; no ledger may serve.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="With --detach: keep its rows in the file only.")
    ] = False,
) -> None:
    """Write a sealed segment as Parquet with a manifest, and compare it with the table; a ledger goes on."""
    _need_parquet()
    from foundation.clock import SystemClock
    from ledger.checks.snapshot import JournalSnapshot
    from ledger.parquet.archiving import archive_segment
    from ledger.parquet.detaching import detach_segment
    from ops.errors import OperationError
    from ops.wiring import current_settings, needed_database

    if drop and not detach:
        raise OperationError("--drop goes with --detach", "Give both, or neither.")
    url = needed_database(current_settings())
    with JournalSnapshot(url, directory) as tables:
        manifest = archive_segment(tables, number, directory)
    if detach:
        detach_segment(url, manifest, SystemClock(), drop=drop)
    typer.echo(
        f"segment {number}: {manifest.transfer_count:,} transfers of batches"
        f" {manifest.first_sequence} to {manifest.last_sequence}\n{manifest.file} {manifest.sha256}"
    )


@app.command("attach")
def attach(
    number: Annotated[int, typer.Argument(min=1, help="The youngest detached segment.")],
    directory: Annotated[
        Path | None, typer.Argument(help="Where archived segments are; needed when its table was dropped.")
    ] = None,
) -> None:
    """Bring a detached segment back, from its table or its file; no ledger may serve meanwhile."""
    _need_parquet()
    from foundation.clock import SystemClock
    from ledger.parquet.detaching import attach_segment
    from ops.wiring import current_settings, needed_database

    attach_segment(needed_database(current_settings()), number, directory, SystemClock())
    typer.echo(f"segment {number} is attached")


@app.command("import")
def import_(
    directory: Annotated[Path, typer.Argument(help="What an export has written.")],
) -> None:
    """Check an export and put it into an empty database, whole or not at all."""
    _need_parquet()
    from ledger.parquet.journal_import import import_journal
    from ledger.parquet.tables import ParquetTables
    from ops.wiring import current_settings, needed_database

    url = needed_database(current_settings())
    tables = ParquetTables(directory)
    with _progress(tables) as report:
        summary = import_journal(tables, url, report)
    _tell(summary)
    typer.echo(f"imported from {directory}")


@contextlib.contextmanager
def _snapshot(settings: Settings, archive: Path | None) -> Iterator[JournalSnapshot]:
    """The journal as of now; ends the process with 1 where a part of it could not be seen."""
    from ledger.checks.snapshot import JournalSnapshot
    from ops.wiring import needed_database

    directory = archive or settings.ledger_archive
    if directory is not None:
        _need_parquet()
    with JournalSnapshot(needed_database(settings), directory) as tables:
        unseen = tables.unseen()
        if unseen:
            first, last = unseen[0], unseen[-1]
            end = "" if last.seal is None else last.seal.last_sequence
            typer.echo(
                f"not seen: segments {first.number} to {last.number}, batches {first.first_sequence}"
                f" to {end}, are archived; --archive DIR names the directory of their files."
            )
            raise typer.Exit(1)
        yield tables


def _need_parquet() -> None:
    from importlib.util import find_spec

    from ops.errors import OperationError

    if find_spec("pyarrow") is None:
        raise OperationError(
            "Parquet needs the package pyarrow, which is not installed",
            ".venv/bin/python -m pip install --require-hashes -r requirements-parquet.lock",
        )


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


@contextlib.contextmanager
def _progress(tables: JournalTables) -> Iterator[Report]:
    """A bar on the terminal that shows how many transfers are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("transfers", total=tables.transfer_count())
        yield lambda done: progress.update(task, completed=done)


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
