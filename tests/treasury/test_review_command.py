"""The command for reviews: asked as an operator does, of a real database."""

from collections.abc import Iterator

import pytest

from foundation.errors import Refusal
from foundation.settings import get_settings
from ops.cli import review
from ops.errors import OperationError
from tests.treasury.conftest import Treasury
from tests.treasury.debts import appoint_two
from tests.treasury.test_withdrawal_admission import looked_at
from treasury.errors import TreasuryCode


@pytest.fixture
def operator(treasury: Treasury, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What an operator's terminal knows: the home and the database."""
    monkeypatch.setenv("NUGPAY_HOME", str(treasury.contracts.home))
    monkeypatch.setenv("NUGPAY_DATABASE_URL", treasury.database.url)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("operator")
async def test_a_review_is_listed_and_closed_by_an_officer_in_office(treasury: Treasury) -> None:
    assert await review._list() == "nothing to look at"
    withdrawal = str(await looked_at(treasury))
    await appoint_two(treasury)
    listed = await review._list()
    assert listed.startswith(withdrawal)
    assert "10000.000001 USDT in a week" in listed
    with pytest.raises(OperationError, match="no officer of compliance called nobody"):
        await review._close(withdrawal, "nobody", "looks fine")
    with pytest.raises(Refusal) as refused:
        await review._close(withdrawal, "may", " ")
    assert refused.value.code is TreasuryCode.REVIEW_WITHOUT_REASON
    for by, reason in (("may", "known trader"), ("hla", "too late")):
        assert await review._close(withdrawal, by, reason) == "closed by may: known trader"
    assert await review._list() == "nothing to look at"
