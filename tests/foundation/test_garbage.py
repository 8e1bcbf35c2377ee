"""Garbage: what is loaded when a process begins to serve is not looked through, and files are not either."""

import json
import subprocess
import sys

from foundation.garbage import COLLECT_AFTER

# A process of its own: what it does to the collector cannot be taken back.
_SERVES = """
import gc, json
from foundation.garbage import keep_what_is_loaded

loaded = [[] for _ in range(1_000)]
keep_what_is_loaded()
seen = len(gc.get_objects())
collections = gc.get_stats()[0]["collections"]
made = [[] for _ in range({made})]
print(json.dumps([gc.get_freeze_count(), seen, gc.get_stats()[0]["collections"] - collections]))
"""


def _collections(made: int) -> tuple[int, int, int]:
    program = [sys.executable, "-c", _SERVES.format(made=made)]
    frozen, seen, collections = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)
    return frozen, seen, collections


def test_what_is_loaded_is_out_of_sight_and_what_is_made_is_looked_through_by_the_ten_thousand() -> None:
    frozen, seen, collections = _collections(COLLECT_AFTER // 2)
    assert frozen > 1_000
    assert seen < 1_000
    assert collections == 0
    # By Python's own figure it would be some fifty.
    assert 2 <= _collections(COLLECT_AFTER * 7 // 2)[2] <= 4
