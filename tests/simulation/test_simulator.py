"""The simulator: seeds that must pass, the same again, all that they met, and bugs that it catches."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger import draft, pending_rules, recovery, transfer_rules, vector
from ledger.contract import AccountFilter, CreateTransferStatus
from ledger.draft import Draft
from ledger.id_filter import IDFilter
from ledger.pipeline import Group, Pipeline
from ledger.queries import change_events, past_balances, reader
from ledger.queries.transfer_search import Chunk, Searching
from tests.simulation.coverage import never_met
from tests.simulation.simulator import SimulationFailure, run

SEEDS_MIN, SEEDS_MAX = 24, 240
"""So many must pass, and after so many nothing may be left that was never met."""
EVENTS = 2000
STRENGTH = 3.0
"""Few runs must meet much, so more fails in each than in the long form."""


def test_seeds_pass_and_meet_every_status_every_pair_of_flags_and_every_fault() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS_MAX):
        counts += run(seed, EVENTS, strength=STRENGTH).counts
        if seed >= SEEDS_MIN and not never_met(counts):
            break
    assert never_met(counts) == []


def test_the_same_seed_gives_the_same_journal() -> None:
    first, second, other = run(3, 1500), run(3, 1500), run(4, 1500)
    assert (first.hash, first.events, first.counts) == (second.hash, second.events, second.counts)
    assert first.hash != other.hash


def caught() -> str:
    """How one of a few seeds fails; what short ones seldom meet, half of the longer ones do."""
    for events in (2000, 6000):
        for seed in range(12):
            try:
                run(seed, events, strength=STRENGTH)
            except SimulationFailure as failure:
                return str(failure)
    return "nothing was noticed"


def plant_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    check: Callable[..., Any] = transfer_rules._check_amount
    limits = (CreateTransferStatus.EXCEEDS_CREDITS, CreateTransferStatus.EXCEEDS_DEBITS)

    def without(*arguments: Any) -> Any:
        refusal = check(*arguments)
        return None if refusal in limits else refusal

    monkeypatch.setattr(transfer_rules, "_check_amount", without)


def plant_no_limits_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "_first_broken", lambda *arguments: arguments[-1])


def plant_a_lost_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    roll_back = Draft.roll_back

    def losing(self: Draft, state: Any) -> None:
        assert self.scope is not None
        del self.scope.touched[-1:]
        roll_back(self, state)

    monkeypatch.setattr(Draft, "roll_back", losing)


def plant_a_wrong_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    append = draft.append_row

    def wrong(state: Any, drafted: Draft, *arguments: Any, **named: Any) -> None:
        append(state, drafted, *arguments, **named)
        drafted.transfers[-1].credit_previous = drafted.transfers[-1].debit_previous

    monkeypatch.setattr(transfer_rules, "append_row", wrong)
    monkeypatch.setattr(pending_rules, "append_row", wrong)


def plant_a_wrong_pointer_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    columns: Callable[..., Any] = vector._columns

    def wrong(*arguments: Any) -> Any:
        made = columns(*arguments)
        made.arrays["debit_previous"] = made.arrays["credit_previous"]
        return made

    monkeypatch.setattr(vector, "_columns", wrong)


def plant_answers_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Pipeline._store

    def early(self: Pipeline, group: Group) -> None:
        self._answer(group)
        self._unfinished.append(group)
        store(self, group)

    monkeypatch.setattr(Pipeline, "_store", early)


def plant_answers_without_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Pipeline._store

    def trusting(self: Pipeline, group: Group) -> None:
        if group.batch is None:
            self._answer(group)
        else:
            store(self, group)

    monkeypatch.setattr(Pipeline, "_store", trusting)


def plant_new_for_sealed_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IDFilter, "add_stored", lambda *_: None)


def plant_forgotten_expiries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery.Recovery, "_replay_expiries", lambda *_: None)


def plant_a_commit_that_is_taken_for_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Pipeline._settle

    def hopeful(self: Pipeline) -> None:
        group = self._unfinished[0]
        if group.batch is not None:
            group.batch = None
            self._answer(group)
        if self._unfinished:
            settle(self)

    monkeypatch.setattr(Pipeline, "_settle", hopeful)


def plant_a_reversed_history_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    select: Callable[..., Any] = reader.select_history

    def endless(session: Any, view: Any, head: Any, asked: AccountFilter) -> Any:
        return select(session, view, head, replace(asked, timestamp_max=0) if asked.flags & 4 else asked)

    monkeypatch.setattr(reader, "select_history", endless)


def plant_a_row_lost_at_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Searching._window

    async def narrow(self: Searching, low: int, high: int) -> Chunk:
        chunk = await window(self, low, high)
        return replace(chunk, columns=chunk.columns.take(chunk.columns["timestamp"] != low))

    monkeypatch.setattr(Searching, "_window", narrow)


def plant_balances_that_overlook_expiries(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: Any) -> dict[int, Any]:
        return {}

    monkeypatch.setattr(past_balances, "_after_expiries", none)


def plant_a_follower_that_is_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    after = change_events.position_after

    def behind(before: Any, events: Any) -> Any:
        return after(before, events[:-1])

    monkeypatch.setattr(change_events, "position_after", behind)


@pytest.mark.parametrize(
    ("plant", "noticed"),
    [
        (plant_no_limits, ""),
        (plant_no_limits_in_columns, ""),
        (plant_a_lost_undo, ""),
        (plant_a_wrong_pointer, "_previous"),
        (plant_a_wrong_pointer_in_columns, "_previous"),
        (plant_answers_before_the_commit, "before it is durable"),
        (plant_answers_without_the_lock, "without the lock"),
        (plant_new_for_sealed_ids, "stored ids for new ones"),
        (plant_forgotten_expiries, ""),
        (plant_a_commit_that_is_taken_for_stored, "not durable"),
        (plant_a_reversed_history_without_an_end, "query: "),
        (plant_a_row_lost_at_a_seam, "query: "),
        (plant_balances_that_overlook_expiries, "query: "),
        (plant_a_follower_that_is_told_twice, "query: changes"),
    ],
    ids=lambda value: value.__name__.removeprefix("plant_") if callable(value) else "",
)
def test_a_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], noticed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    failure = caught()
    assert failure.startswith("seed ")
    assert noticed in failure
    assert "./nugpay simulate --seed" in failure


def test_a_failure_is_met_again_by_the_command_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_a_lost_undo(monkeypatch)
    with pytest.raises(SimulationFailure) as first:
        run(0, 10_000)
    with pytest.raises(SimulationFailure) as again:
        run(0, first.value.events_again)
    assert str(again.value) == str(first.value)
