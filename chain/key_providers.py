"""Key providers: which key service the signer signs with, chosen by name.

``keystore`` is the one of this machine. Any other name is an entry point of the group
``nugpay.key_services``: a package that is installed beside this one names there a
function that takes the settings and gives a ``KeyService``. So a key management service
or a hardware module is added without a change of the signer, which believes it no more
than its signatures show.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final

from chain.key_services import KeyService
from chain.keystore import SIGNER_KEY, development_key, stored_key
from chain.models import ADDRESS_PATTERN
from foundation.errors import NUGPayError
from foundation.settings import Settings

KEYSTORE: Final = "keystore"
"""The key service of this machine's own files."""

GROUP: Final = "nugpay.key_services"
"""The group of entry points in which packages name their key services."""

OpenKeyService = Callable[[Settings], KeyService]
"""What an entry point names: opens the service by the settings and its own environment."""


class KeyProviderError(NUGPayError):
    """The key service cannot be had; the signer does not start, and signs with no other one instead."""


def open_key_service(settings: Settings) -> KeyService:
    """The key service that ``signer_key_service`` names.

    In development the keystore makes its key where there is none. Raises
    ``KeyProviderError`` for a name that is not there once, or a service that does not
    open, and ``KeystoreError``.
    """
    name = settings.signer_key_service
    if name == KEYSTORE:
        development = settings.environment == "development"
        return (development_key if development else stored_key)(settings.home, SIGNER_KEY)
    return _opened(name, settings)


def _opened(name: str, settings: Settings) -> KeyService:
    named = entry_points(group=GROUP)
    found = [one for one in named if one.name == name]
    if not found:
        known = ", ".join([KEYSTORE, *sorted(set(named.names) - {KEYSTORE})])
        raise KeyProviderError(f"there is no key service {name}; there are: {known}")
    if len(found) > 1:
        # Which of them signs would be an accident of the path.
        raise KeyProviderError(f"{len(found)} packages have a key service {name}")
    try:
        opened: OpenKeyService = found[0].load()
        service = opened(settings)
        address: object = service.address
    # A package of somebody else may fail in any way; without its key there is no signer.
    except Exception as error:
        raise KeyProviderError(f"the key service {name} does not open: {error!r}") from error
    if not isinstance(address, str) or re.fullmatch(ADDRESS_PATTERN, address) is None:
        raise KeyProviderError(f"the key service {name} has no address in lower case: {address!r}")
    return service
