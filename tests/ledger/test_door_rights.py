"""What each right allows and refuses: every event, in every form, before the engine sees any."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from structlog.testing import capture_logs

from foundation.clock import SettableClock
from ledger.chart import AccountCode, TransferCode
from ledger.contract import AMOUNT_MAX, Account, AccountFlags, Transfer, TransferFlags
from ledger.door.judge import NOBODY, Caller, Door
from ledger.door.rights import (
    FULL,
    NONE,
    AccountGrant,
    Numbers,
    Rights,
    TransferGrant,
)
from ledger.engine import LedgerEngine
from tests.ledger.doors import FORMS, READS, Visitor

CUSTODY, WALLET, FLOAT, FEES = 1, 2, 3, 4
"""Accounts of the tests, by their ids."""

CODES = {
    CUSTODY: AccountCode.CUSTODY,
    WALLET: AccountCode.WALLET,
    FLOAT: AccountCode.AGENT_FLOAT,
    FEES: AccountCode.FEES,
}
PAYMENT, FEE = int(TransferCode.PAYMENT), int(TransferCode.PAYMENT_FEE)
DEPOSIT = int(TransferCode.DEPOSIT)
PENDING = int(TransferFlags.PENDING)
POST, VOID = int(TransferFlags.POST_PENDING_TRANSFER), int(TransferFlags.VOID_PENDING_TRANSFER)


def _some(*numbers: int) -> Numbers:
    return np.array(numbers, np.int64)


AGENT = Rights(
    read=False,
    accounts=(AccountGrant(_some(1), _some(AccountCode.WALLET)),),
    transfers=(
        # Floats pay wallets; wallets pay fees.
        TransferGrant(_some(1), _some(PAYMENT), _some(AccountCode.AGENT_FLOAT), _some(AccountCode.WALLET)),
        TransferGrant(_some(1), _some(FEE), _some(AccountCode.WALLET), _some(AccountCode.FEES)),
    ),
)
"""What most tests' caller may do."""


def _payment(transfer_id: int, **fields: int) -> Transfer:
    """A transfer that ``AGENT`` may make, unless a field says otherwise."""
    allowed = {"debit_account_id": FLOAT, "credit_account_id": WALLET, "amount": 1}
    return Transfer(id=transfer_id, ledger=1, code=fields.pop("code", PAYMENT), **allowed | fields)


@pytest.fixture
def door(clock: SettableClock) -> Door:
    return Door({"agent": AGENT}, clock=clock)


@pytest.fixture
async def bank(engine: LedgerEngine, door: Door) -> Visitor:
    """Somebody with full rights, with whom every account is opened."""
    accounts = [Account(id=number, ledger=1, code=int(code)) for number, code in CODES.items()]
    await engine.create_accounts(accounts)
    return Visitor(engine, door, Caller("bank", FULL))


def _visitor(engine: LedgerEngine, door: Door, rights: Rights) -> Visitor:
    return Visitor(engine, door, Caller("agent", rights))


async def _refused(
    engine: LedgerEngine, visitor: Visitor, events: Sequence[Account | Transfer], form: str
) -> tuple[int, str]:
    """Index and rule of the refusal; the engine has seen nothing, and one line was logged."""
    before = engine.sequence
    with capture_logs() as logs:
        answer = await visitor.create(events, form)
    assert answer.status_code == 403, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["retryable"]) == ("ledger_forbidden", "false")
    (entry,) = [entry for entry in logs if entry["event"] == "ledger_forbidden"]
    assert (entry["identity"], entry["rule"], entry["index"]) == ("agent", problem["rule"], problem["index"])
    assert (entry["events"], entry["log_level"]) == (len(events), "warning")
    assert engine.sequence == before
    ids = [event.id for event in events]
    assert await engine.lookup_transfers(ids) == []
    return problem["index"], problem["rule"]


