"""PostgreSQL without SQLAlchemy: durability is no setting, URLs are libpq's, and the import is light."""

import subprocess
import sys

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from foundation.errors import NUGPayError
from foundation.postgres import DURABLE_SETTINGS, DurabilityRefused, refuse_weak_durability, sync_url

ON = dict.fromkeys(DURABLE_SETTINGS, "on")


@pytest.mark.parametrize("setting", DURABLE_SETTINGS)
def test_each_setting_that_could_forget_a_commit_is_refused_when_off(setting: str) -> None:
    with pytest.raises(DurabilityRefused) as refused:
        refuse_weak_durability(ON | {setting: "off"})
    assert (refused.value.setting, refused.value.value) == (setting, "off")
    assert isinstance(refused.value, NUGPayError)
    assert setting in str(refused.value)


@pytest.mark.parametrize("value", ["on", "local", "remote_write", "remote_apply"])
def test_every_commit_that_waits_for_a_disk_is_accepted(value: str) -> None:
    refuse_weak_durability(ON | {"synchronous_commit": value})


def test_a_missing_setting_is_an_error_and_not_a_yes() -> None:
    with pytest.raises(KeyError):
        refuse_weak_durability({"fsync": "on"})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/d",
        "postgres://h:5433/d",
        "postgresql:///d?host=/tmp/sockets&user=me",
        "postgresql+psycopg://u@h/d",
        "postgresql://u:p%40ss@h:1/d?host=%2Ftmp",
        "postgresql://u:slash/and?mark@h/d",
        "postgresql://u:50%25:off@h/d?sslmode=require",
        "postgresql://:only@h/d",
        "postgresql://u:@h/d",
        "postgresql://u:a+c@[::1]:5432/d",
    ],
)
def test_libpq_reads_from_the_url_what_sqlalchemy_reads(url: str) -> None:
    expected = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    assert conninfo_to_dict(sync_url(url)) == conninfo_to_dict(expected)


@pytest.mark.parametrize("url", ["", "h/d", "host=h password=hidden", "://h"])
def test_a_text_that_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="does not begin like") as refused:
        sync_url(url)
    assert "hidden" not in str(refused.value)


def test_the_ledger_process_starts_without_sqlalchemy() -> None:
    code = "import sys, ledger.server; print('sqlalchemy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
