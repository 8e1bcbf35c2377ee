"""The signer's process: its log across restarts, its socket, its death at the worst moment."""

import asyncio
import grp
import json
import os
import re

import msgspec
import pytest
from sqlalchemy import event

from chain.breaker import BreakerTrip
from chain.errors import ChainCode
from chain.models import ChainTrip
from chain.signer_client import SignerClient
from chain.signer_policy import SignerPolicy
from chain.signer_server import signing_log_path
from chain.signing_log import SigningLog, SigningLogError
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Unavailable
from foundation.ids import uuid7
from tests.fixtures.contracts import (
    CAPS,
    WHOLE,
    ContractsOnChain,
    end_process,
    running_signer,
    start_signer_process,
    wait_until_dead,
)
from tests.fixtures.officers import OfficerDevice
from tests.fixtures.signing import Orders, code_and_why


class TestRestart:
    async def test_caps_nonces_and_bytes_hold_across_a_restart(
        self, orders: Orders, database: Database, clock: SettableClock
    ) -> None:
        contracts = orders.contracts
        order_id = await orders.withdrawal(1_000 * WHOLE)
        async with running_signer(contracts, database, clock) as signer:
            first = await orders.sign(signer, order_id)
            await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=1)

        async with running_signer(contracts, database, clock) as signer:
            assert await orders.sign(signer, order_id) == first
            refusal = await orders.refusal(signer, await orders.withdrawal(501 * WHOLE), nonce=2)
            assert refusal.code is ChainCode.CAP_PER_HOUR_EXCEEDED
            refusal = await orders.refusal(signer, order_id, nonce=2)
            assert code_and_why(refusal) == (ChainCode.NONCE_MISMATCH, "another_nonce")

    async def test_a_changed_gas_limit_does_not_change_what_was_signed_before(
        self, orders: Orders, database: Database, clock: SettableClock
    ) -> None:
        order_id = await orders.withdrawal()
        async with running_signer(orders.contracts, database, clock) as signer:
            first = await orders.sign(signer, order_id)

        policy = SignerPolicy(caps=CAPS, withdrawal_gas=250_000)
        async with running_signer(orders.contracts, database, clock, policy=policy) as signer:
            assert await orders.sign(signer, order_id) == first

    async def test_a_line_that_broke_off_is_cut_away_and_does_not_count(
        self, orders: Orders, database: Database, clock: SettableClock
    ) -> None:
        contracts = orders.contracts
        path = signing_log_path(contracts.home, contracts.deployment)
        order_id = await orders.withdrawal(1_000 * WHOLE)
        async with running_signer(contracts, database, clock) as signer:
            first = await orders.sign(signer, order_id)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:-20])

        async with running_signer(contracts, database, clock) as signer:
            assert path.read_bytes() == whole
            assert await orders.sign(signer, order_id) == first
            await orders.sign(signer, await orders.withdrawal(1_000 * WHOLE), nonce=1)
        assert len(orders.log_lines()) == 2

    @pytest.mark.parametrize("damage", ["changed", "taken out", "garbage"])
    async def test_a_damaged_log_keeps_the_signer_from_starting(
        self, orders: Orders, database: Database, clock: SettableClock, damage: str
    ) -> None:
        contracts = orders.contracts
        path = signing_log_path(contracts.home, contracts.deployment)
        async with running_signer(contracts, database, clock) as signer:
            for nonce in range(3):
                await orders.sign(signer, await orders.withdrawal(), nonce=nonce)
        lines = path.read_bytes().splitlines(keepends=True)
        if damage == "changed":
            lines[0] = lines[0].replace(b'"amount":"10000000"', b'"amount":"10000001"')
        elif damage == "taken out":
            del lines[1]
        else:
            lines[1] = b"\x00" * len(lines[1][:-1]) + b"\n"
        path.write_bytes(b"".join(lines))

        with pytest.raises(SigningLogError):
            SigningLog(path)

    @pytest.mark.usefixtures("signer")
    async def test_a_second_signer_cannot_open_the_log_of_a_living_one(self, orders: Orders) -> None:
        with pytest.raises(SigningLogError):
            SigningLog(signing_log_path(orders.contracts.home, orders.contracts.deployment))


