"""Withdrawals: asked for once, refused with a reason, and never half done."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from chain.addresses import checksum
from chain.errors import ChainCode
from chain.models import ChainOrder
from foundation.assets import DMMK, USDT, XAU
from foundation.errors import Refusal, RefusalCode, Retryable
from foundation.ids import derive_id, uuid7
from foundation.money import AMOUNT_LIMIT, Money
from ledger.chart import AccountCode, TransferCode, wallet_account_id
from ledger.client import LedgerClient
from ledger.contract import Transfer
from ledger.interface import LedgerUnavailable
from tests.fixtures.officers import OfficerDevice
from tests.treasury.cold import ask, with_cold
from tests.treasury.conftest import OUTSIDE, Treasury
from tests.treasury.moves import release
from treasury.breaker import breaker_trip, trip_breaker
from treasury.errors import TreasuryCode
from treasury.models import TreasuryWithdrawal
from treasury.withdrawal_fees import withdrawal_fee
from treasury.withdrawals import WithdrawalState, list_withdrawals, request_withdrawal, withdrawal_by_id


async def refusal(treasury: Treasury, wallet_id: UUID, text: str = "10.000000", **fields: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await treasury.request(wallet_id, text, **fields)
    return refused.value


async def count_rows(treasury: Treasury) -> tuple[int, int]:
    async with treasury.database.session() as session:
        return (
            await session.scalar(select(func.count()).select_from(TreasuryWithdrawal)) or 0,
            await session.scalar(select(func.count()).select_from(ChainOrder)) or 0,
        )


class TestRequestWithdrawal:
    async def test_request_holds_amount_and_fee_and_approves_nothing(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal = await treasury.request(wallet_id, "100.500000")
        assert withdrawal.state is WithdrawalState.HELD
        assert (withdrawal.amount.format(), withdrawal.fee.format()) == ("100.500000", "1.000000")
        assert withdrawal.to_address == checksum(OUTSIDE)
        assert withdrawal.tx_hash is None
        assert await treasury.balance(wallet_id) == "148.500000"
        assert (await treasury.system(AccountCode.WITHDRAWAL_IN_FLIGHT)).credits_pending == 100_500_000
        assert (await treasury.system(AccountCode.FEES)).credits_pending == 1_000_000
        async with treasury.database.session() as session:
            order = await session.get_one(ChainOrder, withdrawal.id)
        assert (order.kind, order.token, order.to_address) == (
            "withdrawal", treasury.contracts.token(), OUTSIDE,
        )  # fmt: skip
        assert order.amount == 100_500_000
        assert order.approved_at is None

    async def test_same_request_again_and_at_the_same_time_is_one_withdrawal(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal_id = uuid7(treasury.clock)
        answers = await asyncio.gather(
            *(treasury.request(wallet_id, "100.000000", withdrawal_id=withdrawal_id) for _ in range(10))
        )
        assert len({repr(answer) for answer in answers}) == 1
        assert await treasury.balance(wallet_id) == "149.000000"
        assert await count_rows(treasury) == (1, 1)

    async def test_request_repeated_after_it_was_paid_returns_the_paid_one(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        first = await treasury.request(wallet_id, "100.000000")
        await treasury.advance()
        await treasury.finalize()
        await treasury.advance()
        again = await treasury.request(wallet_id, "100.000000", withdrawal_id=first.id)
        assert again.state is WithdrawalState.PAID
        assert await treasury.balance(wallet_id) == "149.000000"

    async def test_retry_after_a_death_between_intent_and_hold_completes_it(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        withdrawal_id = uuid7(treasury.clock)
        nobody = LedgerClient(f"unix:{treasury.contracts.home / 'nobody.sock'}")
        with pytest.raises(LedgerUnavailable):
            await request_withdrawal(
                treasury.database,
                nobody,
                treasury.clock,
                treasury.custody,
                withdrawal_id=withdrawal_id,
                wallet_id=wallet_id,
                amount=Money.parse("100.000000", USDT),
                to_address=OUTSIDE,
            )
        await nobody.close()
        report = await treasury.advance()
        assert (report.approved, report.sent) == (0, 0)
        seen = await withdrawal_by_id(
            treasury.database, treasury.ledger, withdrawal_id=withdrawal_id, wallet_id=wallet_id
        )
        assert seen.state is WithdrawalState.REQUESTED
        again = await treasury.request(wallet_id, "100.000000", withdrawal_id=withdrawal_id)
        assert again.state is WithdrawalState.HELD

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("wallet_id", None, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_WALLET),
            ("asset", DMMK, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_ASSET),
            ("text", "99.000000", TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_AMOUNT),
            ("to_address", "0x" + "77" * 20, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_RECEIVER),
        ],
    )
    async def test_same_id_with_other_content_is_refused_and_names_the_field(
        self, treasury: Treasury, field: str, value: Any, code: RefusalCode
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        first = await treasury.request(wallet_id, "100.000000")
        fields: dict[str, Any] = {"wallet_id": wallet_id, "text": "100.000000", "withdrawal_id": first.id}
        fields[field] = value if value is not None else await treasury.wallet()
        if field == "asset":
            fields["text"] = "1000000.00"
        refused = await refusal(treasury, **fields)
        assert refused.code is code
        assert await treasury.balance(wallet_id) == "149.000000"

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"text": "1.0000", "asset": XAU}, TreasuryCode.ASSET_NOT_ON_CHAIN),
            ({"withdrawal_id": derive_id("deposit", 1)}, TreasuryCode.WITHDRAWAL_ID_MALFORMED),
            ({"withdrawal_id": UUID(int=7)}, TreasuryCode.WITHDRAWAL_ID_MALFORMED),
            ({"text": "0.000000"}, TreasuryCode.WITHDRAWAL_AMOUNT_NOT_POSITIVE),
            ({"to_address": "nonsense"}, ChainCode.ADDRESS_MALFORMED),
            ({"to_address": OUTSIDE[:-1]}, ChainCode.ADDRESS_MALFORMED),
            ({"to_address": ""}, ChainCode.ADDRESS_MALFORMED),
            ({"to_address": checksum("0x" + "ab" * 20).swapcase()}, ChainCode.ADDRESS_MALFORMED),
            (
                {"to_address": "0x" + checksum("0x" + "ab" * 20)[2:].swapcase()},
                ChainCode.ADDRESS_CHECKSUM_MISMATCH,
            ),
            ({"to_address": "0x" + "00" * 20}, TreasuryCode.RECEIVER_IS_ZERO),
            ({"fee_max": Money(999_999, USDT)}, TreasuryCode.WITHDRAWAL_FEE_ABOVE_MAXIMUM),
        ],
    )
    async def test_bad_request_is_refused_and_nothing_is_written(
        self, treasury: Treasury, fields: dict[str, Any], code: RefusalCode
    ) -> None:
        refused = await refusal(treasury, await treasury.wallet(), **fields)
        assert refused.code is code
        assert await count_rows(treasury) == (0, 0)

    async def test_id_of_another_order_is_refused(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "250.000000")
        # As the chain tells everybody in the vault's event of a move.
        await with_cold(treasury)
        move = await ask(treasury, "5.000000")
        with pytest.raises(Refusal) as refused:
            await treasury.request(wallet_id, "100.000000", withdrawal_id=move.id)
        assert refused.value.code is TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_WALLET
        assert await treasury.balance(wallet_id) == "250.000000"

    async def test_receivers_of_ours_are_refused(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        own = await treasury.address(wallet_id)
        expected = {
            own: TreasuryCode.RECEIVER_IS_OURS,
            checksum(own): TreasuryCode.RECEIVER_IS_OURS,
            treasury.custody.vault: TreasuryCode.RECEIVER_IS_OURS,
            treasury.custody.implementation: TreasuryCode.RECEIVER_IS_OURS,
            treasury.contracts.signer_key.address: TreasuryCode.RECEIVER_IS_OURS,
            treasury.contracts.token("USDT"): TreasuryCode.RECEIVER_IS_CONTRACT,
            treasury.contracts.token("DMMK"): TreasuryCode.RECEIVER_IS_CONTRACT,
        }
        for address, code in expected.items():
            assert (await refusal(treasury, wallet_id, to_address=address)).code is code
        assert await count_rows(treasury) == (0, 0)

    async def test_more_than_the_balance_is_refused_for_ever_under_that_id(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "10.000000")
        withdrawal_id = uuid7(treasury.clock)
        # Ten would do without the fee.
        for _ in range(2):
            refused = await refusal(treasury, wallet_id, "10.000000", withdrawal_id=withdrawal_id)
            assert refused.code is TreasuryCode.WITHDRAWAL_EXCEEDS_BALANCE
        assert await treasury.balance(wallet_id) == "10.000000"
        await treasury.fund(wallet_id, "50.000000")
        again = await refusal(treasury, wallet_id, "10.000000", withdrawal_id=withdrawal_id)
        assert again.code is TreasuryCode.WITHDRAWAL_EXCEEDS_BALANCE
        seen = await withdrawal_by_id(
            treasury.database, treasury.ledger, withdrawal_id=withdrawal_id, wallet_id=wallet_id
        )
        assert seen.state is WithdrawalState.REFUSED
        await treasury.advance()
        assert await treasury.balance(wallet_id) == "60.000000"
        await treasury.request(wallet_id, "10.000000")

    async def test_refusal_that_was_not_written_down_is_found_in_the_ledger(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        withdrawal_id = uuid7(treasury.clock)
        await refusal(treasury, wallet_id, withdrawal_id=withdrawal_id)
        # The process died before it had noted the refusal.
        async with treasury.database.session() as session:
            row = await session.get_one(TreasuryWithdrawal, withdrawal_id)
            row.closed_at = row.refusal_code = None
        await treasury.fund(wallet_id, "50.000000")
        again = await refusal(treasury, wallet_id, withdrawal_id=withdrawal_id)
        assert again.code is TreasuryCode.WITHDRAWAL_ALREADY_REFUSED
        assert await treasury.balance(wallet_id) == "50.000000"

    async def test_amount_at_the_end_of_64_bits_exceeds_the_balance(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "10.000000")
        refused = await refusal(treasury, wallet_id, Money(AMOUNT_LIMIT, USDT).format(), limits={})
        assert refused.code is TreasuryCode.WITHDRAWAL_EXCEEDS_BALANCE

    async def test_wallet_without_an_account_is_refused(self, treasury: Treasury) -> None:
        refused = await refusal(treasury, uuid7(treasury.clock))
        assert refused.code is TreasuryCode.WITHDRAWAL_WALLET_UNUSABLE

    async def test_a_payment_is_never_taken_for_the_hold_of_a_withdrawal_with_its_id(
        self, treasury: Treasury
    ) -> None:
        payer, payee = await treasury.wallet(), await treasury.wallet()
        await treasury.fund(payer, "50.000000")
        payment_id = uuid7(treasury.clock)
        await treasury.ledger.create_transfers(
            [
                Transfer(
                    id=payment_id.int,
                    debit_account_id=wallet_account_id(payer, USDT),
                    credit_account_id=wallet_account_id(payee, USDT),
                    amount=1,
                    ledger=USDT.ledger,
                    code=int(TransferCode.PAYMENT),
                )
            ]
        )
        # The ledger is away between the intent and the hold: the payment that has the
        # withdrawal's id must not be taken for money that was set aside.
        away = LedgerClient("unix:/nowhere/ledger.sock", deadline_seconds=0.2)
        asked: dict[str, Any] = {
            "withdrawal_id": payment_id,
            "wallet_id": payer,
            "amount": Money.parse("5000", USDT),
            "to_address": OUTSIDE,
        }
        with pytest.raises(LedgerUnavailable):
            await request_withdrawal(treasury.database, away, treasury.clock, treasury.custody, **asked)
        await away.close()
        found = await withdrawal_by_id(
            treasury.database, treasury.ledger, withdrawal_id=payment_id, wallet_id=payer
        )
        assert found.state is WithdrawalState.REQUESTED
        report = await treasury.advance()
        assert (report.approved, report.sent, report.paid) == (0, 0, 0)
        refused = await refusal(treasury, payer, "5000", withdrawal_id=payment_id)
        assert refused.code is TreasuryCode.WITHDRAWAL_EXCEEDS_BALANCE

    async def test_tripped_breaker_refuses_new_requests_until_it_is_released(
        self, treasury: Treasury
    ) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "50.000000")
        known = await treasury.request(wallet_id, "10.000000")
        async with treasury.database.session() as session:
            await trip_breaker(session, treasury.clock, treasury.custody.chain_id, reason="first")
            await trip_breaker(session, treasury.clock, treasury.custody.chain_id, reason="second")
        async with treasury.database.session() as session:
            trip = await breaker_trip(session, treasury.custody.chain_id)
        assert trip is not None
        assert trip.reason == "first"
        refused = await refusal(treasury, wallet_id)
        assert refused.code is TreasuryCode.WITHDRAWALS_STOPPED
        assert refused.retryable is Retryable.YES
        # What was asked for before is still answered.
        assert (await treasury.request(wallet_id, "10.000000", withdrawal_id=known.id)).id == known.id
        may, hla = OfficerDevice("may"), OfficerDevice("hla")
        for officer in (may, hla):
            await officer.enrol(treasury.database, treasury.clock)
        assert (await release(treasury, may, hla)).released_by == ("hla", "may")
        assert (await treasury.request(wallet_id, "10.000000")).state is WithdrawalState.HELD

    async def test_many_requests_at_once_never_hold_more_than_there_is(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "50.000000")
        answers = await asyncio.gather(
            *(treasury.request(wallet_id, "9.000000") for _ in range(12)), return_exceptions=True
        )
        held = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(held) == 5
        assert await treasury.balance(wallet_id) == "0.000000"


class TestReadWithdrawals:
    async def test_somebody_elses_withdrawal_is_not_found(self, treasury: Treasury) -> None:
        wallet_id, stranger = await treasury.wallet(), await treasury.wallet()
        await treasury.fund(wallet_id, "50.000000")
        withdrawal = await treasury.request(wallet_id, "10.000000")
        for withdrawal_id, reader in ((withdrawal.id, stranger), (uuid7(treasury.clock), wallet_id)):
            with pytest.raises(Refusal) as refused:
                await withdrawal_by_id(
                    treasury.database, treasury.ledger, withdrawal_id=withdrawal_id, wallet_id=reader
                )
            assert refused.value.code is TreasuryCode.WITHDRAWAL_NOT_FOUND

    async def test_list_is_newest_first(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "50.000000")
        made = []
        for _ in range(3):
            treasury.clock.advance(seconds=1)
            made.append((await treasury.request(wallet_id, "5.000000")).id)
        listed = await list_withdrawals(treasury.database, treasury.ledger, wallet_id=wallet_id, limit=2)
        assert [one.id for one in listed] == made[:0:-1]
        assert (
            await list_withdrawals(treasury.database, treasury.ledger, wallet_id=uuid7(treasury.clock)) == []
        )


def test_every_asset_has_a_flat_fee() -> None:
    assert withdrawal_fee(Money(1, USDT)) == Money(1_000_000, USDT)
    assert withdrawal_fee(Money(10**12, DMMK)) == Money(200_000, DMMK)
