"""The client's PIN, sessions and devices."""

import httpx
import pytest
from nugpay_client import (
    DeviceClock,
    DeviceKey,
    DeviceRevoked,
    NotAuthenticated,
    NotFound,
    RequestRefused,
    TooManyRequests,
    Wallet,
    key_id,
)

from tests.wallet_api.conftest import BASE

PIN, DURESS = "730512", "518274"


@pytest.fixture
async def aye(wallets):
    wallet = await wallets("@aye_aye", "100")
    await wallet.security.set_pin(PIN, duress_pin=DURESS, decoy_handle="@aye_two")
    return wallet


async def test_the_pin_that_was_given_says_which_wallet_is_open(aye):
    with pytest.raises(NotAuthenticated) as refused:
        await aye.info()
    assert refused.value.problem.code == "session_missing"
    for pin, handle in ((PIN, "@aye_aye"), (DURESS, "@aye_two")):
        await aye.security.log_in(pin)
        assert (await aye.info()).handle == handle


async def test_a_wrong_pin_is_sent_once_and_counted(aye, network):
    network.seen.clear()
    with pytest.raises(RequestRefused) as refused:
        await aye.security.log_in("840613")
    assert refused.value.problem.data["tries_left"] == 9
    assert network.seen == [("POST", "/v1/sessions")]
    for _ in range(4):
        with pytest.raises(RequestRefused, match="pin_wrong"):
            await aye.security.log_in("840613")
    with pytest.raises(TooManyRequests) as delayed:
        await aye.security.log_in(PIN)
    assert delayed.value.problem.data["retry_after_seconds"] == 30


async def test_sessions_and_devices_are_seen_and_ended(aye, wallets):
    await aye.security.log_in(PIN)
    (session,) = await aye.security.sessions()
    (device,) = await aye.security.devices()
    assert session.device_id == device.id
    assert device.revoked_at is None

    second = await wallets("@second")
    given = await aye.security.device_code()
    # The code is good, and that key is somebody's already.
    with pytest.raises(RequestRefused) as refused:
        await second.enrol(given.code)
    assert refused.value.code == "device_already_enrolled"

    await aye.security.end_session(session.id)
    with pytest.raises(NotAuthenticated, match="session_over"):
        await aye.info()
    await aye.security.log_in(PIN)
    await aye.security.log_out_everywhere()
    await aye.security.log_in(PIN)
    await aye.security.set_pin("951620", current_pin=PIN)
    await aye.security.revoke_device(device.id)
    with pytest.raises(DeviceRevoked):
        await aye.security.log_in("951620")


async def test_friends_let_a_new_phone_in(api, aye, wallets, network):
    await aye.security.log_in(PIN)
    friends = [await wallets(f"@friend_{name}") for name in ("one", "two")]
    set_up = await aye.recovery.trust(["@friend_one", "@friend_two"])
    assert (set_up.trusted, set_up.needed, set_up.claims) == (2, 2, ())
    keys = [DeviceKey.generate(), DeviceKey.generate()]
    clock = DeviceClock(lambda: api.clock.now_ns() / 10**9)
    async with httpx.AsyncClient(transport=network) as http:
        refused, found = [Wallet(BASE, key, http=http, clock=clock) for key in keys]
        for friend in friends:
            await friend.recovery.vouch("@aye_aye", key_id(keys[0].public_jwk))
        with pytest.raises(RequestRefused, match="recovery_waiting"):
            await refused.recovery.complete()
        assert await aye.recovery.refuse() == 1
        with pytest.raises(NotFound, match="recovery_not_found"):
            await refused.recovery.complete()
        claims = [await friend.recovery.vouch("@aye_aye", key_id(keys[1].public_jwk)) for friend in friends]
        assert [claim.vouched for claim in claims] == [1, 2]
        assert (await aye.recovery.state()).claims == (claims[1],)
        api.clock.advance(72 * 3600)
        device_id = await found.recovery.complete()
        assert await found.recovery.complete() == device_id
        await found.security.log_in(PIN)
        assert (await found.info()).handle == "@aye_aye"
    with pytest.raises(DeviceRevoked):
        await aye.security.log_in(PIN)
