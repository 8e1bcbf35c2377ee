"""Decisions: a whole request, by the vectorised step where it holds, exactly elsewhere.

Large requests are tried in stretches: the vectorised step accepts as many
leading events as break no rule, the exact function decides the chain that
follows, and so on. The answers and the rows are those of the exact function
alone (a property test says so).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger import vector
from ledger.contract import CREATED, Transfer, TransferFlags
from ledger.draft import Draft
from ledger.id_filter import IDFilter
from ledger.records import RESULT_DTYPE, TRANSFER_DTYPE, pack_transfers, unpack_transfers
from ledger.state import State
from ledger.state_machine import Stretch, create_transfers, decide_transfers

VECTOR_EVENTS_MIN = 64
"""Smaller requests are quicker one event at a time."""
YIELD_MIN = 256
"""A vectorised step that accepts fewer was not worth it: the exact stretch doubles."""

RUN_STEPS_MAX = 4
"""Vectorised steps across small requests; where they end that often the exact function takes over."""

_LINKED = int(TransferFlags.LINKED)
_IMPORTED = int(TransferFlags.IMPORTED)
_MASK64 = 2**64 - 1

LoadKnown = Callable[[set[int]], None]
"""Makes stored transfers and failed ids known to the draft, by id."""


@dataclass(slots=True)
class TransferRequest:
    """Events of one request, as records, as objects, or both once each is needed."""

    records: npt.NDArray[np.void] | None = None
    objects: Sequence[Transfer] | None = None

    def __len__(self) -> int:
        if self.objects is not None:
            return len(self.objects)
        return 0 if self.records is None else len(self.records)

    def as_records(self) -> npt.NDArray[np.void]:
        """All events as records."""
        if self.records is None:
            self.records = np.frombuffer(pack_transfers(self.objects or ()), TRANSFER_DTYPE)
        return self.records

    def as_objects(self, start: int, stop: int) -> Sequence[Transfer]:
        """Events ``start`` to ``stop`` as objects."""
        if self.objects is not None:
            return self.objects[start:stop]
        return unpack_transfers(self.as_records()[start:stop].tobytes())

    def flags_at(self, index: int) -> int:
        """Flags of one event."""
        if self.objects is not None:
            return self.objects[index].flags
        return int(self.as_records()["flags"][index])


def decide_requests(
    state: State,
    draft: Draft,
    ids: IDFilter,
    now_ns: int,
    requests: Sequence[TransferRequest],
    load: LoadKnown,
) -> list[npt.NDArray[np.void]]:
    """Decide requests one after the other; their results as records.

    Small requests that follow each other share one look-up of the ids they name.
    """
    answers: list[npt.NDArray[np.void]] = []
    for is_small, run in groupby(requests, key=lambda request: len(request) < VECTOR_EVENTS_MIN):
        if is_small:
            answers += _decide_small(state, draft, ids, now_ns, list(run), load)
        else:
            answers += [decide_request(state, draft, ids, now_ns, request, load) for request in run]
    return answers


def _decide_small(
    state: State,
    draft: Draft,
    ids: IDFilter,
    now_ns: int,
    requests: Sequence[TransferRequest],
    load: LoadKnown,
) -> list[npt.NDArray[np.void]]:
    """Decide small requests; where many wait, vectorised steps run across them.

    One request's timestamps follow those of the one before without a gap, as the
    events of one large request would; only a chain must not run on into the next.
    """
    ends = np.cumsum([len(request) for request in requests])
    joined = ends[-1] >= VECTOR_EVENTS_MIN and not any(map(_stands_alone, requests))
    if not joined:
        return _decide_each(state, draft, ids, now_ns, requests, load)
    packed = b"".join([request.as_records().tobytes() for request in requests])
    records = np.frombuffer(packed, TRANSFER_DTYPE)
    results = np.zeros(len(records), RESULT_DTYPE)
    at = number = 0
    for _ in range(RUN_STEPS_MAX):
        first = max(now_ns - len(requests[number]), state.last_timestamp) + 1
        state.flush()
        accepted, columns = vector.accept(state, ids, records[at:], first)
        if columns is None:
            break
        draft.add_columns(columns)
        results["timestamp"][at : at + accepted] = np.arange(first, first + accepted)
        results["status"][at : at + accepted] = CREATED
        number = int(np.searchsorted(ends, at + accepted, "right"))
        start = at + accepted
        if number == len(requests):
            state.last_timestamp = first + accepted - 1
            return np.split(results, ends[:-1])
        # The request in which the step ended is decided to its own end.
        state.last_timestamp = first + int(ends[number]) - at - 1
        events = requests[number].as_objects(
            len(requests[number]) - int(ends[number]) + start, len(requests[number])
        )
        stretch = Stretch(first + accepted, state.last_timestamp, is_imported=False, is_end=True)
        outcomes = decide_exactly(state, draft, ids, events, stretch, load)
        results["timestamp"][start : ends[number]] = [timestamp for timestamp, _ in outcomes]
        results["status"][start : ends[number]] = [status for _, status in outcomes]
        at, number = int(ends[number]), number + 1
        if number == len(requests) or len(records) - at < VECTOR_EVENTS_MIN:
            break
    decided = np.split(results, ends[:-1])[:number]
    return decided + _decide_each(state, draft, ids, now_ns, requests[number:], load)


def _stands_alone(request: TransferRequest) -> bool:
    """Whether a request cannot be decided together with others."""
    count = len(request)
    return not count or bool(request.flags_at(0) & _IMPORTED) or bool(request.flags_at(count - 1) & _LINKED)


def _decide_each(
    state: State,
    draft: Draft,
    ids: IDFilter,
    now_ns: int,
    requests: Sequence[TransferRequest],
    load: LoadKnown,
) -> list[npt.NDArray[np.void]]:
    """Decide requests with the exact function; they share one look-up of ids."""
    if not requests:
        return []
    events = [request.as_objects(0, len(request)) for request in requests]
    # What one of them creates, the next one finds in the draft itself.
    wanted = unknown_ids(state, draft, ids, list(chain.from_iterable(events)))
    if wanted:
        load(wanted)
    rows, failed = len(draft.transfers), len(draft.newly_failed)
    answers = []
    for each in events:
        results = create_transfers(state, draft, now_ns, each)
        answers.append(np.array([(r.timestamp, r.status, 0) for r in results], RESULT_DTYPE))
    _remember_new(draft, ids, rows, failed)
    return answers


def decide_request(
    state: State, draft: Draft, ids: IDFilter, now_ns: int, request: TransferRequest, load: LoadKnown
) -> npt.NDArray[np.void]:
    """Decide one request to create transfers; its results as records."""
    count = len(request)
    results = np.zeros(count, RESULT_DTYPE)
    if not count:
        return results
    batch_timestamp = state.take_timestamp(now_ns, count)
    first = batch_timestamp - count + 1
    imported = bool(request.flags_at(0) & _IMPORTED)
    at, stride = 0, 1
    while at < count:
        # In an imported request a plain event is out of place, which the exact function says.
        if not imported and count - at >= VECTOR_EVENTS_MIN and stride < count - at:
            state.flush()
            accepted, columns = vector.accept(state, ids, request.as_records()[at:], first + at)
            if columns is not None:
                draft.add_columns(columns)
                results["timestamp"][at : at + accepted] = np.arange(first + at, first + at + accepted)
                results["status"][at : at + accepted] = CREATED
                at += accepted
            stride = 1 if accepted >= YIELD_MIN else 2 * stride
        else:
            stride = count - at
        if at < count:
            stop = _chain_end(request, min(at + stride, count) - 1, count)
            stretch = Stretch(first + at, batch_timestamp, imported, is_end=stop == count)
            events = request.as_objects(at, stop)
            outcomes = decide_exactly(state, draft, ids, events, stretch, load)
            results["timestamp"][at:stop] = [timestamp for timestamp, _ in outcomes]
            results["status"][at:stop] = [status for _, status in outcomes]
            at = stop
    return results


def decide_exactly(
    state: State,
    draft: Draft,
    ids: IDFilter,
    events: Sequence[Transfer],
    stretch: Stretch,
    load: LoadKnown,
) -> list[tuple[int, int]]:
    """Decide a stretch with the exact function, after looking up the ids that it names."""
    wanted = unknown_ids(state, draft, ids, events)
    if wanted:
        load(wanted)
    rows, failed = len(draft.transfers), len(draft.newly_failed)
    outcomes = decide_transfers(state, draft, events, stretch)
    _remember_new(draft, ids, rows, failed)
    return outcomes


def unknown_ids(state: State, draft: Draft, ids: IDFilter, events: Sequence[Transfer]) -> set[int]:
    """Ids named by these events that the journal may have and the draft does not know."""
    named = {e.id for e in events} | {e.pending_id for e in events if e.pending_id}
    named -= draft.known.keys()
    named -= draft.failed
    listed = [named_id for named_id in named if named_id not in state.pendings]
    if not listed:
        return set()
    low = np.array([i & _MASK64 for i in listed], np.uint64)
    high = np.array([i >> 64 for i in listed], np.uint64)
    return {listed[n] for n in np.flatnonzero(ids.may_contain(low, high))}


def _remember_new(draft: Draft, ids: IDFilter, rows: int, failed: int) -> None:
    """Add to the filter the ids of what was drafted since there were so many rows and failed ids."""
    new = [row.transfer.id for row in draft.transfers[rows:]]
    new += [failed_id for failed_id, _ in draft.newly_failed[failed:]]
    if new:
        ids.add(np.array([i & _MASK64 for i in new], np.uint64), np.array([i >> 64 for i in new], np.uint64))


def _chain_end(request: TransferRequest, index: int, count: int) -> int:
    """Index after the chain that event ``index`` is in."""
    while index < count - 1 and request.flags_at(index) & _LINKED:
        index += 1
    return index + 1


def as_request(events: Any) -> TransferRequest:
    """A request from objects or from records."""
    if isinstance(events, np.ndarray):
        return TransferRequest(records=events)
    return TransferRequest(objects=events)
