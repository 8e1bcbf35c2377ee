"""Refusals of personal data. None of them says what the data is."""

from __future__ import annotations

from foundation.errors import RefusalCode


class PersonalCode(RefusalCode):
    """Why personal data is not kept, or not shown."""

    PERSONAL_DATA_TIER_NEEDED = "personal_data_tier_needed"
    """Legal name and registration number are kept of businesses that the bank knows."""
    PERSONAL_KEYS_OUTDATED = "personal_keys_outdated"
    """This server's file of keys is not the one that the database was written with."""
    PERSONAL_DATA_UNREADABLE = "personal_data_unreadable"
    """What is stored was changed, or the key that it needs was destroyed."""
