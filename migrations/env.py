"""How Alembic reaches the database and the models.

One plain psycopg connection, one database transaction a migration. Two
processes that migrate at once wait for each other; a migration that cannot get
a table's lock within ``LOCK_TIMEOUT`` fails and is run again later, since while
it waits everybody else queues behind it.
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec

from alembic import context
from sqlalchemy import create_engine, pool, text

from foundation.database import Base, sqlalchemy_url
from foundation.settings import get_settings
from ops.postgres import database_url

ROOMS = ("ledger", "chain", "identity", "treasury", "wallets", "agents", "lottery")
"""Rooms that may have tables, in ``models.py``; the foundation's one is the outbox."""

MORE_MODELS = (
    "identity.officer_models",
    "identity.personal_models",
    "identity.recovery_models",
    "treasury.cold_models",
    "treasury.debt_models",
    "treasury.review_models",
    "wallets.bulk_models",
    "wallets.handle_models",
    "wallets.memo_models",
    "wallets.merchant_models",
    "wallets.recall_models",
    "wallets.split_models",
    "wallets.standing_models",
    "wallets.sync_models",
    "wallets.tier_models",
    "wallets.webhook_models",
)
"""Tables of a room whose ``models.py`` is long enough without them."""

LOCK_TIMEOUT = "4s"
"""How long a migration may wait for a table's lock."""

MIGRATION_LOCK = 0x6E7567706179_00
"""Advisory lock held while migrating."""

import_module("foundation.outbox")
for room in ROOMS:
    if find_spec(f"{room}.models"):
        import_module(f"{room}.models")
for module in MORE_MODELS:
    import_module(module)


def _url() -> str:
    """The database: handed in by the caller, given on the command line (-x url=…), or as set."""
    given = context.config.attributes.get("database_url") or context.get_x_argument(as_dictionary=True).get(
        "url"
    )
    return sqlalchemy_url(given or database_url(get_settings()))


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether the models say what it is; the tables of segments are made by the ledger as it goes."""
    return kind != "table" or name is None or re.fullmatch(r"ledger_(transfer|archived)_[0-9]+", name) is None


def run_migrations() -> None:
    """Bring the database to the wanted revision, or compare it with the models."""
    engine = create_engine(_url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        # Not "set local": it must outlive the commit of each migration.
        connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_name=_is_ours,
            compare_type=True,
            compare_server_default=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


if context.is_offline_mode():
    raise SystemExit("nugpay migrates a running database; SQL scripts of migrations are not made")
run_migrations()
