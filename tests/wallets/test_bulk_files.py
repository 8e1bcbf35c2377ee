"""Files of bulk payments: what is read, what refuses the whole, and what is told of a line."""

import csv
import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.assets import USDT
from foundation.errors import Refusal
from wallets.bulk_files import BYTES_MAX, LINES_MAX, BulkFile, read_bulk_file

HEADER = "handle,amount,reference\r\n"


def read(text: str | bytes) -> BulkFile:
    return read_bulk_file(text.encode() if isinstance(text, str) else text, USDT)


def refusal(content: str | bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(content)
    return caught.value


def fault(line: str) -> str | None:
    (read_line,) = read(HEADER + line).lines
    return read_line.fault.value if read_line.fault is not None else None


class TestGoodFiles:
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("last", [True, False])
    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_lines_end_either_way_and_a_byte_order_mark_is_left_out(self, end, last, mark):
        rows = ["handle,amount,reference", "@Ko_Ko,25.00,November", 'ma_hla,12.5,"Smith, ""A."""']
        content = mark + (end.join(rows) + end * last).encode()
        found = read(content)
        assert [(line.number, line.payee, line.reference, line.fault) for line in found.lines] == [
            (2, "ko_ko", "November", None),
            (3, "ma_hla", 'Smith, "A."', None),
        ]
        assert [line.amount.minor for line in found.lines if line.amount] == [25_000_000, 12_500_000]
        assert found.digest == hashlib.sha256(content).digest()

    def test_a_reference_may_be_empty_and_burmese(self):
        found = read(HEADER + "ko_ko,1,\nko_ko,1,နိုဝင်\u200bဘာ")
        assert [line.reference for line in found.lines] == ["", "နိုဝင်\u200bဘာ"]
        assert [line.fault for line in found.lines] == [None, None]

    def test_the_most_lines_fit_the_longest_file(self):
        rows = "".join(
            f"@{'a' * 25}{number:05},1000000.000000,{number:032}\r\n" for number in range(LINES_MAX)
        )
        content = (HEADER + rows).encode()
        assert len(content) < BYTES_MAX
        found = read(content)
        assert len(found.lines) == LINES_MAX
        assert {line.fault for line in found.lines} == {None}


class TestWholeFiles:
    @pytest.mark.parametrize(
        ("content", "line"),
        [
            (b"", 1),
            (b"handle;amount;reference\nko_ko;1;\n", 1),
            (b"Handle,Amount,Reference\nko_ko,1,\n", 1),
            (b"ko_ko,1,\n", 1),
            (b"handle,amount,reference\rko_ko,1,\r", 1),
            (b"handle,amount,reference\n", 2),
            (b'handle,amount,reference\nko_ko,1,a\nko_ko,2,"a\n', 3),
            (b'handle,amount,reference\nko_ko,1,"a\nb"\n', 2),
            (b'handle,amount,reference\nko_ko,1,a"b\n', 2),
            (b'handle,amount,reference\nko_ko,1,"a"b\n', 2),
        ],
    )
    def test_what_is_no_such_csv_is_refused_with_its_line(self, content, line):
        refused = refusal(content)
        assert (refused.code.value, refused.data) == ("bulk_file_malformed", {"line": line})

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            (HEADER.encode() + b"ko_ko,1,a\nko_ko,2,caf\xe9\n", 3),
            (HEADER.encode() + b"ko_ko,1,\xed\xa0\x80\n", 2),
            (HEADER.encode() + b"ko_ko,1,\xc0\xaf\n", 2),
            (HEADER.encode() + b"ko_ko,1,a\nko_ko,1,\xe1\x80", 3),
            ((HEADER + "ko_ko,1,a\n").encode("utf-16"), 1),
            (b"\xef\xbb\xbf" + HEADER.encode() + b"\xff", 2),
        ],
    )
    def test_a_broken_encoding_is_refused_with_its_line(self, content, line):
        refused = refusal(content)
        assert (refused.code.value, refused.data) == ("bulk_encoding_broken", {"line": line})

    @pytest.mark.parametrize("count", [LINES_MAX + 1, 100_000])
    def test_more_lines_than_are_paid_at_once_are_refused_as_such(self, count):
        refused = refusal(HEADER + "".join(f"ko_ko,1,{number}\n" for number in range(count)))
        assert refused.code.value == "bulk_too_many_lines"


