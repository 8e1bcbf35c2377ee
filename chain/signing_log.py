"""The signing log: every signature that the signer ever gave, in its own file.

Append-only lines of JSON, each with the SHA-256 of the line before it, so that a
line changed or taken out is noticed. A line is on disk (fsync) before its
signature leaves the process: what the signer may have given away is always in
its log, and its caps and nonces hold across any crash. The log is as precious as
the key; a signer that finds it damaged does not start.

One log a chain; two signers cannot have it open at once. Its keys follow one another:
a line of another kind says which key gave way to which, and what was signed before
counts against the caps of the next. Trips of the breaker that the signer has seen, and
their release, are lines too: what is taken out of the database afterwards is not
forgotten here.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import msgspec

from chain.breaker import BreakerTrip
from chain.models import OrderKind
from chain.orders import Order
from chain.signer_policy import HOUR_SECONDS
from foundation.clock import SECOND_NS
from foundation.errors import InvariantViolation, NUGPayError

BEGINNING: Final = "0" * 64
"""What stands for the hash of the line before the first."""

REMEMBERED_SECONDS: Final = 72 * HOUR_SECONDS
"""How long amounts are kept in memory: beyond the day, in case the clock is set back."""


class SigningLogError(NUGPayError):
    """The log is damaged, in use, or another key's; the signer does not start."""


class SigningLogInUse(SigningLogError):
    """A signer that lives has it open."""


class SignedMember(msgspec.Struct, frozen=True):
    """One of the orders that a batch's signature is for. Amount in token units."""

    order_id: UUID
    to_address: str
    amount: str
    salt: str | None = None
    officers: tuple[str, ...] = ()
    """Names of the officers whose approvals of it were verified, where that was needed."""


class SigningEntry(msgspec.Struct, frozen=True):
    """One signature, of a batch with all that it is for. Amount in token units, fees in wei a unit of gas."""

    at_ns: int
    order_id: UUID
    kind: str
    token: str
    to_address: str
    amount: str
    salt: str | None
    nonce: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    gas_limit: int
    tx_hash: str
    previous: str
    """SHA-256 of the line before, in hex."""
    from_address: str | None = None
    """Whose nonce it is; None in lines that are older than the first rotation."""
    raw: str = ""
    """The signed bytes in base64; empty in lines older than this field."""
    officers: tuple[str, ...] = ()
    """Names of the officers whose approvals were verified, where that was needed."""
    members: tuple[SignedMember, ...] = ()
    """Of a batch; in the one line, so that all of it is in the log or nothing."""


class RotationEntry(msgspec.Struct, frozen=True):
    """One key gave way to another."""

    at_ns: int
    kind: Literal["rotation"]
    from_address: str
    """The key that signs nothing any more."""
    to_address: str
    """The key that signs from here on."""
    previous: str


class TripEntry(msgspec.Struct, frozen=True):
    """The signer has seen that the breaker tripped; nothing that pays out is signed until its release."""

    at_ns: int
    kind: Literal["trip"]
    trip_id: UUID
    reason: str
    tripped_at: datetime
    previous: str


class ReleaseEntry(msgspec.Struct, frozen=True):
    """Two officers' signatures under a trip's release were verified."""

    at_ns: int
    kind: Literal["release"]
    trip_id: UUID
    officers: tuple[str, ...]
    """Their names."""
    previous: str


Entry = SigningEntry | RotationEntry | TripEntry | ReleaseEntry
"""A line of the log."""

_OTHER_KINDS: Final[dict[str, type[Entry]]] = {
    "rotation": RotationEntry,
    "trip": TripEntry,
    "release": ReleaseEntry,
}
"""Every other kind is an order's, and the line a signature."""


class _Kind(msgspec.Struct, frozen=True):
    kind: str


@dataclass(frozen=True, slots=True)
class _Line:
    """Where in the file a signature is, and its hash."""

    tx_hash: str
    offset: int
    length: int


@dataclass(slots=True)
class SignedOrder:
    """What was signed for one order: the first signature, and the fees of each."""

    first: SigningEntry
    from_address: str | None
    """The key that signed it; None if that is the first key of this log, not rotated yet."""
    lines: dict[tuple[int, int], _Line] = field(default_factory=dict)
    """By (max fee, tip)."""

    def is_of(self, order: Order) -> bool:
        """Whether the order still says what was signed, and each of its members, and there are no others."""
        first = self.first
        signed = [(one.order_id, one.to_address, int(one.amount), one.salt) for one in first.members]
        return (first.kind, first.token, first.to_address, int(first.amount), first.salt, signed) == (
            order.kind,
            order.token,
            order.to_address,
            order.amount,
            order.salt,
            [(one.id, one.to_address, one.amount, one.salt) for one in order.members],
        )


