"""The signer's upkeep: what it does while nobody asks.

It looks at the breaker, so that a trip is in its log before anybody can take the row
away, and a release before its signatures have expired; and it reads its policy again
when it is told. Whatever else goes wrong here ends the process, as everywhere in it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from chain.signer import Signer
from chain.signer_policy import PolicyError, load_policy, policy_hash

logger = structlog.get_logger()

WATCH_SECONDS: Final = 1.0
"""Between two looks at the breaker."""


@asynccontextmanager
async def kept_up(signer: Signer, home: Path, failed: asyncio.Future[BaseException]) -> AsyncIterator[None]:
    """Keep a signer up meanwhile; SIGHUP has it read its policy. ``failed`` gets what must end it."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, told.set)
    tasks = [asyncio.create_task(_watch(signer)), asyncio.create_task(_reload_when_told(signer, home, told))]
    for task in tasks:
        task.add_done_callback(lambda done: _tell_failure(done, failed))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell_failure(task: asyncio.Task[None], failed: asyncio.Future[BaseException]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not failed.done():
        failed.set_result(error)


async def _watch(signer: Signer) -> None:
    answers = True
    while True:
        try:
            await signer.look()
            answers = True
        except (SQLAlchemyError, OSError) as error:
            # Nothing is signed either while the database is away: every question looks too.
            if answers:
                logger.warning("cannot look at the breaker", error=type(error).__name__)
            answers = False
        await asyncio.sleep(WATCH_SECONDS)


async def _reload_when_told(signer: Signer, home: Path, told: asyncio.Event) -> None:
    while True:
        await told.wait()
        told.clear()
        try:
            await signer.replace_policy(load_policy(home))
        except (PolicyError, OSError) as error:
            # Half a policy, or none, would be somebody else's decision: the old one is the
            # last that its owner made.
            logger.warning("policy refused, the old one stays", error=str(error))
        else:
            logger.warning("policy read again", policy=policy_hash(signer.policy))
