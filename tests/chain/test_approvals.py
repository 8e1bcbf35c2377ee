"""Officers' approvals, the allow-list and the caps of a day: what the signer holds by itself."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chain.approvals import APPROVALS_READ_MAX, store_approval
from chain.errors import ChainCode
from chain.fees import Fees
from chain.orders import read_order
from chain.signer_client import SignerClient
from chain.signer_policy import (
    CapsText,
    OfficerText,
    PolicyError,
    SignerPolicy,
    load_policy,
    policy_path,
    write_policy,
)
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal, Retryable
from foundation.ids import uuid7
from identity.keys import PublicKey
from tests.fixtures.contracts import WHOLE, running_signer
from tests.fixtures.officers import OfficerDevice, p256_officer
from tests.fixtures.sending import CUSTOMER
from tests.fixtures.signing import Orders, code_and_why

COLD = "0x" + "c0" * 20
"""A receiver on the allow-list."""
BLOCKED = "0x" + "bb" * 20
"""A receiver that is never paid."""

CAPS = CapsText(
    per_transaction=str(1_000 * WHOLE),
    per_hour=str(2_500 * WHOLE),
    per_day=str(4_000 * WHOLE),
    without_officers=str(100 * WHOLE),
    to_anyone=str(500 * WHOLE),
)


class Bureau:
    """Three officers, a policy that names two and a half of them, and orders."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.may, self.hla = OfficerDevice("may"), p256_officer("hla")
        self.ko = OfficerDevice("ko", known_as=(uuid7(orders.clock),))
        self.stranger = OfficerDevice("stranger")

    def policy(self, **changes: Any) -> SignerPolicy:
        officers = tuple(one.in_policy() for one in (self.may, self.hla, self.ko))
        policy = SignerPolicy(
            caps={"USDT": CAPS}, officers=officers, allowed_receivers=(COLD,), blocked_receivers=(BLOCKED,)
        )
        return msgspec.structs.replace(policy, **changes)

    async def approve(self, order_id: Any, *officers: OfficerDevice, **times: int) -> None:
        orders = self.orders
        for officer in officers:
            await officer.approve(
                orders.database, orders.clock, orders.contracts.deployment, order_id, **times
            )

    async def why(self, signer: SignerClient, order_id: Any, **asked: Any) -> str:
        """Why the signer thinks that too few approved; the same when it only looks."""
        refusal = await self.orders.refusal(signer, order_id, **asked)
        with pytest.raises(Refusal) as looked:
            await signer.check(order_id=order_id, chain_id=31337)
        assert code_and_why(looked.value) == code_and_why(refusal)
        assert refusal.code is ChainCode.APPROVALS_MISSING
        assert refusal.retryable is Retryable.YES
        assert refusal.data["signed_before"] is False
        return str(refusal.data["why"])


@pytest.fixture
def bureau(orders: Orders) -> Bureau:
    return Bureau(orders)


@pytest.fixture
async def signer(bureau: Bureau, database: Database, clock: SettableClock) -> AsyncIterator[SignerClient]:
    async with running_signer(bureau.orders.contracts, database, clock, policy=bureau.policy()) as client:
        yield client


