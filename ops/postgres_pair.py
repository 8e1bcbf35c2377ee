"""A pair: two homes whose servers are a primary and its standby.

Each home says in ``postgres/pair.json`` which part its server has and where the
other is. The file is the fence of a fail-over: a home that says ``replaced`` is
never started again as it is, since its server would take writes that the new
primary does not know.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import msgspec

PAIR_FILE = "pair.json"


class Part(StrEnum):
    """What a home's server is in its pair."""

    PRIMARY = "primary"
    """It takes writes."""
    STANDBY = "standby"
    """It follows the primary."""
    REPLACED = "replaced"
    """Its standby has taken over; what it holds is out of date."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A home's part, and the other home."""

    part: Part
    peer: Path
    is_complete: bool = False
    """Of a standby: whether every acknowledged commit is on its disk, so that it may take over."""


def read_pair(home: Path) -> Pair | None:
    """What a home says; None when it is alone."""
    try:
        text = _file(home).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return msgspec.json.decode(text, type=Pair, dec_hook=lambda _, value: Path(value))


def write_pair(home: Path, pair: Pair) -> None:
    """Say it, durably: when this returns, a power cut does not take it back."""
    file = _file(home)
    part = file.with_suffix(".part")
    with part.open("wb") as out:
        out.write(msgspec.json.encode(pair, enc_hook=str))
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def forget_pair(home: Path) -> None:
    """Be alone again."""
    _file(home).unlink(missing_ok=True)


def serving_home(home: Path) -> Path:
    """The home whose server takes the writes of ``home``: itself, or the other one of its pair."""
    pair = read_pair(home)
    return home if pair is None or pair.part is Part.PRIMARY else pair.peer


def standby_home(primary: Path) -> Path | None:
    """The home of a primary's standby; None when it has none."""
    pair = read_pair(primary)
    if pair is None or pair.part is not Part.PRIMARY:
        return None
    peers = read_pair(pair.peer)
    return pair.peer if peers is not None and peers.part is Part.STANDBY else None


def _file(home: Path) -> Path:
    return home / "postgres" / PAIR_FILE
