"""Languages: which one somebody gets, how numbers are written in it, and what falls in for it."""

from decimal import Decimal
from pathlib import Path

import pytest
from babel import Locale
from babel.messages.plurals import get_plural
from babel.numbers import format_decimal
from hypothesis import example, given
from hypothesis import strategies as st

from foundation.assets import ASSETS
from foundation.languages.catalogues import TEMPLATE, CatalogueMalformed, Catalogues, load_catalogues
from foundation.languages.coverage import coverage_of
from foundation.languages.numerals import amount_text, number_text
from foundation.languages.preferences import LENGTH_MAX, languages_wanted
from foundation.languages.spoken import BURMESE, BY_TAG, ENGLISH, LANGUAGES
from foundation.money import AMOUNT_LIMIT, Money


def tags(header: str) -> str:
    return " ".join(language.tag for language in languages_wanted(header))


class TestPreferences:
    @pytest.mark.parametrize(
        ("header", "chain"),
        [
            ("", "en"),
            ("my", "my en"),
            ("my-MM", "my en"),
            ("MY-mymr-mm", "my en"),
            ("my_MM", "my en"),
            ("mya, bur;q=0.5", "my en"),
            ("en-GB, my", "en"),
            ("en;q=0.5, my", "my en"),
            ("en;q=0.8,my;q=0.800", "en"),
            ("my;q=0.8,en;q=0.8", "my en"),
            ("fr, de;q=0.9", "en"),
            ("fr, my;q=0.1", "my en"),
            ("*", "en"),
            ("my, *;q=0.1", "my en"),
            ("ksw", "ksw my en"),
            ("kac-MM", "kac my en"),
            ("shn, kac;q=0.5", "shn kac my en"),
            ("kac;q=0.5, shn", "shn kac my en"),
        ],
    )
    def test_the_most_wanted_language_that_is_spoken_here_comes_first(self, header, chain):
        assert tags(header) == chain

    def test_who_names_english_after_their_own_language_does_not_get_burmese(self):
        assert tags("kac, en;q=0.5") == "kac en"
        assert tags("kac, my;q=0.1, en;q=0.9") == "kac en"
        assert tags("kac, my;q=0.9, en;q=0.1") == "kac my en"

    def test_a_weight_of_nothing_takes_a_language_out(self):
        assert tags("ksw, my;q=0") == "ksw en"
        assert tags("my;q=0.000") == "en"
        assert tags("my;q=0, my-MM") == "my en"
        # English is left: there must be an answer.
        assert tags("my;q=0, en;q=0") == "en"

    @pytest.mark.parametrize(
        "header",
        ["my;q=2", "my;q=0.1234", "my;q=-1", "my;q=x", "my;q", "my q=1", "m\u0000y", "abcdefghi", ";;,,;q=1",
         "=", "မြန်မာ"],
    )  # fmt: skip
    def test_what_is_malformed_is_passed_over(self, header):
        assert tags(header) == "en"
        assert tags(f"{header}, my") == "my en"

    def test_burmese_in_zawgyi_is_not_spoken(self):
        assert tags("my-Qaag-MM") == "en"
        assert tags("my-Qaag, my;q=0.5") == "my en"

    def test_a_header_longer_than_any_phone_sends_says_nothing(self):
        assert tags("my" + "," * (LENGTH_MAX - 2)) == "my en"
        assert tags("my" + "," * (LENGTH_MAX - 1)) == "en"

    @given(st.text(max_size=60) | st.text(alphabet="mykswenq*-_;=,.01 ", max_size=80))
    @example("my;q=1.0001")
    def test_every_text_gets_a_chain_that_ends_in_english(self, header):
        chain = languages_wanted(header)
        assert chain[-1] is ENGLISH
        assert len(set(chain)) == len(chain)

    @pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.tag)
    def test_every_language_is_had_by_naming_it(self, language):
        assert languages_wanted(f"{language.tag}-MM")[0] is language


