"""The signer's reload: tells the signer of this home's ``up`` to read its policy, and waits until it has."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from chain.signer_client import SignerClient
from chain.signer_policy import load_policy, policy_hash
from foundation.settings import Settings
from identity.keys import PublicKey
from ops.errors import OperationError
from ops.processes import ProcessMark, running_roster

RELOAD_SECONDS_MAX = 10
"""How long a signer may take to read its policy again; it finishes what it decides first."""


def reload_signer(settings: Settings) -> str:
    """Have the running signer decide by the policy's file of now; what it decides by afterwards.

    Raises ``PolicyError`` for a file that the signer would refuse, and ``OperationError``
    where none of ``up`` runs or it keeps its old policy. Not from within an event loop.
    """
    wanted = load_policy(settings.home)
    wanted.officers_with(PublicKey.from_jwk)
    mark = supervised_signer(settings)
    if mark is None:
        raise OperationError(
            "No signer of ./nugpay up runs here", "Send SIGHUP to the signer's process, and read its log."
        )
    os.kill(mark.pid, signal.SIGHUP)
    client = SignerClient(settings.signer_socket)
    deadline = time.monotonic() + RELOAD_SECONDS_MAX
    while asyncio.run(client.identity()).policy != policy_hash(wanted):
        if time.monotonic() > deadline:
            raise OperationError("The signer keeps its old policy", "Its log says why.")
        time.sleep(0.05)
    return f"the signer decides by policy {policy_hash(wanted)[:16]} from now on"


def supervised_signer(settings: Settings) -> ProcessMark | None:
    """The signer of this home's ``up``, if it runs."""
    roster = running_roster(settings.home)
    for child in roster.children if roster is not None else ():
        if child.name == "signer" and child.mark is not None and child.mark.process() is not None:
            return child.mark
    return None
