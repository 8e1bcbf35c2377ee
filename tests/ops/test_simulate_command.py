"""``./nugpay simulate`` finds the simulator from wherever it is called."""

import subprocess
import sys
from pathlib import Path


def test_the_command_line_as_nugpay_starts_it_finds_the_simulator(tmp_path: Path) -> None:
    # The options are those of ``./nugpay`` itself.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ops", "simulate", "--seed", "1", "--events", "100"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "no difference in" in done.stdout
