"""Plain queries: the answers to everything that can be asked, from the plain ledger.

Its lists are looked through, one item after the other; nothing points back, nothing
is merged, and no place is remembered. Answers are tuples of the contract's numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

from ledger.contract import AccountFilter, QueryFilter
from ledger.queries.questions import AccountCriteria, TransferCriteria
from tests.simulation.plain_ledger import CREDIT_CLOSED, DEBIT_CLOSED, Event, PlainAccount, PlainLedger, Row
from tests.simulation.plain_refusals import CLOSED, HISTORY, PENDING, POST, SECOND, TOP, VOID

STATUSES = ("none", "pending", "posted", "voided", "expired")
"""What a transfer may have become, by the contract's numbers."""
DATA = ("user_data_128", "user_data_64", "user_data_32")
COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")

Change = tuple[int, Row, int]
"""Timestamp, row, and the contract's number of its kind."""
Place = tuple[int, int, int]
"""In the order of the books: transfers before it, then 0 and an expiry's number, or 1 for a transfer."""
Standing = tuple[Place, int, Row, bool | None]
"""Last change, its timestamp, counters after it, and whether closed; None for as created."""


def first_of(row: Sequence[int]) -> int:
    """Its timestamp."""
    return row[0]


def between(rows: Sequence[Row], low: int, high: int) -> range:
    """Numbers of the rows of a time; 0 means open."""
    return range(bisect_left(rows, low, key=first_of), bisect_right(rows, high or TOP, key=first_of))


def transfers(ledger: PlainLedger, low: int, high: int, *, newest_first: bool = False) -> Iterator[Event]:
    """All transfers of a time, in order."""
    for number in between(ledger.rows, low, high)[:: -1 if newest_first else 1]:
        yield ledger.transfers[ledger.rows[number][13]]


def is_meant(ledger: PlainLedger, e: Event, one: TransferCriteria) -> bool:
    """Whether an alternative holds for a transfer."""
    return (
        (not one.account_ids or e[1] in one.account_ids or e[2] in one.account_ids)
        and (not one.debit_account_ids or e[1] in one.debit_account_ids)
        and (not one.credit_account_ids or e[2] in one.credit_account_ids)
        and one.amount_min <= e[3] <= (TOP if one.amount_max is None else one.amount_max)
        and _has(e[9], one.ledgers)
        and _has(e[10], one.codes)
        and _has_data(e, one)
        and _has_flags(e[11], one)
        and _has(STATUSES.index(ledger.fates.get(e[0], "none")), one.pending_status)
    )


def searched(
    ledger: PlainLedger, any_of: Sequence[TransferCriteria], low: int, high: int, *, newest_first: bool
) -> Iterator[Event]:
    """The transfers of a time that an alternative holds for, in order."""
    for e in transfers(ledger, low, high, newest_first=newest_first):
        if not any_of or any(is_meant(ledger, e, one) for one in any_of):
            yield e


def queried(ledger: PlainLedger, asked: QueryFilter) -> list[Event]:
    """The transfers that the contract's filter asks for."""
    in_order = transfers(ledger, asked.timestamp_min, asked.timestamp_max, newest_first=bool(asked.flags))
    found = (e for e in in_order if asked.ledger in (0, e[9]) and _matches(e, asked))
    return list(islice(found, asked.limit))


def queried_accounts(ledger: PlainLedger, asked: QueryFilter) -> list[Event]:
    """The accounts that the contract's filter asks for."""
    found = [
        a.record()
        for a in ledger.slots
        if asked.timestamp_min <= a.timestamp <= (asked.timestamp_max or TOP)
        and asked.ledger in (0, a.ledger)
        and _matches(a.record(), asked)
    ]
    return found[:: -1 if asked.flags else 1][: asked.limit]


def searched_accounts(
    ledger: PlainLedger, any_of: Sequence[AccountCriteria], low: int, high: int
) -> list[Event]:
    """The accounts created in a time that an alternative holds for, in order of creation."""
    return [
        a.record()
        for a in ledger.slots
        if low <= a.timestamp <= (high or TOP)
        and (not any_of or any(is_account_meant(a.record(), one) for one in any_of))
    ]


def is_account_meant(record: Event, one: AccountCriteria) -> bool:
    """Whether an alternative holds for an account."""
    return (
        _has(record[9], one.ledgers)
        and _has(record[10], one.codes)
        and _has_data(record, one)
        and _has_flags(record[11], one)
        and _lies(record[4] - record[2], one.balance_min, one.balance_max)
        and all(
            _lies(value, getattr(one, f"{name}_min"), getattr(one, f"{name}_max"))
            for name, value in zip(COUNTERS, record[1:5], strict=True)
        )
    )


