"""The words of the code: every public enum, its members and their docstrings, read from the sources."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The clone's root."""

ROOMS = (
    "foundation",
    "ledger",
    "chain",
    "identity",
    "treasury",
    "wallets",
    "agents",
    "lottery",
    "wallet_api",
    "ops",
)
"""Rooms in the order in which they build on each other."""

ENUMS = frozenset({"Enum", "StrEnum", "IntEnum", "Flag", "IntFlag", "RefusalCode"})
"""Names of bases that make a class an enum."""


@dataclass(frozen=True)
class Member:
    """A member of an enum, as its source says it."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Vocabulary:
    """An enum of a room."""

    room: str
    module: str
    name: str
    meaning: str
    is_refusals: bool
    members: tuple[Member, ...]


def python_files(*folders: str) -> Iterator[Path]:
    """Every Python source of the folders (all of the project's when none is named)."""
    chosen = folders or (*ROOMS, "clients/python", "migrations", "benchmarks", "tests")
    for folder in chosen:
        yield from sorted((ROOT / folder).rglob("*.py"))


def vocabularies() -> list[Vocabulary]:
    """Every public enum, room by room."""
    found = []
    for room in ROOMS:
        for path in python_files(room):
            tree = ast.parse(path.read_text())
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found += [_vocabulary(room, module, node) for node in tree.body if _is_public_enum(node)]
    return found


def refusal_codes() -> dict[str, list[str]]:
    """Each code that a client may see, and where it is defined."""
    found: dict[str, list[str]] = {}
    for vocabulary in vocabularies():
        if vocabulary.is_refusals:
            for member in vocabulary.members:
                found.setdefault(member.value, []).append(f"{vocabulary.module}.{vocabulary.name}")
    return found


def _is_public_enum(node: ast.stmt) -> bool:
    if not isinstance(node, ast.ClassDef) or node.name.startswith("_") or node.name == "RefusalCode":
        return False
    return any(isinstance(base, ast.Name | ast.Attribute) and _name(base) in ENUMS for base in node.bases)


def _name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _vocabulary(room: str, module: str, node: ast.stmt) -> Vocabulary:
    assert isinstance(node, ast.ClassDef)
    members = []
    for position, statement in enumerate(node.body):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        after = node.body[position + 1] if position + 1 < len(node.body) else None
        meaning = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            meaning = " ".join(str(after.value.value).split())
        value = statement.value
        shown = str(value.value) if isinstance(value, ast.Constant) else ast.unparse(value)
        members.append(Member(statement.targets[0].id, shown, meaning))
    bases = {_name(base) for base in node.bases if isinstance(base, ast.Name | ast.Attribute)}
    meaning = " ".join((ast.get_docstring(node) or "").split("\n\n", maxsplit=1)[0].split())
    return Vocabulary(room, module, node.name, meaning, "RefusalCode" in bases, tuple(members))
