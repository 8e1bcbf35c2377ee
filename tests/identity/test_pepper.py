"""The pepper: made once, readable by its owner only, and refused when anything is wrong with it."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from foundation.errors import NUGPayError
from identity.pepper import Pepper, make_pepper, read_pepper


def test_many_who_make_it_at_once_have_the_same_one(tmp_path):
    path = tmp_path / "home" / "pin-pepper"
    with ThreadPoolExecutor(8) as pool:
        macs = list(pool.map(lambda _: make_pepper(path).mac("test"), range(8)))
    assert len(set(macs)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["pin-pepper"]


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("00" * 32, 0o640, "Others than its owner"),
        ("00" * 31, 0o600, "32 bytes, not 31"),
        ("no digits", 0o600, "64 hexadecimal digits"),
        (None, None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_right_is_refused(tmp_path, text, mode, said):
    path = tmp_path / "pin-pepper"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(NUGPayError, match=re.escape(said)):
        read_pepper(path)


def test_purposes_and_parts_are_kept_apart():
    pepper = Pepper(b"k" * 32)
    macs = [
        pepper.mac("a", b"bc"), pepper.mac("ab", b"c"), pepper.mac("a", b"b", b"c"), pepper.mac("abc"),
        Pepper(b"l" * 32).mac("a", b"bc"),
    ]  # fmt: skip
    assert len(set(macs)) == 5
