"""Checkpoints: what is written is what is read, in few bytes and in the forms of before."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoints import Checkpoint

COUNTER = st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**62]) | st.integers(0, 2**63 - 1)


def checkpoint(rows: list[tuple[int, int, int, int]]) -> Checkpoint:
    counters = np.array(rows, np.int64).reshape(-1, 4)
    last = np.arange(len(rows), dtype=np.int64) * 10**9
    ids = np.arange(2 * len(rows), dtype=np.uint64).reshape(-1, 2)
    return Checkpoint(7, 900, 800, counters, last, identity={"ids": ids})


@given(st.lists(st.tuples(COUNTER, COUNTER, COUNTER, COUNTER), max_size=6))
def test_a_checkpoint_reads_as_it_was_written(rows: list[tuple[int, int, int, int]]) -> None:
    before = checkpoint(rows)
    after = Checkpoint.decode(7, before.encode())
    assert (after.sequence, after.timestamp, after.transfer_timestamp) == (7, 900, 800)
    assert after.counters.dtype == np.int64
    assert after.counters.tolist() == before.counters.tolist()
    assert after.last_transfer.tolist() == before.last_transfer.tolist()
    assert after.identity.get("ids", np.zeros((0, 2))).tolist() == before.identity["ids"].tolist()


def test_small_counters_take_half_and_empty_ones_nothing() -> None:
    def size(row: tuple[int, int, int, int]) -> int:
        return len(checkpoint([row] * 10_000).encode()) // 10_000

    nothing = size((0, 0, 0, 0))
    assert size((0, 2**32 - 1, 0, 0)) - nothing == 4
    assert size((0, 2**32, 0, 0)) - nothing == 8


def test_a_checkpoint_that_held_all_counters_together_is_read() -> None:
    new = checkpoint([(1, 2, 3, 2**40), (5, 6, 7, 8)])
    out = io.BytesIO()
    with np.load(io.BytesIO(new.encode())) as arrays:
        kept = {name: arrays[name] for name in arrays if not name.startswith("counter_")}
    np.savez(out, counters=new.counters, **kept)
    assert Checkpoint.decode(7, out.getvalue()).counters.tolist() == new.counters.tolist()


def test_a_column_of_another_length_is_refused() -> None:
    spoiled = checkpoint([(1, 2, 3, 4), (5, 6, 7, 8)])
    spoiled.last_transfer = spoiled.last_transfer[:1]
    with pytest.raises(ValueError, match="debits_pending"):
        Checkpoint.decode(7, spoiled.encode())
