"""Errors of operation: something on this machine is not as it must be.

They are for the person at the terminal, never for a client of the API: a
sentence that says what is wrong, and one that says what to do.
"""

from __future__ import annotations

from foundation.errors import NUGPayError


class OperationError(NUGPayError):
    """A command cannot do its work; ``advice`` says what the operator may do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class PostgresError(OperationError):
    """The embedded PostgreSQL does not start, answer or stop."""


class NodeError(OperationError):
    """The development node (anvil) does not start or answer."""


class AlreadyRunningError(OperationError):
    """Somebody else runs this home already."""
