"""Payment codes: one text for each, every damaged character found, and pictures of it."""

import base64
import re
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
import segno
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nugpay_client import read_payment_code as read_by_client

from foundation.assets import ASSETS, USDT, XAU
from foundation.clock import SECOND_NS, SettableClock
from foundation.errors import FoundationCode, Refusal
from foundation.money import AMOUNT_LIMIT, Money
from wallets.errors import WalletCode
from wallets.payee_passes import pass_text
from wallets.payment_code_pictures import QUIET_ZONE, blocks, svg
from wallets.payment_codes import (
    SECONDS_MAX,
    PaymentCode,
    check_not_expired,
    link,
    new_payment_code,
    payload,
    qr_text,
    read_payload,
    read_payment_code,
    uri,
)
from wallets.request_errors import AskingCode

BASE = "https://api.example.org"

LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())

FULL = PaymentCode(
    "ko_ko",
    USDT,
    Money(25_000_000, USDT),
    1_800_000_600 * SECOND_NS,
    UUID("019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a"),
)

LARGEST = PaymentCode("a" * 30, XAU, Money(AMOUNT_LIMIT, XAU), LAST_SECOND * SECOND_NS, UUID(int=2**128 - 1))


@st.composite
def codes(draw: st.DrawFn) -> PaymentCode:
    asset = draw(st.sampled_from(ASSETS))
    amount = draw(st.none() | st.integers(1, AMOUNT_LIMIT))
    expiry = draw(st.none() | st.integers(1, LAST_SECOND))
    return PaymentCode(
        draw(st.from_regex(r"[a-z][a-z0-9_]{2,29}", fullmatch=True)),
        asset,
        Money(amount, asset) if amount is not None else None,
        expiry * SECOND_NS if expiry is not None else None,
        draw(st.none() | st.uuids(allow_nil=False)),
    )


def refused(text: str) -> object:
    with pytest.raises(Refusal) as refusal:
        read_payment_code(text, base_url=BASE)
    return refusal.value.code


@settings(deadline=None)
@given(codes())
@example(FULL)
@example(LARGEST)
def test_what_is_written_is_read_from_every_form(code):
    for text in (qr_text(code), uri(code), link(code, BASE), link(code, BASE + "/")):
        assert read_payment_code(text, base_url=BASE) == code
    assert read_payload(payload(code)) == code


def test_a_code_has_this_text_for_ever():
    small = PaymentCode("ko_ko", USDT, Money(25_000_000, USDT))
    assert qr_text(small) == "NUGPAY:1FFVW6X3LN4A4B4HVBMSTV5XT"
    assert uri(small) == "nugpay:1FFVW6X3LN4A4B4HVBMSTV5XT"
    assert link(small, BASE) == "https://api.example.org/p/1FFVW6X3LN4A4B4HVBMSTV5XT"


@settings(deadline=None)
@given(codes(), st.data())
@example(FULL, None)
def test_any_one_changed_character_is_found(code, data):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" + "0189abcz:/.-=_ \n\u0661"
    for text in (qr_text(code), link(code, BASE)):
        places = range(len(text)) if data is None else [data.draw(st.integers(0, len(text) - 1))]
        for place in places:
            for character in alphabet:
                if character != text[place]:
                    changed = text[:place] + character + text[place + 1 :]
                    assert refused(changed) in {
                        AskingCode.PAYMENT_CODE_MALFORMED,
                        AskingCode.PAYMENT_CODE_VERSION_UNKNOWN,
                        AskingCode.PAYMENT_CODE_CHECKSUM,
                    }


@settings(deadline=None)
@given(codes(), st.data())
def test_swapped_lost_and_doubled_characters_are_found(code, data):
    text = payload(code)
    place = data.draw(st.integers(1, len(text) - 2))
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    for changed in (swapped, text[:place] + text[place + 1 :], text[:place] + text[place] + text[place:]):
        if changed != text:
            with pytest.raises(Refusal):
                read_payload(changed)


