"""``nugpay ledger check``: what it prints, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger.engine import LedgerEngine
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
