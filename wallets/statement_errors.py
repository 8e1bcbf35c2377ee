"""Refusals of statements."""

from __future__ import annotations

from foundation.errors import RefusalCode


class StatementCode(RefusalCode):
    """Why there is no statement."""

    STATEMENT_MONTH_MALFORMED = "statement_month_malformed"
    """A month is written yyyy-mm, and has begun."""
