"""Quotes hold a fee to an amount, a wallet and a time; limits hold what one wallet may ask for."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from foundation.assets import DMMK, USDT, XAU, Asset
from foundation.errors import Refusal, RefusalCode, Retryable
from foundation.ids import uuid7
from foundation.money import Money
from tests.treasury.conftest import Treasury
from treasury.errors import TreasuryCode
from treasury.withdrawal_fees import WITHDRAWAL_FEES
from treasury.withdrawal_limits import WithdrawalLimit
from treasury.withdrawal_quotes import (
    QUOTE_KEPT,
    QUOTE_LIFETIME,
    WithdrawalQuote,
    forget_expired_quotes,
    quote_withdrawal,
)

LIMITS = {USDT: WithdrawalLimit(50_000_000, 80_000_000)}


async def quoted(treasury: Treasury, wallet_id: UUID, text: str, asset: Asset = USDT) -> WithdrawalQuote:
    async with treasury.database.session() as session:
        return await quote_withdrawal(
            session, treasury.clock, treasury.custody, wallet_id=wallet_id, amount=Money.parse(text, asset)
        )


async def refusal(treasury: Treasury, wallet_id: UUID, text: str, **fields: Any) -> RefusalCode:
    with pytest.raises(Refusal) as refused:
        await treasury.request(wallet_id, text, **fields)
    return refused.value.code


class TestQuote:
    async def test_the_quoted_fee_holds_when_the_schedule_rises(
        self, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "100.000000")
        quote = await quoted(treasury, wallet_id, "20.000000")
        assert quote.fee == Money(1_000_000, USDT)
        monkeypatch.setitem(WITHDRAWAL_FEES, USDT, 5_000_000)

        withdrawal = await treasury.request(wallet_id, "20.000000", quote_id=quote.id)
        assert withdrawal.fee == Money(1_000_000, USDT)
        assert (await treasury.request(wallet_id, "20.000000")).fee == Money(5_000_000, USDT)
        # Asked again after the quote is over, it is the withdrawal that it was.
        treasury.clock.advance(seconds=86_400)
        again = await treasury.request(wallet_id, "20.000000", withdrawal_id=withdrawal.id, quote_id=quote.id)
        assert (again.id, again.fee) == (withdrawal.id, withdrawal.fee)

    async def test_expired_foreign_and_unknown_quotes_are_refused(self, treasury: Treasury) -> None:
        wallet_id, stranger = await treasury.wallet(), await treasury.wallet()
        await treasury.fund(wallet_id, "100.000000")
        quote = await quoted(treasury, wallet_id, "20.000000")
        foreign = await quoted(treasury, stranger, "20.000000")
        other_asset = await quoted(treasury, wallet_id, "20.00", DMMK)
        for text, quote_id, code in [
            ("20.000000", foreign.id, TreasuryCode.QUOTE_NOT_FOUND),
            ("20.000000", uuid7(treasury.clock), TreasuryCode.QUOTE_NOT_FOUND),
            ("20.000001", quote.id, TreasuryCode.QUOTE_IS_FOR_ANOTHER),
            ("20.000000", other_asset.id, TreasuryCode.QUOTE_IS_FOR_ANOTHER),
        ]:
            assert await refusal(treasury, wallet_id, text, quote_id=quote_id) is code
        maximum = Money(999_999, USDT)
        assert (
            await refusal(treasury, wallet_id, "20.000000", quote_id=quote.id, fee_max=maximum)
            is TreasuryCode.WITHDRAWAL_FEE_ABOVE_MAXIMUM
        )
        treasury.clock.advance(seconds=int(QUOTE_LIFETIME.total_seconds()))
        assert (
            await refusal(treasury, wallet_id, "20.000000", quote_id=quote.id) is TreasuryCode.QUOTE_EXPIRED
        )
        assert await treasury.balance(wallet_id) == "100.000000"

    async def test_only_what_can_be_withdrawn_is_quoted(self, treasury: Treasury) -> None:
        for text, asset, code in [
            ("0", USDT, TreasuryCode.WITHDRAWAL_AMOUNT_NOT_POSITIVE),
            ("1", XAU, TreasuryCode.ASSET_NOT_ON_CHAIN),
        ]:
            with pytest.raises(Refusal) as refused:
                await quoted(treasury, uuid7(treasury.clock), text, asset)
            assert refused.value.code is code

    async def test_quotes_are_forgotten_a_day_after_their_end(self, treasury: Treasury) -> None:
        await quoted(treasury, uuid7(treasury.clock), "20.000000")
        for wait, gone in [(QUOTE_LIFETIME + QUOTE_KEPT, 0), (timedelta(seconds=1), 1)]:
            treasury.clock.advance(seconds=int(wait.total_seconds()))
            async with treasury.database.session() as session:
                assert await forget_expired_quotes(session, treasury.clock) == gone


class TestLimits:
    async def test_a_withdrawal_above_its_limit_is_refused_and_the_limit_itself_is_not(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "100.000000")
        code = await refusal(treasury, wallet_id, "50.000001", limits=LIMITS)
        assert code is TreasuryCode.WITHDRAWAL_ABOVE_LIMIT
        known = await treasury.request(wallet_id, "50.000000", limits=LIMITS)
        # A lower limit does not refuse what was asked for before it.
        lower = {USDT: WithdrawalLimit(1, 1)}
        again = await treasury.request(wallet_id, "50.000000", withdrawal_id=known.id, limits=lower)
        assert again.id == known.id

    async def test_a_day_gives_its_room_back_and_what_was_refused_takes_none(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "100.000000")
        await treasury.request(wallet_id, "50.000000", limits=LIMITS)
        code = await refusal(treasury, wallet_id, "50.000000", limits=LIMITS)
        assert code is TreasuryCode.WITHDRAWAL_ABOVE_DAILY_LIMIT
        with pytest.raises(Refusal) as refused:
            await treasury.request(wallet_id, "30.000001", limits=LIMITS)
        assert refused.value.retryable is Retryable.YES
        await treasury.request(wallet_id, "30.000000", limits=LIMITS)
        treasury.clock.advance(seconds=86_400)
        await treasury.request(wallet_id, "10.000000", limits=LIMITS)

    async def test_many_at_once_never_ask_for_more_than_a_day_allows(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "500.000000")
        answers = await asyncio.gather(
            *(treasury.request(wallet_id, "20.000000", limits=LIMITS) for _ in range(10)),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, Refusal)]
        assert len(answers) - len(refused) == 4
        assert {one.code for one in refused} == {TreasuryCode.WITHDRAWAL_ABOVE_DAILY_LIMIT}
