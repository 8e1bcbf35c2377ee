"""CBOR, the one encoding of each value that RFC 8949 calls deterministic, and nothing beside it.

Integers, byte and text strings, arrays, maps, tags, true, false and null; no floats, since
nothing here is counted in them. What is read must be written exactly as ``encode`` would
have written it (section 4.2.1: shortest forms, definite lengths, keys in order and once),
so that two readers cannot take the same bytes for different things, and a signature over
bytes is one over their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from foundation.errors import NUGPayError

DEPTH_MAX: Final = 16
"""How deep arrays, maps and tags may stand in one another."""

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)

_SIMPLE_VALUES: Final = {20: False, 21: True, 22: None}

_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
"""Bytes of an argument, by what the first byte says."""


class CBORMalformed(NUGPayError):
    """The bytes are not the deterministic encoding of one value."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value and the number that says what it is."""

    number: int
    value: Any


def encode(value: Any) -> bytes:
    """The encoding; ``TypeError`` for what has none here, floats among it.

    ``OverflowError`` for an integer beyond 64 bits.
    """
    match value:
        case bool() | None:
            return bytes([_SIMPLE << 5 | {False: 20, True: 21, None: 22}[value]])
        case int():
            return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case bytes():
            return _head(_BYTES, len(value)) + value
        case str():
            text = value.encode()
            return _head(_TEXT, len(text)) + text
        case Tagged():
            return _head(_TAG, value.number) + encode(value.value)
        case Mapping():
            pairs = sorted((encode(key), encode(each)) for key, each in value.items())
            return _head(_MAP, len(pairs)) + b"".join(key + each for key, each in pairs)
        case Sequence():
            return _head(_ARRAY, len(value)) + b"".join(encode(each) for each in value)
        case _:
            raise TypeError(f"{type(value).__name__} has no encoding")


def decode(data: bytes) -> Any:
    """The one value that the bytes are; raises ``CBORMalformed`` for anything else."""
    value, end = _read(data, 0, DEPTH_MAX)
    if end != len(data):
        raise CBORMalformed("There are bytes after the value.")
    return value


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, width in _WIDTHS.items():
        if argument < 1 << 8 * width:
            return bytes([major << 5 | info]) + argument.to_bytes(width, "big")
    raise OverflowError("an integer of CBOR has at most 64 bits")


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth == 0:
        raise CBORMalformed("Arrays and maps stand too deep in one another.")
    if at >= len(data):
        raise CBORMalformed("The bytes end too soon.")
    major, info = data[at] >> 5, data[at] & 31
    if major == _SIMPLE:
        if info not in _SIMPLE_VALUES:
            raise CBORMalformed("Only true, false and null are simple values here.")
        return _SIMPLE_VALUES[info], at + 1
    argument, at = _argument(data, at + 1, info)
    match major:
        case 0:
            return argument, at
        case 1:
            return -1 - argument, at
        case 2 | 3:
            raw = _slice(data, at, argument)
            return raw if major == _BYTES else _text(raw), at + argument
        case 4:
            items = []
            for _ in range(argument):
                item, at = _read(data, at, depth - 1)
                items.append(item)
            return items, at
        case 5:
            return _read_map(data, at, argument, depth - 1)
        case _:
            value, at = _read(data, at, depth - 1)
            return Tagged(argument, value), at


def _read_map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[Any, Any], int]:
    found: dict[Any, Any] = {}
    before = b""
    for _ in range(count):
        key, end = _read(data, at, depth)
        written = data[at:end]
        # In order and different: no key stands twice, and no order is another's.
        if written <= before:
            raise CBORMalformed("The keys of a map stand in their order, each once.")
        if not isinstance(key, int | str | bytes) or isinstance(key, bool):
            raise CBORMalformed("A key is an integer, a text or bytes.")
        found[key], at = _read(data, end, depth)
        before = written
    return found, at


def _argument(data: bytes, at: int, info: int) -> tuple[int, int]:
    if info < 24:
        return info, at
    if info not in _WIDTHS:
        raise CBORMalformed("Lengths are said before what they are the lengths of.")
    width = _WIDTHS[info]
    argument = int.from_bytes(_slice(data, at, width), "big")
    if argument < (24 if width == 1 else 1 << 4 * width):
        raise CBORMalformed("A number is not in its shortest form.")
    return argument, at + width


def _slice(data: bytes, at: int, length: int) -> bytes:
    if length > len(data) - at:
        raise CBORMalformed("The bytes end too soon.")
    return data[at : at + length]


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise CBORMalformed("A text is not UTF-8.") from None
