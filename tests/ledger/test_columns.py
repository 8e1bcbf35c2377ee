"""Columns and their canonical bytes: the same rows both ways, and nothing else is accepted."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.columns import MalformedRows, TransferColumns
from ledger.contract import Transfer
from ledger.draft_rows import TransferRow
from ledger.rows import encode_transfer

small = st.integers(0, 2**63 - 1)
counters = st.tuples(small, small, small, small)
optional_counters = st.one_of(st.just((0, 0)), st.tuples(small, small))


def bits(count: int) -> st.SearchStrategy[int]:
    return st.one_of(st.just(0), st.integers(0, 2**count - 1))


@st.composite
def rows(draw: st.DrawFn) -> TransferRow:
    transfer = Transfer(
        id=draw(st.integers(1, 2**128 - 1)), amount=draw(small), pending_id=draw(bits(128)),
        user_data_128=draw(bits(128)), user_data_64=draw(bits(64)), user_data_32=draw(bits(32)),
        timeout=draw(bits(32)), ledger=draw(st.integers(1, 2**32 - 1)), code=draw(st.integers(1, 2**16 - 1)),
        flags=draw(st.integers(0, 2**9 - 1)), timestamp=draw(small),
    )  # fmt: skip
    pending_d, pending_c = draw(optional_counters)
    slots = st.integers(0, 2**31 - 1)
    return TransferRow(
        transfer, draw(slots), draw(slots), draw(bits(63)), draw(small), draw(small),
        (pending_d, draw(small), 0, draw(small)), (0, draw(small), pending_c, draw(small)),
        draw(st.booleans()), draw(st.booleans()),
    )  # fmt: skip


@given(st.lists(rows(), max_size=12))
def test_columns_have_the_bytes_of_their_rows_and_come_back_from_them(listed: list[TransferRow]) -> None:
    data = b"".join(map(encode_transfer, listed))
    columns = TransferColumns.from_rows(listed)
    assert columns.encode() == data
    again = TransferColumns.decode(data)
    assert again.count == len(listed)
    assert again.encode() == data
    for name, values in columns.arrays.items():
        assert (again[name] == values).all()


@given(st.lists(rows(), min_size=2, max_size=6), st.data())
def test_parts_joined_are_the_whole(listed: list[TransferRow], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(listed)))
    parts = [TransferColumns.from_rows(part) for part in (listed[:at], listed[at:])]
    assert TransferColumns.join(parts).encode() == b"".join(map(encode_transfer, listed))
    whole = TransferColumns.from_rows(listed)
    assert whole.part(0, at).encode() + whole.part(at, len(listed)).encode() == whole.encode()


@given(st.lists(rows(), min_size=1, max_size=4), st.data())
def test_a_flipped_bit_gives_other_rows_or_is_refused(listed: list[TransferRow], data: st.DataObject) -> None:
    raw = bytearray(TransferColumns.from_rows(listed).encode())
    at = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[at // 8] ^= 1 << at % 8
    with contextlib.suppress(MalformedRows):
        assert TransferColumns.decode(bytes(raw)).encode() == bytes(raw)


@given(st.lists(rows(), min_size=1, max_size=4), st.data())
def test_rows_cut_short_are_refused(listed: list[TransferRow], data: st.DataObject) -> None:
    raw = TransferColumns.from_rows(listed).encode()
    ends = {len(TransferColumns.from_rows(listed[:n]).encode()) for n in range(len(listed) + 1)}
    cut = data.draw(st.integers(0, len(raw)).filter(lambda n: n not in ends))
    with pytest.raises(MalformedRows):
        TransferColumns.decode(raw[:cut])


def test_an_optional_zero_that_is_not_null_is_refused() -> None:
    row = TransferRow(
        Transfer(id=1, ledger=1, code=1, user_data_64=5), 0, 1, 0, 0, 0, (0,) * 4, (0,) * 4, False, False
    )
    raw = encode_transfer(row)
    assert TransferColumns.decode(raw)["user_data_64"].tolist() == [5]
    with pytest.raises(MalformedRows):
        TransferColumns.decode(raw.replace((5).to_bytes(8, "big"), bytes(8)))
