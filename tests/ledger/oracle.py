"""Replays the recorded answers of a TigerBeetle server on a ledger of ours.

The files and their format are described in tests/vectors/ledger/README.md.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from foundation.clock import SettableClock
from ledger.contract import Account, AccountFilter, InvalidFilter, QueryFilter, Transfer
from ledger.interface import Ledger

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "ledger").glob("*.json"))


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The recorded requests and answers of one file."""
    steps: list[dict[str, Any]] = json.loads(path.read_text())["steps"]
    return steps


async def replay(ledger: Ledger, clock: SettableClock, path: Path) -> int:
    """Run every step and compare its answer; the number of steps."""
    steps = read_steps(path)
    for number, step in enumerate(steps):
        clock.advance(ns=1_000_000)
        if step["op"] == "wait":
            clock.advance(ns=int(step["seconds"] * 10**9))
            continue
        answer = await _answer(ledger, step)
        assert answer == step["result"], f"{path.name}, step {number}: {step['op']}"
    return len(steps)


async def _answer(ledger: Ledger, step: dict[str, Any]) -> list[Any]:
    match step["op"]:
        case "create_accounts":
            results = await ledger.create_accounts([Account(**e) for e in step["events"]])
            return [int(r.status) for r in results]
        case "create_transfers":
            outcome = await ledger.create_transfers([Transfer(**e) for e in step["events"]])
            return [int(r.status) for r in outcome]
        case "lookup_accounts":
            return [_shown(a) for a in await ledger.lookup_accounts(step["ids"])]
        case "lookup_transfers":
            return [_shown(t) for t in await ledger.lookup_transfers(step["ids"])]
        case operation:
            return await _query(ledger, operation, step["filter"])


async def _query(ledger: Ledger, operation: str, values: dict[str, Any]) -> list[Any]:
    # A field that is left out is 0, also where our dataclass has a kinder default.
    values = {"limit": 0, "flags": 0} | values
    try:
        match operation:
            case "get_account_transfers":
                return [t.id for t in await ledger.get_account_transfers(AccountFilter(**values))]
            case "get_account_balances":
                return [
                    {k: v for k, v in dataclasses.asdict(b).items() if k != "timestamp"}
                    for b in await ledger.get_account_balances(AccountFilter(**values))
                ]
            case "query_transfers":
                return [t.id for t in await ledger.query_transfers(QueryFilter(**values))]
            case "query_accounts":
                return [a.id for a in await ledger.query_accounts(QueryFilter(**values))]
            case _:
                raise AssertionError(operation)
    except InvalidFilter:
        # TigerBeetle answers an invalid filter with an empty list.
        return []


def _shown(found: Account | Transfer) -> dict[str, int]:
    return {k: v for k, v in dataclasses.asdict(found).items() if v and k != "timestamp"}
