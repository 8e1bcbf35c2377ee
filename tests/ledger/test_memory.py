"""What the engine holds in memory behaves as the plain thing that it stands for."""

import gc
import weakref
from collections.abc import Callable, Iterator
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import expiry_queue, pendings
from ledger.accounts import Accounts
from ledger.contract import SECOND_NS, Transfer, TransferFlags, TransferPendingStatus
from ledger.expiry_queue import ExpiryQueue
from ledger.id_filter import HEADER_SIZE, IDFilter, stored_key
from ledger.pendings import Pendings
from ledger.slot_map import ABSENT, SlotMap
from ledger.stored_transfer import StoredTransfer
from ledger.tail import TailSegment

ids_of = st.lists(st.integers(1, 2**128 - 2), max_size=60, unique=True)


def halves(ids: list[int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    low = np.array([i & (2**64 - 1) for i in ids], np.uint64)
    return low, np.array([i >> 64 for i in ids], np.uint64)


@given(ids_of, ids_of, st.integers(1, 40))
def test_a_filter_never_says_that_a_known_id_is_new(
    known: list[int], others: list[int], expected: int
) -> None:
    ids = IDFilter()
    ids.begin(7, expected)
    for start in range(0, len(known), 9):
        ids.add(*halves(known[start : start + 9]))
    assert ids.may_contain(*halves(known)).all()
    unknown = [i for i in others if i not in known]
    assert ids.may_contain(*halves(unknown)).sum() <= len(unknown) // 10
    # The same from its stored pieces, which are read when an id falls into their range.
    pieces = ids.dump(7)
    again = IDFilter(stored_key(pieces[0])) if pieces else IDFilter()
    reads: list[int] = []
    for number, piece in enumerate(pieces):

        def fetch(number: int = number, piece: bytes = piece) -> bytes:
            reads.append(number)
            return piece

        again.add_stored(piece[:HEADER_SIZE], fetch)
    assert reads == []
    for _ in range(2):
        assert again.may_contain(*halves(known)).all()
    assert sorted(reads) == sorted(set(reads))


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=80), st.integers(0, 2**32))
def test_expiries_come_in_order_whether_they_were_added_singly_or_together(
    moments: list[tuple[int, bool]], seed: int
) -> None:
    queue, expected, random = ExpiryQueue(), [], Random(seed)
    batch: list[tuple[int, int, int]] = []
    for timestamp, (expires_at, single) in enumerate(moments, 1):
        entry = (expires_at, timestamp, random.randrange(1, 2**128))
        expected.append(entry)
        if single:
            queue.add(*entry)
        else:
            batch.append(entry)
        if batch and random.random() < 0.3:
            add_together(queue, batch)
            batch = []
    add_together(queue, batch)
    assert sorted(queue.entries()) == sorted(expected)
    popped: list[tuple[int, int]] = []
    for now in range(52):
        while (due := queue.pop_due(now)) is not None:
            popped.append(due)
            assert now == next(e[0] for e in expected if e[1] == due[0])
    assert popped == [(timestamp, i) for _, timestamp, i in sorted(expected)]
    assert queue.peek() is None


