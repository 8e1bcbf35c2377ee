"""The client library against the real API in this process."""

from tests.wallet_api.conftest import api, settings

__all__ = ["api", "settings"]
