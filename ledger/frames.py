"""Frames: how the ledger's own client and its process talk, many questions on one connection.

A request in HTTP costs as much as dozens of the transfers in it. Who opens a
connection with ``PREFACE`` speaks frames on it instead, which no HTTP request can
begin with. A frame, little-endian:

    size u32    of what follows the head
    number u32  of the question; its answer has the same, and answers come in any order
    status u16  of an answer, as in HTTP; 0 in a question
    content

The content of a question begins with its form, and continues with names and numbers
of the lengths that it tells:

    flags u8    1: the question is JSON; 2: the answer is to be packed
    name u8     length of the operation's name
    batches u16 how many callers' batches it carries, 0 for one that nobody divided
    the name, then the size of each batch as u16, then the body

The bodies are those of the HTTP interface, refusals included (RFC 9457).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.contract import InvalidRequest
from ledger.operations import JSON, PACKED

PREFACE: Final = b"\x00nugpay-ledger/1"
"""First bytes of a connection that speaks frames."""

CONTENT_BYTES_MAX: Final = 16 * 1024 * 1024 + 32 * 1024
"""Largest content of a question: the largest body, and room for what stands before it."""

_HEAD: Final = struct.Struct("<IIH")
_FORM: Final = struct.Struct("<BBH")
_IS_JSON: Final = 1
_WANTS_PACKED: Final = 2

Frame = tuple[int, int, bytes]
"""Number, status, content."""


class FrameTooLarge(InvalidRequest):
    """The head of a frame announces more than anybody may send."""

    def __init__(self, number: int) -> None:
        super().__init__(f"a request has at most {CONTENT_BYTES_MAX} bytes")
        self.number = number


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the ledger, whichever way it travels."""

    operation: str
    body: bytes
    kind: str = PACKED
    """``PACKED`` or ``JSON``."""
    wants_packed: bool = False
    """Whether the answer to a question in JSON is to be packed, where it has a packed form."""
    batches: Sequence[int] | None = None
    """Sizes of the batches that it carries; None for one that nobody divided."""


def pack_question(number: int, question: Question) -> bytes:
    """A question as a frame."""
    name = question.operation.encode()
    batches = question.batches or ()
    flags = (_IS_JSON if question.kind == JSON else 0) | (_WANTS_PACKED if question.wants_packed else 0)
    form = _FORM.pack(flags, len(name), len(batches)) + name + struct.pack(f"<{len(batches)}H", *batches)
    return _HEAD.pack(len(form) + len(question.body), number, 0) + form + question.body


def unpack_question(content: bytes) -> Question:
    """The question of a frame's content. Raises ``InvalidRequest``."""
    try:
        flags, name_length, count = _FORM.unpack_from(content)
        name_end = _FORM.size + name_length
        batches = struct.unpack_from(f"<{count}H", content, name_end)
        name = content[_FORM.size : name_end].decode("ascii")
    except (struct.error, UnicodeDecodeError):
        raise InvalidRequest("the frame is shorter than it says, or names no operation") from None
    return Question(
        name,
        content[name_end + 2 * count :],
        JSON if flags & _IS_JSON else PACKED,
        bool(flags & _WANTS_PACKED),
        batches or None,
    )


def pack_answer(number: int, status: int, body: bytes) -> bytes:
    """An answer as a frame."""
    return _HEAD.pack(len(body), number, status) + body


class FrameReader:
    """Takes a stream's frames apart, however its pieces are cut."""

    __slots__ = ("_content_max", "_rest")

    def __init__(self, content_max: int = CONTENT_BYTES_MAX) -> None:
        self._content_max = content_max
        self._rest = bytearray()

    @property
    def begun(self) -> int | None:
        """Number of the frame whose head is there, and the rest of it not yet; None without a head."""
        return _HEAD.unpack_from(self._rest)[1] if len(self._rest) >= _HEAD.size else None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. Raises ``FrameTooLarge``; the stream is of no use after it."""
        source: bytes | bytearray = data
        if self._rest:
            self._rest += data
            source = self._rest
        at, end = 0, len(source)
        while end - at >= _HEAD.size:
            size, number, status = _HEAD.unpack_from(source, at)
            if size > self._content_max:
                raise FrameTooLarge(number)
            first, following = at + _HEAD.size, at + _HEAD.size + size
            if following > end:
                break
            with memoryview(source) as view:
                content = bytes(view[first:following])
            at = following
            yield number, status, content
        if source is data:
            self._rest += memoryview(data)[at:]
        else:
            del self._rest[:at]