async def _statuses(visitor: Visitor, events: Sequence[Transfer]) -> list[str]:
    answer = await visitor.create(events, "json")
    assert answer.status_code == 200, answer.text
    return [result["status"] for result in answer.json()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"ledger": 2}, "ledger"),
        ({"ledger": 0}, "ledger"),
        ({"code": DEPOSIT}, "code"),
        ({"code": 0}, "code"),
        ({"debit_account_id": CUSTODY}, "debit"),
        ({"debit_account_id": WALLET}, "debit"),
        ({"debit_account_id": 99}, "debit"),
        ({"debit_account_id": 0}, "debit"),
        ({"debit_account_id": FLOAT + 2**64}, "debit"),
        ({"credit_account_id": FEES}, "credit"),
        # Each half is granted, but not by one grant.
        ({"code": FEE}, "debit"),
        ({"code": FEE, "debit_account_id": WALLET, "credit_account_id": CUSTODY}, "credit"),
        ({"flags": int(TransferFlags.IMPORTED), "timestamp": 5}, "import"),
        ({"flags": int(TransferFlags.PENDING | TransferFlags.CLOSING_CREDIT)}, "close"),
        ({"flags": int(TransferFlags.PENDING | TransferFlags.CLOSING_DEBIT)}, "close"),
        ({"flags": int(TransferFlags.BALANCING_DEBIT), "debit_account_id": CUSTODY}, "debit"),
        ({"flags": int(TransferFlags.BALANCING_CREDIT), "credit_account_id": FEES}, "credit"),
    ],
)
async def test_one_forbidden_transfer_refuses_its_whole_request(
    engine: LedgerEngine, door: Door, bank: Visitor, fields: dict[str, int], rule: str, form: str
) -> None:
    linked = int(TransferFlags.LINKED)
    forbidden = dataclasses.replace(_payment(12), **fields)
    # Linked to its neighbour where it can be: a chain must not carry it in.
    first = _payment(11, flags=linked if "coalesced" not in form else 0)
    events = [_payment(10), first, forbidden, _payment(13)]
    assert await _refused(engine, _visitor(engine, door, AGENT), events, form) == (2, rule)
    assert door.refusals.total() == 1


@pytest.mark.parametrize("form", FORMS)
async def test_what_the_grants_allow_is_done(
    engine: LedgerEngine, door: Door, bank: Visitor, form: str
) -> None:
    fee = _payment(11, code=FEE, debit_account_id=WALLET, credit_account_id=FEES)
    answer = await _visitor(engine, door, AGENT).create([_payment(10), fee], form)
    assert answer.status_code == 200
    assert [transfer.id for transfer in await engine.lookup_transfers([10, 11])] == [10, 11]
    assert door.refusals.total() == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"code": int(AccountCode.CUSTODY)}, "accounts"),
        ({"ledger": 2}, "accounts"),
        ({"ledger": 0}, "accounts"),
        ({"code": 0}, "accounts"),
        ({"flags": int(AccountFlags.IMPORTED), "timestamp": 5}, "import"),
    ],
)
async def test_one_forbidden_account_refuses_its_whole_request(
    engine: LedgerEngine, door: Door, fields: dict[str, int], rule: str, form: str
) -> None:
    allowed = Account(id=20, ledger=1, code=int(AccountCode.WALLET))
    events = [allowed, dataclasses.replace(allowed, id=21, **fields)]
    visitor = _visitor(engine, door, AGENT)
    assert await _refused(engine, visitor, events, form) == (1, rule)
    assert await engine.lookup_accounts([20, 21]) == []
    assert (await visitor.create([allowed], form)).status_code == 200
    assert [account.id for account in await engine.lookup_accounts([20])] == [20]


@pytest.mark.parametrize("form", FORMS)
async def test_who_may_create_nothing_creates_nothing(
    engine: LedgerEngine, door: Door, bank: Visitor, form: str
) -> None:
    visitor = _visitor(engine, door, Rights(read=True))
    assert await _refused(engine, visitor, [_payment(10)], form) == (0, "transfers")
    account = Account(id=20, ledger=1, code=int(AccountCode.WALLET))
    assert await _refused(engine, visitor, [account], form) == (0, "accounts")


