"""Settings: every knob of the project, typed, read once from the environment.

Each is ``NUGPAY_`` and its name in capitals. Secrets are ``SecretStr`` and never
printed. Tests build their own ``Settings`` instead of changing the environment.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEVELOPMENT_CHAIN_ID = 31337
"""The chain of a development node, whose tokens anybody can make."""

SOCKET_PATH_LIMIT = 100
"""Unix sockets allow 107 bytes of path; some room is left for a suffix."""


def default_home() -> Path:
    """The platform's directory for user data, ``nugpay`` below it."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "nugpay"


class Settings(BaseSettings):
    """What an operator may set; the defaults run everything on one machine."""

    model_config = SettingsConfigDict(env_prefix="NUGPAY_", extra="ignore", hide_input_in_errors=True)

    environment: Literal["development", "production"] = "development"
    """``production`` refuses the development chain, keys and defaults."""
    sandbox: bool = False
    """A bank to try clients against: its clock can be moved, and amounts force failures. Only with
    the development chain, where no money is real; anywhere else nothing starts."""
    home: Path = Field(default_factory=default_home)
    """Where this machine keeps its state: database, sockets, keys, logs."""
    database_url: str | None = None
    """A PostgreSQL server (``postgresql://…``); unset means the embedded one."""
    ledger_url: str | None = None
    """The ledger process: ``unix:/path`` or ``https://host:port``; unset means the local socket.

    Callers may name several with commas between: the process that serves and its standbys.
    """
    ledger_listen: str | None = None
    """Where the ledger process itself listens, when that is not the one address of ``ledger_url``."""
    ledger_rights: Path | None = None
    """What each caller of the ledger may do (TOML); needed with ``https``, see docs/ledger-door.md."""
    ledger_tls_certificate: Path | None = None
    """The ledger process' certificate, with those between it and its CA (PEM)."""
    ledger_tls_key: Path | None = None
    """The key of that certificate; readable by its owner only."""
    ledger_tls_client_ca: Path | None = None
    """The CA whose certificates callers of the ledger show."""
    ledger_client_certificate: Path | None = None
    """The certificate that this process shows to the ledger; its name is the caller's identity."""
    ledger_client_key: Path | None = None
    """The key of that certificate; readable by its owner only."""
    ledger_server_ca: Path | None = None
    """The CA that the ledger's certificate must be from."""
    ledger_segment_rows: int = Field(default=1_000_000, ge=1, le=100_000_000)
    """Transfers in a segment of the journal: it is kept in memory until it is full and sealed."""
    ledger_archive: Path | None = None
    """Directory of archived segments: ids in detached ones are looked up in their files there."""
    broker_url: str | None = None
    """Celery's broker (RabbitMQ or Redis); unset means one that needs no server."""
    rpc_url: str = "http://127.0.0.1:8545"
    """JSON-RPC endpoint of the EVM node."""
    rpc_check_url: str | None = None
    """A second endpoint, run by others: only what is final for both is credited. Unset: one is believed."""
    chain_id: int = DEVELOPMENT_CHAIN_ID
    """The chain that the node must be on; another one refuses to start."""
    signer_key_service: str = "keystore"
    """Who holds the signer's key: ``keystore``, or the name of an entry point of ``nugpay.key_services``."""
    hot_balances: dict[str, dict[str, str]] = Field(default_factory=dict)
    """How much of each asset should lie in the vault, as JSON: ``{"USDT": {"lower": "100000",
    "target": "400000", "upper": "600000"}}``. An asset that is not named has no bounds; unset, a
    development machine has its own.
    """
    cold_moves: Literal["proposed", "made"] = "proposed"
    """What the worker does with more than the upper bound: propose a move to the cold, or make it."""
    signer_group: str | None = None
    """Unix group whose members may ask the signer, where it is its own user; unset: its user only."""
    signer_socket_path: Path | None = None
    """The signer's socket, where it is not among this home's: both signer and worker are told."""
    pin_pepper: Path | None = None
    """File of the secret under which PINs are hashed, the same for every API; unset: in the home."""
    receipt_keys: Path | None = None
    """File of the keys under receipts, the same for every API; unset: in the home."""
    personal_keys: Path | None = None
    """File of the keys over personal data, the same for every API; unset: in the home."""
    recall_hours: int = Field(default=24, ge=0, le=720)
    """How long after a payment its payer may ask for it back; 0: not at all."""
    api_host: str = "127.0.0.1"
    """Address that the API listens on."""
    api_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the API."""
    api_workers: int = Field(default=1, ge=1, le=256)
    """Processes of the API; it is stateless."""
    api_public_url: str | None = None
    """Base URL that clients sign; needed in production. Unset: a loopback name, or the API's own address."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""

    @model_validator(mode="after")
    def _sandbox_needs_the_development_chain(self) -> Self:
        if self.sandbox and (self.environment != "development" or self.chain_id != DEVELOPMENT_CHAIN_ID):
            raise ValueError(
                "NUGPAY_SANDBOX is for the development chain alone: with another NUGPAY_CHAIN_ID, or with "
                "NUGPAY_ENVIRONMENT=production, nothing starts."
            )
        return self

    @property
    def run_dir(self) -> Path:
        """Directory of sockets; short enough for a Unix socket's path."""
        run = self.home / "run"
        if len(bytes(run)) + len("/ledger.sock") <= SOCKET_PATH_LIMIT:
            return run
        name = hashlib.sha256(bytes(run.absolute())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"nugpay-{os.getuid()}-{name}"

    @property
    def pin_pepper_path(self) -> Path:
        """File of the pepper of PINs: as set, or in the home; never in the database."""
        return self.pin_pepper or self.home / "pin-pepper"

    @property
    def receipt_keys_path(self) -> Path:
        """File of the receipt keys: as set, or in the home; never in the database."""
        return self.receipt_keys or self.home / "receipt-keys"

    @property
    def personal_keys_path(self) -> Path:
        """File of the keys over personal data: as set, or in the home; never in the database."""
        return self.personal_keys or self.home / "personal-keys"

    @property
    def ledger_address(self) -> str:
        """The ledger's URL: as set, or the local socket."""
        return self.ledger_url or f"unix:{self.run_dir / 'ledger.sock'}"

    @property
    def ledger_listen_address(self) -> str:
        """Where the ledger process listens: as set, or where its callers look for it."""
        return self.ledger_listen or self.ledger_address

    @property
    def signer_socket(self) -> Path:
        """Unix socket of the signer process."""
        return self.signer_socket_path or self.run_dir / "signer.sock"


@functools.cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
