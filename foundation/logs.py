"""Logs: one JSON line an event, with secrets and people left out.

On a terminal the lines are coloured for people. A redaction step runs last, so
that a key, token or signature that slips into an event is never written.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

REDACTED = "[redacted]"
"""What stands in place of a secret."""

SECRET_NAMES = (
    "password", "secret", "token", "private", "signature", "authorization", "pin", "mnemonic",
    "pepper", "enrolment_code", "raw_tx", "database_url",
    "display_name", "contact", "legal_name", "registration_number",
)  # fmt: skip
"""Parts of a field's name that mark its value as never to be logged: secrets, and who somebody is."""


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every field, at any depth, whose name marks a secret."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: object, value: Any) -> Any:
    if any(part in str(name).lower() for part in SECRET_NAMES):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: _redacted(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", item) for item in value]
    return value


def configure_logging(process: str, level: str = "info") -> None:
    """Send structlog and the standard library's log to stderr, tagged with ``process``."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(stream=sys.stderr, level=max(threshold, logging.WARNING), force=True)
