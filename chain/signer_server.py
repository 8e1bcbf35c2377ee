"""The signer's process: its socket, and what starts it.

A Unix socket that only its owner can open, and a group if one is named; a line in, a
line out, any number of askers. No answer leaves before it is decided and logged. What
is malformed gets an answer and decides nothing. An error that nobody foresaw ends the
process without an answer: a signer that is not sure is not a signer.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from chain.approvals import ReadKey
from chain.deployments import Deployment, load_deployment
from chain.key_providers import open_key_service
from chain.key_services import KeyService
from chain.signer import Signer
from chain.signer_messages import (
    LINE_BYTES_MAX,
    Answer,
    CheckedAnswer,
    CheckRequest,
    IdentityAnswer,
    IdentityRequest,
    RecallRequest,
    RefusedAnswer,
    SignedAnswer,
    SignRequest,
    UnavailableAnswer,
    encode_line,
    request_decoder,
)
from chain.signer_policy import development_policy, load_policy, policy_hash, signer_dir
from chain.signer_upkeep import kept_up
from chain.signing_log import SigningLog
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Unavailable
from foundation.sandbox_clock import clock_of
from foundation.settings import Settings

logger = structlog.get_logger()


def signing_log_path(home: Path, deployment: Deployment) -> Path:
    """The log of a chain: its id and the start of its block 0's hash, since nonces mean nothing elsewhere."""
    return signer_dir(home) / f"{deployment.chain_id}-{deployment.genesis_hash[2:18]}.log"


async def run_signer(
    settings: Settings,
    database_url: str,
    *,
    read_key: ReadKey,
    key: KeyService | None = None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Be the signer until cancelled, or until something is not sure.

    Needs the deployment of ``settings.chain_id`` in ``settings.home``; in development
    makes its key and policy where there are none. ``read_key`` reads officers' public
    keys; ``key`` is a key service, by default the one that the settings name.
    ``ready`` is called once it listens. Raises ``Refusal`` (no deployment),
    ``KeystoreError``, ``KeyProviderError``, ``PolicyError``, ``SigningLogError``.
    """
    deployment = load_deployment(settings.home, settings.chain_id)
    development = settings.environment == "development"
    if key is None:
        key = open_key_service(settings)
    policy = development_policy(settings.home, deployment) if development else load_policy(settings.home)
    log = SigningLog(signing_log_path(settings.home, deployment))
    database = Database(database_url, pool_size=1, pool_overflow=0)
    clock: Clock = clock_of(settings)
    try:
        signer = Signer(
            key=key,
            deployment=deployment,
            policy=policy,
            read_key=read_key,
            log=log,
            database=database,
            clock=clock,
        )
        async with serving(signer, settings.signer_socket, group=settings.signer_group) as failed:
            logger.info("signer listens", address=signer.address, chain_id=deployment.chain_id)
            async with kept_up(signer, settings.home, failed):
                if ready is not None:
                    ready()
                raise await failed
    finally:
        await database.close()
        log.close()


@asynccontextmanager
async def serving(
    signer: Signer, socket: Path, *, group: str | None = None
) -> AsyncIterator[asyncio.Future[BaseException]]:
    """Serve the signer on a socket; the future gets the error that must end the process.

    Its user may ask, and the members of ``group``. Raises ``PermissionError`` where the
    user is not in that group, ``LookupError`` where there is none.
    """
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                await _answer_lines(signer, reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                # The asker went away; it will ask again, and get the same.
                pass
            # Whatever else was raised is unforeseen, whatever it is.
            except Exception as error:  # noqa: BLE001
                if not failed.done():
                    failed.set_result(error)

    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    server = await _listen(converse, socket, group)
    try:
        yield failed
    finally:
        server.close()
        _remove(socket)


async def _listen(
    converse: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    socket: Path,
    group: str | None,
) -> asyncio.Server:
    # The log's lock says that no other signer of this key lives, so a socket that is
    # there was left by a dead one. The new socket has its rights before it has its
    # name: nobody can connect between the two.
    draft = socket.with_name(f"{socket.name}.{os.getpid()}")
    _remove(draft)
    server = await asyncio.start_unix_server(converse, draft, limit=LINE_BYTES_MAX)
    draft.chmod(0o600)
    if group is not None:
        # Whoever may ask gets signatures to the caps: the worker's user, and nobody else.
        os.chown(draft, -1, grp.getgrnam(group).gr_gid)
        draft.chmod(0o660)
    draft.replace(socket)
    return server


def _remove(socket: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        socket.unlink()


async def _answer_lines(signer: Signer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            line = await reader.readline()
        except ValueError:
            writer.write(encode_line(UnavailableAnswer("the line is too long")))
            await writer.drain()
            return
        if not line:
            return
        writer.write(encode_line(await _answer(signer, line)))
        await writer.drain()


async def _answer(signer: Signer, line: bytes) -> Answer:
    try:
        request = request_decoder.decode(line)
    except msgspec.DecodeError as error:
        return UnavailableAnswer(f"not a request: {error}")
    except (ValueError, RecursionError):
        # What msgspec does not name: bytes that are no UTF-8 within a string, and brackets
        # within brackets. Decoding is over before anything is decided, so the asker has
        # only this line's answer to lose; an end of the process would stop every payout.
        return UnavailableAnswer("not a request: no JSON in UTF-8, or nested too deeply")
    if isinstance(request, IdentityRequest):
        deployment = signer.deployment
        return IdentityAnswer(
            address=signer.address,
            chain_id=deployment.chain_id,
            genesis_hash=deployment.genesis_hash,
            vault=deployment.vault,
            policy=policy_hash(signer.policy),
        )
    if isinstance(request, RecallRequest):
        return await signer.recall(request)
    return await _decided(signer, request)


async def _decided(signer: Signer, request: SignRequest | CheckRequest) -> Answer:
    try:
        if isinstance(request, CheckRequest):
            return CheckedAnswer(signed_before=await signer.check(request))
        signed = await signer.sign(request)
    except Refusal as refusal:
        if isinstance(request, SignRequest):
            logger.warning("refused to sign", order_id=str(request.order_id), code=str(refusal.code))
        return RefusedAnswer(
            code=refusal.code.value,
            detail=refusal.detail,
            retryable=refusal.retryable.value,
            why=str(refusal.data["why"]),
            signed_before=bool(refusal.data["signed_before"]),
        )
    except Unavailable as error:
        # The key service did not sign: nothing is in the log, nothing has left.
        logger.warning("cannot sign", code=error.code)
        return UnavailableAnswer(error.detail)
    except (SQLAlchemyError, OSError) as error:
        # The order could not be read: nothing was decided, and nothing signed.
        logger.warning("cannot read orders", error=type(error).__name__)
        return UnavailableAnswer("the database does not answer")
    logger.info("signed", order_id=str(request.order_id), tx_hash=signed.tx_hash, nonce=request.nonce)
    return SignedAnswer(signed.raw, signed.tx_hash)