class SigningLog:
    """The log, open for appending, and what it says."""

    def __init__(self, path: Path) -> None:
        """Open the log, or begin it. Raises ``SigningLogError``."""
        self.path: Final = path
        self._previous = BEGINNING
        self._orders: dict[UUID, SignedOrder] = {}
        self._batch_of: dict[UUID, UUID] = {}
        self._order_of_nonce: dict[tuple[str | None, int], UUID] = {}
        self._recent: defaultdict[tuple[str, bool], deque[tuple[int, int]]] = defaultdict(deque)
        self._rotations: list[RotationEntry] = []
        self._trips: dict[UUID, BreakerTrip] = {}
        self._released: set[UUID] = set()
        self._fees: dict[UUID, tuple[int, int]] = {}
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._lock()
            self._read()
        except BaseException:
            self.close()
            raise
        _sync_directory(path.parent)

    def close(self) -> None:
        """Close the file; nothing is lost, since every line is on disk already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def signed(self, order_id: UUID) -> SignedOrder | None:
        """What was signed for an order, if anything; for a member of a batch that is the batch's."""
        return self._orders.get(order_id)

    def batch_of(self, order_id: UUID) -> UUID | None:
        """The batch in which an order was signed, if it was in one."""
        return self._batch_of.get(order_id)

    def signed_bytes(self, line: _Line) -> bytes:
        """The signed bytes of a line; empty where the line is older than their being kept."""
        return base64.b64decode(self.entry(line).raw)

    def entry(self, line: _Line) -> SigningEntry:
        """A line of a signature, whole, from the file."""
        return msgspec.json.decode(os.pread(self._descriptor, line.length, line.offset), type=SigningEntry)

    def order_of(self, address: str, nonce: int) -> UUID | None:
        """The order that a nonce of a key was signed for, if any."""
        return self._order_of_nonce.get((address, nonce)) or self._order_of_nonce.get((None, nonce))

    def nonce_max(self) -> int | None:
        """The highest nonce that was signed with the key of now; None if none was."""
        present = self._rotations[-1].to_address if self._rotations else None
        nonces = [
            nonce
            for address, nonce in self._order_of_nonce
            # Before the first rotation every line is the one key's, with its address or without.
            if present is None or address == present
        ]
        return max(nonces, default=None)

    @property
    def address(self) -> str | None:
        """The key that the last rotation names; None where there was none."""
        return self._rotations[-1].to_address if self._rotations else None

    def refuse_another_key(self, address: str) -> None:
        """Refuse a key that is not the one of now. Raises ``SigningLogError``.

        A key put in the other's place by hand would begin its nonces anew unnoticed.
        """
        signed = {one for one, _ in self._order_of_nonce if one is not None} - self.retired
        known = {self.address} if self.address is not None else signed
        if known and known != {address}:
            owners = ", ".join(sorted(known))
            raise SigningLogError(f"{self.path} is the log of {owners}, not of {address}: rotate by command")

    @property
    def retired(self) -> frozenset[str]:
        """Keys that gave way to others."""
        return frozenset(rotation.from_address for rotation in self._rotations)

    def spent(self, token: str, *, now_ns: int, seconds: int, to_cold: bool = False) -> int:
        """Units of a token signed away in the last ``seconds``, each order once.

        With ``to_cold`` those that were moved to the cold address, which count by themselves:
        they stay ours. What the clock says is in the future counts too: a clock set back
        frees nothing.
        """
        recent = self._recent[token, to_cold]
        while recent and recent[0][0] <= now_ns - REMEMBERED_SECONDS * SECOND_NS:
            recent.popleft()
        since = now_ns - seconds * SECOND_NS
        return sum(amount for at_ns, amount in recent if at_ns > since)

    @property
    def trips(self) -> tuple[BreakerTrip, ...]:
        """Trips of the breaker that were seen and are not released, the first seen first."""
        return tuple(self._trips.values())

    @property
    def known_trips(self) -> frozenset[UUID]:
        """Every trip that was ever seen."""
        return frozenset(self._trips) | frozenset(self._released)

    def spent_on_fees(self, *, now_ns: int, seconds: int, without: UUID) -> int:
        """Wei that what was signed in the last ``seconds`` may burn, ``without`` what one order may.

        An order counts with the most that any of its signatures allows, from its last one on.
        """
        since = now_ns - seconds * SECOND_NS
        return sum(wei for order, (at_ns, wei) in self._fees.items() if at_ns > since and order != without)

    def append(self, entry: Entry) -> None:
        """Write an entry and have it on disk before returning.

        Raises ``InvariantViolation`` if the disk does not take it: then the signature
        must not leave, and the process must end, since nobody knows what is on disk.
        """
        if entry.previous != self._previous:
            raise InvariantViolation("the entry does not follow the last line of the signing log")
        line = msgspec.json.encode(entry) + b"\n"
        offset = os.fstat(self._descriptor).st_size
        # If the process dies before fsync returns, the line may be there whole, in part
        # or not at all; the signature has not left, so each of the three is safe: whole,
        # it counts against the caps without having been used; in part, it is cut off at
        # the next start; absent, nothing happened.
        try:
            written = os.write(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            raise InvariantViolation(f"the signing log cannot be written: {error}") from error
        if written != len(line):
            raise InvariantViolation("the signing log took a part of a line")
        self._note(entry, line, offset)

    @property
    def previous(self) -> str:
        """What the next entry must carry as ``previous``."""
        return self._previous

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SigningLogInUse(f"another signer has {self.path} open") from error

    def _read(self) -> None:
        with self.path.open("rb") as file:
            content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            # A line without its end was being written when the process died: fsync had
            # not returned, so its signature never left and nothing depends on it.
            os.ftruncate(self._descriptor, whole)
            os.fsync(self._descriptor)
        offset = 0
        for number, line in enumerate(content[:whole].splitlines(keepends=True), start=1):
            try:
                entry = _decoded(line)
            except msgspec.DecodeError as error:
                raise SigningLogError(f"line {number} of {self.path} is damaged: {error}") from error
            if entry.previous != self._previous:
                raise SigningLogError(f"line {number} of {self.path} does not follow the line before it")
            self._note(entry, line, offset)
            offset += len(line)

    def _note(self, entry: Entry, line: bytes, offset: int) -> None:
        self._previous = hashlib.sha256(line).hexdigest()
        if isinstance(entry, SigningEntry):
            self._note_signature(entry, line, offset)
        elif isinstance(entry, RotationEntry):
            self._note_rotation(entry)
        elif isinstance(entry, TripEntry):
            self._trips[entry.trip_id] = BreakerTrip(entry.trip_id, entry.reason, entry.tripped_at)
        else:
            self._trips.pop(entry.trip_id, None)
            self._released.add(entry.trip_id)

    def _note_signature(self, entry: SigningEntry, line: bytes, offset: int) -> None:
        order = self._orders.get(entry.order_id)
        if order is None:
            # A replacement is the same payment with higher fees: only the first counts.
            # The bytes stay in the file: there may be millions of orders.
            first = msgspec.structs.replace(entry, raw="")
            order = self._orders[entry.order_id] = SignedOrder(first, entry.from_address)
            self._order_of_nonce[entry.from_address, entry.nonce] = entry.order_id
            self._batch_of.update((member.order_id, entry.order_id) for member in entry.members)
            to_cold = entry.kind == OrderKind.COLD_MOVE
            self._recent[entry.token, to_cold].append((entry.at_ns, int(entry.amount)))
        fees = (entry.max_fee_per_gas, entry.max_priority_fee_per_gas)
        order.lines[fees] = _Line(entry.tx_hash, offset, len(line))
        self._note_fees(entry)

    def _note_fees(self, entry: SigningEntry) -> None:
        # Taken out and put in again, so that the oldest stays first.
        _, most = self._fees.pop(entry.order_id, (0, 0))
        self._fees[entry.order_id] = (entry.at_ns, max(most, entry.gas_limit * entry.max_fee_per_gas))
        while True:
            oldest = next(iter(self._fees))
            if self._fees[oldest][0] > entry.at_ns - REMEMBERED_SECONDS * SECOND_NS:
                return
            del self._fees[oldest]

    def _note_rotation(self, rotation: RotationEntry) -> None:
        self._rotations.append(rotation)
        # Lines that name no key are those of the first one, whose name is known now:
        # their nonces are its own, and free again for the next.
        for order in self._orders.values():
            order.from_address = order.from_address or rotation.from_address
        self._order_of_nonce = {
            (address or rotation.from_address, nonce): order_id
            for (address, nonce), order_id in self._order_of_nonce.items()
        }


def _decoded(line: bytes) -> Entry:
    kind: type[Entry] = _OTHER_KINDS.get(msgspec.json.decode(line, type=_Kind).kind, SigningEntry)
    return msgspec.json.decode(line, type=kind)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        os.fsync(descriptor)