def history(ledger: PlainLedger, asked: AccountFilter) -> list[tuple[Event, Row]]:
    """An account's transfers that the contract's filter asks for, and its counters after each."""
    account = ledger.accounts.get(asked.account_id)
    if account is None:
        return []
    sides = [side for side, bit in ((8, 1), (9, 2)) if asked.flags & bit]
    lines: list[tuple[Event, Row]] = []
    numbers = _postings(ledger, account.slot, asked.timestamp_min, asked.timestamp_max or TOP)
    for number in numbers[:: -1 if asked.flags & 4 else 1]:
        row = ledger.rows[number]
        e = ledger.transfers[row[13]]
        if any(row[side] == account.slot for side in sides) and _matches(e, asked):
            lines.append((e, (*side_of(row, account.slot), row[0])))
            if len(lines) == asked.limit:
                break
    return lines


def balances(ledger: PlainLedger, asked: AccountFilter) -> list[Row]:
    """Counters after each of those transfers, for accounts that keep them."""
    account = ledger.accounts.get(asked.account_id)
    if account is None or not account.flags & HISTORY:
        return []
    return [balance for _, balance in history(ledger, asked)]


def standings(ledger: PlainLedger, slots: Collection[int], timestamp: int) -> dict[int, Standing]:
    """How accounts stood at a time; without those that nothing had moved."""
    moved: dict[int, Standing] = {}
    for slot in slots:
        past = _postings(ledger, slot, 0, timestamp)
        if past:
            row = ledger.rows[past[-1]]
            closed = DEBIT_CLOSED if row[8] == slot else CREDIT_CLOSED
            moved[slot] = (past[-1], 1, 0), row[0], side_of(row, slot), bool(row[12] & closed)
    missing = set(slots)
    for number in reversed(range(bisect_right(ledger.expiry_rows, timestamp, key=first_of))):
        row, place = ledger.expiry_rows[number], (ledger.rows_before_expiry[number], 0, number)
        for slot in missing.intersection(row[10:12]):
            missing.remove(slot)
            if slot not in moved or place > moved[slot][0]:
                moved[slot] = place, row[0], *released_side(row, slot)
        if not missing:
            break
    return moved


def accounts_as_of(ledger: PlainLedger, accounts: Sequence[PlainAccount], timestamp: int) -> list[Event]:
    """Accounts as they stood at a time; without those that were created later."""
    there = [account for account in accounts if account.timestamp <= timestamp]
    found = standings(ledger, [account.slot for account in there], timestamp)
    untouched: Standing = (-1, 1, 0), 0, (0, 0, 0, 0), None
    return [_shown(account, *found.get(account.slot, untouched)[2:]) for account in there]


def statement(
    ledger: PlainLedger, slot: int, low: int, high: int
) -> tuple[Row, Row, list[tuple[int, int, Event, Row, Row]]]:
    """Opening and closing balance, and the lines between: kind, timestamp, transfer, change, balance."""
    opening, closing = (standings(ledger, (slot,), at).get(slot) for at in (low - 1, high or TOP))
    after = opening[0] if opening else (-1, 1, 0)
    lines: list[tuple[Place, int, Event, Row]] = []
    for number in _postings(ledger, slot, low, high or TOP):
        if (number, 1, 0) > after:
            row = ledger.rows[number]
            e = ledger.transfers[row[13]]
            lines.append(((number, 1, 0), kind_of(e), e, (*side_of(row, slot), row[0])))
    for number in between(ledger.expiry_rows, low, high):
        row = ledger.expiry_rows[number]
        place = ledger.rows_before_expiry[number], 0, number
        if slot in (row[10], row[11]) and place > after:
            lines.append((place, 4, _pending_at(ledger, row[1]), (*released_side(row, slot)[0], row[0])))
    lines.sort(key=lambda line: line[0])
    before: Row = opening[2] if opening else (0, 0, 0, 0)
    told = []
    for _, kind, e, balance in lines:
        change = tuple(new - old for new, old in zip(balance, before, strict=False))
        told.append((kind, balance[4], e, change, balance))
        before = balance[:4]
    return _balance(opening), _balance(closing), told


