"""Situations: what must have happened before, so that a transfer breaks the rules it should."""

from dataclasses import dataclass, replace
from typing import Any

from ledger.contract import Account, AccountFlags, CreateTransferStatus, Transfer, TransferFlags
from tests.ledger.faults import Settings
from tests.ledger.transfer_faults import AMOUNT, BEFORE_THE_YOUNG, ELSEWHERE, FAILED, FILLS, OWN, PAST
from tests.ledger.world import World

SECOND = 10**9
FAR_CLOCK_NS = 5 * 10**18
"""A time (in the year 2128) from which the longest timeout does not fit 63 bits."""

LIMITS = {
    "debit": int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS),
    "credit": int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS),
}
_FIELDS = tuple(Transfer.__dataclass_fields__)


@dataclass
class Moments:
    """Timestamps that an imported event may have."""

    before_the_young: int
    an_accounts: int
    valid: int


async def build(world: World, settings: Settings) -> list[Transfer]:
    """A request whose last event breaks what the settings say."""
    if settings.get("clock") == "far":
        world.clock.set_ns(max(FAR_CLOCK_NS, world.clock.now_ns()))
    traits = {side: {n.partition(":")[2] for n in settings if n.startswith(f"{side}:")} for side in LIMITS}
    for side in LIMITS:
        if "young" not in traits[side]:
            await _open_account(world, side, traits[side])
    await world.open("other helper")
    # Something is stored in any case, so that an imported timestamp can be too early.
    await world.request("other -> helper 1 | created")
    base = Transfer(id=world.new_id(), amount=AMOUNT, ledger=1, code=1, flags=_base_flags(settings))
    if not settings.get("ordinary", True):
        await _make_pending(world, base, settings.get("pending_is", "pending"))
    for side in LIMITS:
        if "closed" in traits[side] and "young" not in traits[side]:
            await _close_account(world, side, traits[side])
    moments = await _pass_time(world, traits)
    base.debit_account_id, base.credit_account_id = world.accounts["debit"], world.accounts["credit"]
    if settings.get("imported"):
        base.timestamp = moments.valid
    if settings.get("stored"):
        [status] = await world.statuses(replace(base))
        assert status is CreateTransferStatus.CREATED, status
    if settings.get("id") == FAILED:
        failing = Transfer(base.id, 77, base.credit_account_id, amount=1, ledger=1, code=1)
        [status] = await world.statuses(failing)
        assert status is CreateTransferStatus.DEBIT_ACCOUNT_NOT_FOUND
    return _surround(_change(world, base, settings, moments), settings)


def _base_flags(settings: Settings) -> int:
    flags = 0
    if settings.get("imported"):
        flags |= TransferFlags.IMPORTED
    if not settings.get("ordinary", True):
        void = settings.get("void")
        return flags | (TransferFlags.VOID_PENDING_TRANSFER if void else TransferFlags.POST_PENDING_TRANSFER)
    return flags | (TransferFlags.PENDING if settings.get("pending") else 0)


async def _open_account(world: World, side: str, traits: set[str], *, closed: bool = False) -> None:
    ledger = 2 if "elsewhere" in traits else 1
    flags = (LIMITS[side] if "limited" in traits else 0) | (AccountFlags.CLOSED if closed else 0)
    await world.open(side, ledger=ledger, flags=int(flags))
    fills = {trait: amount for trait, amount in FILLS.items() if trait in traits}
    if fills and "limited" in traits:
        # A limit is tested at its edge: everything that the account has is used.
        await _move(world, side, sum(fills.values()), ledger=ledger, against=True)
    for trait, amount in fills.items():
        flags = TransferFlags.PENDING if trait.startswith("pending") else 0
        await _move(world, side, amount, ledger=ledger, flags=int(flags))


async def _close_account(world: World, side: str, traits: set[str]) -> None:
    closing = TransferFlags.CLOSING_DEBIT if side == "debit" else TransferFlags.CLOSING_CREDIT
    ledger = 2 if "elsewhere" in traits else 1
    await _move(world, side, 0, ledger=ledger, flags=int(closing | TransferFlags.PENDING))


async def _move(
    world: World, side: str, amount: int, *, ledger: int, flags: int = 0, against: bool = False
) -> None:
    """Use the account on its own side (or on the other one), against a fresh account."""
    await world.open("helper", ledger=ledger)
    names = (side, "helper") if (side == "debit") != against else ("helper", side)
    debit, credit = (world.accounts[name] for name in names)
    transfer = Transfer(world.new_id(), debit, credit, amount, ledger=ledger, code=1, flags=flags)
    [status] = await world.statuses(transfer)
    assert status is CreateTransferStatus.CREATED, status


async def _make_pending(world: World, base: Transfer, pending_is: str) -> None:
    """What the event will post or void, and what has become of it."""
    words = {"single phase": "", "expired": "pending timeout=1"}.get(pending_is, "pending")
    await world.request(f"P: debit -> credit {AMOUNT} {words} | created")
    base.pending_id = world.transfers["P"]
    if pending_is in {"posted", "voided"}:
        word = {"posted": "post", "voided": "void"}[pending_is]
        await world.request(f"- -> - {AMOUNT} {word} of=P | created")
    if pending_is == "expired":
        world.clock.advance(seconds=2)


async def _pass_time(world: World, traits: dict[str, set[str]]) -> Moments:
    world.clock.advance(seconds=10)
    before_the_young = world.clock.now_ns() - 5 * SECOND
    for side in LIMITS:
        if "young" in traits[side]:
            # A closing transfer would be newer than the imported one: closed from the start.
            await _open_account(world, side, traits[side], closed="closed" in traits[side])
    bystander = Account(id=world.new_id(), ledger=1, code=1)
    [result] = await world.ledger.create_accounts([bystander])
    world.clock.advance(seconds=10)
    return Moments(before_the_young, result.timestamp, world.clock.now_ns() - SECOND)


def _change(world: World, base: Transfer, settings: Settings, moments: Moments) -> Transfer:
    """The event: the base with what the settings say."""
    special: dict[str, Any] = {
        ELSEWHERE: world.accounts["other"],
        OWN: base.id,
        FAILED: base.id,
        BEFORE_THE_YOUNG: moments.before_the_young,
        "an account's": moments.an_accounts,
    }
    changes: dict[str, Any] = {
        name: special.get(value, value) for name, value in settings.items() if name in _FIELDS
    }
    event = replace(base, **changes)
    event.flags |= sum(
        int(name[5:]) for name in settings if name.startswith("flag:") and not base.flags & int(name[5:])
    )
    return event


def _surround(event: Transfer, settings: Settings) -> list[Transfer]:
    """Put a companion before the event that never leaves a trace: it says what the batch is."""
    imported = bool(event.flags & TransferFlags.IMPORTED)
    companion = Transfer()
    if settings.get("batch_imported", imported):
        companion.flags, companion.timestamp = int(TransferFlags.IMPORTED), PAST
    if settings.get("chain") == "broken":
        companion.flags |= TransferFlags.LINKED
    elif settings.get("chain") == "open":
        event.flags |= TransferFlags.LINKED
    return [companion, event]