class TestNumerals:
    @pytest.mark.parametrize(
        ("amount", "english", "burmese"),
        [
            ("25.000000", "25.00", "၂၅.၀၀"),
            ("1250.500000", "1,250.50", "၁,၂၅၀.၅၀"),
            ("0.000001", "0.000001", "၀.၀၀၀၀၀၁"),
            ("0.025000", "0.025", "၀.၀၂၅"),
            ("9223372036854.775807", "9,223,372,036,854.775807", "၉,၂၂၃,၃၇၂,၀၃၆,၈၅၄.၇၇၅၈၀၇"),
            ("-3.10", "-3.10", "-၃.၁၀"),
            ("12", "12", "၁၂"),
            ("not 12", "not 12", "not 12"),
        ],
    )
    def test_an_amount_is_written_as_people_write_it(self, amount, english, burmese):
        assert amount_text(ENGLISH, amount) == english
        assert amount_text(BURMESE, amount) == burmese

    @given(st.integers(-AMOUNT_LIMIT, AMOUNT_LIMIT), st.sampled_from(ASSETS), st.sampled_from(LANGUAGES))
    def test_no_amount_is_rounded_or_loses_a_digit(self, minor, asset, language):
        shown = amount_text(language, Money(minor, asset).format())
        back = shown.replace(",", "").translate(str.maketrans(language.digits, "0123456789"))
        assert Decimal(back).scaleb(asset.scale) == minor

    @given(st.integers(-(10**15), 10**15))
    def test_groups_are_those_of_cldr(self, number):
        assert number_text(ENGLISH, number) == format_decimal(number, locale="en")

    @pytest.mark.parametrize("tag", ["en", "my", "shn"])
    def test_digits_are_those_of_cldr_where_it_knows_the_language(self, tag):
        names = {"0": "latn", "၀": "mymr"}
        assert Locale(tag).default_numbering_system == names[BY_TAG[tag].digits[0]]

    def test_every_language_has_ten_digits_in_their_order(self):
        for language in LANGUAGES:
            assert [int(digit) for digit in language.digits] == list(range(10))


HEAD = r"""msgid ""
msgstr ""
"Language: {tag}\n"
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: {plural}\n"

"""
ONE = "nplurals=1; plural=0;"
TWO = "nplurals=2; plural=(n != 1);"

