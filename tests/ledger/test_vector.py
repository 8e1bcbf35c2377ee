"""The vectorised step and the exact function agree on any request: answers, state and rows."""

import random
from dataclasses import replace

import pytest

from ledger import decisions, state_machine
from ledger.archive import Head
from ledger.contract import Account, AccountFlags, Transfer, TransferFlags
from ledger.decisions import TransferRequest, decide_request
from ledger.draft import Draft
from ledger.id_filter import IDFilter
from ledger.journal import seal
from ledger.state import State
from ledger.stored_transfer import StoredTransfer

START_NS = 1_800_000_000_000_000_000
LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)


class Books:
    """A ledger without a journal: what it would have stored stays in its drafts."""

    def __init__(self) -> None:
        self.state, self.ids, self.head = State(), IDFilter(), Head()
        self.stored: dict[int, StoredTransfer] = {}
        self.failed: set[int] = set()

    def create_accounts(self, accounts: list[Account]) -> None:
        draft = Draft()
        state_machine.create_accounts(self.state, draft, START_NS, accounts)
        self.state.flush()

    def exact(self, now_ns: int, events: list[Transfer]) -> tuple[list[tuple[int, int]], bytes]:
        draft = self._draft()
        results = state_machine.create_transfers(self.state, draft, now_ns, events)
        self.state.flush()
        return [(r.timestamp, int(r.status)) for r in results], self._keep(draft)

    def mixed(self, now_ns: int, events: list[Transfer]) -> tuple[list[tuple[int, int]], bytes]:
        draft = self._draft()

        def load(ids: set[int]) -> None:
            draft.load_from_memory(self.state, ids)

        results = decide_request(self.state, draft, self.ids, now_ns, TransferRequest(objects=events), load)
        self.state.flush()
        return [(t, s) for t, s, _ in results.tolist()], self._keep(draft)

    def _draft(self) -> Draft:
        known = {i: stored for i, stored in self.stored.items() if i not in self.state.pendings}
        return Draft(known=known, failed=set(self.failed))

    def _keep(self, draft: Draft) -> bytes:
        for part in draft.all_parts():
            if not isinstance(part, list):
                ids = {int(h) << 64 | int(low) for low, h in part["id"].tolist()}
                ids |= {int(h) << 64 | int(low) for low, h in part["pending_id"].tolist()}
                draft.load_from_memory(self.state, ids - {0})
        self.stored |= draft.known
        self.failed = draft.failed
        if draft.is_empty:
            return b""
        batch = seal(self.head, draft, self.state.last_timestamp)
        self.head = batch.head
        return batch.transfers

    def balances(self) -> list[object]:
        accounts = self.state.accounts
        return [accounts.counters[: accounts.stored].tolist(), accounts.last_transfer.tolist()]


def accounts(count: int, rng: random.Random) -> list[Account]:
    return [
        Account(id=n + 1, ledger=1 + (n == 0), code=1, flags=rng.choice((0, 0, LIMITED, 4)))
        for n in range(count)
    ]


def transfer(rng: random.Random, count: int, transfer_id: int, trouble: float) -> Transfer:
    debit, credit = rng.sample(range(2, count + 1), 2)
    event = Transfer(
        id=transfer_id, debit_account_id=debit, credit_account_id=credit, amount=rng.randrange(100),
        ledger=1, code=7, user_data_64=rng.choice((0, 0, 2**64 - 1)), user_data_32=rng.choice((0, 5)),
        user_data_128=rng.choice((0, 0, 2**127 + 1)), flags=int(rng.random() < 0.3),
    )  # fmt: skip
    if rng.random() < trouble:
        event = rng.choice(
            [
                replace(event, code=0),
                replace(event, ledger=2),
                replace(event, debit_account_id=1),
                replace(event, credit_account_id=count + 9),
                replace(event, amount=2**63),
                replace(event, amount=2**62),
                replace(event, amount=10**9),
                replace(event, timeout=3),
                replace(event, timestamp=5),
                replace(event, id=rng.choice((0, 2**128 - 1, max(transfer_id - 3, 1)))),
                replace(event, credit_account_id=debit),
                replace(event, flags=int(TransferFlags.PENDING)),
                replace(event, flags=int(TransferFlags.PENDING), timeout=1),
                replace(event, flags=int(TransferFlags.POST_PENDING_TRANSFER), pending_id=transfer_id - 7),
                replace(event, flags=int(TransferFlags.BALANCING_DEBIT)),
                replace(event, flags=1 << 12),
            ]
        )
    return event


@pytest.mark.parametrize("trouble", [0.0, 0.001, 0.02, 0.3])
@pytest.mark.parametrize("seed", range(6))
def test_both_ways_give_the_same_answers_balances_and_bytes(seed: int, trouble: float) -> None:
    rng = random.Random(f"{seed} {trouble}")
    count = rng.choice((3, 20, 400))
    exact, mixed = Books(), Books()
    created = accounts(count, rng)
    exact.create_accounts(created)
    mixed.create_accounts(created)
    next_id, now_ns = 10, START_NS
    for _ in range(8):
        now_ns += rng.choice((1, 1_000_000_000))
        size = rng.choice((1, 60, 64, 300, 1500))
        events = []
        for _ in range(size):
            next_id += 1
            events.append(transfer(rng, count, next_id, trouble))
        if rng.random() < 0.8:
            events[-1].flags &= ~1
        if rng.random() < 0.2:
            events = events + events[: size // 2]
        assert mixed.mixed(now_ns, events) == exact.exact(now_ns, events)
        assert mixed.balances() == exact.balances()
        assert mixed.head == exact.head


def test_a_clean_request_is_accepted_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    books = Books()
    books.create_accounts([Account(id=n + 1, ledger=1, code=1) for n in range(50)])

    def never(*_: object) -> None:
        raise AssertionError("the exact function was asked")

    monkeypatch.setattr(decisions, "decide_exactly", never)
    events = [transfer(rng, 50, n + 100, 0.0) for n in range(8189)]
    events[-1].flags = 0
    outcomes, data = books.mixed(START_NS, events)
    assert {status for _, status in outcomes} == {0xFFFFFFFF}
    assert len(data) > 8189 * 100