class TestOfficers:
    async def test_the_threshold_itself_needs_nobody_and_a_unit_more_needs_two(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        await bureau.orders.sign(signer, await bureau.orders.withdrawal(100 * WHOLE))

        order_id = await bureau.orders.withdrawal(100 * WHOLE + 1)
        assert await bureau.why(signer, order_id, nonce=1) == "too_few"
        await bureau.approve(order_id, bureau.may)
        assert await bureau.why(signer, order_id, nonce=1) == "too_few"
        await bureau.approve(order_id, bureau.hla)
        await signer.check(order_id=order_id, chain_id=31337)
        await bureau.orders.sign(signer, order_id, nonce=1)

        lines = bureau.orders.log_lines()
        assert [line["officers"] for line in lines] == [[], ["hla", "may"]]

    async def test_one_officer_twice_is_one_officer(self, bureau: Bureau, signer: SignerClient) -> None:
        order_id = await bureau.orders.withdrawal(200 * WHOLE)
        await bureau.approve(order_id, bureau.may, lasts=100)
        await bureau.approve(order_id, bureau.may, lasts=200)

        assert await bureau.why(signer, order_id) == "too_few"

    async def test_one_officer_many_times_keeps_nobody_elses_approval_out(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        order_id = await bureau.orders.withdrawal(200 * WHOLE)
        for more in range(APPROVALS_READ_MAX + 1):
            await bureau.approve(order_id, bureau.may, lasts=80_000 + more)
        await bureau.approve(order_id, bureau.hla)
        await bureau.orders.sign(signer, order_id)

    async def test_who_is_not_in_the_policy_counts_for_nothing(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        order_id = await bureau.orders.withdrawal(200 * WHOLE)
        await bureau.approve(order_id, bureau.may, bureau.stranger)

        assert await bureau.why(signer, order_id) == "too_few"

    async def test_the_requester_does_not_approve_their_own(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        own = await bureau.orders.withdrawal(200 * WHOLE, requester=bureau.ko.known_as[0])
        await bureau.approve(own, bureau.may, bureau.ko)
        assert await bureau.why(signer, own) == "by_requester"

        others = await bureau.orders.withdrawal(200 * WHOLE)
        await bureau.approve(others, bureau.may, bureau.ko)
        await bureau.orders.sign(signer, others)

    async def test_an_order_of_an_unknown_requester_is_not_approved_by_anybody(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        order_id = await bureau.orders.withdrawal(200 * WHOLE)
        await bureau.orders.change(order_id, requester=None)
        await bureau.approve(order_id, bureau.may, bureau.hla)

        assert await bureau.why(signer, order_id) == "requester"

    async def test_an_approval_replayed_on_another_withdrawal_is_worth_nothing(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        orders, requester = bureau.orders, uuid7(bureau.orders.clock)
        first = await orders.withdrawal(200 * WHOLE, requester=requester)
        # The same in everything but the id.
        second = await orders.withdrawal(200 * WHOLE, requester=requester)
        for officer in (bureau.may, bureau.hla):
            approval = await officer.approve(
                orders.database, orders.clock, orders.contracts.deployment, first
            )
            async with orders.database.session() as session:
                await store_approval(session, orders.clock, second, approval)

        assert await bureau.why(signer, second) == "signature"
        await orders.sign(signer, first)

    @pytest.mark.parametrize(
        "change",
        [
            {"amount": 201 * WHOLE},
            {"to_address": "0x" + "aa" * 20},
            {"fee": 0},
            {"requester": "019b2c5e-0000-7000-8000-000000000001"},
            {"token": "DMMK"},
        ],
        ids=["amount", "receiver", "fee", "requester", "token"],
    )
    async def test_an_order_changed_after_it_was_approved_is_not_approved(
        self, bureau: Bureau, database: Database, clock: SettableClock, change: dict[str, Any]
    ) -> None:
        order_id = await bureau.orders.withdrawal(200 * WHOLE)
        await bureau.approve(order_id, bureau.may, bureau.hla)
        if "token" in change:
            change = {"token": bureau.orders.contracts.token("DMMK")}
        await bureau.orders.change(order_id, **change)

        policy = bureau.policy(caps={"USDT": CAPS, "DMMK": CAPS})
        async with running_signer(bureau.orders.contracts, database, clock, policy=policy) as signer:
            assert await bureau.why(signer, order_id) == "signature"

    async def test_approvals_expire_and_may_be_given_anew(self, bureau: Bureau, signer: SignerClient) -> None:
        order_id = await bureau.orders.withdrawal(200 * WHOLE)
        await bureau.approve(order_id, bureau.may, bureau.hla, lasts=600)
        bureau.orders.clock.advance(600)

        assert await bureau.why(signer, order_id) == "expired"
        await bureau.approve(order_id, bureau.may, bureau.hla, lasts=600)
        bureau.orders.clock.advance(599)
        await bureau.orders.sign(signer, order_id)

    @pytest.mark.parametrize(
        ("times", "why"), [({"since": 301}, "from_the_future"), ({"lasts": 86_401}, "too_long")]
    )
    async def test_approvals_that_would_outlast_their_day_are_not_counted(
        self, bureau: Bureau, signer: SignerClient, times: dict[str, int], why: str
    ) -> None:
        order_id = await bureau.orders.withdrawal(200 * WHOLE)
        await bureau.approve(order_id, bureau.may, bureau.hla, **times)

        assert await bureau.why(signer, order_id) == why

    async def test_an_approval_on_another_vault_is_worth_nothing_here(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        orders = bureau.orders
        order_id = await orders.withdrawal(200 * WHOLE)
        for elsewhere in ({"vault": "0x" + "12" * 20}, {"chain_id": 1}):
            deployment = msgspec.structs.replace(orders.contracts.deployment, **elsewhere)
            async with orders.database.session() as session:
                order = await read_order(session, order_id)
                assert order is not None
                for lasts, officer in enumerate((bureau.may, bureau.hla), start=100):
                    approval = officer.approval(order, deployment, orders.clock, lasts=lasts)
                    await store_approval(session, orders.clock, order_id, approval)

            assert await bureau.why(signer, order_id) == "signature"

    async def test_what_is_signed_is_replaced_with_higher_fees_after_its_approvals_expired(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        order_id = await bureau.orders.withdrawal(200 * WHOLE)
        await bureau.approve(order_id, bureau.may, bureau.hla, lasts=60)
        await bureau.orders.sign(signer, order_id)
        bureau.orders.clock.advance(3_600)

        # Its money may move already; that it gets mined is all that is left to do.
        await bureau.orders.sign(signer, order_id, fees=Fees(3_000_000_000, 2_000_000_000))


class TestReceivers:
    async def test_a_blocked_receiver_is_never_paid(self, bureau: Bureau, signer: SignerClient) -> None:
        refusal = await bureau.orders.refusal(signer, await bureau.orders.withdrawal(1, to=BLOCKED))

        assert code_and_why(refusal) == (ChainCode.RECEIVER_BLOCKED_BY_SIGNER, "blocked")
        assert refusal.retryable is Retryable.NO

    async def test_much_goes_to_receivers_on_the_allow_list_only(
        self, bureau: Bureau, signer: SignerClient
    ) -> None:
        asked = [
            await bureau.orders.withdrawal(500 * WHOLE + 1),
            await bureau.orders.withdrawal(500 * WHOLE + 1, to=COLD),
            await bureau.orders.withdrawal(500 * WHOLE, to=CUSTOMER),
        ]
        for order_id in asked:
            await bureau.approve(order_id, bureau.may, bureau.hla)

        refusal = await bureau.orders.refusal(signer, asked[0])
        assert code_and_why(refusal) == (ChainCode.RECEIVER_NOT_ALLOWED, "allow_list")
        for nonce, order_id in enumerate(asked[1:]):
            await bureau.orders.sign(signer, order_id, nonce=nonce)


class TestCapOfADay:
    async def test_a_day_is_counted_from_the_log_across_restarts_and_gives_room_back(
        self, bureau: Bureau, database: Database, clock: SettableClock
    ) -> None:
        orders, policy = bureau.orders, bureau.policy(officers=())
        caps = msgspec.structs.replace(CAPS, without_officers=None, to_anyone=None)
        policy = msgspec.structs.replace(policy, caps={"USDT": caps})
        for nonce in range(4):
            async with running_signer(orders.contracts, database, clock, policy=policy) as signer:
                await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=nonce)
            clock.advance(3_600)
        more = await orders.withdrawal(1)

        async with running_signer(orders.contracts, database, clock, policy=policy) as signer:
            refusal = await orders.refusal(signer, more, nonce=4)
            assert code_and_why(refusal) == (ChainCode.CAP_PER_DAY_EXCEEDED, "per_day")
            assert refusal.retryable is Retryable.YES
            clock.advance(86_400 - 4 * 3_600 - 1)
            await orders.refusal(signer, more, nonce=4)
            clock.advance(1)
            await orders.sign(signer, more, nonce=4)

    def test_a_policy_that_says_nothing_of_days_allows_no_more_than_in_an_hour(self) -> None:
        caps = SignerPolicy(caps={"USDT": CapsText("10", "20")}).caps_of("USDT")
        assert caps is not None
        assert (caps.per_day, caps.without_officers, caps.to_anyone) == (20, 10, 10)


class TestPolicyFile:
    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
    def test_a_policy_that_others_can_write_is_refused(self, home: Path, mode: int) -> None:
        write_policy(home, SignerPolicy(caps={"USDT": CAPS}))
        assert load_policy(home).caps == {"USDT": CAPS}
        policy_path(home).chmod(mode)

        with pytest.raises(PolicyError, match="written by others"):
            load_policy(home)

    def test_a_policy_in_a_directory_that_others_can_write_is_refused(self, home: Path) -> None:
        write_policy(home, SignerPolicy(caps={}))
        policy_path(home).parent.chmod(0o770)

        with pytest.raises(PolicyError, match="written by others"):
            load_policy(home)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_a_policy_of_another_user_is_refused(self, home: Path) -> None:
        write_policy(home, SignerPolicy(caps={}))
        os.chown(policy_path(home), 12_345, -1)

        with pytest.raises(PolicyError, match="another user"):
            load_policy(home)

    @pytest.mark.parametrize(
        "change",
        [
            {"caps": {"USDT": CapsText("10", "20", per_day="1e9")}},
            {"caps": {"USDT": CapsText("10", "20", without_officers="")}},
            {"allowed_receivers": ("0x12",)},
            {"blocked_receivers": ("nobody",)},
        ],
    )
    def test_what_could_be_misread_is_refused(self, home: Path, change: dict[str, Any]) -> None:
        write_policy(home, msgspec.structs.replace(SignerPolicy(caps={"USDT": CAPS}), **change))

        with pytest.raises(PolicyError):
            load_policy(home)

    def test_an_officer_who_could_count_for_two_is_refused(self) -> None:
        may, hla = OfficerDevice("may"), OfficerDevice("hla")
        doubles = [
            (may.in_policy(), msgspec.structs.replace(hla.in_policy(), name="may")),
            (may.in_policy(), msgspec.structs.replace(may.in_policy(), name="hla")),
            (may.in_policy(), OfficerText(name="hla", key={"kty": "OKP", "crv": "Ed25519", "x": "short"})),
        ]
        for officers in doubles:
            with pytest.raises(PolicyError):
                SignerPolicy(caps={}, officers=officers).officers_with(PublicKey.from_jwk)
