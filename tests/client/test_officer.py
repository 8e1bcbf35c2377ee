"""The client's officers: against the API in one process, and over real sockets."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from nugpay_client import (
    AnswerMalformed,
    ApprovalRefused,
    DeviceKey,
    NotAnOfficer,
    NotFound,
    Officer,
    ReleaseRefused,
    RequestRefused,
    Statement,
)

from chain.deployments import Deployment, TokenInfo, save_deployment
from foundation.database import Database
from foundation.ids import uuid7
from identity.keys import PublicKey
from tests.client.test_served import wallets
from tests.fixtures.officers import enrol_officer
from tests.fixtures.served import Served
from tests.wallet_api.conftest import API, BASE, Phone, aye, ko
from tests.wallet_api.test_officers import appointed, awaited
from tests.wallet_api.test_withdrawals import deployment, order
from treasury.breaker import breaker_trip, trip_breaker

__all__ = ["aye", "deployment", "ko", "wallets"]


def officer_of(api: API, phone: Phone) -> Officer:
    return Officer(BASE, phone.key, http=api.http)


@pytest.fixture
async def may(api: API) -> Officer:
    return officer_of(api, await appointed(api, "may_may"))


@pytest.fixture
async def hla(api: API) -> Officer:
    return officer_of(api, await appointed(api, "hla_hla"))


async def trip(database: Database, clock: Any, reason: str) -> UUID:
    async with database.session() as session:
        await trip_breaker(session, clock, 31337, reason=reason)
        found = await breaker_trip(session, 31337)
    assert found is not None
    return found.id


async def test_two_officers_see_read_and_approve_a_withdrawal(api, aye, may, hla):
    withdrawal_id = UUID(await awaited(api, aye))
    (listed,) = await may.awaited()
    assert (listed.id, str(listed.amount), listed.approvals) == (withdrawal_id, "20.000000", 0)
    for count, officer in enumerate((may, hla), start=1):
        statement = await officer.approval_statement(withdrawal_id)
        assert f"withdrawal: {withdrawal_id}\n" in statement.text
        for _ in range(2):
            assert await officer.approve(withdrawal_id, statement) == count
    assert (await may.awaited())[0].approvals == 2
    with pytest.raises(NotFound):
        await may.approval_statement(uuid4())


async def test_an_officer_looks_at_what_passed_through_and_says_what_they_found(api, may):
    trader = await api.phone("trader", "30000")
    made = order(api, "12000")
    assert (await trader.post("/v1/withdrawals", made)).status_code == 201
    (review,) = await may.reviews()
    assert (str(review.withdrawal_id), str(review.passing)) == (made["id"], "12000.000000")
    closed = await may.close_review(review.withdrawal_id, "known trader")
    assert (closed.closed_by, closed.reason) == ("may_may", "known trader")
    assert await may.reviews() == []
    with pytest.raises(NotFound):
        await may.close_review(uuid4(), "nothing")


async def test_two_officers_decide_on_a_recall(api, aye, ko, may, hla):
    payment = (await aye.pay(ko, "25")).json()
    asked = await aye.post(f"/v1/payments/{payment['id']}/recall", {"id": str(uuid7(api.clock))})
    recall_id = UUID(asked.json()["id"])
    with pytest.raises(RequestRefused) as refusal:
        await may.vote_on_recall(recall_id, "return")
    assert refusal.value.code == "recall_not_disputed"
    assert (await ko.post(f"/v1/recalls/{recall_id}/decline")).status_code == 200
    (listed,) = [each async for each in may.disputed_recalls(page=1)]
    assert (listed.recall.id, listed.recall.state, listed.votes) == (recall_id, "disputed", {})
    assert (await may.vote_on_recall(recall_id, "return")).votes == {"may_may": "return"}
    done = await hla.vote_on_recall(recall_id, "return")
    assert (done.recall.state, done.recall.amount) == ("returned", 25)
    with pytest.raises(NotAnOfficer):
        await officer_of(api, ko).vote_on_recall(recall_id, "keep")
    assert await aye.available() == "99.975000"


async def test_a_statement_that_is_about_something_else_is_not_signed(api, aye, may):
    withdrawal_id = UUID(await awaited(api, aye))
    honest = await may.approval_statement(withdrawal_id)
    other = replace(honest, text=honest.text.replace(str(withdrawal_id), str(uuid4())))
    longer = replace(honest, expires_at=honest.expires_at + 60)
    release = Statement(honest.text.replace("withdrawal approval", "breaker release"), *_times(honest))
    more = replace(honest, text=honest.text + "and more\n")
    for false in (other, longer, release, more):
        with pytest.raises(AnswerMalformed, match="not about"):
            await may.approve(withdrawal_id, false)
    assert (await may.awaited())[0].approvals == 0
    # What the client cannot know to be false the server refuses.
    dearer = replace(honest, text=honest.text.replace("amount: 20000000\n", "amount: 2000000\n"))
    with pytest.raises(ApprovalRefused) as refused:
        await may.approve(withdrawal_id, dearer)
    assert refused.value.code == "approval_signature_wrong"


def _times(statement: Statement) -> tuple[int, int]:
    return statement.begins_at, statement.expires_at


async def test_the_breaker_is_shown_signed_and_released(api, may, hla):
    assert await may.breaker() == await hla.breaker()
    assert (await may.breaker()).stopped is False
    trip_id = await trip(api.database, api.clock, "the books differ")
    shown = await may.breaker()
    assert (shown.stopped, shown.trips[0].id, shown.trips[0].reason) == (True, trip_id, "the books differ")
    assert (shown.trips[0].released_at, shown.trips[0].signed_by) == (None, ())
    statement = await may.release_statement(trip_id)
    with pytest.raises(AnswerMalformed):
        await may.sign_release(uuid4(), statement)
    assert (await may.sign_release(trip_id, statement)).signed_by == ("may_may",)
    with pytest.raises(ReleaseRefused) as refused:
        await may.release(trip_id)
    assert refused.value.code == "release_signatures_missing"
    with pytest.raises(ReleaseRefused):
        await hla.sign_release(trip_id, replace(statement, text=statement.text.replace("differ", "agree")))
    await hla.sign_release(trip_id, await hla.release_statement(trip_id))
    released = await hla.release(trip_id)
    assert released.released_at is not None
    assert released.released_by == ("hla_hla", "may_may")
    assert await may.release(trip_id) == released
    assert (await may.breaker()).stopped is False
    with pytest.raises(NotFound):
        await may.release(uuid4())


async def test_receivers_are_blocked_and_listed(api, may, hla):
    address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert await may.blocked_receivers() == []
    (blocked,) = await may.block_receiver(address, "stolen")
    assert (blocked.address, blocked.reason, blocked.blocked_by) == (address, "stolen", "may_may")
    assert await hla.blocked_receivers() == [blocked]


async def test_whoever_is_no_officer_hears_so_at_every_call(api, ko, subtests):
    stranger = officer_of(api, ko)
    trip_id = await trip(api.database, api.clock, "a drill")
    calls: dict[str, Any] = {
        "awaited": stranger.awaited,
        "approval_statement": lambda: stranger.approval_statement(uuid4()),
        "breaker": stranger.breaker,
        "release_statement": lambda: stranger.release_statement(trip_id),
        "release": lambda: stranger.release(trip_id),
        "blocked_receivers": stranger.blocked_receivers,
        "block_receiver": lambda: stranger.block_receiver("0x" + "ab" * 20, "mine"),
    }
    for name, call in calls.items():
        with subtests.test(name=name), pytest.raises(NotAnOfficer):
            await call()


@pytest.fixture
async def officers(served: Served) -> AsyncIterator[list[Officer]]:
    """Two officers at the served API, one with each kind of key."""
    token = TokenInfo("0x" + "11" * 20, 6)
    save_deployment(
        served.home,
        Deployment(31337, "0x" + "00" * 32, 1, "0x" + "22" * 20, "0x" + "33" * 20, {"USDT": token}),
    )
    database = Database(served.database_url, pool_size=1)
    opened = []
    for name, algorithm in (("may", "ed25519"), ("hla", "ecdsa-p256-sha256")):
        key = DeviceKey.generate(algorithm)  # type: ignore[arg-type]  # Both are among its literals.
        await enrol_officer(database, served.clock, PublicKey.from_jwk(key.public_jwk), name)
        opened.append(Officer(served.url, key))
    await database.close()
    yield opened
    for officer in opened:
        await officer.close()


async def test_over_real_sockets_two_officers_release_the_breaker_and_block_a_receiver(served, officers):
    may, hla = officers
    database = Database(served.database_url, pool_size=1)
    trip_id = await trip(database, served.clock, "a drill\nwith a second line")
    await database.close()
    assert (await may.breaker()).trips[0].reason == "a drill\nwith a second line"
    for officer in (may, hla):
        await officer.sign_release(trip_id, await officer.release_statement(trip_id))
    assert (await may.release(trip_id)).released_by == ("hla", "may")
    assert (await hla.breaker()).stopped is False
    assert await may.awaited() == []
    await hla.block_receiver("0x" + "ab" * 20, "stolen")
    assert [one.blocked_by for one in await may.blocked_receivers()] == ["hla"]
