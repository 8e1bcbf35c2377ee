"""Rotation: one key gives way to the next, and no payment is lost, doubled or forgotten by the caps."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from chain import rotation
from chain.administration import AdministrativeCall, execute, next_nonce
from chain.calldata import role
from chain.contract_reads import ContractRead, read_contracts
from chain.errors import ChainCode
from chain.fees import Fees
from chain.keystore import SIGNER_KEY, SigningKey, keys_dir, stored_key
from chain.lanes import give_place
from chain.order_status import OrderState
from chain.rotation import Rotation, RotationRefused, rotate_signer
from chain.rpc import RPC
from chain.sender import Sender
from chain.signer_client import SignerClient
from chain.signer_server import signing_log_path
from chain.signing_log import SigningLog, SigningLogError
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal
from tests.fixtures.contracts import WHOLE, ContractsOnChain, running_signer, write_withdrawal
from tests.fixtures.sending import CUSTOMER


class Bank:
    """A signer that can be stopped, and payments that are brought to their end."""

    def __init__(
        self, database: Database, rpc: RPC, clock: SettableClock, contracts: ContractsOnChain
    ) -> None:
        self.database, self.rpc, self.clock, self.contracts = database, rpc, clock, contracts
        self.sender = Sender(
            database=database,
            rpc=rpc,
            signer=SignerClient(contracts.home / "signer.sock"),
            clock=clock,
            deployment=contracts.deployment,
        )

    async def order(self, units: int = 10 * WHOLE) -> UUID:
        return await write_withdrawal(self.database, self.clock, self.contracts, to=CUSTOMER, units=units)

    def signer(self) -> Any:
        """The signer with the key that is in the keystore now."""
        self.contracts.signer_key = stored_key(self.contracts.home, SIGNER_KEY)
        return running_signer(self.contracts, self.database, self.clock)

    async def pay(self, order_id: UUID) -> None:
        """Have an order sent and final; the signer must run."""
        status = await self.sender.send(order_id)
        assert status.tx_hash is not None
        self.contracts.receipt(status.tx_hash)
        self.contracts.node.mine(3)
        assert (await self.sender.status(order_id)).state is OrderState.SUCCEEDED

    async def rotate(self, administrator: SigningKey | None) -> Rotation:
        return await rotate_signer(
            self.database,
            self.rpc,
            self.clock,
            self.contracts.home,
            self.contracts.deployment,
            administrator=administrator,
        )

    async def may_withdraw(self, address: str) -> bool:
        asked = (role("WITHDRAWER_ROLE"), address)
        read = ContractRead(self.contracts.deployment.vault, "hasRole(bytes32,address)", "bool", asked)
        [has_it] = await read_contracts(self.rpc, [read])
        return bool(has_it)

    def paid(self) -> int:
        return self.contracts.balance(CUSTOMER)


@pytest.fixture
def bank(database: Database, rpc: RPC, clock: SettableClock, contracts: ContractsOnChain) -> Bank:
    return Bank(database, rpc, clock, contracts)


async def test_the_new_key_pays_the_old_one_cannot_and_the_caps_remember_both(bank: Bank) -> None:
    old = bank.contracts.signer_key.address
    async with bank.signer():
        for _ in range(2):
            await bank.pay(await bank.order(1_000 * WHOLE))

    done = await bank.rotate(bank.contracts.administrator)

    assert done.is_done
    assert (done.old, done.new) == (old, stored_key(bank.contracts.home, SIGNER_KEY).address)
    assert old != done.new
    assert [await bank.may_withdraw(one) for one in (old, done.new)] == [False, True]
    kept = keys_dir(bank.contracts.home) / f"signer.retired-{old}.json"
    assert kept.exists()
    async with bank.signer() as signer:
        assert (await signer.identity()).address == done.new
        # The hour's cap is nearly used, by the old key.
        over = await bank.order(501 * WHOLE)
        with pytest.raises(Refusal) as refused:
            await signer.check(order_id=over, chain_id=31337)
        assert refused.value.code is ChainCode.CAP_PER_HOUR_EXCEEDED
        first = await bank.order(500 * WHOLE)
        # A worker that lives on still takes the old key for the signer's: it is told once.
        with pytest.raises(Refusal) as refused:
            await bank.sender.send(first)
        assert refused.value.code is ChainCode.NONCE_MISMATCH
        assert refused.value.data["signed_before"] is False
        await bank.pay(first)
    assert bank.paid() == 2_500 * WHOLE


async def test_an_order_of_the_old_key_is_never_signed_by_the_new_one(bank: Bank) -> None:
    async with bank.signer():
        order_id = await bank.order()
        await bank.pay(order_id)
    await bank.rotate(bank.contracts.administrator)
    async with bank.signer() as signer:
        for nonce in (0, 1):
            with pytest.raises(Refusal) as refused:
                await signer.sign(order_id=order_id, chain_id=31337, nonce=nonce, fees=Fees(10**11, 10**9))
            assert (refused.value.code, refused.value.data["why"]) == (
                ChainCode.NONCE_MISMATCH,
                "another_key",
            )


async def test_the_signer_must_be_stopped(bank: Bank) -> None:
    async with bank.signer():
        with pytest.raises(SigningLogError, match="another signer"):
            await bank.rotate(bank.contracts.administrator)


async def test_it_is_refused_while_a_payment_of_the_old_key_is_not_final(bank: Bank) -> None:
    node = bank.contracts.node
    node.set_automine(on=False)
    async with bank.signer():
        order_id = await bank.order()
        await bank.sender.send(order_id)
    with pytest.raises(RotationRefused, match="1 transactions"):
        await bank.rotate(bank.contracts.administrator)
    node.set_automine(on=True)
    node.mine(1)
    with pytest.raises(RotationRefused, match="1 transactions"):
        await bank.rotate(bank.contracts.administrator)
    node.mine(2)
    assert (await bank.rotate(bank.contracts.administrator)).is_done
    assert bank.paid() == 10 * WHOLE


async def test_a_signature_that_only_the_log_knows_holds_it_up(bank: Bank) -> None:
    async with bank.signer() as signer:
        order_id = await bank.order()
        async with bank.database.session() as session:
            await give_place(session, bank.contracts.signer_key.address, order_id, first_nonce=0)
        # The worker died before it stored the answer.
        await signer.sign(order_id=order_id, chain_id=31337, nonce=0, fees=Fees(10**11, 10**9))
    with pytest.raises(RotationRefused, match="1 transactions"):
        await bank.rotate(bank.contracts.administrator)
    async with bank.signer():
        await bank.pay(order_id)
    assert (await bank.rotate(bank.contracts.administrator)).is_done
    assert bank.paid() == 10 * WHOLE


async def test_a_nonce_that_was_given_and_never_signed_moves_to_the_new_lane(bank: Bank) -> None:
    order_id, late = await bank.order(), await bank.order()
    old = bank.contracts.signer_key.address
    async with bank.database.session() as session:
        await give_place(session, old, order_id, first_nonce=0)
    await bank.rotate(bank.contracts.administrator)
    # A worker that had not heard of it gave one more in the old lane.
    async with bank.database.session() as session:
        await give_place(session, old, late, first_nonce=0)
    async with bank.signer():
        await bank.pay(order_id)
        with pytest.raises(Refusal):
            await bank.sender.send(late)
        await bank.pay(late)
    assert bank.paid() == 20 * WHOLE


async def test_on_a_real_chain_the_calls_are_told_and_it_ends_once_they_are_made(bank: Bank) -> None:
    contracts = bank.contracts
    waiting = await bank.rotate(None)
    again = await bank.rotate(None)

    assert not waiting.is_done
    assert waiting == again, "the same new key, however often it is asked"
    assert [call.what.partition("(")[0] for call in waiting.calls] == ["Vault.grantRole", "Vault.revokeRole"]
    assert waiting.new in waiting.calls[0].text()
    # Not finished: the old key signs on.
    async with bank.signer():
        await bank.pay(await bank.order())
    nonce = await next_nonce(bank.rpc, contracts.administrator.address)
    calls = [AdministrativeCall(call.to, call.data, 200_000) for call in waiting.calls]
    await execute(bank.rpc, contracts.administrator, calls, chain_id=31337, first_nonce=nonce)

    done = await bank.rotate(None)
    assert (done.is_done, done.new) == (True, waiting.new)
    contracts.node.set_balance(done.new, 10**18)
    async with bank.signer():
        order_id = await bank.order()
        with pytest.raises(Refusal):
            await bank.sender.send(order_id)
        await bank.pay(order_id)


class Died(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("where", ["further_key", "_make", "append", "replace_key"])
async def test_killed_anywhere_it_is_run_again_and_ends(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, where: str, *, after: bool
) -> None:
    async with bank.signer():
        await bank.pay(await bank.order())
    old = bank.contracts.signer_key.address

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def die(*given: Any, **named: Any) -> Any:
            if after:
                real(*given, **named)
            raise Died

        async def die_later(*given: Any, **named: Any) -> Any:
            if after:
                await real(*given, **named)
            raise Died

        return die_later if where == "_make" else die

    with monkeypatch.context() as patch:
        target: Any = SigningLog if where == "append" else rotation
        patch.setattr(target, where, dying(getattr(target, where)))
        with pytest.raises(Died):
            await bank.rotate(bank.contracts.administrator)
    if (where, after) != ("replace_key", True):
        assert (await bank.rotate(bank.contracts.administrator)).is_done
    new = stored_key(bank.contracts.home, SIGNER_KEY).address
    assert new != old
    log = SigningLog(signing_log_path(bank.contracts.home, bank.contracts.deployment))
    assert log.address == new
    assert log.retired == {old}
    log.close()
    async with bank.signer():
        order_id = await bank.order()
        with pytest.raises(Refusal):
            await bank.sender.send(order_id)
        await bank.pay(order_id)
    assert bank.paid() == 20 * WHOLE


async def test_a_signer_does_not_start_with_a_key_that_gave_way(bank: Bank) -> None:
    old = bank.contracts.signer_key
    await bank.rotate(bank.contracts.administrator)
    bank.contracts.signer_key = old

    with pytest.raises(SigningLogError, match="rotate"):
        async with running_signer(bank.contracts, bank.database, bank.clock):
            pass
