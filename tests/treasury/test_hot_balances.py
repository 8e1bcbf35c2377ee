"""Hot balances: what is too much is proposed for the cold, what is too little is an alarm."""

import pytest
from structlog.testing import capture_logs

from foundation.assets import USDT
from ops.status import HotStatus, _hot
from tests.fixtures.contracts import WHOLE
from tests.treasury.cold import arrived, carry, with_cold
from tests.treasury.conftest import Treasury
from treasury.cold_moves import approve_cold_move, list_cold_moves
from treasury.hot_balances import (
    BELOW_EVENT,
    DEVELOPMENT_BOUNDS,
    HotBounds,
    HotBoundsError,
    HotPolicy,
    bounds_of,
    hot_levels,
    watch_hot_balances,
)


def policy(lower: int, target: int, upper: int, *, makes_moves: bool = False) -> HotPolicy:
    return HotPolicy({USDT: HotBounds(lower * WHOLE, target * WHOLE, upper * WHOLE)}, makes_moves=makes_moves)


async def watch(treasury: Treasury, chosen: HotPolicy) -> list[str]:
    return await watch_hot_balances(treasury.database, treasury.rpc, treasury.clock, treasury.custody, chosen)


async def moves(treasury: Treasury) -> list[tuple[int, bool, str | None]]:
    async with treasury.database.session() as session:
        found = await list_cold_moves(session, treasury.custody)
    return [(move.amount // WHOLE, move.approved_by is not None, move.outcome) for move in found]


async def shown(treasury: Treasury) -> HotStatus:
    async with treasury.database.session() as session:
        (level,) = await hot_levels(session, treasury.custody.chain_id)
    return _hot(treasury.custody, level)


class TestAbove:
    async def test_move_down_to_the_target_is_proposed_once_and_carried_out_once_approved(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        chosen = policy(1, 995_000, 999_000)
        for _ in range(3):
            assert await watch(treasury, chosen) == []
            await treasury.finalize()
        assert await moves(treasury) == [(5_000, False, None)]
        await carry(treasury)
        assert arrived(treasury) == 0
        async with treasury.database.session() as session:
            (move,) = await list_cold_moves(session, treasury.custody)
            await approve_cold_move(session, treasury.clock, move_id=move.id, approved_by="aye")
        await carry(treasury)
        assert arrived(treasury) == 5_000 * WHOLE
        await treasury.finalize()
        await carry(treasury)
        await watch(treasury, chosen)
        assert (await shown(treasury)).level == "within"
        assert await moves(treasury) == [(5_000, True, "succeeded")]

    async def test_where_it_is_configured_the_move_is_made_without_asking(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        await watch(treasury, policy(1, 995_000, 999_000, makes_moves=True))
        await carry(treasury)
        assert arrived(treasury) == 5_000 * WHOLE

    async def test_move_is_not_called_for_again_by_books_that_have_not_got_to_it(
        self, treasury: Treasury
    ) -> None:
        await with_cold(treasury)
        chosen = policy(1, 995_000, 999_000, makes_moves=True)
        await watch(treasury, chosen)
        await carry(treasury)
        assert arrived(treasury) == 5_000 * WHOLE
        # Final blocks of before the move are written down, and then the node has it final.
        await treasury.follow()
        await treasury.book()
        treasury.contracts.node.mine(3)
        await carry(treasury)
        await watch(treasury, chosen)
        assert await moves(treasury) == [(5_000, True, None)]
        await treasury.finalize()
        await carry(treasury)
        await watch(treasury, chosen)
        assert await moves(treasury) == [(5_000, True, "succeeded")]

    async def test_more_than_an_amount_may_be_is_moved_by_parts(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        await treasury.contracts.mint(treasury.custody.vault, 2**70)
        await treasury.finalize()
        assert await watch(treasury, policy(1, 995_000, 999_000)) == []
        assert await moves(treasury) == [((2**63 - 1) // WHOLE, False, None)]

    async def test_what_customers_were_promised_is_not_too_much(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "900.000000")
        await treasury.request(wallet_id, "800.000000")
        await watch(treasury, policy(1, 999_000, 999_500))
        # The vault holds a million, of which 800 are spoken for; what the customer sent is not swept.
        assert await moves(treasury) == []
        assert (await shown(treasury)).free == "999200.000000"

    async def test_proposal_is_given_up_when_it_is_not_needed_any_more(self, treasury: Treasury) -> None:
        await with_cold(treasury)
        await watch(treasury, policy(1, 995_000, 999_000))
        await treasury.finalize()
        await watch(treasury, policy(1, 995_000, 2_000_000))
        assert await moves(treasury) == [(5_000, False, "given_up")]

    async def test_without_a_recorded_address_it_says_so_and_asks_for_nothing(
        self, treasury: Treasury
    ) -> None:
        await treasury.finalize()
        (trouble,) = await watch(treasury, policy(1, 995_000, 999_000))
        assert "above its upper bound" in trouble
        assert await moves(treasury) == []
        assert (await shown(treasury)).level == "above"


class TestBelow:
    async def test_alarm_is_logged_once_and_shown_until_it_is_over(self, treasury: Treasury) -> None:
        await treasury.finalize()
        low, enough = policy(2_000_000, 3_000_000, 4_000_000), policy(1, 3_000_000, 4_000_000)
        with capture_logs() as logs:
            for _ in range(3):
                await watch(treasury, low)
                await treasury.finalize()
        alarms = [line for line in logs if line["event"] == BELOW_EVENT]
        assert [(line["log_level"], line["asset"], line["free_units"]) for line in alarms] == [
            ("critical", "USDT", 1_000_000 * WHOLE)
        ]
        since = await shown(treasury)
        assert (since.level, since.free) == ("below", "1000000.000000")
        await watch(treasury, enough)
        assert (await shown(treasury)).level == "within"

    async def test_promises_that_the_vault_cannot_keep_are_below(self, treasury: Treasury) -> None:
        wallet_id = await treasury.wallet()
        await treasury.fund(wallet_id, "900.000000")
        await treasury.request(wallet_id, "800.000000")
        await watch(treasury, policy(999_201, 3_000_000, 4_000_000))
        assert (await shown(treasury)).level == "below"


class TestBounds:
    def test_unset_a_development_machine_has_its_own_and_a_real_one_none(self) -> None:
        assert bounds_of({}, is_development=True) == DEVELOPMENT_BOUNDS
        assert bounds_of({}, is_development=False) == {}

    def test_they_are_read_in_whole_tokens(self) -> None:
        given = {"USDT": {"lower": "1", "target": "2.5", "upper": "3"}}
        assert bounds_of(given, is_development=True) == {USDT: HotBounds(WHOLE, 2_500_000, 3 * WHOLE)}

    @pytest.mark.parametrize(
        "given",
        [
            {"XYZ": {"lower": "1", "target": "2", "upper": "3"}},
            {"USDT": {"lower": "1", "target": "2"}},
            {"USDT": {"lower": "1", "target": "2", "upper": "3", "more": "4"}},
            {"USDT": {"lower": "1", "target": "2", "upper": "much"}},
            {"USDT": {"lower": "3", "target": "2", "upper": "4"}},
            {"USDT": {"lower": "1", "target": "3", "upper": "3"}},
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, given: dict[str, dict[str, str]]) -> None:
        with pytest.raises(HotBoundsError):
            bounds_of(given, is_development=True)
