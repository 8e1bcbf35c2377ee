"""A full disk: callers are told that nothing was done, and when there is room again it goes on."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from foundation.clock import SettableClock
from ledger import pipeline
from ledger.contract import Account, CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from ledger.interface import LedgerUnavailable
from ops import postgres
from ops.migrations import migrate
from ops.postgres_settings import ROLE, SUPERUSER
from ops.unprivileged import postgres_user
from tests.fixtures.postgres import SMALLER, url_of
from tests.ledger.invariants import check_journal

A, B = 1, 2
ROOM_MB = 24
"""What the journal's tables may fill at first; the write-ahead log is elsewhere."""
BATCH = 8000


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, which root alone can make."""
    with tempfile.TemporaryDirectory(prefix="nl-disk-") as directory:
        Path(directory).chmod(0o711)
        disk = Path(directory) / "disk"
        disk.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={ROOM_MB}m,mode=0711", "tmpfs", str(disk)],
            capture_output=True,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"no file system can be made here: {made.stderr.decode().strip()}")
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def full_disk_url(make_home: Callable[[], Path], small_disk: Path) -> Iterator[str]:
    """A migrated database whose tables are on the small disk.

    Of a server of its own: while a table space is full, no checkpoint of its server
    succeeds, and other tests' databases could not be dropped.
    """
    home, place, name = make_home(), small_disk / "tables", "on_the_small_disk"
    place.mkdir(mode=0o700)
    postgres_user().own(place)
    url = postgres.ensure_running(home, changes=SMALLER)
    try:
        with psycopg.connect(url.replace(f"//{ROLE}@", f"//{SUPERUSER}@"), autocommit=True) as root:
            root.execute(f"CREATE TABLESPACE {name} OWNER {ROLE} LOCATION '{place}'")
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(f"CREATE DATABASE {name} TABLESPACE {name}")
        migrate(url_of(url, name))
        yield url_of(url, name)
    finally:
        # Nothing of it is needed any more, and a full table space would not let it end in order.
        postgres.stop(home, immediate=True)


def transfers(first: int) -> list[Transfer]:
    return [Transfer(first + n, A, B, 1, ledger=1, code=1) for n in range(BATCH)]


def give_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={4 * ROOM_MB}m", str(disk)], check=True)


async def fill(engine: LedgerEngine, tried: list[int]) -> None:
    """Send batches until one is refused; notes the first id of each."""
    for first in range(1000, 10**6, BATCH):
        tried.append(first)
        await engine.create_transfers(transfers(first))


async def test_a_full_disk_refuses_without_doubt_and_goes_on_when_there_is_room(
    full_disk_url: str, small_disk: Path, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "OUTAGE_SECONDS", 0.5)
    engine = await LedgerEngine.start(full_disk_url, clock)
    await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])
    tried: list[int] = []
    with pytest.raises(LedgerUnavailable) as refused:
        await fill(engine, tried)
    assert not refused.value.outcome_unknown
    first = tried[-1]
    give_room(small_disk)
    # Nothing of what was refused is there, so the same ids are new.
    assert await engine.lookup_transfers([first, first + BATCH - 1]) == []
    [account] = await engine.lookup_accounts([A])
    assert account.debits_posted == first - 1000 > BATCH
    results = await engine.create_transfers(transfers(first))
    assert {result.status for result in results} == {CreateTransferStatus.CREATED}
    await engine.close()
    check_journal(full_disk_url)
