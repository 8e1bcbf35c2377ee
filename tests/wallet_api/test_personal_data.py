"""Personal data over HTTP: its owner's alone, of one form and size in both views, and in no log."""

import logging
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import text

from foundation.logs import redact
from foundation.settings import get_settings
from identity.decoys import decoy_of
from identity.officers import appoint_officer
from identity.personal_accesses import LISTED_MAX, PersonalAccessRefused, read_as_officer
from identity.roles import Role
from ops.cli import personal
from ops.errors import OperationError
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_duress import form, pinned
from tests.wallet_api.test_officers import appointed
from tests.wallet_api.test_pins import DURESS, PIN
from wallet_api.mobile.personal_data import ACCESS_BYTES

__all__ = ["pinned"]

PATH = "/v1/wallet/personal_data"
NOTHING = {
    "display_name": None,
    "contact": None,
    "legal_name": None,
    "registration_number": None,
    "given_at": None,
    "erased_at": None,
}
LONGEST = {
    "display_name": "\U0001f375" * 60,
    "contact": '"\U0001f375' * 100,
    "legal_name": "\U0001f375" * 120,
    "registration_number": "\\" * 60,
}
SECRETS = {"display_name": "Daw Aye Aye Khin", "contact": "behind the blue pagoda"}


async def make_business(api: API, handle: str) -> None:
    async with api.database.session() as session:
        query = text("UPDATE wallets_wallet SET tier = 'business' WHERE handle = :handle")
        await session.execute(query, {"handle": handle})


async def test_it_is_given_read_replaced_and_erased(api, aye):
    assert (await aye.get(PATH)).json() == NOTHING
    given = await aye.put(PATH, SECRETS)
    now = "2027-01-15T08:00:00.000000Z"
    assert (given.status_code, given.json()) == (200, NOTHING | SECRETS | {"given_at": now})
    assert (await aye.get(PATH)).json() == given.json()
    api.clock.advance(60)
    then = "2027-01-15T08:01:00.000000Z"
    replaced = await aye.put(PATH, {"display_name": "Aye", "contact": None})
    assert replaced.json() == NOTHING | {"display_name": "Aye", "given_at": then}
    for _ in range(2):
        erased = await aye.delete(PATH)
        assert (erased.status_code, erased.json()) == (200, NOTHING | {"erased_at": then})
        assert (await aye.get(PATH)).json() == erased.json()
        api.clock.advance(60)


async def test_papers_are_kept_of_businesses_and_of_nobody_else(api, aye, refusals):
    for papers in ({"legal_name": "Tea Co."}, {"registration_number": "1"}):
        assert await refusals.code(aye.put(PATH, papers), nonces=1) == "personal_data_tier_needed"
    await make_business(api, "aye_aye")
    api.connections.wallets = type(api.connections.wallets)(api.database, api.ledger, api.clock)
    given = (await aye.put(PATH, LONGEST)).json()
    assert given | LONGEST == given


async def test_what_is_no_personal_data_is_refused_and_not_told_again(aye, refusals):
    secret = "behind the blue pagoda"
    for body in (
        {"display_name": secret * 3},
        {"contact": ""},
        {"contact": f"{secret}\n"},
        {"contact": f"\u202e{secret}"},
        {"contact": [secret]},
        {"address": secret},
    ):
        assert await refusals.code(aye.put(PATH, body), nonces=1) == "request_malformed"
        assert secret not in (await aye.put(PATH, body)).text


async def test_nobody_has_it_but_its_owner_in_a_session_or_signed(api, aye, ko):
    await aye.put(PATH, SECRETS)
    assert (await ko.get(PATH)).json() == NOTHING
    stranger = await api.enrolled()
    for answer in (
        await api.http.get(PATH),
        await api.http.delete(PATH),
        await stranger.get(PATH),
        await stranger.put(PATH, SECRETS),
    ):
        assert answer.status_code in {401, 409}
    assert (await aye.set_pin(PIN)).status_code == 200
    for answer in (await aye.get(PATH), await aye.put(PATH, SECRETS), await aye.delete(PATH)):
        assert answer.json()["code"] == "session_missing"
    await aye.log_in(PIN)
    assert (await aye.read(PATH)).json()["display_name"] == SECRETS["display_name"]
    token = {"Authorization": f"Bearer {aye.token}"}
    assert (await api.http.delete(PATH, headers=token)).status_code == 401, "a change is signed"
    assert (await aye.read(PATH)).json()["contact"] == SECRETS["contact"]