@settings(deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=80).map(lambda raw: "NUGPAY:1" + sealed(raw)))
def test_whatever_is_read_has_no_other_text(text):
    try:
        code = read_payment_code(text)
    except Refusal:
        return
    assert text in {qr_text(code), uri(code)}


def sealed(content: bytes) -> str:
    """Any content under a right checksum."""
    raw = content + zlib.crc32(b"NUGPAY:1" + content).to_bytes(4, "big")
    return base64.b32encode(raw).decode().rstrip("=")


HEAD = bytes([5 << 3]) + b"ko_ko"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes([5 << 3]),
        bytes([6 << 3]) + b"ko_ko",
        HEAD,
        HEAD + b"\x01more",
        HEAD + b"\x81\x00",
        HEAD + b"\x80" * 40,
        bytes([5 << 3]) + b"KO_KO\x01",
        bytes([5 << 3]) + b"@koko\x01",
        bytes([5 << 3]) + b"1o_ko\x01",
        bytes([5 << 3]) + "ကo".encode()[:4] + b"o\x01",
        bytes([2 << 3]) + b"ko\x01",
        bytes([31 << 3]) + b"k" * 31 + b"\x01",
        bytes([5 << 3 | 1]) + b"ko_ko\x01\x00",
        bytes([5 << 3 | 1]) + b"ko_ko\x01\x80\x01\x00",
        bytes([5 << 3 | 1]) + b"ko_ko\x01" + b"\xff" * 9 + b"\x01",
        bytes([5 << 3 | 2]) + b"ko_ko\x01\x00",
        bytes([5 << 3 | 2]) + b"ko_ko\x01" + b"\xff" * 7 + b"\x01",
        bytes([5 << 3 | 4]) + b"ko_ko\x01" + bytes(16),
        bytes([5 << 3 | 4]) + b"ko_ko\x01" + bytes(15),
    ],
)
def test_content_in_another_form_is_refused_under_a_right_checksum(content):
    assert refused("NUGPAY:1" + sealed(content)) is AskingCode.PAYMENT_CODE_MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NUGPAY:",
        "NUGPAY:1",
        "nugpay:1" + payload(FULL)[1:].lower(),
        "Nugpay:" + payload(FULL),
        "NUGPAY1:" + payload(FULL)[1:],
        " " + qr_text(FULL),
        qr_text(FULL) + "\n",
        qr_text(FULL) + "=",
        payload(FULL),
        "http://api.example.org/p/" + payload(FULL),
        "https://evil.example/p/" + payload(FULL),
        link(FULL, BASE) + "?amount=1",
        "nugpay:1" + "A" * 100_000,
    ],
)
def test_a_text_in_another_form_is_refused(text):
    assert refused(text) is AskingCode.PAYMENT_CODE_MALFORMED


def test_a_link_is_read_only_under_the_banks_own_url():
    with pytest.raises(Refusal) as refusal:
        read_payment_code(link(FULL, BASE))
    assert refusal.value.code is AskingCode.PAYMENT_CODE_MALFORMED


def test_a_newer_version_and_an_asset_that_is_not_known_say_so():
    assert refused("NUGPAY:3" + payload(FULL)[1:]) is AskingCode.PAYMENT_CODE_VERSION_UNKNOWN
    assert refused("NUGPAY:1" + sealed(HEAD + b"\x63")) is FoundationCode.UNKNOWN_ASSET


def made(clock, **how) -> PaymentCode:
    return new_payment_code(clock, payee_handle="ko_ko", asset=USDT, **how)


def test_a_code_is_good_until_its_second_comes(clock: SettableClock):
    clock.advance(ns=999)
    code = made(clock, seconds=60)
    assert code.expires_at_ns is not None
    assert code.expires_at_ns % SECOND_NS == 0
    clock.set_ns(code.expires_at_ns - 1)
    check_not_expired(code, clock)
    clock.advance(ns=1)
    with pytest.raises(Refusal) as refusal:
        check_not_expired(code, clock)
    assert refusal.value.code is AskingCode.PAYMENT_CODE_EXPIRED
    check_not_expired(made(clock), clock)


