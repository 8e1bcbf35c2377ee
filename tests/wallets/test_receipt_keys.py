"""Receipt keys: made once, replaced whole, and never forgotten by their public halves."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from foundation.clock import SettableClock
from foundation.errors import NUGPayError
from wallets.receipt_keys import ReceiptKeyFile, make_receipt_keys, read_receipt_keys, rotate_receipt_key

CLOCK = SettableClock()


def test_many_who_make_them_at_once_have_the_same_ones(tmp_path):
    path = tmp_path / "home" / "receipt-keys"
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: make_receipt_keys(path, CLOCK).key_id, range(8)))
    assert len(set(names)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["receipt-keys"]


def test_a_rotation_forgets_the_private_half_and_keeps_the_public_one(tmp_path):
    path = tmp_path / "receipt-keys"
    first = make_receipt_keys(path, CLOCK)
    file = ReceiptKeyFile(path)
    assert file.keys().key_id == first.key_id
    second = rotate_receipt_key(path, CLOCK)
    third = rotate_receipt_key(path, CLOCK)
    assert [each.key.key_id for each in third.published] == [third.key_id, second.key_id, first.key_id]
    assert [each.until is None for each in third.published] == [True, False, False]
    assert bytes(first.signing).hex() not in path.read_text()
    assert file.keys().key_id == third.key_id, "whoever had read the file before reads it again"
    assert path.stat().st_mode & 0o777 == 0o600


def test_rotations_at_once_follow_one_another(tmp_path):
    path = tmp_path / "receipt-keys"
    make_receipt_keys(path, CLOCK)
    with ThreadPoolExecutor(6) as pool:
        made = {keys.key_id for keys in pool.map(lambda _: rotate_receipt_key(path, CLOCK), range(6))}
    listed = [each.key.key_id for each in read_receipt_keys(path).published]
    assert len(listed) == len(set(listed)) == 7
    assert made <= set(listed)
    assert [each.name for each in path.parent.iterdir()] == ["receipt-keys"]


@pytest.mark.parametrize(
    ("change", "mode", "said"),
    [
        ({}, 0o640, "Others than its owner"),
        ({"signing": "00" * 31}, 0o600, "as they are written here"),
        ({"since": "yesterday"}, 0o600, "as they are written here"),
        ({"former": [{"public": "00"}]}, 0o600, "as they are written here"),
    ],
)
def test_a_file_that_is_not_right_is_refused(tmp_path, change, mode, said):
    path = tmp_path / "receipt-keys"
    make_receipt_keys(path, CLOCK)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    path.chmod(mode)
    for read in (read_receipt_keys, lambda one: ReceiptKeyFile(one).keys()):
        with pytest.raises(NUGPayError, match=re.escape(said)):
            read(path)


def test_a_file_that_is_not_there_is_told_with_the_setting_that_names_it(tmp_path):
    with pytest.raises(NUGPayError, match="NUGPAY_RECEIPT_KEYS"):
        ReceiptKeyFile(tmp_path / "none").keys()
