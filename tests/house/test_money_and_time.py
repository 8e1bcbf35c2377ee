"""Two things that would quietly falsify the books: a float near money, and a second clock."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.house.vocabulary import ROOMS, ROOT, python_files

MONEY_ROOMS = (*(room for room in ROOMS if room != "ops"), "clients/python")
"""Everything that may hold an amount."""

TIME = re.compile(
    r"second|timeout|pause|sleep|interval|deadline|monotonic|perf_counter|_at\b|elapsed|clock", re.IGNORECASE
)
"""Words of a statement that is about durations, where floats are harmless."""

PATHS = re.compile(
    r"home|path|dir\b|directory|root|parent|Path\(|file|socket|folder|parts|here", re.IGNORECASE
)
"""Words of a statement in which a slash joins paths."""

CLOCKS = (ROOT / "foundation" / "clock.py", ROOT / "clients" / "python" / "nugpay_client" / "clock.py")
"""The project's clock, and that of the client library, which imports no room."""

CLOCK_CALLS = frozenset(
    {
        "time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime", "datetime.now",
        "datetime.utcnow", "datetime.today", "datetime.datetime.now", "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "date.today", "datetime.date.today", "uuid.uuid1", "uuid1", "func.now", "sa.func.now",
    }
)  # fmt: skip
"""Calls that ask a clock which nobody can set."""

SQL_CLOCKS = re.compile(r"\b(now\(\)|current_timestamp|clock_timestamp\(\)|localtimestamp)", re.IGNORECASE)
"""The same in SQL: the database's clock is not ours either."""


SQL_VERBS = re.compile(r"\b(select|insert|update|delete|default)\b", re.IGNORECASE)
"""Words that tell a statement of SQL from prose."""


def statements(text: str) -> Iterator[tuple[ast.stmt, str]]:
    """Each simple statement, or head of a compound one, with its source and the name of its function."""
    lines = text.splitlines()
    waiting: list[tuple[ast.AST, str]] = [(ast.parse(text), "")]
    while waiting:
        node, function = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        waiting += [(child, function) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.stmt) and not isinstance(node, ast.ClassDef):
            body: list[ast.stmt] = getattr(node, "body", [])
            inside = bool(body) and body[0].lineno > node.lineno
            last = body[0].lineno - 1 if inside else (node.end_lineno or node.lineno)
            yield node, "\n".join([*lines[node.lineno - 1 : last], function])


def own_nodes(node: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a statement without the statements inside it."""
    waiting: list[ast.AST] = [node]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += [child for child in ast.iter_child_nodes(each) if not isinstance(child, ast.stmt)]


def floats(text: str) -> Iterator[str]:
    """Where a source has a float, or a division that makes one, outside of durations."""
    for statement, source in statements(text):
        if TIME.search(source):
            continue
        for node in own_nodes(statement):
            is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
            is_name = isinstance(node, ast.Name) and node.id in {"float", "round"}
            is_division = (
                isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not PATHS.search(source)
            )
            if is_float or is_name or is_division:
                yield f"{statement.lineno}: {source.strip().splitlines()[0]}"


def asks_sql_clock(text: str) -> bool:
    """Whether a string asks the database's clock; prose may speak of clocks."""
    return bool(SQL_CLOCKS.search(text)) and (" " not in text or bool(SQL_VERBS.search(text)))


def clocks(text: str) -> Iterator[str]:
    """Where a source asks a clock of its own."""
    for node in ast.walk(ast.parse(text)):
        where = str(getattr(node, "lineno", 0))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCK_CALLS:
            yield f"{where}: {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            names = {alias.name for alias in node.names} & {"time", "time_ns"}
            if names:
                yield f"{where}: imports {names}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_CLOCKS.search(node.value):
            # Prose may speak of clocks.
            yield from (
                [f"{where}: {node.value!r}"] if " " not in node.value or SQL_VERBS.search(node.value) else []
            )


def found(search: Callable[[str], Iterator[str]], files: Iterable[Path]) -> list[str]:
    """What a search finds, with the file before each line."""
    return [f"{path.relative_to(ROOT)}:{line}" for path in files for line in search(path.read_text())]


@pytest.mark.parametrize("room", MONEY_ROOMS)
def test_no_float_comes_near_money(room: str) -> None:
    assert found(floats, (path for path in python_files(room) if path not in CLOCKS)) == []


def test_nothing_but_the_foundation_s_clock_tells_the_time() -> None:
    files = python_files(*MONEY_ROOMS, "ops", "migrations", "benchmarks")
    assert found(clocks, (path for path in files if path not in CLOCKS)) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("amount = 1.5", 1),
        ("fee = amount / 100", 1),
        ("def pay(amount: float) -> None: ...", 1),
        ("total = round(amount)", 1),
        ("PAUSE_SECONDS = 0.5", 0),
        ("path = home / 'keys'", 0),
        ("fee = amount * 3 // 1000", 0),
    ],
)
def test_the_search_for_floats_finds_what_it_must(source: str, count: int) -> None:
    assert len(list(floats(source))) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import time\nnow = time.time()", 1),
        ("from datetime import datetime\nnow = datetime.now()", 1),
        ("from time import time_ns", 1),
        ("query = 'select now()'", 1),
        ("import time\nbegan = time.monotonic()", 0),
    ],
)
def test_the_search_for_clocks_finds_what_it_must(source: str, count: int) -> None:
    assert len(list(clocks(source))) == count
