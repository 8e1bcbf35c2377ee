"""Connections: what the routes reach the rooms with, opened once a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from starlette.requests import Request

from chain.deployments import Deployment, load_deployment
from foundation.changes import Changes
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import NUGPayError
from foundation.garbage import keep_what_is_loaded
from foundation.sandbox_clock import clock_of
from foundation.settings import Settings
from identity.devices import DeviceDirectory
from identity.nonces import NonceRecorder
from identity.pepper import Pepper, make_pepper, read_pepper
from identity.personal_data import PersonalRecords
from identity.personal_keys import PersonalKeyFile, make_personal_keys, read_personal_keys
from identity.pins import Pins
from identity.sessions import Sessions
from identity.signed_requests import Doorkeeper
from ledger.client import LedgerClient
from ledger.door.tls import client_context
from ledger.interface import Ledger
from treasury.custody import Custody, custody_of
from wallet_api.hosts import check_public_url
from wallets.bulk_uploads import BulkBooks
from wallets.handle_lookups import HandleLookups, LookupBooks
from wallets.limits import Limits
from wallets.memos import Memos
from wallets.merchants import MerchantBooks
from wallets.payee_passes import PayeePasses
from wallets.payment_requests import Books
from wallets.recalls import RecallBooks
from wallets.receipt_keys import ReceiptKeyFile, make_receipt_keys, read_receipt_keys
from wallets.standing_orders import StandingBooks
from wallets.wallets import WalletDirectory
from wallets.webhook_targets import TargetRules


@dataclass(slots=True)
class Connections:
    """Everything that a use case may take as an argument."""

    settings: Settings
    clock: Clock
    database: Database
    ledger: Ledger
    changes: Changes | None = None
    """What other processes change, if anybody follows it; else nothing is remembered that may change."""
    doorkeeper: Doorkeeper = field(init=False)
    wallets: WalletDirectory = field(init=False)
    limits: Limits = field(init=False)
    lookups: HandleLookups = field(init=False)
    memos: Memos = field(init=False)
    pins: Pins = field(init=False)
    sessions: Sessions = field(init=False)
    personal: PersonalRecords = field(init=False)
    receipt_keys: ReceiptKeyFile = field(init=False)
    targets: TargetRules = field(init=False)
    """What a webhook may be."""
    _custody: Custody | None = None

    def __post_init__(self) -> None:
        devices = DeviceDirectory(self.database, self.changes)
        self.doorkeeper = Doorkeeper(devices, NonceRecorder(self.database), self.clock)
        pepper = pepper_of(self.settings)
        self.wallets = WalletDirectory(
            self.database, self.ledger, self.clock, self.changes, PayeePasses(pepper)
        )
        self.limits = Limits(self.ledger, self.clock)
        self.targets = TargetRules(allows_loopback=self.settings.environment == "development")
        self.lookups = HandleLookups(self.database, self.clock)
        self.memos = Memos(self.database, self.clock)
        self.pins = Pins(self.database, self.clock, pepper, self.changes)
        self.sessions = Sessions(self.database, self.clock, self.pins, self.changes)
        self.receipt_keys = receipt_keys_of(self.settings, self.clock)
        key_file = personal_keys_of(self.settings, self.clock)
        self.personal = PersonalRecords(self.database, self.clock, key_file)

    def lookup_books(self) -> LookupBooks:
        """What handles are looked up with."""
        return LookupBooks(self.database, self.ledger, self.clock, self.lookups, self.wallets)

    def request_books(self) -> Books:
        """What requests to pay are kept and decided with."""
        return Books(self.database, self.ledger, self.clock, self.wallets, self.limits)

    def recall_books(self) -> RecallBooks:
        """What recalls are kept and decided with."""
        window = timedelta(hours=self.settings.recall_hours)
        return RecallBooks(self.database, self.ledger, self.clock, self.wallets, window)

    def standing_books(self) -> StandingBooks:
        """What standing orders are kept with."""
        return StandingBooks(self.database, self.ledger, self.clock, self.wallets)

    def bulk_books(self) -> BulkBooks:
        """What files of payments are checked and kept with."""
        return BulkBooks(self.database, self.ledger, self.clock, self.lookups)

    def merchant_books(self) -> MerchantBooks:
        """What businesses are kept with."""
        return MerchantBooks(self.database, self.ledger, self.clock, self.wallets)

    def custody(self) -> Custody:
        """Custody on the chain; refused as ``deployment_not_found`` until contracts are deployed.

        Read when first needed, since the API may be up before the contracts are.
        """
        if self._custody is None:
            self._custody = custody_of(self.deployment())
        return self._custody

    def deployment(self) -> Deployment:
        """Our contracts on the chain; refused as ``deployment_not_found`` until they are deployed."""
        return load_deployment(self.settings.home, self.settings.chain_id)


def pepper_of(settings: Settings) -> Pepper:
    """The pepper of PINs; only a development machine makes one where there is none.

    In production a file that is missing is a mistake to be told: a second API with a
    pepper of its own would find every PIN wrong.
    """
    path = settings.pin_pepper_path
    return read_pepper(path) if settings.environment == "production" else make_pepper(path)


def receipt_keys_of(settings: Settings, clock: Clock) -> ReceiptKeyFile:
    """The keys of receipts, found sound; only a development machine makes some where there are none."""
    path = settings.receipt_keys_path
    if settings.environment == "production":
        read_receipt_keys(path)
    else:
        make_receipt_keys(path, clock)
    return ReceiptKeyFile(path)


def personal_keys_of(settings: Settings, clock: Clock) -> PersonalKeyFile:
    """The keys over personal data, found sound; only a development machine makes some."""
    path = settings.personal_keys_path
    if settings.environment == "production":
        read_personal_keys(path)
    else:
        make_personal_keys(path, clock)
    return PersonalKeyFile(path)


_CONNECTIONS_KEY: Final = "nugpay.connections"
"""Where the scope keeps them, once they were asked for."""


def connections_of(request: Request) -> Connections:
    """The connections of the application that serves a request."""
    scope = request.scope
    found: Connections | None = scope.get(_CONNECTIONS_KEY)
    if found is None:
        found = scope[_CONNECTIONS_KEY] = scope["app"].state.connections
    assert found is not None
    return found


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Connections]:
    """Connect to the database and the ledger process that ``settings`` name.

    Raises ``NUGPayError`` when a setting that the API needs is missing.
    """
    if settings.database_url is None:
        raise NUGPayError(
            "NUGPAY_DATABASE_URL is not set: start the API with ./nugpay api, which knows the database."
        )
    check_public_url(settings)
    # No connection beyond the pool: one that is opened for a burst and closed after it costs
    # as much as dozens of the statements that it is opened for.
    database = Database(settings.database_url, pool_size=8, pool_overflow=0)
    ledger = LedgerClient(settings.ledger_address, tls=client_context(settings))
    try:
        await database.check_durability()
        changes = Changes(settings.database_url)
        connections = Connections(settings, clock_of(settings), database, ledger, changes)
        async with changes.followed():
            keep_what_is_loaded()
            yield connections
    finally:
        await ledger.close()
        await database.close()
