"""The table of problems: every code of every room, once, with a status and advice."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import foundation.errors
from foundation.errors import RefusalCode
from wallet_api.problem_kinds import PROBLEM_KINDS

ROOT = Path(foundation.errors.__file__).parents[1]
ROOMS = [
    "foundation",
    "ledger",
    "chain",
    "identity",
    "treasury",
    "wallets",
    "agents",
    "lottery",
    "wallet_api",
]


def enums(kind: type[RefusalCode] = RefusalCode) -> list[type[RefusalCode]]:
    return [each for direct in kind.__subclasses__() for each in (direct, *enums(direct))]


@pytest.fixture(scope="module")
def codes() -> list[str]:
    for room in ROOMS:
        if (ROOT / room / "errors.py").exists():
            importlib.import_module(f"{room}.errors")
        for module in pkgutil.iter_modules([str(ROOT / room)]):
            if module.name.endswith("_errors"):
                importlib.import_module(f"{room}.{module.name}")
    return [code.value for enum in enums() for code in enum if enum.__module__.partition(".")[0] in ROOMS]


def test_every_code_of_every_room_has_a_kind(codes):
    assert sorted(set(codes) - set(map(str, PROBLEM_KINDS))) == []


def test_no_kind_is_left_of_a_code_that_is_gone(codes):
    unavailable = {
        "ledger_unavailable",
        "ledger_busy",
        "ledger_segment_archived",
        "database_unavailable",
        "chain_unavailable",
    }
    assert {str(code) for code in PROBLEM_KINDS} - set(codes) == unavailable


@pytest.mark.parametrize("code", list(PROBLEM_KINDS), ids=str)
def test_a_kind_has_an_errors_status_and_advice(code):
    kind = PROBLEM_KINDS[code]
    assert 400 <= kind.status < 600
    assert kind.what_to_do.endswith(".")
