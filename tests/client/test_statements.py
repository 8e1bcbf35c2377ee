"""The client reads months: lines that add up, and files that are whole or refused."""

import httpx
import pytest
from nugpay_client import AnswerMalformed, RequestRefused

from tests.client.test_wallet import lost_answer


async def test_a_month_is_read_as_lines_that_add_up_and_as_files(api, wallets, network):
    aye, ko = await wallets("aye_aye", "100"), await wallets("ko_ko")
    for _ in range(3):
        await aye.pay(aye.order("ko_ko", "5", "USDT"))
    month = api.clock.now().strftime("%Y-%m")
    network.accidents = [lost_answer]
    found = await aye.statements.get("USDT", month)
    lines = [line async for line in aye.statements.lines("USDT", month, page=2)]
    assert (found.is_over, found.opening_balance, len(lines)) == (False, 0, 7)
    assert found.opening_balance + sum(line.change for line in lines) == found.closing_balance
    assert found.closing_balance == (await aye.balances())["USDT"].balance
    for line in lines:
        assert line.line.id.hex in (await aye.statements.file("USDT", month, "csv")).decode().replace("-", "")
    assert (await ko.statements.file("USDT", month, "pdf")).startswith(b"%PDF-1.4")
    with pytest.raises(RequestRefused, match="statement_month_malformed"):
        await aye.statements.file("USDT", "2999-01", "pdf")


@pytest.mark.parametrize("kind", ["csv", "pdf"])
async def test_a_file_that_was_cut_off_is_not_taken_for_a_whole_one(api, wallets, network, kind):
    aye = await wallets("aye_aye", "100")
    month = api.clock.now().strftime("%Y-%m")
    whole = await aye.statements.file("USDT", month, kind)

    async def cut(request, inner):
        headers = {"content-type": {"csv": "text/csv", "pdf": "application/pdf"}[kind]}
        return httpx.Response(200, content=whole[:-60], headers=headers, request=request)

    network.accidents = [cut]
    with pytest.raises(AnswerMalformed, match="cut off"):
        await aye.statements.file("USDT", month, kind)
