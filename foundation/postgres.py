"""PostgreSQL as libpq and psycopg take it, for processes that need no SQLAlchemy.

Durability is not a setting: a server that has ``fsync``, ``full_page_writes`` or
``synchronous_commit`` off is refused at start, since it could forget an
acknowledged transfer. So is one that names synchronous standbys and does not
wait for their disks: a fail-over to one of them could forget it too.

A URL may name several servers, a primary and its standbys, as libpq has it:
``postgresql://user@/database?host=a,b`` or ``postgresql://user@a:1,b:2/database``.
Connections then go to the one that takes writes.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from foundation.errors import NUGPayError

NEVER_OFF = ("fsync", "full_page_writes", "synchronous_commit")
"""Server settings that must not be off where money is kept."""

DURABLE_SETTINGS = (*NEVER_OFF, "synchronous_standby_names")
"""Server settings that decide whether an acknowledged commit can be lost."""

WAITS_FOR_STANDBY = ("on", "remote_apply")
"""Values of ``synchronous_commit`` with which a commit is on a standby's disk when it is answered."""

_SEVERAL = re.compile(r"[^/?]*,|.*[?&]host=[^&]*(?:,|%2c)", re.DOTALL | re.IGNORECASE)
"""How the rest of a URL begins that names several servers."""

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
    """Raise ``DurabilityRefused`` when these ``DURABLE_SETTINGS`` could forget a commit."""
    for setting in NEVER_OFF:
        value = values[setting]
        # Without standbys "local" and "remote_write" flush our own disk like "on" does;
        # only "off" answers before anything is durable.
        if value == "off":
            raise DurabilityRefused(setting, value)
    value = values["synchronous_commit"]
    if values["synchronous_standby_names"] and value not in WAITS_FOR_STANDBY:
        raise DurabilityRefused("synchronous_commit", f"{value} though it has synchronous standbys")


def sync_url(url: str) -> str:
    """The URL as libpq and psycopg take it; ``ValueError`` when it is none."""
    match = _URL.fullmatch(url)
    if match is None:
        # The text is not shown: it may hold a password.
        raise ValueError("the database's URL does not begin like postgresql://")
    username, password, rest = match.group("username", "password", "rest")
    if _SEVERAL.match(rest) and "target_session_attrs=" not in rest:
        # A standby would let itself be connected to, and then refuse the first write.
        rest += ("&" if "?" in rest else "?") + "target_session_attrs=read-write"
    if username is None:
        return f"postgresql://{rest}"
    # libpq ends a password at a "/", so every sign that it could take for its own is written as %XX.
    user = _quoted(username) if password is None else f"{_quoted(username)}:{_quoted(password)}"
    return f"postgresql://{user}@{rest}"


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="+")
