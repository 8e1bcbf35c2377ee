"""The client's personal data against the real API."""

import pytest
from nugpay_client import RequestRefused

from identity.officers import appoint_officer
from identity.personal_accesses import read_as_officer
from identity.roles import Role
from tests.client.test_wallet import lost_answer, lost_request


async def test_it_is_given_replaced_read_and_erased_whatever_is_lost_on_the_way(api, wallets, network):
    aye = await wallets("@aye_aye")
    assert (await aye.personal.get()).given_at is None
    network.accidents = [lost_request, lost_answer]
    given = await aye.personal.give(display_name="Daw Aye", contact="at the tea house")
    assert (given.display_name, given.contact, given.legal_name) == ("Daw Aye", "at the tea house", None)
    assert (given.given_at, given.erased_at) == (api.clock.now(), None)
    assert await aye.personal.get() == given
    assert "Aye" not in repr(given)
    assert (await aye.personal.give(contact="no more")).display_name is None
    network.accidents = [lost_answer]
    erased = await aye.personal.erase()
    assert (erased.contact, erased.given_at, erased.erased_at) == (None, None, api.clock.now())


async def test_the_owner_sees_who_looked(api, wallets):
    aye, may = await wallets("@aye_aye"), await wallets("@may_may")
    await aye.personal.give(display_name="Daw Aye")
    people = {}
    for wallet in (aye, may):
        handle = (await wallet.info()).handle.removeprefix("@")
        found = await api.connections.wallets.by_handle(handle)
        people[handle] = found.person_id
    async with api.database.session() as session:
        how = {"person_id": people["may_may"], "name": "may", "roles": [Role.COMPLIANCE]}
        await appoint_officer(session, api.clock, **how)
    personal = api.connections.personal
    await read_as_officer(personal, person_id=people["aye_aye"], by="may", reason="a report")
    (seen,) = await aye.personal.accesses()
    assert (seen.at, seen.role) == (api.clock.now(), "compliance")
    assert await may.personal.accesses() == []


async def test_papers_are_for_businesses(wallets):
    aye = await wallets("@aye_aye")
    for papers in ({"legal_name": "Golden Tea Co."}, {"registration_number": "1234"}):
        with pytest.raises(RequestRefused) as refused:
            await aye.personal.give(display_name="Aye", **papers)
        assert refused.value.code == "personal_data_tier_needed"
    assert (await aye.personal.get()).given_at is None
