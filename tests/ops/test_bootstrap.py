"""./nugpay: installs once, goes on after a kill, says what to do when it cannot.

Each test gives the real script a small project of its own: a package that prints
what it was called with, and a lock of one package. It fetches that package as a
fresh clone would.
"""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAIN = """\
\"\"\"Says that it ran.\"\"\"
import sys
print("ran", sys.argv[1:], "ops" in sys.modules["__main__"].__spec__.name)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project that is quick to install."""
    clone = tmp_path / "clone"
    (clone / "ops").mkdir(parents=True)
    (clone / "ops" / "__init__.py").write_text('"""A package."""\n')
    (clone / "ops" / "__main__.py").write_text(MAIN)
    (clone / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "nugpay"\nversion = "0"\n[tool.setuptools]\npackages = ["ops"]\n'
    )
    for name in ("nugpay", "requirements-uv.lock", "requirements-node.lock"):
        shutil.copy(ROOT / name, clone / name)
    (clone / "requirements.lock").write_text(lock_of("setuptools"))
    return clone


def lock_of(package: str) -> str:
    """The locked lines of one package."""
    text = (ROOT / "requirements.lock").read_text()
    match = re.search(rf"^{package}==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[0]


def run(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(clone / "nugpay"), *arguments],
        capture_output=True, text=True, check=False, cwd="/", env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.slow
def test_first_start_installs_and_the_second_only_runs(clone: Path) -> None:
    first = run(clone, "status", "--json")
    assert first.returncode == 0, first.stderr
    assert first.stdout == "ran ['status', '--json'] True\n"
    assert "making the Python environment" in first.stderr
    assert "installing the project" in first.stderr
    # Without a registry, since the second start is to need none.
    began = time.monotonic()
    second = run(clone, "up", PIP_NO_INDEX="1", UV_OFFLINE="1", HTTPS_PROXY="http://127.0.0.1:1")
    seconds = time.monotonic() - began
    assert second.stdout == "ran ['up'] True\n"
    assert second.stderr == ""
    sys.stdout.write(f"a start with everything installed took {seconds:.2f} s\n")
    assert seconds < 2

    # A changed list of packages is noticed; nothing else is done again.
    (clone / "ledger").mkdir()
    (clone / "ledger" / "__init__.py").write_text("")
    third = run(clone)
    assert third.returncode == 0, third.stderr
    assert "installing the project" in third.stderr
    assert "making" not in third.stderr


@pytest.mark.slow
def test_killed_installation_is_done_again_and_completes(clone: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(clone / "nugpay")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    unfinished = clone / ".venv" / "nugpay-unfinished"
    while not unfinished.exists():
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = run(clone)
    assert again.returncode == 0, again.stderr
    assert again.stdout == "ran [] True\n"
    assert "making the Python environment" in again.stderr
    assert not unfinished.exists()


@pytest.mark.slow
def test_pip_does_it_where_the_faster_installer_cannot(clone: Path) -> None:
    # As behind a mirror that only pip's own settings name.
    done = run(clone, UV_DEFAULT_INDEX="http://127.0.0.1:1/", UV_HTTP_RETRIES="0")
    assert done.returncode == 0, done.stderr
    assert "trying pip instead" in done.stderr
    assert done.stdout == "ran [] True\n"


@pytest.mark.slow
def test_two_first_starts_at_once_install_once(clone: Path) -> None:
    command = [sys.executable, str(clone / "nugpay")]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    assert [out for out, _ in said] == ["ran [] True\n"] * 2
    assert sum("making the Python environment" in err for _, err in said) == 1


@pytest.mark.slow
def test_package_that_is_not_the_locked_one_is_refused_with_words(clone: Path) -> None:
    lock = clone / "requirements.lock"
    lock.write_text(re.sub(r"sha256:\w+", f"sha256:{'0' * 64}", lock.read_text()))
    failed = run(clone)
    assert failed.returncode == 1
    assert "A package is not the one that was locked" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_old_python_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 0, "final", 0))
    monkeypatch.setattr(sys, "version", "3.9.0 (old)")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer; .* is 3\.9\.0"):
        runpy.run_path(str(ROOT / "nugpay"), run_name="__main__")
