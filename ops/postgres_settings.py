"""How the embedded PostgreSQL is set up: tuned for the journal, closed to the rest.

The files are ours and written at every start. What an operator changes goes to
``operator.conf`` in the data directory, which is read last; durability is
checked afterwards on the running server, so that no file can talk it away.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

SUPERUSER = "postgres"
"""Role that owns the cluster; used to make the application's role and database, then left alone."""

ROLE = "nugpay"
"""Role of the application: owns its database, may make others (tests do), is no superuser."""

STANDBY = "nugpay_standby"
"""Role by which a standby fetches the journal, and the name by which commits wait for it."""

OPERATOR_FILE = "operator.conf"
"""An operator's own settings, in the data directory; read after ours, never written by us."""

JOURNAL: Mapping[str, str] = {
    # One database transaction a batch of 8,189 transfers: long runs of write-ahead log between checkpoints.
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "min_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "wal_buffers": "32MB",
    # A standby can be attached without a restart of the primary.
    "wal_level": "replica",
    "max_wal_senders": "10",
    # Commits wait for a standby, and a primary that restarts for its standby to come back.
    "wal_retrieve_retry_interval": "250ms",
    # A standby that stays away must not fill the primary's disk; it is made anew then.
    "max_slot_wal_keep_size": "64GB",
}
"""Settings that the journal's speed depends on; measured in docs/performance.md."""

DURABLE: Mapping[str, str] = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
"""What makes an acknowledged transfer survive; refused when off."""

EVERYDAY: Mapping[str, str] = {
    "listen_addresses": "''",
    "max_connections": "200",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "jit": "off",
    # A client that died gives its locks back, the ledger's among them, even in the middle of a statement.
    "client_connection_check_interval": "5s",
    "logging_collector": "on",
    "log_directory": "'../log'",
    "log_filename": "'postgres-%a.log'",
    "log_rotation_age": "1d",
    "log_truncate_on_rotation": "on",
    "log_line_prefix": "'%m [%p] '",
    "log_lock_waits": "on",
}
"""The rest: no network, UTC, a week of logs."""


def configuration(socket_dir: Path, changes: Mapping[str, str] | None = None) -> str:
    """The text of ``postgresql.conf``."""
    values = {**EVERYDAY, **JOURNAL, **DURABLE, **(changes or {})}
    if sys.platform == "darwin":
        # fdatasync on macOS leaves the data in the drive's cache.
        values["wal_sync_method"] = "fsync_writethrough"
    quoted = str(socket_dir).replace("'", "''")
    lines = [
        "# Written by nugpay at every start. Put your own settings into operator.conf beside this file.",
        f"unix_socket_directories = '{quoted}'",
        *(f"{name} = {value}" for name, value in values.items()),
        f"include = '{OPERATOR_FILE}'",
    ]
    return "\n".join(lines) + "\n"


def host_based_access() -> str:
    """The text of ``pg_hba.conf``: the socket only, and the kernel says who is calling."""
    lines = ("local all all peer map=nugpay", f"local replication {STANDBY} peer map=nugpay")
    return "\n".join(["# Written by nugpay at every start.", *lines]) + "\n"


def identities(os_users: set[str]) -> str:
    """The text of ``pg_ident.conf``: which users of this machine may be which role."""
    lines = [f'nugpay "{user}" {role}' for user in sorted(os_users) for role in (ROLE, SUPERUSER, STANDBY)]
    return "\n".join(["# Written by nugpay at every start.", *lines]) + "\n"
