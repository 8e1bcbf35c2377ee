"""The bank under attack, in short: few wallets, few kills, every promise held against the ledger."""

from tests.simulation.bank import VICTIMS, Wish, attacked


async def test_payments_survive_kills_of_api_and_ledger_and_all_balances_always_sum_to_the_constant(
    database_url, home
):
    wish = Wish(wallets=8, callers=16, payments=12, kills=len(VICTIMS), seed=5, pause=0.8)
    outcome = await attacked(database_url, home, wish)
    assert outcome.tally.violations == []
    assert outcome.kills == len(VICTIMS)
    assert outcome.sums_read > 20
    assert len(outcome.tally.paid) + len(outcome.tally.refused) == 16 * 12
    assert outcome.tally.counts["sent to two at once"]
    assert outcome.tally.counts["repeated after the answer"]
    assert outcome.tally.counts["the id with another amount"]
