"""The keys over personal data: made once, replaced whole, destroyed when a rotation ends."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from foundation.clock import SettableClock
from foundation.errors import NUGPayError
from identity.personal_keys import (
    PersonalKeyFile,
    begin_rotation,
    destroy_keys,
    make_personal_keys,
    read_personal_keys,
)

CLOCK = SettableClock()


def test_many_who_make_them_at_once_have_the_same_ones(tmp_path):
    path = tmp_path / "home" / "personal-keys"
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: make_personal_keys(path, CLOCK).current.key_id, range(8)))
    assert len(set(names)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["personal-keys"]


def test_a_rotation_begins_once_and_ends_with_the_old_key_gone(tmp_path):
    path = tmp_path / "personal-keys"
    first = make_personal_keys(path, CLOCK).current
    file = PersonalKeyFile(path)
    assert file.keys().current == first
    with ThreadPoolExecutor(6) as pool:
        begun = {keys.current.key_id for keys in pool.map(lambda _: begin_rotation(path, CLOCK), range(6))}
    assert len(begun) == 1
    keys = file.keys()
    assert (keys.former, keys.find(first.key_id)) == ((first,), first)
    assert destroy_keys(path, [keys.current.key_id]) == keys, "the one that wraps stays"
    assert destroy_keys(path, [first.key_id]).former == ()
    assert file.keys().find(first.key_id) is None
    assert first.secret.hex() not in path.read_text()


def test_neither_a_key_nor_its_file_shows_its_secret(tmp_path):
    path = tmp_path / "personal-keys"
    keys = make_personal_keys(path, CLOCK)
    secret = keys.current.secret
    for shown in (repr(keys), str(keys.current), keys.current.key_id):
        assert secret.hex() not in shown
        assert repr(secret) not in shown


@pytest.mark.parametrize(
    ("change", "mode", "said"),
    [
        ({}, 0o640, "Others than its owner"),
        ({"keys": []}, 0o600, "as they are written here"),
        ({"keys": [{"secret": "00" * 31, "since": "2027-01-15T08:00:00Z"}]}, 0o600, "as they are written"),
        ({"keys": [{"secret": "00" * 32, "since": "yesterday"}]}, 0o600, "as they are written here"),
        ({"keys": [{"secret": "00" * 32}]}, 0o600, "as they are written here"),
    ],
)
def test_a_file_that_is_not_right_is_refused(tmp_path, change, mode, said):
    path = tmp_path / "personal-keys"
    make_personal_keys(path, CLOCK)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    path.chmod(mode)
    with pytest.raises(NUGPayError, match=said):
        read_personal_keys(path)


def test_a_file_that_is_not_there_is_told_with_its_setting(tmp_path):
    with pytest.raises(NUGPayError, match="NUGPAY_PERSONAL_KEYS"):
        PersonalKeyFile(tmp_path / "nothing").keys()
