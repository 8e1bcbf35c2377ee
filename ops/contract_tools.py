"""Contract tools: slither and halmos, each in an environment of its own, on our contracts.

Slither looks for known mistakes, halmos proves properties for all inputs. Both need
libraries that ours cannot share, so each is installed from its own lock below the
clone's ignored folder at its first use, and again when the lock changes. Nothing
is fetched but those packages: halmos may fetch a solver where none is named, so
the one that its packages bring is named.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from ops.errors import OperationError
from ops.forge import ROOT, STATE, forge_binary, forge_environment

TOOLS_DIR = STATE / "tools"
"""Where the tools' environments are; nothing in it is a source."""

TOOL_SECONDS_MAX = 1800
"""How long a tool may take; on two cores slither takes some 15 s and halmos some minutes."""

PROOFS = ROOT / "contracts" / "test" / "VaultSymbolic.t.sol"
"""The properties that halmos examines: ``check_`` functions must hold, ``refute_`` functions must not."""

PROVED, COUNTEREXAMPLE = 0, 1
"""Halmos' exit codes of a property; others mean that it was not settled."""

YICES_SECONDS_MAX = 5
"""After how long z3 is asked instead; yices answers most questions within 10 ms, and a few never."""

EXPLAINED = {
    "calls-loop": "A batch is a loop of calls: a payment that fails is caught, a sweep that fails is repeated"
    " without the address that failed.",
    "naming-convention": "Immutable variables are written as constants are.",
    "timestamp": "A validator may shift a block's time by seconds; delays and lifetimes are days, and the"
    " bucket's refill in some seconds is a matter of cents.",
}
"""Detectors whose low or informational findings are known, and why they do not matter here. What is of
medium or high impact is explained in the source, where it was found, or it is a failure."""


class ContractToolError(OperationError):
    """A tool cannot be installed, or did not do its work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that slither found and no comment in the source explains."""

    check: str
    impact: str
    description: str

    @property
    def is_explained(self) -> bool:
        """Whether it is of a kind that is known to be harmless here."""
        return self.impact not in {"High", "Medium"} and self.check in EXPLAINED


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of one property."""

    name: str
    settled: bool
    """Whether it is what its name says: a ``check_`` proved, a ``refute_`` refuted."""


def find_mistakes() -> list[Finding]:
    """Run slither on the contracts as they stand. Raises ``ContractToolError``."""
    tool = _installed("slither")
    with TemporaryDirectory(prefix="nugpay-slither-") as directory:
        report = Path(directory) / "report.json"
        out = Path(directory) / "out"
        said = _run(
            [str(tool / "bin" / "slither"), ".", "--foundry-out-directory", str(out),
             "--filter-paths", "node_modules|contracts/test", "--json", str(report)],
            out,
        )  # fmt: skip
        # Its exit code tells of findings; whether it worked stands in the report.
        answer = _decoded(report, said)
    if not answer.get("success"):
        raise ContractToolError(f"slither failed: {answer.get('error')}", "The message names the reason.")
    return findings_in(answer)


def findings_in(report: dict[str, Any]) -> list[Finding]:
    """The findings of slither's JSON report, the worst first."""
    order = ["High", "Medium", "Low", "Informational", "Optimization"]
    found = [
        Finding(one["check"], one["impact"], one["description"].strip())
        for one in report.get("results", {}).get("detectors", [])
    ]
    return sorted(found, key=lambda one: (order.index(one.impact), one.check, one.description))


def prove_properties() -> list[Proof]:
    """Have halmos examine each property of ``PROOFS``. Raises ``ContractToolError``.

    Calls with arrays or bytes are tried with arrays of one element and 65 bytes.
    """
    tool = _installed("halmos")
    with TemporaryDirectory(prefix="nugpay-halmos-") as directory:
        report = Path(directory) / "report.json"
        out = Path(directory) / "out"
        said = _run(
            [str(tool / "bin" / "halmos"), "--forge-build-out", str(out), "--contract", "VaultSymbolic",
             "--function", "(check|refute)_", "--early-exit", "--no-status",
             "--default-array-lengths", "1", "--default-bytes-lengths", "65",
             "--solver-command", str(_solver(tool, Path(directory))), "--json-output", str(report)],
            out,
        )  # fmt: skip
        answer = _decoded(report, said)
    return proofs_in(answer, _properties())