async def test_importing_and_closing_are_rights_of_their_own(
    engine: LedgerEngine, door: Door, bank: Visitor
) -> None:
    closing = _payment(10, flags=int(TransferFlags.PENDING | TransferFlags.CLOSING_CREDIT))
    closer = _visitor(engine, door, dataclasses.replace(AGENT, close=True))
    assert await _statuses(closer, [closing]) == ["created"]
    imported = Account(
        id=30, ledger=1, code=int(AccountCode.WALLET), flags=int(AccountFlags.IMPORTED), timestamp=5
    )
    importer = _visitor(engine, door, dataclasses.replace(AGENT, imports=True))
    answer = await importer.create([imported], "json")
    assert answer.status_code == 200


@pytest.mark.parametrize("operation", READS)
async def test_a_read_without_the_right_is_refused_and_with_it_answered(
    engine: LedgerEngine, door: Door, bank: Visitor, operation: str
) -> None:
    body: object = [1] if operation.startswith("lookup") else {}
    if operation.startswith(("get_account", "get_statement")):
        body = {"account_id": 1}
    refused = await _visitor(engine, door, AGENT).post(operation, body)
    assert (refused.status_code, refused.json()["rule"], refused.json()["index"]) == (403, "read", None)
    answered = await _visitor(engine, door, dataclasses.replace(AGENT, read=True)).post(operation, body)
    assert answered.status_code == 200


@pytest.mark.usefixtures("bank")
class TestPostAndVoid:
    """A post or void says nothing of the accounts it moves between, if its sender likes."""

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("resolution", [POST, VOID])
    @pytest.mark.parametrize(
        ("fields", "rule"),
        [
            ({}, "code"),
            ({"code": PAYMENT}, "debit"),
            ({"code": PAYMENT, "ledger": 1, "credit_account_id": WALLET}, "debit"),
            ({"code": PAYMENT, "ledger": 1, "debit_account_id": CUSTODY}, "debit"),
        ],
    )
    async def test_of_somebody_elses_pending_transfer_is_refused(
        self,
        engine: LedgerEngine,
        door: Door,
        bank: Visitor,
        form: str,
        resolution: int,
        fields: dict[str, int],
        rule: str,
    ) -> None:
        pending = _payment(50, debit_account_id=CUSTODY, code=DEPOSIT, flags=PENDING)
        assert await _statuses(bank, [pending]) == ["created"]
        amount = AMOUNT_MAX if resolution == POST else 0
        attempt = Transfer(id=51, pending_id=50, amount=amount, flags=resolution, **fields)
        visitor = _visitor(engine, door, AGENT)
        assert await _refused(engine, visitor, [_payment(49), attempt], form) == (1, rule)

    async def test_that_names_other_fields_than_the_pending_transfer_is_refused_by_the_engine(
        self, engine: LedgerEngine, door: Door, bank: Visitor
    ) -> None:
        pending = _payment(50, debit_account_id=CUSTODY, code=DEPOSIT, flags=PENDING)
        assert await _statuses(bank, [pending]) == ["created"]
        attempt = _payment(51, pending_id=50, flags=POST)
        assert await _statuses(_visitor(engine, door, AGENT), [attempt]) == [
            "pending_transfer_has_different_debit_account_id"
        ]

    @pytest.mark.parametrize("resolution", [POST, VOID])
    async def test_of_its_own_pending_transfer_is_done(
        self, engine: LedgerEngine, door: Door, resolution: int
    ) -> None:
        visitor = _visitor(engine, door, AGENT)
        assert await _statuses(visitor, [_payment(50, flags=PENDING)]) == ["created"]
        amount = AMOUNT_MAX if resolution == POST else 0
        own = Transfer(id=51, pending_id=50, amount=amount, flags=resolution)
        assert await _statuses(visitor, [own, dataclasses.replace(own, id=52)]) == [
            "created",
            "pending_transfer_already_posted" if resolution == POST else "pending_transfer_already_voided",
        ]

    @pytest.mark.parametrize("form", FORMS)
    async def test_of_what_is_not_stored_yet_is_refused_unless_all_is_named(
        self, engine: LedgerEngine, door: Door, form: str
    ) -> None:
        # Somebody else could create that pending transfer before the engine decides.
        visitor = _visitor(engine, door, AGENT)
        pending = _payment(50, flags=PENDING)
        silent = Transfer(id=51, pending_id=50, amount=AMOUNT_MAX, flags=POST)
        assert await _refused(engine, visitor, [pending, silent], form) == (1, "pending")
        assert await _refused(engine, visitor, [silent], form) == (0, "pending")
        named = _payment(51, pending_id=50, flags=POST, amount=AMOUNT_MAX)
        assert await _statuses(visitor, [pending, named]) == ["created", "created"]