async def test_under_duress_it_is_the_decoys_and_every_answer_has_one_form_and_size(api, pinned, aye):
    await make_business(api, "aye_aye")
    api.connections.wallets = type(api.connections.wallets)(api.database, api.ledger, api.clock)
    await pinned.log_in(PIN)
    assert (await pinned.put(PATH, LONGEST)).status_code == 200
    owner = (await api.connections.wallets.by_handle("aye_aye")).person_id
    await officer(api)
    for _ in range(LISTED_MAX + 1):
        await read_as_officer(api.connections.personal, person_id=owner, by="hla", reason="x")
    sizes = {}
    for pin in (PIN, DURESS):
        await pinned.log_in(pin)
        own = LONGEST if pin == PIN else {"display_name": "A"}
        answers = [await pinned.put(PATH, own), await pinned.get(PATH), await pinned.read(PATH)]
        looks = await pinned.get(f"{PATH}/accesses")
        assert len(looks.json()["accesses"]) == (LISTED_MAX if pin == PIN else 0)
        sizes[pin] = [seen(each) for each in (*answers, looks, await pinned.delete(PATH))]
    assert sizes[PIN] == sizes[DURESS]
    # Erased in the decoy's view, and in the real one before: each its own.
    assert (await pinned.get(PATH)).json()["given_at"] is None
    await pinned.log_in(PIN)
    assert (await pinned.get(PATH)).json()["erased_at"] is not None
    decoy = decoy_of(api.connections.pins.pepper, owner)
    assert (await api.connections.personal.read(decoy)).erased_at is not None


async def test_what_one_view_gives_the_other_does_not_see(pinned):
    await pinned.log_in(PIN)
    await pinned.put(PATH, SECRETS)
    await pinned.log_in(DURESS)
    assert (await pinned.get(PATH)).json() == NOTHING
    await pinned.put(PATH, {"display_name": "Somebody"})
    await pinned.delete(PATH)
    await pinned.log_in(PIN)
    assert (await pinned.get(PATH)).json()["display_name"] == SECRETS["display_name"]


async def test_a_look_fits_into_the_bytes_that_are_kept_for_it(api, aye):
    longest = max(Role, key=len)
    line = f'{{"at":"2027-01-15T08:00:00.000000Z","role":"{longest}"}},'
    assert len(line) <= ACCESS_BYTES


async def test_it_is_in_no_sync_history_or_wallet_of_anybody(aye, ko):
    await aye.put(PATH, SECRETS)
    await aye.pay(ko, "5")
    for phone in (aye, ko):
        for path in ("/v1/sync", "/v1/history", "/v1/wallet", f"/v1/handles/{aye.handle}"):
            answer = await phone.get(path)
            assert answer.status_code == 200
            assert not any(secret in answer.text for secret in SECRETS.values())


