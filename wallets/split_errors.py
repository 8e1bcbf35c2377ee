"""Refusals of splits.

Members stand in the order in which they are checked. A split of others is refused as one
that does not exist.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class SplitCode(RefusalCode):
    """Why an amount is not asked of several, or a split not shown."""

    SPLIT_SHARES_WRONG = "split_shares_wrong"
    """The shares do not make up the total, somebody is named twice, or a share would be nothing."""
    SPLIT_ID_TAKEN = "split_id_taken"
    """The id belongs to a split that is not this wallet's."""
    SPLIT_ID_USED_DIFFERENTLY = "split_id_used_differently"
    """The id was used for a split with other content; the field that differs is named."""
    SPLIT_NOT_FOUND = "split_not_found"
    """There is no such split, or it is not this wallet's."""