def proofs_in(report: dict[str, Any], properties: Sequence[str]) -> list[Proof]:
    """What halmos' JSON report says of each property; one that it does not name is not settled.

    A ``check_`` holds without a counterexample, in any case and with no loop cut
    short. A ``refute_`` is false on purpose, and is settled by a counterexample: a
    proof that could not fail would be found out by it.
    """
    settled = {
        result["name"].partition("(")[0]
        for results in report.get("test_results", {}).values()
        for result in results
        if result["exitcode"] == (COUNTEREXAMPLE if result["name"].startswith("refute_") else PROVED)
        and not result.get("num_bounded_loops")
    }
    return [Proof(name, name in settled) for name in properties]


def _properties() -> list[str]:
    return re.findall(r"function ((?:check|refute)_\w+)", PROOFS.read_text())


def _solver(tool: Path, directory: Path) -> Path:
    """A solver that is quick nearly always and stuck never: yices, and z3 for what it cannot decide at once.

    Both are of halmos' packages.
    """
    path = directory / "solver"
    path.write_text(
        "#!/bin/sh\n"
        f'answer=$(timeout {YICES_SECONDS_MAX} {shlex.quote(str(tool / "bin" / "yices-smt2"))} "$@" 2>&1)\n'
        'case "$answer" in\n'
        "sat*|unsat*) printf '%s\\n' \"$answer\" ;;\n"
        f'*) exec {shlex.quote(str(tool / "bin" / "z3"))} "$@" ;;\n'
        "esac\n"
    )
    path.chmod(0o700)
    return path


def _run(command: list[str], out: Path) -> str:
    """Run a tool in the clone's root; what it said. It compiles into ``out`` and nowhere else."""
    environment = forge_environment()
    environment |= {
        "PATH": os.pathsep.join([str(forge_binary().parent), environment.get("PATH", os.defpath)]),
        # Halmos builds the tests with the linter on, which casts of short texts would stop.
        "FOUNDRY_DENY": "never",
        "FOUNDRY_OUT": str(out),
        "FOUNDRY_CACHE_PATH": str(out.with_name("cache")),
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TOOL_SECONDS_MAX,
        check=False,
    )
    return done.stdout


def _decoded(report: Path, said: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = msgspec.json.decode(report.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise ContractToolError(
            f"the tool left no report:\n{said[-4000:]}", "Its last lines name the reason."
        ) from error
    return answer


def _installed(tool: str) -> Path:
    """The environment of a tool, made from its lock if it is not there or older."""
    lock, home = ROOT / f"requirements-{tool}.lock", TOOLS_DIR / tool
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest() + f" {home}\n"
    stamp = home / "nugpay-stamp"
    TOOLS_DIR.mkdir(parents=True, exist_ok=True)
    with (TOOLS_DIR / f"{tool}.installing").open("w") as turn:
        # One installs at a time; the kernel gives the turn back if it dies, and without
        # a stamp the next one begins anew.
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(home, ignore_errors=True)
            _install(tool, lock, home)
            stamp.write_text(wanted)
    return home


def _install(tool: str, lock: Path, home: Path) -> None:
    python, uv = home / "bin" / "python", Path(sys.executable).with_name("uv")
    with_uv = uv.is_file()
    installer = [str(uv), "pip", "install", "--python", str(python)]
    if not with_uv:
        installer = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    environment = dict(os.environ)
    # uv does not read pip's settings; those given by the environment are handed on.
    for theirs, ours in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE")):
        if theirs in environment:
            environment.setdefault(ours, environment[theirs])
    for command in (
        [sys.executable, "-m", "venv", *(["--without-pip"] if with_uv else []), str(home)],
        [*installer, "--require-hashes", "--no-deps", "-r", str(lock)],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ContractToolError(
                f"{tool} cannot be installed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}",
                "Check the network and the package registry's address, and run it again.",
            )
