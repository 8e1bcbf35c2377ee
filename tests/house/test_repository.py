"""The repository: names, lengths, and nothing in it that belongs to one machine."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.house.vocabulary import ROOT

FORBIDDEN_NAMES = frozenset(
    {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "service", "services",
     "core", "base", "handler", "handlers"}
)  # fmt: skip
"""Module names that say nothing about their subject."""

LINES_MAX = 450
"""Lines of a source file; a longer one is more than one thing."""

SOURCES = (".py", ".sol", ".js", ".ts", ".sh")
"""Endings of files that are read as sources."""

MACHINE_PATHS = re.compile(r"(?:^|[\s\"'=(:`])/(?:work|farm|root|home|Users)/\w")
"""Absolute paths that exist on somebody's machine only."""

REGISTRIES = re.compile(
    r"py[p]i\.org|python[h]osted|registry\.[n]pm|deb\.[d]ebian\.org"
    r"|\"resolved\": *\"[h]ttp|--(?:extra-)?index[-]url"
)
"""Addresses of package registries: names, versions and hashes are enough, and mirrors stay possible."""

LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
"""The target of a Markdown link that stays within the repository."""

UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")
"""Marks of work that is not done."""


def tracked_files() -> list[Path]:
    """Every file of the repository: tracked, or about to be."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository")
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


FILES = tracked_files()


def lines_of(path: Path) -> list[str]:
    """The lines of a text file; none of a binary one."""
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError:
        return []


def found(pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern occurs in the repository."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in FILES
        for number, line in enumerate(lines_of(path), 1)
        if pattern.search(line)
    ]


def test_modules_are_named_after_their_subject() -> None:
    parts = [(path, path.relative_to(ROOT).with_suffix("").parts) for path in FILES if path.suffix == ".py"]
    assert [str(path) for path, names in parts if FORBIDDEN_NAMES.intersection(names)] == []


def test_no_source_file_is_longer_than_one_thing() -> None:
    lengths = {str(path.relative_to(ROOT)): len(lines_of(path)) for path in FILES if path.suffix in SOURCES}
    assert {path: length for path, length in lengths.items() if length > LINES_MAX} == {}


def test_every_python_module_says_what_it_is() -> None:
    modules = [path for path in FILES if path.suffix == ".py" and path.name != "conftest.py"]
    assert [str(path) for path in modules if not path.read_text().lstrip().startswith(('"""', 'r"""'))] == []


def test_no_file_holds_a_path_of_somebody_s_machine() -> None:
    assert found(MACHINE_PATHS) == []


def test_no_file_holds_the_address_of_a_package_registry() -> None:
    assert found(REGISTRIES) == []


def test_no_file_marks_unfinished_work() -> None:
    assert found(UNFINISHED) == []


BARE_EXCEPTION = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w-]+\])?)\s*$"
)
"""An exception to a linter's or type checker's rule that gives no reason on its line."""


def test_every_link_in_a_document_leads_somewhere() -> None:
    documents = [path for path in FILES if path.suffix == ".md"]
    links = [(path, target) for path in documents for target in LINK.findall(path.read_text())]
    assert links
    assert [
        f"{path.relative_to(ROOT)}: {target}" for path, target in links if not (path.parent / target).exists()
    ] == []


def test_every_test_and_code_that_the_faults_name_is_there() -> None:
    named = set(re.findall(r"`([a-z][a-z_0-9]+)`", (ROOT / "docs" / "faults.md").read_text()))
    tests = {one for one in named if one.startswith("test_")}
    sources = [path for path in FILES if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")]
    written = {name for path in sources for name in re.findall(r"def (test_\w+)\(", path.read_text())}
    codes = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
    assert tests
    assert named - tests
    assert (tests - written, named - tests - codes) == (set(), set())


def test_every_exception_to_a_rule_has_its_reason_beside_or_above_it() -> None:
    bare = []
    for path in FILES:
        lines = lines_of(path) if path.suffix == ".py" else []
        for number, line in enumerate(lines):
            above = lines[number - 1].strip() if number else ""
            if BARE_EXCEPTION.search(line) and not above.startswith("#"):
                bare.append(f"{path.relative_to(ROOT)}:{number + 1}: {line.strip()}")
    assert bare == []


def test_continuous_integration_runs_the_tests_as_the_readme_says() -> None:
    command = "./nugpay test"
    assert command in (ROOT / "README.md").read_text()
    assert lines_of(ROOT / ".ci" / "run")[-1] == command
