"""The client library against the real API in this process."""

from tests.client.test_wallet import network, wallets
from tests.wallet_api.conftest import api, settings

__all__ = ["api", "network", "settings", "wallets"]