def test_a_code_that_cannot_be_is_not_made(clock: SettableClock):
    for seconds in (0, -1, SECONDS_MAX + 1):
        with pytest.raises(Refusal) as refusal:
            made(clock, seconds=seconds)
        assert refusal.value.code is AskingCode.PAYMENT_CODE_EXPIRY_OUT_OF_RANGE
    with pytest.raises(Refusal) as refusal:
        made(clock, reference=UUID(int=0))
    assert refusal.value.code is FoundationCode.ID_MALFORMED
    for minor in (0, -1):
        with pytest.raises(Refusal) as refusal:
            made(clock, amount=Money(minor, USDT))
        assert refusal.value.code is WalletCode.AMOUNT_NOT_POSITIVE


class TestPasses:
    UNLISTED = replace(FULL, payee_pass=b"0123456789")

    def test_a_code_with_a_pass_is_of_version_2_and_is_read_from_every_form(self):
        code = self.UNLISTED
        assert payload(code)[0] == "2"
        for text in (qr_text(code), uri(code), link(code, BASE)):
            assert read_payment_code(text, base_url=BASE) == code

    def test_neither_version_is_taken_for_the_other(self):
        assert refused("NUGPAY:2" + payload(FULL)[1:]) is AskingCode.PAYMENT_CODE_CHECKSUM
        assert refused("NUGPAY:1" + payload(self.UNLISTED)[1:]) is AskingCode.PAYMENT_CODE_CHECKSUM

    def test_the_largest_one_fits_qr_version_6(self):
        made = segno.make_qr(qr_text(replace(LARGEST, payee_pass=bytes(10))), error="m")
        assert (made.version, made.mode) == (6, "alphanumeric")

    def test_client_and_server_write_and_read_the_same(self):
        theirs = read_by_client(qr_text(self.UNLISTED))
        assert theirs.payee_pass == pass_text(b"0123456789")
        assert theirs.qr_text == qr_text(self.UNLISTED)
        with pytest.raises(ValueError, match="ten bytes"):
            replace(theirs, payee_pass="AAAAAAAA")


class TestPictures:
    @pytest.mark.parametrize(("code", "version"), [(PaymentCode("ko_ko", USDT), 2), (FULL, 4), (LARGEST, 5)])
    def test_a_code_fits_a_small_qr_code_in_its_tight_mode(self, code, version):
        assert len(qr_text(code)) <= 122
        made = segno.make_qr(qr_text(code), error="m")
        assert (made.version, made.mode) == (version, "alphanumeric")

    def test_the_blocks_show_the_modules_of_the_code(self):
        shown = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
        lines = [[shown[block] for block in line] for line in blocks(FULL).splitlines()]
        rows = [[pair[half] for pair in line] for line in lines for half in (0, 1)]
        wanted = [list(row) for row in segno.make_qr(qr_text(FULL), error="m").matrix_iter(border=QUIET_ZONE)]
        assert rows[: len(wanted)] == wanted
        assert not any(any(row) for row in rows[len(wanted) :])

    def test_the_svg_draws_the_modules_of_the_code_and_nothing_foreign(self):
        text = svg(FULL)
        assert not re.search(r"script|style|href|url\(|<!|<\?|on\w+=", text)
        path = re.findall(r'd="([^"]*)"', text)[-1]
        side = segno.make_qr(qr_text(FULL), error="m").symbol_size(border=QUIET_ZONE)[0]
        rows = [[0] * int(side) for _ in range(int(side))]
        x = y = 0.0
        for command, one, two in re.findall(r"([Mmh])(-?[0-9.]+)(?: (-?[0-9.]+))?", path):
            if command == "h":
                for module in range(int(x), int(x) + int(one)):
                    rows[int(y)][module] = 1
                x += int(one)
            else:
                x, y = (float(one), float(two)) if command == "M" else (x + float(one), y + float(two))
        assert rows == [
            list(row) for row in segno.make_qr(qr_text(FULL), error="m").matrix_iter(border=QUIET_ZONE)
        ]