async def test_no_log_has_any_of_it_however_it_goes(api, aye, capfd, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)
    lines: list[str] = []

    def keep(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        lines.append(repr(event))
        return ""

    structlog.configure(processors=[structlog.processors.format_exc_info, keep])
    try:
        await officer(api)
        owner = (await api.connections.wallets.by_handle("aye_aye")).person_id
        await aye.put(PATH, SECRETS)
        await aye.get(PATH)
        await aye.put(PATH, SECRETS | {"legal_name": SECRETS["display_name"]})
        await aye.put(PATH, {"contact": SECRETS["contact"] * 20})
        await read_as_officer(api.connections.personal, person_id=owner, by="hla", reason="a report")
        async with api.database.session() as session:
            await session.execute(text("UPDATE identity_personal_key SET version = 7"))
        assert (await aye.get(PATH)).json()["code"] == "personal_data_unreadable"

        def broken(*_how: object) -> bytes:
            raise RuntimeError("out of memory")

        monkeypatch.setattr("identity.personal_data.seal", broken)
        failed = await aye.put(PATH, SECRETS)
        assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
        await aye.delete(PATH)
        structlog.get_logger().info("the very last line")
    finally:
        structlog.reset_defaults()
        logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    out, err = capfd.readouterr()
    logged = "\n".join([out, err, caplog.text, *lines])
    assert "the very last line" in logged
    assert "out of memory" in logged, "what went wrong is in it"
    assert "identity_personal_text" in logged, "what the database was asked is in it"
    for secret in SECRETS.values():
        assert secret not in logged


def test_a_log_line_that_had_it_by_mistake_is_redacted():
    event = redact(None, "info", {"event": "x", "asked": {"contact": "behind", "display_name": "Aye"}})
    assert event["asked"] == {"contact": "[redacted]", "display_name": "[redacted]"}


async def officer(api: API) -> Phone:
    phone = await appointed(api, "hla_hla", [Role.COMPLIANCE])
    wallet = await api.connections.wallets.by_handle("hla_hla")
    assert wallet is not None
    async with api.database.session() as session:
        how: dict[str, Any] = {"person_id": wallet.person_id, "name": "hla", "roles": [Role.COMPLIANCE]}
        await appoint_officer(session, api.clock, **how)
    return phone


class TestTheCommand:
    @pytest.fixture
    async def terminal(self, api: API, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("NUGPAY_HOME", str(api.connections.settings.home))
        monkeypatch.setenv("NUGPAY_DATABASE_URL", api.database.url)
        get_settings.cache_clear()
        yield
        get_settings.cache_clear()

    @pytest.mark.usefixtures("terminal")
    async def test_an_officer_reads_with_a_reason_and_the_owner_sees_it(self, api, aye):
        phone = await officer(api)
        assert await personal._show("@aye_aye", "hla", "asked for help") == "nothing is there"
        await aye.put(PATH, SECRETS)
        shown = (await personal._show("@aye_aye", "hla", "a report")).splitlines()
        assert shown[:2] == [f"{name}  {value}" for name, value in SECRETS.items()]
        (newest, first) = (await aye.get(f"{PATH}/accesses")).json()["accesses"]
        assert (newest["role"], set(newest), set(first)) == ("compliance", {"at", "role"}, {"at", "role"})
        await appointed(api, "aung_aung", [Role.AUDITOR])
        newest, first = (await personal._accesses("aung_aung")).splitlines()
        assert newest.endswith("by hla as compliance: a report")
        assert first.endswith("by hla as compliance: asked for help")
        with pytest.raises(PersonalAccessRefused, match="in office as auditor"):
            await personal._accesses("hla")
        with pytest.raises(PersonalAccessRefused, match="own"):
            await personal._show(phone.handle, "hla", "my own")
        with pytest.raises(PersonalAccessRefused, match="in office as compliance"):
            await personal._show("@aye_aye", "nobody", "curious")
        with pytest.raises(OperationError, match="no wallet @nobody"):
            await personal._show("@nobody", "hla", "curious")

    @pytest.mark.usefixtures("terminal")
    async def test_the_key_is_rotated_and_the_api_reads_on(self, aye, ko):
        for phone in (aye, ko):
            await phone.put(PATH, SECRETS)
        await ko.delete(PATH)
        before = (await personal._status()).splitlines()
        assert before[1:] == [
            "1 people have given data",
            "1 erasures since: backups of before them open until the next rotation",
        ]
        told = await personal._rotate(give_up=False)
        assert told.endswith("wraps now: 1 rewrapped; the key of before is destroyed")
        assert (await aye.get(PATH)).json()["display_name"] == SECRETS["display_name"]
        assert before[0] != (await personal._status()).splitlines()[0]

    @pytest.mark.usefixtures("terminal", "aye")
    async def test_a_first_key_is_made_where_there_is_none(self, api):
        api.connections.settings.personal_keys_path.unlink()
        assert (await personal._rotate(give_up=False)).endswith(" made")
        assert api.connections.settings.personal_keys_path.stat().st_mode & 0o777 == 0o600


def seen(answer: httpx.Response) -> tuple[object, ...]:
    """``form`` but for which texts are there: status, headers, size and names."""
    status, headers, size, _ = form(answer)
    return status, headers, size, sorted(answer.json())
