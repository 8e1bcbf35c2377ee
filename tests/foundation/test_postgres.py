"""PostgreSQL without SQLAlchemy: durability is no setting, URLs are libpq's, and the import is light."""

import subprocess
import sys

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import create_engine, make_url

from foundation.database import sqlalchemy_url
from foundation.errors import NUGPayError
from foundation.postgres import NEVER_OFF, DurabilityRefused, refuse_weak_durability, sync_url

ON = {**dict.fromkeys(NEVER_OFF, "on"), "synchronous_standby_names": ""}


@pytest.mark.parametrize("setting", NEVER_OFF)
def test_each_setting_that_could_forget_a_commit_is_refused_when_off(setting: str) -> None:
    with pytest.raises(DurabilityRefused) as refused:
        refuse_weak_durability(ON | {setting: "off"})
    assert (refused.value.setting, refused.value.value) == (setting, "off")
    assert isinstance(refused.value, NUGPayError)
    assert setting in str(refused.value)


@pytest.mark.parametrize("value", ["on", "local", "remote_write", "remote_apply"])
def test_every_commit_that_waits_for_a_disk_is_accepted(value: str) -> None:
    refuse_weak_durability(ON | {"synchronous_commit": value})


@pytest.mark.parametrize("value", ["local", "remote_write", "off"])
def test_a_commit_that_does_not_wait_for_the_standby_that_is_named_is_refused(value: str) -> None:
    with pytest.raises(DurabilityRefused) as refused:
        refuse_weak_durability(ON | {"synchronous_standby_names": "b", "synchronous_commit": value})
    assert refused.value.setting == "synchronous_commit"


@pytest.mark.parametrize("value", ["on", "remote_apply"])
def test_a_commit_that_waits_for_the_standbys_disk_is_accepted(value: str) -> None:
    refuse_weak_durability(ON | {"synchronous_standby_names": "FIRST 1 (b)", "synchronous_commit": value})


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


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u@/d?host=/a,/b", "/a,/b", {None, ","}),
        ("postgresql://u@/d?host=%2Fa%2c%2Fb", "/a,/b", {None, ","}),
        ("postgresql://u@/d?host=a,b&port=1,2", "a,b", {"1,2"}),
        ("postgresql://u:p%40,s@a:1,b:2/d", "a,b", {"1,2"}),
        ("postgresql://a,b:2/d?connect_timeout=2", "a,b", {",2", "5432,2"}),
        ("postgresql://u@[::1]:1,[::2]:2/d", "::1,::2", {"1,2"}),
    ],
)
def test_of_several_servers_the_one_that_takes_writes_is_meant(
    url: str, hosts: str, ports: set[str | None]
) -> None:
    ours = conninfo_to_dict(sync_url(url))
    engine = create_engine(sqlalchemy_url(url))
    sqlalchemys = engine.dialect.create_connect_args(engine.url)[1]
    for parts in (ours, sqlalchemys):
        assert (parts["host"], parts["target_session_attrs"]) == (hosts, "read-write")
        assert parts.get("port") in ports
        assert parts["dbname"] == "d"
    assert ours.get("user") == sqlalchemys.get("user")
    assert ours.get("password") == sqlalchemys.get("password")


def test_a_wish_for_another_kind_of_server_stands() -> None:
    url = "postgresql://u@/d?host=a,b&target_session_attrs=any"
    assert conninfo_to_dict(sync_url(url))["target_session_attrs"] == "any"
    assert "target_session_attrs" not in conninfo_to_dict(sync_url("postgresql://u,v:w,x@h/d,e"))


@pytest.mark.parametrize("url", ["", "h/d", "host=h password=hidden", "://h"])
def test_a_text_that_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="does not begin like") as refused:
        sync_url(url)
    assert "hidden" not in str(refused.value)


def test_the_ledger_process_starts_without_sqlalchemy() -> None:
    code = "import sys, ledger.server; print('sqlalchemy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
