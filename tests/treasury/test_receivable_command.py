"""The command for what is owed: asked as an operator does, of a real ledger over its socket."""

import tempfile
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from typer.testing import CliRunner

from foundation.errors import Refusal
from foundation.settings import get_settings
from identity.officers import appoint_officer
from identity.roles import DUTIES
from ledger.server import listening, publish
from ops.cli import app, receivable
from tests.fixtures.officers import OfficerDevice
from tests.treasury.conftest import Treasury
from tests.treasury.debts import appoint_two, earn, fees, spent_and_gone, the_debt
from tests.treasury.test_broken_finality import pay
from treasury.errors import TreasuryCode
from wallets.models import WalletRow

BOTH = ["hla", "may"]


@pytest.fixture
async def operator(treasury: Treasury, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """What an operator's terminal knows: the home, the database, the ledger's socket."""
    # Unix sockets allow 107 bytes of path, and a test's own directory is often longer.
    with tempfile.TemporaryDirectory(prefix="nl-") as directory:
        address = f"unix:{directory}/ledger.sock"
        monkeypatch.setenv("NUGPAY_HOME", str(treasury.contracts.home))
        monkeypatch.setenv("NUGPAY_DATABASE_URL", treasury.database.url)
        monkeypatch.setenv("NUGPAY_LEDGER_URL", address)
        get_settings.cache_clear()
        async with listening(treasury.ledger, address) as own:
            publish(address, own)
            yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("operator")
async def test_a_debt_is_shown_settled_and_written_off(
    treasury: Treasury, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await receivable._show() == "nothing is owed"
    wallet_id, payee, _ = await spent_and_gone(treasury, 250_000_000, 200_000_000)
    await appoint_two(treasury)
    await pay(treasury, payee, wallet_id, 30_500_000)
    await earn(treasury, payee, 169_500_000)
    deposit = str((await the_debt(treasury)).deposit_id)
    shown = await receivable._show()
    assert shown.startswith(
        f"{deposit}  200.000000 USDT of 200.000000 USDT  owed  wallet {wallet_id}  since "
    )
    settled = await receivable._settle(deposit, "30.5", [], None)
    assert "settlement 30.500000 USDT  paid  by an operator" in settled
    assert "169.500000 USDT of 200.000000 USDT  owed" in await receivable._show()
    written = await receivable._write_off(deposit, "169.5", BOTH, "the chain broke", None)
    assert "write_off 169.500000 USDT  paid  by hla, may" in written
    first, *payments = (await receivable._show()).splitlines()
    assert "0.000000 USDT of 200.000000 USDT  paid" in first
    assert [line.strip() for line in payments] == [settled, written]
    # The id is told before anything happens, and asked for again it is the same payment.
    ids = [line.removeprefix("payment ") for line in capsys.readouterr().out.split("\n") if line]
    assert [line.split()[0] for line in (settled, written)] == ids[-2:]
    assert await receivable._write_off(deposit, "169.5", BOTH, "the chain broke", ids[-1]) == written
    assert (await fees(treasury), await treasury.minor(wallet_id)) == (0, 0)


@pytest.mark.usefixtures("operator")
async def test_what_is_refused_is_shown_with_its_code(treasury: Treasury) -> None:
    await spent_and_gone(treasury, 250_000_000, 200_000_000)
    await appoint_two(treasury)
    deposit = str((await the_debt(treasury)).deposit_id)
    with pytest.raises(Refusal) as poor:
        await receivable._settle(deposit, "1", ["ko"], None)
    assert poor.value.code is TreasuryCode.DEBTOR_HAS_LESS
    assert "settlement 1.000000 USDT  refused: debtor_has_less  by ko" in await receivable._show()
    with pytest.raises(Refusal) as alone:
        await receivable._write_off(deposit, "1", ["may"], "why", None)
    assert alone.value.code is TreasuryCode.DEBT_DECIDED_BY_TOO_FEW
    with pytest.raises(Refusal) as unknown:
        await receivable._settle("01a3185c-5000-7e1d-acb2-4f39592b529e", "1", [], None)
    assert unknown.value.code is TreasuryCode.DEBT_NOT_FOUND


@pytest.mark.usefixtures("operator")
async def test_an_officer_does_not_write_off_what_they_owe_themselves(treasury: Treasury) -> None:
    wallet_id, payee, _ = await spent_and_gone(treasury, 100_000_000, 100_000_000)
    await appoint_two(treasury)
    await earn(treasury, payee, 100_000_000)
    person = (await OfficerDevice("ko").enrol(treasury.database, treasury.clock)).person_id
    await own(treasury, wallet_id, person)
    deposit = str((await the_debt(treasury)).deposit_id)
    with pytest.raises(Refusal) as refusal:
        await receivable._write_off(deposit, "1", ["ko", "may"], "a favour", None)
    assert refusal.value.code is TreasuryCode.DEBT_DECIDED_BY_TOO_FEW
    assert "write_off 1.000000 USDT  paid" in await receivable._write_off(
        deposit, "1", BOTH, "so be it", None
    )


async def own(treasury: Treasury, wallet_id: UUID, person: UUID) -> None:
    async with treasury.database.session() as session:
        await appoint_officer(session, treasury.clock, person_id=person, name="ko", roles=DUTIES)
        session.add(
            WalletRow(id=wallet_id, person_id=person, handle="ko_ko", created_at=treasury.clock.now())
        )


def test_a_write_off_needs_names_and_a_reason_on_the_command_line() -> None:
    for missing in (["--by", "may", "--by", "hla"], ["--reason", "why"]):
        ran = CliRunner().invoke(app, ["receivable", "write-off", "ID", "1", *missing])
        assert ran.exit_code == 2
        assert "Missing option" in ran.output
