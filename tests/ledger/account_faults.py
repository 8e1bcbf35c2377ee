"""Every way in which the creation of an account is refused."""

from dataclasses import replace

from ledger.contract import ID_MAX, Account, AccountFlags, CreateAccountStatus
from tests.ledger.faults import Contradictions, Fault, Settings
from tests.ledger.world import World

Status = CreateAccountStatus

SECOND = 10**9
FAR, LATE, PAST = 2**63, 2**63 - 1, 1
"""Imported timestamps: beyond the range, in the future, before everything that is stored."""
OTHER = 2
"""A value unlike the base's, for any field."""
HISTORY, CLOSED = int(AccountFlags.HISTORY), int(AccountFlags.CLOSED)
COMPARED = ("flags", "user_data_128", "user_data_64", "user_data_32", "ledger", "code")
"""The fields in which a retry may differ, in the contract's order."""

FAULTS = [
    Fault(Status.LINKED_EVENT_FAILED, {"chain": "broken"}),
    Fault(Status.LINKED_EVENT_CHAIN_OPEN, {"chain": "open"}),
    Fault(Status.IMPORTED_EVENT_EXPECTED, {"imported": False, "batch_imported": True}),
    Fault(Status.IMPORTED_EVENT_NOT_EXPECTED, {"imported": True, "batch_imported": False}),
    Fault(Status.TIMESTAMP_MUST_BE_ZERO, {"imported": False, "timestamp": PAST}),
    Fault(Status.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE, {"imported": True, "timestamp": 0}, "zero"),
    Fault(Status.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE, {"imported": True, "timestamp": FAR}, "64 bits"),
    Fault(Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE, {"imported": True, "timestamp": LATE}),
    Fault(Status.RESERVED_FIELD, {"reserved": 1}),
    *(Fault(Status.RESERVED_FLAG, {f"flag:{1 << bit}": True}, f"bit {bit}") for bit in range(6, 16)),
    Fault(Status.ID_MUST_NOT_BE_ZERO, {"id": 0}),
    Fault(Status.ID_MUST_NOT_BE_INT_MAX, {"id": ID_MAX}),
    Fault(Status.EXISTS_WITH_DIFFERENT_FLAGS, {"stored": True, f"flag:{HISTORY}": True}, "history"),
    Fault(Status.EXISTS_WITH_DIFFERENT_FLAGS, {"stored": True, f"flag:{CLOSED}": True}, "closed"),
    Fault(Status.EXISTS_WITH_DIFFERENT_USER_DATA_128, {"stored": True, "user_data_128": OTHER}),
    Fault(Status.EXISTS_WITH_DIFFERENT_USER_DATA_64, {"stored": True, "user_data_64": OTHER}),
    Fault(Status.EXISTS_WITH_DIFFERENT_USER_DATA_32, {"stored": True, "user_data_32": OTHER}),
    Fault(Status.EXISTS_WITH_DIFFERENT_LEDGER, {"stored": True, "ledger": OTHER}),
    Fault(Status.EXISTS_WITH_DIFFERENT_CODE, {"stored": True, "code": OTHER}),
    Fault(Status.EXISTS, {"stored": True, "equal": True}),
    Fault(Status.FLAGS_ARE_MUTUALLY_EXCLUSIVE, {"flag:2": True, "flag:4": True}),
    Fault(Status.DEBITS_PENDING_MUST_BE_ZERO, {"debits_pending": 1}),
    Fault(Status.DEBITS_PENDING_MUST_BE_ZERO, {"debits_pending": 2**128 - 1}, "beyond 64 bits"),
    Fault(Status.DEBITS_POSTED_MUST_BE_ZERO, {"debits_posted": 1}),
    Fault(Status.DEBITS_POSTED_MUST_BE_ZERO, {"debits_posted": 2**63}, "beyond 63 bits"),
    Fault(Status.CREDITS_PENDING_MUST_BE_ZERO, {"credits_pending": 1}),
    Fault(Status.CREDITS_PENDING_MUST_BE_ZERO, {"credits_pending": 2**64}, "beyond 64 bits"),
    Fault(Status.CREDITS_POSTED_MUST_BE_ZERO, {"credits_posted": 1}),
    Fault(Status.CREDITS_POSTED_MUST_BE_ZERO, {"credits_posted": 2**127}, "beyond 64 bits"),
    Fault(Status.LEDGER_MUST_NOT_BE_ZERO, {"ledger": 0}),
    Fault(Status.CODE_MUST_NOT_BE_ZERO, {"code": 0}),
    Fault(
        Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS, {"imported": True, "timestamp": PAST}, "too early"
    ),
    Fault(
        Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS,
        {"imported": True, "timestamp": "a transfer's"},
        "a transfer has it",
    ),
]