PAID = 'msgctxt "detail paid"\nmsgid "{handle} paid {amount} {asset}."\n'
DAYS = 'msgctxt "detail days"\nmsgid "{days} day left."\nmsgid_plural "{days} days left."\n'
ADVICE = 'msgctxt "advice"\nmsgid "Wait."\n'


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Catalogues with three messages, in words that are made up so that they are told apart."""
    (tmp_path / TEMPLATE).write_text(
        HEAD.format(tag="en", plural=TWO)
        + "\n".join([PAID + 'msgstr ""\n', DAYS + 'msgstr[0] ""\nmsgstr[1] ""\n', ADVICE + 'msgstr ""\n'])
    )
    for language in LANGUAGES[1:]:
        write(tmp_path, language.tag)
    write(
        tmp_path,
        "my",
        PAID + 'msgstr "MY {handle} {amount} {asset}"\n',
        DAYS + 'msgstr[0] "MY {days}"\n',
        ADVICE + 'msgstr "MY wait"\n',
    )
    write(tmp_path, "ksw", DAYS + 'msgstr[0] "KSW {days}"\n')
    return tmp_path


def write(directory: Path, tag: str, *messages: str, plural: str = ONE, named: str | None = None) -> None:
    (directory / f"{tag}.po").write_text(HEAD.format(tag=named or tag, plural=plural) + "\n".join(messages))


def detail(texts: Catalogues, header: str, code: str, **data: str | int | None) -> tuple[str, str] | None:
    found = texts.detail(languages_wanted(header), code, data)
    return (found.language.tag, found.text) if found is not None else None


class TestCatalogues:
    def test_each_text_comes_from_the_first_language_that_has_it(self, texts):
        loaded = load_catalogues(texts)
        paid = {"handle": "@ko", "amount": "1250.000000", "asset": "USDT"}
        assert detail(loaded, "ksw", "days", days=12) == ("ksw", "KSW ၁၂")
        assert detail(loaded, "ksw", "paid", **paid) == ("my", "MY @ko ၁,၂၅၀.၀၀ USDT")
        assert detail(loaded, "ksw, en;q=0.5", "paid", **paid) == ("en", "@ko paid 1,250.00 USDT.")
        assert detail(loaded, "shn", "days", days=12) == ("my", "MY ၁၂")
        assert detail(loaded, "fr", "days", days=12) == ("en", "12 days left.")

    @pytest.mark.parametrize("language", LANGUAGES[2:], ids=lambda language: language.tag)
    def test_a_language_without_a_text_gives_it_in_burmese_with_burmese_digits(self, texts, language):
        write(texts, language.tag)
        assert detail(load_catalogues(texts), language.tag, "days", days=12) == ("my", "MY ၁၂")

    @pytest.mark.parametrize("language", LANGUAGES[2:], ids=lambda language: language.tag)
    def test_a_language_s_own_text_has_its_own_digits(self, texts, language):
        write(texts, language.tag, DAYS + 'msgstr[0] "OWN {days}"\n')
        found = detail(load_catalogues(texts), language.tag, "days", days=1209)
        assert found == (language.tag, "OWN " + number_text(language, 1209))
        assert ("1,209" in found[1]) == (language.digits == "0123456789")

    def test_english_counts_one_and_many(self, texts):
        loaded = load_catalogues(texts)
        assert [detail(loaded, "en", "days", days=days) for days in (0, 1, 2, 1000)] == [
            ("en", "0 days left."),
            ("en", "1 day left."),
            ("en", "2 days left."),
            ("en", "1,000 days left."),
        ]

    def test_a_language_with_more_forms_takes_the_one_of_its_rule(self, texts):
        write(
            texts,
            "kac",
            DAYS + 'msgstr[0] "one {days}"\nmsgstr[1] "many {days}"\nmsgstr[2] "none"\n',
            plural="nplurals=3; plural=(n == 0 ? 2 : n == 1 ? 0 : 1);",
        )
        loaded = load_catalogues(texts)
        assert [detail(loaded, "kac", "days", days=days) for days in (0, 1, 5)] == [
            ("kac", "none"),
            ("kac", "one 1"),
            ("kac", "many 5"),
        ]

    def test_a_text_whose_data_is_missing_is_not_said_in_any_language(self, texts):
        loaded = load_catalogues(texts)
        assert detail(loaded, "my", "paid", handle="@ko", asset="USDT") is None
        assert detail(loaded, "my", "paid", handle="@ko", asset="USDT", amount=None) is None
        assert detail(loaded, "my", "nothing_like_this") is None

    def test_what_a_value_says_is_never_read_as_a_place(self, texts):
        loaded = load_catalogues(texts)
        data = {"handle": "{asset}{0}%s\\1", "amount": "{handle}", "asset": "USDT"}
        assert detail(loaded, "my", "paid", **data) == ("my", "MY {asset}{0}%s\\1 {handle} USDT")

    def test_digits_of_names_and_ids_stay_as_they_are(self, texts):
        found = detail(load_catalogues(texts), "my", "paid", handle="@ko_2026", amount="7.00", asset="A1")
        assert found == ("my", "MY @ko_2026 ၇.၀၀ A1")

    def test_a_translation_of_another_english_does_not_count(self, texts):
        write(texts, "ksw", DAYS.replace("left", "over") + 'msgstr[0] "KSW {days}"\n')
        assert detail(load_catalogues(texts), "ksw", "days", days=2) == ("my", "MY ၂")

    def test_a_translation_that_is_marked_fuzzy_does_not_count(self, texts):
        write(texts, "ksw", "#, fuzzy\n" + DAYS + 'msgstr[0] "KSW {days}"\n')
        loaded = load_catalogues(texts)
        assert detail(loaded, "ksw", "days", days=2) == ("my", "MY ၂")
        assert {each.language.tag: each.translated for each in coverage_of(loaded)}["ksw"] == 0

    def test_coverage_counts_what_is_there_and_names_what_is_not(self, texts):
        found = {each.language.tag: each for each in coverage_of(load_catalogues(texts))}
        assert {tag: (each.translated, each.total) for tag, each in found.items()} == {
            "en": (3, 3), "my": (3, 3), "ksw": (1, 3), "kac": (0, 3), "cnh": (0, 3), "shn": (0, 3),
            "mnw": (0, 3), "rki": (0, 3),
        }  # fmt: skip
        assert found["ksw"].missing == (
            ("detail paid", "{handle} paid {amount} {asset}."),
            ("advice", "Wait."),
        )
        assert not found["my"].missing

    @pytest.mark.parametrize(
        "broken",
        [
            DAYS + 'msgstr[0] "a"\nmsgstr[1] "b"\n',
            "this is no catalogue\n",
        ],
    )
    def test_a_catalogue_that_does_not_parse_is_refused_by_name(self, texts, broken):
        write(texts, "shn", broken)
        with pytest.raises(CatalogueMalformed, match=r"shn\.po"):
            load_catalogues(texts)

    def test_a_catalogue_of_another_language_or_none_at_all_is_refused(self, texts):
        write(texts, "mnw", named="my")
        with pytest.raises(CatalogueMalformed, match=r"mnw\.po"):
            load_catalogues(texts)
        (texts / "mnw.po").unlink()
        with pytest.raises(CatalogueMalformed, match=r"mnw\.po"):
            load_catalogues(texts)

    def test_a_plural_rule_that_is_none_is_refused(self, texts):
        write(texts, "mnw", plural="nplurals=1; plural=__import__;")
        with pytest.raises(CatalogueMalformed, match=r"mnw\.po"):
            load_catalogues(texts)


class TestPluralRules:
    @pytest.mark.parametrize("language", [ENGLISH, BURMESE], ids=lambda language: language.tag)
    def test_they_are_those_of_cldr(self, language):
        rule = load_catalogues()[language].form_of
        known = Locale(language.tag).plural_form
        order = ["one", "other"] if get_plural(language.tag).num_plurals == 2 else ["other"]
        assert [order[rule(number)] for number in range(300)] == [known(number) for number in range(300)]

    @pytest.mark.parametrize("language", LANGUAGES[2:], ids=lambda language: language.tag)
    def test_a_language_that_cldr_does_not_count_in_has_one_form(self, language):
        rule = load_catalogues()[language].form_of
        assert {rule(number) for number in range(300)} == {0}