SIGN_NOTHING = b'{"type":"sign","order_id":"00000000-0000-7000-8000-000000000000","chain_id":31337,'

MALFORMED_LINES = {
    "empty": b"",
    "no type": b"{}",
    "text": b"not json",
    "no fields": b'{"type":"sign"}',
    "unknown type": b'{"type":"drain"}',
    "more fields": b'{"type":"identity","also":1}',
    "no utf-8": b"\xff\xfe",
    "no utf-8 in a type": b'{"type":"\xff"}',
    "no utf-8 in a name": b'{"\xff":1,"type":"identity"}',
    "no utf-8 in an id": b'{"type":"sign","order_id":"\xff"}',
    "half a surrogate pair": b'{"type":"\\ud800"}',
    "nested": b"[" * 60_000,
    "nested in a field": b'{"also":' + b"[" * 60_000,
    "nested objects": b'{"type":' * 7_000,
    "digits": b'{"type":"sign","chain_id":' + b"9" * 60_000 + b"}",
    "negative": SIGN_NOTHING + b'"nonce":-1,"max_fee_per_gas":1,"max_priority_fee_per_gas":1}',
    "too large": SIGN_NOTHING
    + b'"nonce":0,"max_fee_per_gas":1%s,"max_priority_fee_per_gas":1}' % (b"0" * 80),
    "too long": b"x" * 70_000,
}


class TestSocket:
    async def test_a_group_that_is_named_may_open_the_socket_too(
        self, orders: Orders, database: Database, clock: SettableClock
    ) -> None:
        contracts, group = orders.contracts, grp.getgrgid(os.getgid())
        async with running_signer(contracts, database, clock, group=group.gr_name):
            found = (contracts.home / "signer.sock").stat()
        assert (oct(found.st_mode & 0o777), found.st_gid) == ("0o660", group.gr_gid)

    async def test_the_signer_reads_five_tables_and_needs_no_other_right(
        self, orders: Orders, database_url: str, clock: SettableClock
    ) -> None:
        reader, said = Database(database_url), []
        event.listen(reader.engine.sync_engine, "before_cursor_execute", lambda *given: said.append(given[2]))
        may, hla = OfficerDevice("may"), OfficerDevice("hla")
        caps = {"USDT": msgspec.structs.replace(CAPS["USDT"], without_officers="1")}
        policy = SignerPolicy(caps=caps, officers=(may.in_policy(), hla.in_policy()))
        order_id = await orders.withdrawal()
        for officer in (may, hla):
            await officer.approve(orders.database, clock, orders.contracts.deployment, order_id)
        async with orders.database.session() as session:
            trip = BreakerTrip(uuid7(clock), "a drill", clock.now())
            session.add(ChainTrip(id=trip.id, chain_id=31337, reason="a drill", tripped_at=trip.tripped_at))
        for officer in (may, hla):
            await officer.sign_release(orders.database, clock, orders.contracts.deployment, trip)
        async with running_signer(orders.contracts, reader, clock, policy=policy) as signer:
            await orders.sign(signer, order_id)
        await reader.close()
        read = [re.findall(r"FROM (\w+)", one) for one in said if "pg_catalog" not in one]
        assert {table for tables in read for table in tables} == {
            "chain_order",
            "chain_approval",
            "chain_batch_member",
            "treasury_breaker",
            "chain_release",
        }
        assert all(one.lower().startswith(("select", "show")) for one in said), said

    @pytest.mark.usefixtures("signer")
    async def test_only_its_owner_may_open_the_socket_and_read_the_log(self, orders: Orders) -> None:
        contracts = orders.contracts
        paths = [contracts.home / "signer.sock", signing_log_path(contracts.home, contracts.deployment)]

        assert [oct(path.stat().st_mode & 0o777) for path in paths] == ["0o600", "0o600"]

    async def test_the_signer_says_who_it_is(self, orders: Orders, signer: SignerClient) -> None:
        identity = await signer.identity()

        deployment = orders.contracts.deployment
        assert identity.address == orders.contracts.signer_key.address
        assert (identity.chain_id, identity.genesis_hash) == (31337, deployment.genesis_hash)
        assert identity.vault == deployment.vault

    @pytest.mark.parametrize("line", MALFORMED_LINES.values(), ids=MALFORMED_LINES.keys())
    async def test_a_malformed_line_decides_nothing_and_the_signer_lives_on(
        self, orders: Orders, signer: SignerClient, line: bytes
    ) -> None:
        reader, writer = await asyncio.open_unix_connection(orders.contracts.home / "signer.sock")
        writer.write(line + b"\n")

        assert json.loads(await reader.readline())["type"] == "unavailable"

        writer.close()
        assert orders.log_lines() == []
        await orders.sign(signer, await orders.withdrawal())

    async def test_without_a_database_nothing_is_decided(self, orders: Orders, clock: SettableClock) -> None:
        order_id = await orders.withdrawal()
        nowhere = Database("postgresql://nobody@/nowhere?host=/nonexistent")
        async with running_signer(orders.contracts, nowhere, clock) as signer:
            with pytest.raises(Unavailable) as unavailable:
                await orders.sign(signer, order_id)
        await nowhere.close()

        assert unavailable.value.outcome_unknown is False
        assert orders.log_lines() == []

    async def test_without_a_signer_the_client_says_that_nothing_was_signed(
        self, contracts: ContractsOnChain
    ) -> None:
        with pytest.raises(Unavailable) as unavailable:
            await SignerClient(contracts.home / "signer.sock").identity()

        assert unavailable.value.outcome_unknown is False


