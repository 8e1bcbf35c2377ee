"""Transfer columns: what PostgreSQL reads from their rows is what the logs say, and nothing else gets in."""

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.errors import RPCMalformed
from chain.rpc import Log, Topics
from chain.transfer_columns import (
    COLUMNS,
    COPY_HEADER,
    COPY_TRAILER,
    NO_LOGS,
    TRANSFER_TOPIC,
    TransferLogs,
    joined,
    transfer_logs,
)

TOKEN = "0x" + "70" * 20
WATCHED = frozenset({TOKEN})
CHAIN_ID = 31337


def word(number: int) -> str:
    return f"0x{number:064x}"


def log_of(**fields: Any) -> Log:
    """A transfer of 1 unit from address 2 to address 3: log 1 of block 5."""
    topics = Topics(TRANSFER_TOPIC, fields.pop("first", word(2)), fields.pop("second", word(3)))
    given: dict[str, Any] = {
        "address": TOKEN,
        "topics": topics,
        "data": word(1),
        "block_hash": word(5),
        "block_number": "0x5",
        "transaction_hash": word(9),
        "log_index": "0x1",
    }
    return Log(**(given | fields))


def stored(url: str, logs: TransferLogs) -> list[tuple[Any, ...]]:
    """What PostgreSQL has after the rows, in a transaction that is given up again."""
    columns = ", ".join(COLUMNS)
    with psycopg.connect(url) as connection:
        with connection.cursor().copy(
            f"COPY chain_transfer_log ({columns}) FROM STDIN (FORMAT BINARY)"
        ) as copy:
            copy.write(COPY_HEADER + logs.rows(CHAIN_ID).tobytes() + COPY_TRAILER)
        rows = connection.execute(f"SELECT {columns} FROM chain_transfer_log ORDER BY 2, 3").fetchall()
        connection.rollback()
    return rows


addresses = st.integers(0, 2**160 - 1)
words = st.integers(0, 2**256 - 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)),
        st.tuples(words, addresses, addresses, st.one_of(st.integers(0, 2**64 + 1), words)),
        max_size=20,
    )
)
def test_rows_are_in_postgresql_what_the_logs_say(
    database_url: str, events: dict[tuple[int, int], tuple[int, int, int, int]]
) -> None:
    logs = [
        log_of(
            block_number=hex(number),
            block_hash=word(number + 10),
            log_index=hex(index),
            transaction_hash=word(tx),
            first=word(sender),
            second=word(receiver),
            data=word(value),
        )
        for (number, index), (tx, sender, receiver, value) in events.items()
    ]
    found = joined([transfer_logs(logs[:7], WATCHED), transfer_logs(logs[7:], WATCHED)])
    expected = [
        (
            CHAIN_ID,
            number,
            index,
            word(number + 10),
            word(tx),
            TOKEN,
            f"0x{sender:040x}",
            f"0x{receiver:040x}",
            value,
        )
        for (number, index), (tx, sender, receiver, value) in sorted(events.items())
    ]
    assert stored(database_url, found) == expected
    assert [tuple(row.values()) for row in found.fields(CHAIN_ID)] == expected
    assert len(found) == len(events)
    assert found.holding() == {number for number, _ in events}


@pytest.mark.parametrize(
    "value",
    [0, 1, 9_999, 10_000, 2**63, 2**64 - 1, 2**64, 10**20, 10**76, 2**256 - 1],
)
def test_value_of_any_size_is_stored_to_the_last_unit(database_url: str, value: int) -> None:
    ((*_, found),) = stored(database_url, transfer_logs([log_of(data=word(value))], WATCHED))
    assert found == value


@pytest.mark.parametrize(
    "fields",
    [
        {"log_index": "0x1_0"},
        {"log_index": "1"},
        {"log_index": "0x80000000"},
        {"log_index": "0xA"},
        {"block_number": "5"},
        {"data": "0x" + "A0" * 32},
        {"data": "0xx" + "0" * 63},
        {"data": "00x" + "0" * 63},
        {"data": "0x" + "0" * 62 + "\u0660\u0660"},
        {"first": "0x" + "0" * 24 + "AB" * 20},
        {"first": "0x1" + "0" * 63},
        {"second": "0x" + "0" * 62 + "\t1"},
        {"transaction_hash": word(1)[:-1]},
        {"transaction_hash": word(1) + "0"},
    ],
)
def test_log_that_is_not_written_as_a_transfer_is_refused_also_among_others(fields: dict[str, Any]) -> None:
    for logs in ([log_of(**fields)], [log_of(log_index="0x0"), log_of(**fields), log_of(log_index="0x2")]):
        with pytest.raises(RPCMalformed):
            transfer_logs(logs, WATCHED)


def test_words_whose_characters_are_moved_to_their_neighbours_are_refused() -> None:
    # All together they are as long as they should be, and hex.
    moved = [log_of(transaction_hash=word(1) + word(2)), log_of(log_index="0x2", transaction_hash="")]
    with pytest.raises(RPCMalformed):
        transfer_logs(moved, WATCHED)


def test_others_logs_are_left_out_and_their_blocks_still_named() -> None:
    other = log_of(address="0x" + "71" * 20, block_number="0x7", block_hash=word(7))
    found = transfer_logs([other], WATCHED)
    assert len(found) == 0
    assert found.blocks == {7: word(7)}
    both = transfer_logs([other, log_of()], WATCHED)
    assert both.holding() == {5}
    assert both.blocks == {5: word(5), 7: word(7)}


def test_token_in_mixed_case_is_the_same_token() -> None:
    token = "0x" + "ab" * 20
    (row,) = transfer_logs([log_of(address="0x" + "aB" * 20)], frozenset({token})).fields(CHAIN_ID)
    assert row["token"] == token


def test_same_log_twice_and_a_block_with_two_hashes_are_refused() -> None:
    one = transfer_logs([log_of()], WATCHED)
    for parts in ([one, one], [one, transfer_logs([log_of(log_index="0x2", block_hash=word(6))], WATCHED)]):
        with pytest.raises(RPCMalformed):
            joined(parts)
    with pytest.raises(RPCMalformed):
        transfer_logs([log_of(), log_of(log_index="0x2", block_hash=word(6))], WATCHED)


def test_nothing_is_no_rows() -> None:
    assert joined([]) is NO_LOGS
    assert len(transfer_logs([], WATCHED)) == 0
    assert NO_LOGS.fields(CHAIN_ID) == []
    assert NO_LOGS.holding() == set()