async def test_an_account_created_after_the_refusal_is_known_at_once(
    engine: LedgerEngine, door: Door, bank: Visitor
) -> None:
    visitor = _visitor(engine, door, AGENT)
    payment = _payment(10, credit_account_id=7)
    assert await _refused(engine, visitor, [payment], "packed") == (0, "credit")
    account = Account(id=7, ledger=1, code=int(AccountCode.WALLET))
    assert (await visitor.create([account], "packed")).status_code == 200
    assert await _statuses(visitor, [payment]) == ["created"]


async def test_a_grant_of_any_account_asks_for_none(
    engine: LedgerEngine, door: Door, bank: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_ids: object) -> None:
        raise AssertionError("asked for an account")

    anything = Rights(transfers=(TransferGrant(None, None, None, None),))
    visitor = _visitor(engine, door, anything)
    monkeypatch.setattr(engine, "lookup_accounts", fail)
    assert await _statuses(visitor, [_payment(10, debit_account_id=CUSTODY, code=DEPOSIT)]) == ["created"]
    # What the engine refuses anyway is the engine's to answer.
    assert await _statuses(visitor, [_payment(11, debit_account_id=99)]) == ["debit_account_not_found"]


async def test_who_is_nobody_or_comes_with_an_expired_certificate_is_refused_everything(
    engine: LedgerEngine, door: Door, clock: SettableClock, bank: Visitor
) -> None:
    late = Caller("bank", FULL, expires_at_ns=clock.now_ns() + 1)
    assert (await Visitor(engine, door, late).request("GET", "/health")).status_code == 200
    clock.advance(ns=1)
    for caller, rule in ((None, "identity"), (NOBODY, "identity"), (late, "certificate_expired")):
        visitor = Visitor(engine, door, caller)
        for answer in (
            await visitor.request("GET", "/health"),
            await visitor.post("lookup_accounts", [1]),
            await visitor.create([_payment(10)], "packed"),
        ):
            assert (answer.status_code, answer.json()["rule"]) == (403, rule)
            assert answer.headers["connection"] == "close"
    assert {rule.value for _, rule in door.refusals} == {"identity", "certificate_expired"}


async def test_health_tells_numbers_only_to_who_may_read(
    engine: LedgerEngine, door: Door, bank: Visitor
) -> None:
    await _visitor(engine, door, NONE).post("lookup_accounts", [1])
    shown = (await bank.request("GET", "/health")).json()
    assert shown == {"phase": "serving", "sequence": engine.sequence, "refused": 1}
    assert (await _visitor(engine, door, AGENT).request("GET", "/health")).json() == {"phase": "serving"}


async def test_nobody_is_let_in_before_the_door_is_open(
    engine: LedgerEngine, door: Door, bank: Visitor
) -> None:
    door.is_open, before = False, engine.sequence
    for answer in (await bank.create([_payment(10)], "packed"), await bank.post("lookup_accounts", [1])):
        assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
        assert answer.json()["outcome_unknown"] is False
    assert (await bank.request("GET", "/health")).status_code == 503
    assert engine.sequence == before
    door.is_open = True
    assert (await bank.request("GET", "/health")).status_code == 200
    assert await _statuses(bank, [_payment(10)]) == ["created"]


async def test_refusals_are_counted_by_identity_and_rule_and_strangers_as_one(
    engine: LedgerEngine, door: Door
) -> None:
    for identity in ("agent", "agent", "mallory", "eve"):
        await Visitor(engine, door, Caller(identity, NONE)).post("lookup_accounts", [1])
    assert {(who, rule.value): count for (who, rule), count in door.refusals.items()} == {
        ("agent", "read"): 2,
        ("unknown", "read"): 2,
    }
