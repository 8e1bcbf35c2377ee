"""Bringing the database to the newest form, and saying where it stands."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool

import migrations
from foundation.database import sqlalchemy_url
from ops.postgres import refuse_weak_server


def alembic_config(database_url: str) -> Config:
    """Alembic's configuration for one database, wherever the project is installed."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    return config


def migrate(database_url: str) -> tuple[str | None, str]:
    """Bring the database to the newest revision; returns the ones before and after.

    Each migration is one database transaction: one that fails leaves the database
    at the revision before it. Raises ``DurabilityRefused`` when the server could forget a commit.
    """
    refuse_weak_server(database_url)
    config = alembic_config(database_url)
    before, head = revisions(database_url)
    if before != head:
        command.upgrade(config, "head")
    return before, head


def revisions(database_url: str) -> tuple[str | None, str]:
    """The database's revision (None: empty) and the newest there is."""
    head = ScriptDirectory.from_config(alembic_config(database_url)).get_current_head()
    assert head is not None, "the project has migrations"
    engine = create_engine(sqlalchemy_url(database_url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    return current, head
