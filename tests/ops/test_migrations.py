"""Migrations: one line of them, forward only, and the models are exactly what they make."""

import re
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from ops.migrations import alembic_config, migrate, revisions
from tests.fixtures.postgres import url_of

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"


def test_migrations_form_one_line_from_nothing_to_one_head() -> None:
    script = ScriptDirectory.from_config(alembic_config("postgresql:///unused"))
    line = [revision.revision for revision in reversed(list(script.walk_revisions()))]
    assert len(script.get_heads()) == 1
    assert [int(name[:4]) for name in line] == list(range(1, len(line) + 1))
    assert all(not isinstance(revision.down_revision, tuple) for revision in script.walk_revisions())


@pytest.mark.parametrize("path", sorted(VERSIONS.glob("*.py")), ids=lambda path: path.stem)
def test_migration_is_dated_explained_and_forward_only(path: Path) -> None:
    text = path.read_text()
    match = re.fullmatch(r"\d{4}_\d{2}_\d{2}_(\d{4}_[a-z_]+)", path.stem)
    assert match is not None
    assert f'revision = "{match[1]}"' in text
    docstring = text.split('"""')[1]
    assert len(docstring.split()) >= 8, "the docstring says why"
    assert re.search(r"def downgrade\(\) -> None:\n    raise NotImplementedError", text)


def test_models_are_exactly_what_the_migrations_make(database_url: str) -> None:
    command.check(alembic_config(database_url))


def test_migrate_goes_from_nothing_to_the_head_and_then_does_nothing(
    postgres_admin: psycopg.Connection, postgres_url: str, database_url: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    postgres_admin.execute(f"create database {name}_empty")
    url = url_of(postgres_url, f"{name}_empty")
    try:
        assert revisions(url)[0] is None
        before, head = migrate(url)
        assert before is None
        assert migrate(url) == (head, head)
        assert revisions(url) == (head, head)
    finally:
        postgres_admin.execute(f"drop database {name}_empty with (force)")
