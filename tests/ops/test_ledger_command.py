"""``nugpay ledger check``: what it prints, and how it ends."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger.engine import LedgerEngine
from tests.fixtures.postgres import TEMPLATE, drop_database
from tests.ledger.world import World


def ledger(url: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``nugpay ledger`` on that database."""
    environment = os.environ | {"NUGPAY_DATABASE_URL": url, "NUGPAY_HOME": str(home)}
    command = [sys.executable, "-m", "ops", "ledger", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
async def url(database_url: str, clock: SettableClock) -> str:
    """A journal with one transfer."""
    engine = await LedgerEngine.start(database_url, clock)
    world = World(engine, clock)
    await world.open("a b")
    await world.request("a -> b 5 | created")
    await engine.close()
    return database_url


def test_a_sound_journal_is_summed_up_with_its_head(url: str, tmp_path: Path) -> None:
    done = ledger(url, tmp_path, "check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "sound: 3 batches, 2 accounts, 1 transfers, 0 expiries, 0 failed ids in 1 segments\nhead "
    )
    head = done.stdout.split()[-1]
    assert ledger(url, tmp_path, "check", "--head", head).returncode == 0
    assert ledger(url, tmp_path, "check", "--head", "00" * 32).returncode == 1
    refused = ledger(url, tmp_path, "check", "--head", "12")
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (1, "nugpay: 12 is no hash of a batch")


def test_a_wrong_row_is_named_and_ends_with_one(url: str, tmp_path: Path) -> None:
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute("ALTER TABLE ledger_transfer_1 DISABLE TRIGGER USER")
        [timestamp] = db.execute(
            "UPDATE ledger_transfer_1 SET credit_credits_posted = 6 RETURNING timestamp"
        ).fetchone() or [0]
    done = ledger(url, tmp_path, "check")
    assert done.returncode == 1
    assert done.stdout == (
        f"wrong: ledger_transfer_1, timestamp {timestamp}: credit_credits_posted is 6, expected 5.\n"
    )


def test_an_export_goes_into_an_empty_database_and_into_no_other(
    url: str, postgres_admin: psycopg.Connection, tmp_path: Path
) -> None:
    exported = ledger(url, tmp_path, "export", str(tmp_path / "journal"))
    assert exported.returncode == 0, exported.stderr
    refused = ledger(url, tmp_path, "import", str(tmp_path / "journal"))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-2:] == [
        "nugpay: This database has a journal already: ledger_batch holds rows",
        "An import goes into a database that was only just made: ./nugpay migrate.",
    ]
    name = f"test_{uuid.uuid4().hex}"
    postgres_admin.execute(f"create database {name} template {TEMPLATE}")
    try:
        other = url.replace(url.split("?", maxsplit=1)[0].rsplit("/", maxsplit=1)[1], name)
        imported = ledger(other, tmp_path, "import", str(tmp_path / "journal"))
        assert imported.returncode == 0, imported.stderr
        assert ledger(other, tmp_path, "check").stdout == ledger(url, tmp_path, "check").stdout
    finally:
        drop_database(postgres_admin, name)
