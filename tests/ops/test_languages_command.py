"""``nugpay languages`` shows the coverage, and fails when a text is missing that must be there."""

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foundation.languages import catalogues
from ops.cli import app
from tests.house.vocabulary import ROOT


def test_it_shows_every_language_and_ends_well():
    shown = CliRunner().invoke(app, ["languages", "--missing", "ksw"])
    assert shown.exit_code == 0
    assert "Burmese" in shown.output
    assert "ksw: title: Insufficient funds" in shown.output


def test_a_text_that_burmese_lacks_is_named_and_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = tmp_path / "texts"
    shutil.copytree(catalogues.TEXTS, texts)
    burmese = texts / "my.po"
    burmese.write_text(burmese.read_text().replace('msgid "Insufficient funds"', 'msgid "No funds"'))
    loaded = catalogues.load_catalogues(texts)
    monkeypatch.setattr(catalogues, "all_texts", lambda: loaded)
    shown = CliRunner().invoke(app, ["languages"])
    assert shown.exit_code == 3
    assert "my: title: Insufficient funds" in shown.output


def test_the_shell_phone_asks_in_the_language_that_it_is_told(tmp_path: Path):
    script = ROOT / "clients" / "shell" / "nugpay.sh"
    environment = {"PATH": "/usr/bin:/bin", "NUGPAY_KEY": str(tmp_path / "key.pem"), "NUGPAY_SHOW": "1"}
    subprocess.run(["sh", script, "key"], env=environment, check=True, capture_output=True)

    def shown(**more: str) -> str:
        return subprocess.run(
            ["sh", script, "get", "/v1/balances"],
            env=environment | more, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    assert "'Accept-Language: my'" in shown(NUGPAY_LANGUAGE="my")
    assert "Accept-Language" not in shown()