KILLED_AFTER_THE_LOG = """
import os, signal
from chain.signing_log import SigningLog
append = SigningLog.append
def append_and_die(log, entry):
    append(log, entry)
    os.kill(os.getpid(), signal.SIGKILL)
SigningLog.append = append_and_die
"""

DISK_FULL = """
import os
from chain.signing_log import SigningLog
append = SigningLog.append
def no_room(descriptor):
    raise OSError(28, "No space left on device")
def append_to_a_full_disk(log, entry):
    os.fsync = no_room
    append(log, entry)
SigningLog.append = append_to_a_full_disk
"""


class TestProcess:
    async def test_no_nonsense_ends_the_process(self, orders: Orders, database_url: str) -> None:
        home = orders.contracts.home
        socket = home / "run" / "signer.sock"
        process = start_signer_process(home, database_url)
        try:
            for nonce, line in enumerate(MALFORMED_LINES.values()):
                reader, writer = await asyncio.open_unix_connection(socket)
                writer.write(line + b"\n")
                assert json.loads(await reader.readline())["type"] == "unavailable"
                writer.close()
                await orders.sign(SignerClient(socket), await orders.withdrawal(), nonce=nonce)
            assert process.poll() is None
        finally:
            end_process(process)

    async def test_a_signer_killed_between_log_and_answer_gives_the_same_bytes_and_counts_once(
        self, orders: Orders, database_url: str
    ) -> None:
        home = orders.contracts.home
        client = SignerClient(home / "run" / "signer.sock")
        order_id = await orders.withdrawal(100 * WHOLE)
        process = start_signer_process(home, database_url, accident=KILLED_AFTER_THE_LOG)
        with pytest.raises(Unavailable) as unavailable:
            await orders.sign(client, order_id)
        assert unavailable.value.outcome_unknown is True
        assert wait_until_dead(process) == -9
        [line] = orders.log_lines()

        process = start_signer_process(home, database_url)
        try:
            signed = await orders.sign(client, order_id)
        finally:
            end_process(process)

        assert signed.tx_hash == line["tx_hash"]
        assert len(orders.log_lines()) == 1

    async def test_a_signer_whose_disk_fails_ends_without_an_answer(
        self, orders: Orders, database_url: str
    ) -> None:
        home = orders.contracts.home
        order_id = await orders.withdrawal()
        process = start_signer_process(home, database_url, accident=DISK_FULL)

        with pytest.raises(Unavailable) as unavailable:
            await orders.sign(SignerClient(home / "run" / "signer.sock"), order_id)

        assert unavailable.value.outcome_unknown is True
        assert wait_until_dead(process) == 1
