"""The simulator's plain ledger agrees with the model that was written from the contract's text."""

from dataclasses import astuple
from random import Random
from typing import Any

import pytest

from tests.ledger.duel import START_NS, ask_model
from tests.ledger.model import Model
from tests.ledger.situations import FAR_CLOCK_NS
from tests.ledger.streams import Stream
from tests.simulation.plain_ledger import PlainLedger


@pytest.mark.parametrize("seed", range(12))
def test_the_plain_ledger_agrees_with_the_model(seed: int) -> None:
    start = FAR_CLOCK_NS if seed % 4 == 3 else START_NS
    model, plain = Model(), PlainLedger()
    stream = Stream(Random(seed), model, start)
    for _ in range(150):
        for request in stream.step():
            kind, events = request
            plain.sweep(stream.now)
            ask: Any = plain.create_accounts if kind == "accounts" else plain.create_transfers
            assert ask(stream.now, [astuple(e) for e in events]) == ask_model(model, stream.now, request)
    books = model.books
    assert {i: a.record() for i, a in plain.accounts.items()} == {
        i: astuple(model.account(i)) for i in books.accounts
    }
    assert plain.transfers == {i: astuple(t) for i, t in books.transfers.items()}
    assert (plain.fates, plain.failed, plain.last) == (books.fates, model.failed, model.last)
    assert (plain.account_times, plain.transfer_times) == (books.account_times, books.transfer_times)
    assert plain.live == list(books.fates.values()).count("pending")
    assert [row[0] for row in plain.rows] == [c.timestamp for c in books.changes if c.kind != "expired"]
    assert [row[0] for row in plain.expiry_rows] == [
        c.timestamp for c in books.changes if c.kind == "expired"
    ]