def changes(ledger: PlainLedger, rows: Sequence[Row], expiries: Sequence[Row], limit: int) -> list[Any]:
    """The first changes of these in order of timestamp, as tuples of a change event's fields."""
    made: list[Change] = [(row[0], row, kind_of(ledger.transfers[row[13]])) for row in rows[:limit]]
    made += [(row[0], row, 4) for row in expiries[:limit]]
    # Of one instant, a transfer comes first.
    made.sort(key=lambda change: (change[0], change[2] == 4))
    return [_told(ledger, *change) for change in made[:limit]]


def _told(ledger: PlainLedger, timestamp: int, row: Row, kind: int) -> tuple[Any, ...]:
    if kind == 4:
        e, slots, side = _pending_at(ledger, row[1]), row[10:12], released_side
    else:
        e, slots = ledger.transfers[row[13]], row[8:10]

        def side(row: Row, slot: int) -> tuple[Row, bool]:
            closed = DEBIT_CLOSED if row[8] == slot else CREDIT_CLOSED
            return side_of(row, slot), bool(row[12] & closed)

    accounts = (_shown(ledger.slots[slot], *side(row, slot)) for slot in slots)
    return kind, timestamp, e, *accounts


def pending_state(ledger: PlainLedger, e: Event) -> tuple[int, ...]:
    """Id, timestamp, status, end, who resolved it, when, and how much was posted."""
    fate = ledger.fates.get(e[0], "none")
    status = STATUSES.index(fate)
    if fate == "none":
        return e[0], e[12], status, 0, 0, 0, 0
    ends = e[12] + e[8] * SECOND if e[8] else 0
    if fate == "pending":
        return e[0], e[12], status, ends, 0, 0, 0
    if fate == "expired":
        (at,) = (row[0] for row in ledger.expiry_rows if row[1] == e[12])
        return e[0], e[12], status, ends, 0, at, 0
    (by,) = (other for other in transfers(ledger, e[12], 0) if other[4] == e[0])
    return e[0], e[12], status, ends, by[0], by[12], by[3] if by[11] & POST else 0


def kind_of(e: Event) -> int:
    """The contract's number of a transfer's kind of change."""
    return 1 if e[11] & PENDING else 2 if e[11] & POST else 3 if e[11] & VOID else 0


def side_of(row: Row, slot: int) -> Row:
    """Counters of one of a row's accounts after it."""
    return (row[14], row[4], row[15], row[5]) if row[8] == slot else (row[16], row[6], row[17], row[7])


def released_side(row: Row, slot: int) -> tuple[Row, bool]:
    """Counters of one of an expiry's accounts after it, and whether it is closed."""
    if row[10] == slot:
        return row[2:6], bool(row[12] & DEBIT_CLOSED)
    return row[6:10], bool(row[12] & CREDIT_CLOSED)


def _postings(ledger: PlainLedger, slot: int, low: int, high: int) -> list[int]:
    """Numbers of an account's rows of a time."""
    numbers = ledger.postings[slot]

    def timestamp_of(number: int) -> int:
        return ledger.rows[number][0]

    return numbers[
        bisect_left(numbers, low, key=timestamp_of) : bisect_right(numbers, high, key=timestamp_of)
    ]


def _shown(account: PlainAccount, counters: Row, closed: bool | None) -> Event:
    flags = account.created_flags
    if closed is not None:
        flags = flags | CLOSED if closed else flags & ~CLOSED
    return (
        account.id, *counters, *account.user_data, 0, account.ledger, account.code, flags, account.timestamp
    )  # fmt: skip


def _balance(last: Standing | None) -> Row:
    return (*last[2], last[1]) if last else (0, 0, 0, 0, 0)


def _pending_at(ledger: PlainLedger, timestamp: int) -> Event:
    (number,) = between(ledger.rows, timestamp, timestamp)
    return ledger.transfers[ledger.rows[number][13]]


def _matches(record: Event, asked: AccountFilter | QueryFilter) -> bool:
    """User data and code of a transfer or an account, which have the same places."""
    data = asked.user_data_128, asked.user_data_64, asked.user_data_32
    wanted = zip((*data, asked.code), (*record[5:8], record[10]), strict=True)
    return all(value in (0, own) for value, own in wanted)


def _has(value: int, among: Sequence[int]) -> bool:
    return not among or value in among


def _has_data(record: Event, one: TransferCriteria | AccountCriteria) -> bool:
    asked = one.user_data_128, one.user_data_64, one.user_data_32
    return all(_has(value, among) for value, among in zip(record[5:8], asked, strict=True))


def _has_flags(flags: int, one: TransferCriteria | AccountCriteria) -> bool:
    return (
        flags & one.flags_all == one.flags_all
        and (not one.flags_any or bool(flags & one.flags_any))
        and not flags & one.flags_none
    )


def _lies(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)
