"""The sandbox's clock: one for all processes of a home, forward only, kept over a restart."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from foundation.clock import SECOND_NS, SettableClock, SystemClock
from foundation.errors import NUGPayError
from foundation.sandbox_clock import (
    ADVANCE_SECONDS_MAX,
    AHEAD_SECONDS_MAX,
    SandboxClock,
    clock_of,
    sandbox_clock_path,
)
from foundation.settings import Settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "sandbox-clock"


def test_it_tells_the_time_of_its_base_and_what_it_was_moved(path: Path) -> None:
    base = SettableClock(5 * SECOND_NS)
    clock = SandboxClock(path, base)
    assert (clock.now_ns(), clock.ahead_seconds) == (5 * SECOND_NS, 0)
    assert clock.advance(60)
    base.advance(1)
    assert (clock.now_ns(), clock.ahead_seconds) == (66 * SECOND_NS, 60)
    assert clock.now().timestamp() == 66


def test_whoever_opens_it_sees_a_move_at_once_and_after_a_restart(path: Path) -> None:
    base = SettableClock(0)
    one, two = SandboxClock(path, base), SandboxClock(path, base)
    one.advance(7)
    two.advance(5)
    assert one.now_ns() == two.now_ns() == SandboxClock(path, base).now_ns() == 12 * SECOND_NS


def test_another_process_moves_it_while_this_one_runs(path: Path) -> None:
    clock = SandboxClock(path)
    code = "import sys; from pathlib import Path; from foundation.sandbox_clock import SandboxClock; "
    code += "SandboxClock(Path(sys.argv[1])).advance(86_400)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert clock.ahead_seconds == 86_400
    assert clock.now_ns() - SystemClock().now_ns() > 86_000 * SECOND_NS


def test_moves_at_once_are_all_counted(path: Path) -> None:
    clocks = [SandboxClock(path, SettableClock(0)) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda clock: [clock.advance(1) for _ in range(50)], clocks))
    assert clocks[0].ahead_seconds == 400


def test_it_is_moved_so_far_and_no_farther(path: Path) -> None:
    clock = SandboxClock(path, SettableClock(0))
    moves = AHEAD_SECONDS_MAX // ADVANCE_SECONDS_MAX
    assert all(clock.advance(ADVANCE_SECONDS_MAX) for _ in range(moves))
    assert not clock.advance(1)
    assert clock.ahead_seconds == AHEAD_SECONDS_MAX


async def test_who_sleeps_wakes_when_it_is_moved_or_time_has_passed(path: Path) -> None:
    clock = SandboxClock(path)
    await clock.sleep(0.01)
    sleeping = asyncio.create_task(clock.sleep(3_600))
    await asyncio.sleep(0.01)
    assert not sleeping.done()
    clock.advance(3_600)
    async with asyncio.timeout(5):
        await sleeping


def test_a_file_that_a_dying_process_left_empty_is_a_clock_that_was_not_moved(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert SandboxClock(path, SettableClock(0)).ahead_seconds == 0


class TestChoosing:
    def test_a_bank_that_is_no_sandbox_has_the_machines_clock_and_no_file(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path)
        assert isinstance(clock_of(settings), SystemClock)
        assert not sandbox_clock_path(settings).exists()

    def test_a_sandbox_is_one_for_ever(self, tmp_path: Path) -> None:
        assert isinstance(clock_of(Settings(home=tmp_path, sandbox=True)), SandboxClock)
        with pytest.raises(NUGPayError, match="is a sandbox"):
            clock_of(Settings(home=tmp_path))

    @pytest.mark.parametrize("real", [{"chain_id": 1}, {"environment": "production"}])
    def test_where_money_could_be_real_nothing_starts_as_a_sandbox(
        self, tmp_path: Path, real: dict[str, object]
    ) -> None:
        with pytest.raises(ValidationError, match="development chain alone"):
            Settings.model_validate({"home": tmp_path, "sandbox": True, **real})
        assert not Settings.model_validate({"home": tmp_path, **real}).sandbox

    def test_it_is_set_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NUGPAY_SANDBOX", "1")
        assert Settings().sandbox
        monkeypatch.setenv("NUGPAY_CHAIN_ID", "1")
        with pytest.raises(ValidationError):
            Settings()
