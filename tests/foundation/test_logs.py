"""Logs: one line an event, and no secret in any of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.logs import REDACTED, SECRET_NAMES, redact

LOG_THREE_EVENTS = """
import logging, structlog
from foundation.logs import configure_logging
configure_logging("tester", "info")
log = structlog.get_logger()
log.debug("unseen")
log.info("paid", amount="12.50", signature="sig-123", nested={"private_key": "0xkey", "to": ["ok"]})
try:
    raise ValueError("wrong")
except ValueError:
    log.exception("failed", api_token="tok-456")
logging.getLogger("library").warning("from a library")
"""


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_every_secret_name_is_redacted_in_any_case_and_as_a_part(name: str) -> None:
    event = {"event": "x", name: "s", name.upper(): "s", f"old_{name}_2": "s", "amount": "7"}
    redacted = redact(None, "info", dict(event))
    assert redacted == dict.fromkeys(event, REDACTED) | {"event": "x", "amount": "7"}


def test_secrets_are_redacted_at_any_depth_and_the_caller_keeps_its_own() -> None:
    inner = {"password": "p", "list": [{"pin": "1234"}, ("a", {"mnemonic": "w w w"})], "fine": 1}
    redacted = redact(None, "info", {"event": "x", "inner": inner})
    assert "1234" not in repr(redacted)
    assert "w w w" not in repr(redacted)
    assert redacted["inner"]["fine"] == 1
    assert inner["password"] == "p"


def test_a_process_writes_json_lines_to_stderr_without_secrets() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOG_THREE_EVENTS], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout == ""
    for secret in ("sig-123", "0xkey", "tok-456", "unseen"):
        assert secret not in done.stderr
    paid, failed, *_ = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert (paid["event"], paid["process"], paid["amount"], paid["level"]) == (
        "paid",
        "tester",
        "12.50",
        "info",
    )
    assert paid["timestamp"].endswith("Z")
    assert paid["nested"]["to"] == ["ok"]
    assert "ValueError: wrong" in failed["exception"]
    assert "from a library" in done.stderr
