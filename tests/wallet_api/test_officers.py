"""Officers' routes: nothing is there for others, and a device's detached signature is taken in."""

import base64
from collections.abc import Collection
from typing import Any
from uuid import UUID

import pytest
from nugpay_client import key_id
from sqlalchemy import select, update

from chain.addresses import checksum
from chain.models import ChainApproval, ChainOrder
from foundation.ids import uuid7
from identity.models import Device
from identity.officers import appoint_officer
from identity.roles import DUTIES, Role
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_withdrawals import OUTSIDE, deployment, order
from treasury.models import TreasuryWithdrawal

__all__ = ["deployment"]


async def appointed(api: API, handle: str, roles: Collection[Role] = DUTIES) -> Phone:
    """A phone with a wallet and money, whose person is an officer."""
    phone = await api.phone(handle, "100")
    async with api.database.session() as session:
        person: Any = await session.scalar(
            select(Device.person_id).where(Device.key_id == key_id(phone.key.public_jwk))
        )
        assert isinstance(person, UUID)
        await appoint_officer(session, api.clock, person_id=person, name=handle, roles=roles)
    return phone


async def awaited(api: API, phone: Phone) -> str:
    """A withdrawal of a phone that the worker has put on the officers' list."""
    body = order(api)
    assert (await phone.post("/v1/withdrawals", body)).status_code == 201
    async with api.database.session() as session:
        await session.execute(
            update(TreasuryWithdrawal)
            .where(TreasuryWithdrawal.id == UUID(body["id"]))
            .values(awaits_officers_since=api.clock.now())
        )
    return body["id"]


async def approval(phone: Phone, withdrawal_id: str) -> dict[str, Any]:
    """What a phone sends to approve a withdrawal."""
    answer = await phone.get(f"/v1/officers/withdrawals/{withdrawal_id}/statement")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    signature = phone.key.sign(shown.pop("statement").encode())
    return {**shown, "signature": base64.b64encode(signature).decode()}


@pytest.fixture
async def may(api: API) -> Phone:
    return await appointed(api, "may_may")


@pytest.fixture
async def hla(api: API) -> Phone:
    return await appointed(api, "hla_hla")


async def test_two_officers_see_sign_and_send(api, aye, may, hla):
    withdrawal_id = await awaited(api, aye)
    (listed,) = (await may.get("/v1/officers/withdrawals")).json()["withdrawals"]
    assert (listed["id"], listed["amount"], listed["fee"]) == (withdrawal_id, "20.000000", "1.000000")
    assert (listed["to_address"], listed["approvals"]) == (OUTSIDE, 0)
    statement = (await may.get(f"/v1/officers/withdrawals/{withdrawal_id}/statement")).json()["statement"]
    for line in (
        f"withdrawal: {withdrawal_id}\n",
        f"requester: {listed['requester']}\n",
        f"receiver: {OUTSIDE.lower()}\n",
        "amount: 20000000\n",
        "fee: 1000000\n",
        "chain: 31337\n",
    ):
        assert line in statement

    path = f"/v1/officers/withdrawals/{withdrawal_id}/approvals"
    for count, officer in enumerate((may, hla), start=1):
        body = await approval(officer, withdrawal_id)
        for _ in range(2):
            answer = await officer.post(path, body)
            assert (answer.status_code, answer.json()) == (201, {"approvals": count})


async def test_for_others_there_is_nothing(api, aye, ko, may):
    withdrawal_id = await awaited(api, aye)
    body = await approval(may, withdrawal_id)
    for answer in (
        await ko.get("/v1/officers/withdrawals"),
        await ko.get(f"/v1/officers/withdrawals/{withdrawal_id}/statement"),
        await ko.post(f"/v1/officers/withdrawals/{withdrawal_id}/approvals", body),
        await ko.post(f"/v1/officers/withdrawals/{uuid7(api.clock)}/approvals", body),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "approver_is_no_officer")
    async with api.database.session() as session:
        assert await session.scalar(select(ChainApproval.id)) is None


