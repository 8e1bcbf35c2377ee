"""History's filters over HTTP: what they let through, and how wrong ones are refused."""

import pytest

from wallets.handle_lookups import LOOKUPS_PER_MINUTE


async def test_filters_are_read_from_the_query(aye, ko):
    # A minute later than the deposit: times are shown in microseconds, and here the clock stands still.
    aye.api.clock.advance(60)
    await aye.pay(ko, "5")
    whole = (await aye.get("/v1/history")).json()["lines"]
    paid = (await aye.get("/v1/history?kind=payment&kind=deposit&counterparty=%40KO_KO&direction=out")).json()
    assert [line["id"] for line in paid["lines"]] == [whole[1]["id"]]
    large = (await aye.get("/v1/history?asset=USDT&amount_min=5.01")).json()
    assert [line["kind"] for line in large["lines"]] == ["deposit"]
    since = (await aye.get("/v1/history?since=" + whole[1]["at"])).json()
    assert [line["kind"] for line in since["lines"]] == ["payment_fee", "payment"]
    assert (await aye.get("/v1/history?until=1999-01-01T00:00:00Z")).json()["lines"] == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("amount_min=1", "history_filter_malformed"),
        ("asset=USDT&amount_max=1.0000001", "amount_too_precise"),
        ("since=2026-11-23T14:05:09", "history_filter_malformed"),
        ("until=2026-13-23T14:05:09Z", "history_filter_malformed"),
        ("since=9999-01-01T00:00:00Z", "history_filter_malformed"),
        ("counterparty=nobody_here", "counterparty_unknown"),
        ("reference=7", "request_malformed"),
        ("kind=prize", "request_malformed"),
        ("direction=up", "request_malformed"),
        ("direction=in&cursor=AAAA", "cursor_malformed"),
        ("colour=red", "request_malformed"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(aye, query, code):
    answer = await aye.get(f"/v1/history?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_naming_counterparties_counts_as_looking_handles_up(aye):
    aye.api.clock.advance(60)
    for _ in range(LOOKUPS_PER_MINUTE):
        assert (await aye.get("/v1/history?counterparty=nobody_here")).status_code == 422
    answer = await aye.get("/v1/history?counterparty=nobody_here")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_lookups")
