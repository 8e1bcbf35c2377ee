"""Refusals of roles."""

from __future__ import annotations

from foundation.errors import RefusalCode


class RoleCode(RefusalCode):
    """Why an officer may not do something."""

    OFFICER_ROLE_MISSING = "officer_role_missing"
    """The caller is an officer, and none of their roles allows this."""