async def test_what_is_no_approval_is_refused_and_nothing_is_kept(api, aye, may, hla, subtests):
    first, second = await awaited(api, aye), await awaited(api, may)
    good = await approval(may, first)
    own = await approval(may, second)
    for whose, body, code in [
        (second, own, "approval_of_own_withdrawal"),
        (first, own, "approval_signature_wrong"),
        (first, {**good, "signature": "!" * 88}, "approval_signature_wrong"),
        (first, {**good, "signature": "A" * 86 + "=="}, "approval_signature_wrong"),
        (first, {**good, "expires_at": good["expires_at"] + 1}, "approval_signature_wrong"),
        (first, {**good, "expires_at": good["expires_at"] + 86_400}, "approval_times_malformed"),
        (first, {**good, "signature": "A"}, "request_malformed"),
        (first, {**good, "officer": "hla"}, "request_malformed"),
        (str(uuid7(api.clock)), good, "withdrawal_not_found"),
        ("x", good, "id_malformed"),
    ]:
        with subtests.test(code=code):
            answer = await may.post(f"/v1/officers/withdrawals/{whose}/approvals", body)
            assert answer.json()["code"] == code
    api.clock.advance(3_600)
    answer = await may.post(f"/v1/officers/withdrawals/{first}/approvals", good)
    assert answer.json()["code"] == "approval_expired"
    # Another officer's signature, sent as one's own.
    theirs = await approval(hla, first)
    answer = await may.post(f"/v1/officers/withdrawals/{first}/approvals", theirs)
    assert answer.json()["code"] == "approval_signature_wrong"
    async with api.database.session() as session:
        assert await session.scalar(select(ChainApproval.id)) is None


async def test_the_order_names_the_person_who_asked(api, aye):
    body = order(api)
    await aye.post("/v1/withdrawals", body)
    async with api.database.session() as session:
        found = await session.get_one(ChainOrder, UUID(body["id"]))
        person = await session.scalar(
            select(Device.person_id).where(Device.key_id == key_id(aye.key.public_jwk))
        )
    assert (found.requester, int(found.fee or 0)) == (person, 1_000_000)
    assert checksum(found.to_address) == OUTSIDE


class TestQuotes:
    async def test_a_quote_is_used_once_named_and_bound_to_its_amount(self, api, aye, ko, refusals):
        answer = await aye.post("/v1/withdrawals/quotes", {"asset": "USDT", "amount": "20"})
        assert answer.status_code == 201
        quote = answer.json()
        assert quote == {
            "id": quote["id"],
            "asset": "USDT",
            "amount": "20.000000",
            "fee": "1.000000",
            "total": "21.000000",
            "expires_at": "2027-01-15T08:10:00.000000Z",
            "young": "0.000000",
            "young_rooms": [
                {"window": "day", "limit": "1000.000000", "left": "1000.000000", "more_at": None},
                {"window": "week", "limit": "5000.000000", "left": "5000.000000", "more_at": None},
            ],
        }
        for phone, change, code in [
            (aye, {"amount": "21"}, "quote_is_for_another"),
            (ko, {}, "quote_not_found"),
            (aye, {"quote_id": str(uuid7(api.clock))}, "quote_not_found"),
            (aye, {"quote_id": "z" * 36}, "id_malformed"),
            (aye, {"quote_id": "z"}, "request_malformed"),
        ]:
            body = order(api, **{"quote_id": quote["id"], **change})
            assert await refusals.code(phone.post("/v1/withdrawals", body), nonces=1) == code
        answer = await aye.post("/v1/withdrawals", order(api, quote_id=quote["id"]))
        assert (answer.status_code, answer.json()["fee"]) == (201, "1.000000")
        api.clock.advance(600)
        late = order(api, quote_id=quote["id"])
        assert await refusals.code(aye.post("/v1/withdrawals", late), nonces=1) == "quote_expired"

    async def test_what_cannot_be_withdrawn_is_not_quoted(self, aye, refusals):
        for body, code in [
            ({"asset": "XAU", "amount": "1"}, "asset_not_on_chain"),
            ({"asset": "USDT", "amount": "0"}, "withdrawal_amount_not_positive"),
            ({"asset": "USDT", "amount": "0.0000001"}, "amount_too_precise"),
            ({"asset": "USDT"}, "request_malformed"),
        ]:
            assert await refusals.code(aye.post("/v1/withdrawals/quotes", body), nonces=1) == code