def add_together(queue: ExpiryQueue, entries: list[tuple[int, int, int]]) -> None:
    low, high = halves([entry[2] for entry in entries])
    times = np.array([entry[:2] for entry in entries], np.int64).reshape(-1, 2)
    queue.add_many(times[:, 0], times[:, 1], np.stack([low, high], axis=1))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows move and runs merge after a few."""
    monkeypatch.setattr(pendings, "COMPACT_MIN", 8)
    monkeypatch.setattr(expiry_queue, "RUNS_MAX", 3)


def fresh_transfers(random: Random, start: int) -> Iterator[Transfer]:
    for timestamp in range(start, start + random.randrange(1, 30)):
        yield Transfer(
            random.randrange(1, 2**128 - 1), random.randrange(1, 9), random.randrange(1, 9),
            random.randrange(1000), 0, random.randrange(2**128), random.randrange(2**64),
            random.randrange(2**32), random.choice((0, 3, 2**32 - 1)), 7, 9,
            int(TransferFlags.PENDING), timestamp,
        )  # fmt: skip


def as_columns(transfers: list[Transfer]) -> dict[str, npt.NDArray[np.generic]]:
    held = Pendings()
    for transfer in transfers:
        held.add(StoredTransfer(transfer, TransferPendingStatus.PENDING))
    held.flush(lambda account_id: account_id - 1)
    return held.columns()


@pytest.mark.parametrize("seed", range(20))
def test_pendings_are_a_dictionary_however_they_come_and_go(seed: int, small: None) -> None:
    random, held, model, now = Random(seed), Pendings(), dict[int, Transfer](), 1
    for _ in range(60):
        new = list(fresh_transfers(random, now))
        now += len(new)
        if random.random() < 0.5:
            held.flush(lambda account_id: account_id - 1)
            held.add_columns(len(new), as_columns(new))
        else:
            for transfer in new:
                held.add(StoredTransfer(transfer, TransferPendingStatus.PENDING))
        model |= {transfer.id: transfer for transfer in new}
        gone = random.sample(sorted(model), len(model) * random.randrange(3) // 3)
        if random.random() < 0.5:
            held.flush(lambda account_id: account_id - 1)
            rows = held.find(*halves(gone))
            assert (rows != ABSENT).all()
            assert held.values("amount")[rows].tolist() == [model[i].amount for i in gone]
            held.resolve(rows)
        else:
            for transfer_id in gone:
                stored = held.get(transfer_id)
                assert stored is not None
                held.remove(transfer_id)
        undone = random.sample(gone, len(gone) // 4)
        for transfer_id in undone:
            held.restore(StoredTransfer(model[transfer_id], TransferPendingStatus.PENDING))
        for transfer_id in set(gone) - set(undone):
            del model[transfer_id]
        check_pendings(held, model, [i for i in gone if i not in model])
    due = sorted((t.timestamp + t.timeout * SECOND_NS, t.timestamp) for t in model.values() if t.timeout)
    assert held.next_expiry() == (due[0][0] if due else None)
    popped = []
    while (stored := held.pop_due(2**63 - 1)) is not None:
        popped.append((stored.expires_at, stored.transfer.timestamp))
        held.remove(stored.transfer.id)
    assert popped == due


def check_pendings(held: Pendings, model: dict[int, Transfer], gone: list[int]) -> None:
    assert len(held) == len(model)
    assert set(held) == set(model)
    assert not any(transfer_id in held for transfer_id in gone)
    for transfer_id, transfer in list(model.items())[::7]:
        assert transfer_id in held
        stored = held.get(transfer_id)
        assert stored is not None
        assert stored.transfer == transfer
        assert held.is_live(transfer_id, transfer.timestamp)
        assert not held.is_live(transfer_id, transfer.timestamp + 1)


def _compacted() -> Pendings:
    held = Pendings()
    held._compact()
    return held


@pytest.mark.parametrize("make", [Accounts, Pendings, _compacted, lambda: TailSegment(1, 1)])
def test_what_is_let_go_of_is_gone_at_once_and_not_when_the_garbage_collector_comes(
    make: Callable[[], object],
) -> None:
    gc.disable()
    try:
        held = make()
        watched = weakref.ref(held)
        del held
        assert watched() is None
    finally:
        gc.enable()


EDGES = [
    1,
    2**64 - 1,
    2**64,
    2**64 + 1,
    2**127,
    2**128 - 2,
    2**128 - 1,
    0,
    *(7 + (n << 64) for n in range(40)),
]
"""Ids at the ends, and many whose low halves are equal."""


@given(
    st.lists(st.sampled_from(EDGES) | st.integers(0, 2**128 - 1), unique=True, max_size=200),
    st.integers(1, 50),
)
def test_a_slot_map_knows_what_was_inserted_and_nothing_else(ids: list[int], piece: int) -> None:
    keys = np.stack(halves(ids), axis=1) if ids else np.zeros((0, 2), np.uint64)
    owner = Accounts()
    slots, half = SlotMap(owner, lambda _: keys, 1), len(ids) // 2
    for start in range(0, half, piece):
        part = range(start, min(start + piece, half))
        slots.insert(*halves(ids[start : part.stop]), np.array(part, np.int32))
    expected = [*range(half), *[ABSENT] * (len(ids) - half)]
    assert slots.get(*halves(ids)).tolist() == expected
    assert [slots.get_one(i) for i in ids] == expected
