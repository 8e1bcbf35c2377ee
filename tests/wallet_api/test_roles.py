"""Role × officers' operation, generated from the OpenAPI document: allowed is what the table allows."""

import json

import pytest

from foundation.ids import uuid7
from identity.officers import appoint_officer
from identity.roles import RIGHTS, Action, Role
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_officers import appointed, approval, awaited
from tests.wallet_api.test_recalls import asked
from tests.wallet_api.test_withdrawals import deployment
from wallet_api.openapi import DOCUMENT

__all__ = ["deployment"]

ACTIONS = {
    "GET /v1/officers/withdrawals": Action.SEE_WITHDRAWALS,
    "GET /v1/officers/withdrawals/{withdrawal_id}/statement": Action.SEE_WITHDRAWALS,
    "POST /v1/officers/withdrawals/{withdrawal_id}/approvals": Action.APPROVE_WITHDRAWAL,
    "GET /v1/officers/breaker": Action.SEE_BREAKER,
    "GET /v1/officers/breaker/{trip_id}/statement": Action.SEE_BREAKER,
    "POST /v1/officers/breaker/{trip_id}/signatures": Action.RELEASE_BREAKER,
    "POST /v1/officers/breaker/releases": Action.RELEASE_BREAKER,
    "GET /v1/officers/blocked_receivers": Action.SEE_BLOCKED_RECEIVERS,
    "POST /v1/officers/blocked_receivers": Action.BLOCK_RECEIVER,
    "GET /v1/officers/duress_logins": Action.SEE_DURESS_LOGINS,
    "GET /v1/officers/recalls": Action.SEE_RECALLS,
    "POST /v1/officers/recalls/{recall_id}/votes": Action.DECIDE_RECALL,
    "GET /v1/officers/reviews": Action.SEE_REVIEWS,
    "POST /v1/officers/reviews/{withdrawal_id}/close": Action.CLOSE_REVIEW,
}
"""What each operation is, which the description does not say."""

DESCRIPTION = json.loads(DOCUMENT.read_text())
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
    if path.startswith("/v1/officers")
}


def test_every_officers_operation_has_its_action():
    assert set(ACTIONS) == set(OPERATIONS)


@pytest.mark.parametrize("role", Role)
async def test_a_role_opens_the_operations_of_its_actions_and_no_other(api: API, role: Role):
    phone = await appointed(api, "su_su", [role])
    for name, operation in OPERATIONS.items():
        method, path = name.split()
        for parameter in ("withdrawal_id", "trip_id", "recall_id"):
            path = path.replace(f"{{{parameter}}}", str(uuid7(api.clock)))
        body = None
        if "requestBody" in operation:
            body = operation["requestBody"]["content"]["application/json"]["example"]
        answer = await phone.send(method, path, body)
        code = answer.json().get("code")
        assert code != "approver_is_no_officer", name
        assert (code == "officer_role_missing") is (role not in RIGHTS[ACTIONS[name]].roles), name
        assert (answer.status_code == 403) is (code == "officer_role_missing"), name


async def test_a_role_that_is_taken_away_counts_no_more_nor_does_its_vote(api, aye, ko):
    _, recall_id = await asked(api, aye, ko)
    assert (await ko.post(f"/v1/recalls/{recall_id}/decline")).status_code == 200
    officers = {handle: await appointed(api, handle) for handle in ("may_may", "hla_hla", "su_su")}
    votes = f"/v1/officers/recalls/{recall_id}/votes"
    assert (await officers["may_may"].post(votes, {"says": "return"})).status_code == 200
    await give(api, officers["may_may"], [Role.TREASURY])
    second = (await officers["hla_hla"].post(votes, {"says": "return"})).json()
    assert (second["recall"]["state"], [one["by"] for one in second["votes"]]) == ("disputed", ["hla_hla"])
    refused = await officers["may_may"].post(votes, {"says": "return"})
    assert (refused.status_code, refused.json()["code"]) == (403, "officer_role_missing")
    third = (await officers["su_su"].post(votes, {"says": "return"})).json()
    assert third["recall"]["state"] == "returned"


async def test_an_approval_needs_treasury_at_the_very_moment_it_is_sent(api, aye):
    may = await appointed(api, "may_may")
    withdrawal_id = await awaited(api, aye)
    body = await approval(may, withdrawal_id)
    await give(api, may, [Role.COMPLIANCE, Role.SUPPORT])
    path = f"/v1/officers/withdrawals/{withdrawal_id}/approvals"
    assert (await may.post(path, body)).json()["code"] == "officer_role_missing"
    await give(api, may, [Role.TREASURY])
    assert (await may.post(path, body)).json() == {"approvals": 1}


async def give(api: API, phone: Phone, roles: list[Role]) -> None:
    wallet = await api.connections.wallets.by_handle(phone.handle.removeprefix("@"))
    assert wallet is not None
    async with api.database.session() as session:
        name = phone.handle.removeprefix("@")
        await appoint_officer(session, api.clock, person_id=wallet.person_id, name=name, roles=roles)
