"""PostgreSQL as libpq and psycopg take it, for processes that need no SQLAlchemy.

Durability is not a setting: a server that has ``fsync``, ``full_page_writes`` or
``synchronous_commit`` off is refused at start, since it could forget an
acknowledged transfer.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from foundation.errors import NUGPayError

DURABLE_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")
"""Server settings that must not be off where money is kept."""

_URL = re.compile(
    r"[\w+]+://(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?(?P<rest>.*)", re.DOTALL | re.ASCII
)


class DurabilityRefused(NUGPayError):
    """The server may lose acknowledged commits; carries the setting's name."""

    def __init__(self, setting: str, value: str) -> None:
        super().__init__(
            f"PostgreSQL has {setting} = {value}: an acknowledged transfer could be lost. "
            f"Set it on and restart."
        )
        self.setting: Final = setting
        self.value: Final = value


def refuse_weak_durability(values: dict[str, str]) -> None:
    """Raise ``DurabilityRefused`` when one of ``DURABLE_SETTINGS`` is off."""
    for setting in DURABLE_SETTINGS:
        value = values[setting]
        # "local" and "remote_write" still flush our own disk or a standby's
        # memory; only "off" answers before anything is durable.
        if value == "off":
            raise DurabilityRefused(setting, value)


def sync_url(url: str) -> str:
    """The URL as libpq and psycopg take it; ``ValueError`` when it is none."""
    match = _URL.fullmatch(url)
    if match is None:
        # The text is not shown: it may hold a password.
        raise ValueError("the database's URL does not begin like postgresql://")
    username, password, rest = match.group("username", "password", "rest")
    if username is None:
        return f"postgresql://{rest}"
    # libpq ends a password at a "/", so every sign that it could take for its own is written as %XX.
    user = _quoted(username) if password is None else f"{_quoted(username)}:{_quoted(password)}"
    return f"postgresql://{user}@{rest}"


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="+")
