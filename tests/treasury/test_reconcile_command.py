"""The command that compares both books: on a real chain and a real ledger process's socket."""

import io
from collections.abc import Iterator

import pytest
from nugpay_client import DeviceKey
from rich.console import Console

from foundation.errors import Refusal
from identity.keys import PublicKey
from ops.cli import breaker, reconcile
from tests.fixtures.officers import enrol_officer
from tests.treasury.conftest import Treasury
from tests.treasury.moves import move_out_of
from treasury.breaker import trip_breaker
from treasury.errors import TreasuryCode
from treasury.reserves import Reserves, read_reserves


async def books(treasury: Treasury) -> Reserves:
    await treasury.reconcile()
    async with treasury.database.session() as session:
        return await read_reserves(session, treasury.custody)


def shown(found: Reserves) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(reconcile._table(found))
    return console.export_text()


@pytest.fixture
def wired(treasury: Treasury, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from foundation.settings import get_settings

    monkeypatch.setenv("NUGPAY_HOME", str(treasury.contracts.home))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", treasury.database.url)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


async def test_agreeing_books_are_shown_token_by_token(treasury: Treasury) -> None:
    await treasury.fund(await treasury.wallet(), "250.000000")
    found = await books(treasury)
    assert "1000250.000000" in shown(found)
    assert shown(found).count("agree") == 2
    plain = {book["asset"]: book for book in reconcile._plain(found)}
    assert plain["USDT"]["ledger_amount"] == "1000250000000"
    assert plain["DMMK"]["unexplained_units"] == "0"


async def test_difference_is_shown_in_units_and_trips(treasury: Treasury) -> None:
    await treasury.finalize()
    await move_out_of(treasury, treasury.custody.vault, 5)
    await treasury.finalize()
    found = await books(treasury)
    assert "UNEXPLAINED" in shown(found)
    assert "-0.000005" in shown(found)
    assert found.trip is not None


async def test_breaker_is_not_released_before_the_books_are_compared_again(
    treasury: Treasury, wired: None
) -> None:
    await treasury.finalize()
    await treasury.reconcile()
    treasury.clock.advance(seconds=5)
    async with treasury.database.session() as session:
        await trip_breaker(session, treasury.clock, treasury.custody.chain_id, reason="a doubt")
    keys = [DeviceKey.generate(), DeviceKey.generate("ecdsa-p256-sha256")]
    for name, key in zip(("aye", "ko"), keys, strict=True):
        await enrol_officer(treasury.database, treasury.clock, PublicKey.from_jwk(key.public_jwk), name)
        await breaker._sign(None, key, lambda _said: True)
    with pytest.raises(Refusal) as early:
        await breaker._release(None)
    assert early.value.code is TreasuryCode.RELEASE_BOOKS_NOT_COMPARED
    treasury.clock.advance(seconds=5)
    await treasury.finalize()
    await treasury.reconcile()
    assert await breaker._release(None) == "released by aye, ko"
