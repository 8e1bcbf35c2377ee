"""Archived requests: which requests cannot be decided, since a detached segment may hold what they name.

Asked before anything of a group is decided, so that such a request is refused by
itself: nothing of it is done, the others of its group go on, and the engine with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ledger.decisions import TransferRequest
from ledger.draft import Draft
from ledger.interface import SegmentArchived
from ledger.stored import load_known
from ledger.tenure import Tenure


def refuse_archived(
    tenure: Tenure, draft: Draft, requests: Sequence[TransferRequest]
) -> list[SegmentArchived | None]:
    """For each request why it cannot be decided, or None."""
    if not tenure.lookups.has_archived():
        return [None] * len(requests)
    named_alive: set[int] = set()
    named = [_named(tenure, request, named_alive) for request in requests]
    # All together first, since a look-up in a file takes as long for many ids as for one.
    everything = set().union(*(wanted for wanted, _ in named)), set().union(*(again for _, again in named))
    if _refuse(tenure, draft, *everything) is None:
        return [None] * len(requests)
    return [_refuse(tenure, draft, wanted, again) for wanted, again in named]


def _named(tenure: Tenure, request: TransferRequest, named_alive: set[int]) -> tuple[set[int], set[int]]:
    """The ids that deciding a request may look up, and those of them that are alive.

    A pending transfer that is alive is in memory, also when its row is not. Whatever
    names it a second time in one group may come after what resolves it, and would need
    the row; so the second one is looked up as if it had been resolved.
    """
    wanted: set[int] = set()
    again: set[int] = set()
    if not len(request):
        return wanted, again
    records = request.as_records()
    pairs = np.concatenate([records["id"], records["pending_id"]])
    low, high = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    maybe = np.flatnonzero(tenure.ids.may_contain(low, high))
    for index in maybe.tolist():
        named = int(high[index]) << 64 | int(low[index])
        if named not in tenure.state.pendings:
            wanted.add(named)
        elif named in named_alive:
            again.add(named)
        named_alive.add(named)
    return wanted - {0}, again


def _refuse(tenure: Tenure, draft: Draft, wanted: set[int], again: set[int]) -> SegmentArchived | None:
    """Look up what deciding may look up, in a draft that nobody keeps."""
    try:
        if wanted:
            load_known(tenure.lookups, tenure.tail, tenure.state, Draft(in_flight=draft.in_flight), wanted)
        if again:
            tenure.lookups.find_transfers(again)
    except SegmentArchived as error:
        return error
    return None
