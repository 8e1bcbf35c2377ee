"""Reviews, as officers see them: what passes through in large amounts is paid, and looked at."""

from tests.wallet_api.test_officers import appointed
from tests.wallet_api.test_withdrawals import deployment, order

__all__ = ["deployment"]


async def test_officers_see_what_passes_through_and_close_it(api):
    trader = await api.phone("trader", "30000")
    may = await appointed(api, "may_may")
    made = order(api, "10000.5")
    assert (await trader.post("/v1/withdrawals", made)).status_code == 201
    (review,) = (await may.get("/v1/officers/reviews")).json()["reviews"]
    assert (review["withdrawal_id"], review["passed_in_week"]) == (made["id"], "10000.500000")
    path = f"/v1/officers/reviews/{made['id']}/close"
    assert (await trader.post(path, {"reason": "it is me"})).status_code == 404
    closed = (await may.post(path, {"reason": "known trader"})).json()
    assert (closed["closed_by"], closed["reason"]) == ("may_may", "known trader")
    assert (await may.post(path, {"reason": "another"})).json() == closed
    assert (await may.get("/v1/officers/reviews")).json() == {"reviews": []}