CONTRADICTIONS = Contradictions(
    pairs=[("equal", "flag:"), *(("equal", name) for name in COMPARED), ("stored", "id")],
    merges={frozenset({FAR, LATE}): FAR},
)

ARGUED = {
    (Status.LINKED_EVENT_FAILED, Status.LINKED_EVENT_CHAIN_OPEN): "the later one wins; a test of its own",
    (Status.IMPORTED_EVENT_EXPECTED, Status.IMPORTED_EVENT_NOT_EXPECTED): "an event is imported or not",
    (Status.IMPORTED_EVENT_NOT_EXPECTED, Status.TIMESTAMP_MUST_BE_ZERO): "an event is imported or not",
    (Status.TIMESTAMP_MUST_BE_ZERO, Status.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE): "imported or not",
    (Status.ID_MUST_NOT_BE_ZERO, Status.ID_MUST_NOT_BE_INT_MAX): "an id is one number",
    (Status.ID_MUST_NOT_BE_INT_MAX, Status.EXISTS_WITH_DIFFERENT_FLAGS): "such an id is never stored",
    (Status.EXISTS_WITH_DIFFERENT_CODE, Status.EXISTS): "equal or different",
    (Status.EXISTS, Status.FLAGS_ARE_MUTUALLY_EXCLUSIVE): "an account with both flags is never stored",
}
"""Neighbours in the table that no event can break together, and why."""


def expected(settings: Settings) -> CreateAccountStatus:
    """The status that must answer: the earliest of all that the settings break."""
    broken = {fault.status for fault in FAULTS if fault.settings.items() <= settings.items()}
    if settings.get("stored"):
        flags = any(name.startswith("flag:") for name in settings)
        differing = [f for f in COMPARED if (flags if f == "flags" else f in settings)]
        broken |= {CreateAccountStatus[f"EXISTS_WITH_DIFFERENT_{f.upper()}"] for f in differing}
    return min((Status(status) for status in broken), key=list(Status).index)


async def build(world: World, settings: Settings) -> list[Account]:
    """A request whose last event breaks what the settings say."""
    imported = bool(settings.get("imported"))
    base = Account(id=world.new_id(), ledger=1, code=1, flags=int(AccountFlags.IMPORTED) if imported else 0)
    stored_at = await _prepare(world, base, settings)
    event = replace(base, **{name: value for name, value in settings.items() if name in _FIELDS})
    event.flags |= sum(int(name[5:]) for name in settings if name.startswith("flag:"))
    if settings.get("timestamp") == "a transfer's":
        event.timestamp = stored_at
    elif "timestamp" not in settings and imported:
        event.timestamp = world.clock.now_ns() - SECOND
    # A companion that never leaves a trace says what the batch is, and breaks the chain.
    companion = Account()
    if settings.get("batch_imported", imported):
        companion.flags, companion.timestamp = int(AccountFlags.IMPORTED), PAST
    if settings.get("chain") == "broken":
        companion.flags |= AccountFlags.LINKED
    elif settings.get("chain") == "open":
        event.flags |= AccountFlags.LINKED
    return [companion, event]


async def _prepare(world: World, base: Account, settings: Settings) -> int:
    """Store what the event meets; the timestamp of a transfer that is newer than all accounts."""
    stored_at = 0
    await world.open("a b")
    if settings.get("timestamp") == "a transfer's":
        world.clock.advance(seconds=2)
        [result] = await world.ledger.create_transfers([world.event("a -> b 1")])
        stored_at = result.timestamp
    if settings.get("stored"):
        original = replace(base)
        if original.flags & AccountFlags.IMPORTED:
            world.clock.advance(seconds=10)
            # Older than the transfer whose timestamp the event will have.
            original.timestamp = (stored_at or world.clock.now_ns()) - SECOND
        [created] = await world.ledger.create_accounts([original])
        assert created.status is Status.CREATED
    world.clock.advance(seconds=10)
    return stored_at


_FIELDS = tuple(Account.__dataclass_fields__)