class TestLines:
    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("\n", "bulk_line_malformed"),
            ("ko_ko,1", "bulk_line_malformed"),
            ("ko_ko,1,a,b", "bulk_line_malformed"),
            ("ko_ko,1," + "x" * 65, "bulk_line_malformed"),
            ("ko_ko,1,a\x00b", "bulk_line_malformed"),
            ("ko_ko,1,a\rb", "bulk_line_malformed"),
            ("=cmd|' /C calc'!A0,1,a", "bulk_cell_formula"),
            ("@@ko_ko,1,a", "bulk_cell_formula"),
            ("@=ko_ko,1,a", "bulk_cell_formula"),
            ("ko_ko,-1,a", "bulk_cell_formula"),
            ("ko_ko,+1,a", "bulk_cell_formula"),
            ("ko_ko,=1+1,a", "bulk_cell_formula"),
            ("ko_ko,1,@SUM(1)", "bulk_cell_formula"),
            ('ko_ko,1,"=1+1"', "bulk_cell_formula"),
            ("ko_ko,1,\ta", "bulk_cell_formula"),
            ("k,1,a", "handle_malformed"),
            (" ko_ko,1,a", "handle_malformed"),
            ("\u212ao_ko,1,a", "handle_malformed"),
            ("ko_ko,,a", "amount_malformed"),
            ("ko_ko,1e3,a", "amount_malformed"),
            ('ko_ko,"1,000",a', "amount_malformed"),
            ("ko_ko,1.0000001,a", "amount_too_precise"),
            ("ko_ko,9223372036855,a", "amount_out_of_range"),
            ("ko_ko,0,a", "amount_not_positive"),
            ("ko_ko,1,a-b=c@d", None),
            ("@ko_ko,1," + "x" * 64, None),
        ],
    )
    def test_what_is_wrong_with_a_line_is_told_of_that_line(self, line, code):
        assert fault(line) == code

    def test_a_line_that_repeats_another_is_told_and_another_reference_makes_two(self):
        found = read(HEADER + "ko_ko,1,a\nko_ko,1,b\n@KO_KO,1.00,a\nko_ko,2,a\n")
        assert [line.fault and line.fault.value for line in found.lines] == [
            None,
            None,
            "bulk_line_repeated",
            None,
        ]

    def test_lines_around_a_wrong_one_are_read_all_the_same(self):
        found = read(HEADER + "ko_ko,1,a\n\nko_ko,x,a\nko_ko,2,a\n")
        assert [(line.number, line.fault is None) for line in found.lines] == [
            (2, True),
            (3, False),
            (4, False),
            (5, True),
        ]


class TestAnything:
    @given(
        st.binary(max_size=300)
        | st.text(max_size=200).map(lambda text: (HEADER + text).encode("utf-8", "replace"))
    )
    def test_bytes_of_any_kind_are_read_or_refused_by_name(self, content):
        try:
            lines = read(content).lines
        except Refusal as refused:
            code = refused.code.value
        else:
            code = "bulk_file_good"
            assert 1 <= len(lines) <= LINES_MAX
            for line in lines:
                assert line.fault is not None or (line.amount is not None and line.amount.minor > 0)
                assert line.fault is not None or "\n" not in line.reference
        assert code.startswith("bulk_")

    @given(
        st.lists(
            st.tuples(
                st.from_regex(r"[a-z][a-z0-9_]{2,29}", fullmatch=True),
                st.integers(1, 10**15),
                st.text(st.characters(exclude_categories=("C", "Z")), max_size=64).filter(
                    lambda text: not text.startswith(("=", "+", "-", "@"))
                ),
            ),
            min_size=1,
            max_size=20,
            unique=True,
        )
    )
    def test_what_another_writer_of_csv_wrote_is_read_as_it_was_meant(self, rows):
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["handle", "amount", "reference"])
        for handle, minor, reference in rows:
            writer.writerow([handle, f"{minor // 10**6}.{minor % 10**6:06}", reference])
        found = read(out.getvalue())
        assert [
            (line.payee, line.amount and line.amount.minor, line.reference) for line in found.lines
        ] == rows
        assert {line.fault for line in found.lines} == {None}
