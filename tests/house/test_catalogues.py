"""The catalogues that are checked in: what the code says, complete where they must be, and sound Burmese."""

import ast
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.languages.catalogues import PLACEHOLDER, load_catalogues
from foundation.languages.coverage import Coverage, coverage_of
from foundation.languages.spoken import BURMESE, ENGLISH, LANGUAGES, Language
from tests.house.catalogues import fresh, path_of
from tests.house.test_repository import FILES
from tests.house.vocabulary import ROOMS, ROOT, python_files, vocabularies

CATALOGUES = load_catalogues()
ALL = list(CATALOGUES[ENGLISH].messages)

TRANSLATED = [
    (language, context, english, message)
    for language in LANGUAGES
    if language is not ENGLISH
    for (context, english), message in CATALOGUES[language].messages.items()
]


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.tag)
def test_a_catalogue_has_the_messages_of_the_code(language: Language) -> None:
    assert path_of(language).read_text() == fresh(language), "run .venv/bin/python -m tests.house.catalogues"


@pytest.mark.parametrize("coverage", coverage_of(CATALOGUES), ids=lambda each: each.language.tag)
def test_english_and_burmese_have_every_text(coverage: Coverage) -> None:
    assert coverage.total == len(ALL) > 200
    if coverage.must_be_complete:
        assert coverage.missing == ()


def test_a_translation_speaks_of_the_same_things_as_the_english() -> None:
    english = CATALOGUES[ENGLISH].messages
    assert [
        f"{language.tag}: {context}"
        for language, context, text, message in TRANSLATED
        for form in message.forms
        if frozenset(PLACEHOLDER.findall(form)) != english[context, text].parameters
    ] == []
    # The same the other way about: nothing in braces that is no place.
    assert [
        message.forms
        for *_, message in TRANSLATED
        if "{" in PLACEHOLDER.sub("", "".join(message.forms))
        or "}" in PLACEHOLDER.sub("", "".join(message.forms))
    ] == []


def test_a_message_that_counts_counts_one_thing() -> None:
    counted = [message for message in CATALOGUES[ENGLISH].messages.values() if len(message.forms) > 1]
    assert counted
    numbers = {"scale", "window_seconds"}
    assert [message.forms for message in counted if len(message.parameters & numbers) != 1] == []


def test_no_compiled_catalogue_is_kept_that_could_be_older_than_its_source() -> None:
    assert [path for path in FILES if path.suffix in {".mo", ".gmo"}] == []
    assert {path.name for path in path_of(ENGLISH).parent.iterdir()} == {
        path_of(one).name for one in LANGUAGES
    }


# Refusals carry what their texts speak of. ------------------------------------------------


def refusals(path: Path, codes: dict[str, str]) -> Iterator[tuple[str, set[str]]]:
    """The code and the names of the data of each refusal that a source makes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refusal":
            code = codes.get(ast.unparse(node.args[0]))
            if code is not None:
                yield code, {keyword.arg for keyword in node.keywords if keyword.arg}


def test_every_place_that_refuses_gives_what_the_texts_of_its_code_speak_of() -> None:
    codes = {
        f"{vocabulary.name}.{member.name}": member.value
        for vocabulary in vocabularies()
        if vocabulary.is_refusals
        for member in vocabulary.members
    }
    spoken_of = {
        context.removeprefix("detail "): message.parameters
        for (context, _), message in CATALOGUES[ENGLISH].messages.items()
        if context.startswith("detail ") and message.parameters
    }
    given = [
        (f"{path.relative_to(ROOT)}: {code}", code, names)
        for path in python_files(*ROOMS)
        for code, names in refusals(path, codes)
    ]
    assert [where for where, code, names in given if not spoken_of.get(code, frozenset()) <= names] == []
    # And none of them is refused with somewhere that this test does not see.
    assert set(spoken_of) - {code for _, code, _ in given} == set()


# Burmese is Unicode, in the order that Unicode wants. ---------------------------------------

CONSONANT = "[\u1000-\u1021\u1025\u1027\u1029\u103f\u104e]"
MEDIALS = "\u103b?\u103c?\u103d?\u103e?"
STACKED = f"(?:\u1039{CONSONANT})?"
VOWELS = "\u1031?[\u102d\u102e\u1032]?[\u102f\u1030]?[\u102b\u102c]?"
ENDS = "[\u1036\u1037\u1038\u103a]*"
SYLLABLE = re.compile(
    f"(?:{CONSONANT}{STACKED}{MEDIALS}\u103a?{VOWELS}{ENDS}|[\u1023-\u102a\u104c-\u104f]{ENDS}|[\u1040-\u104b])"
)
"""A syllable as Unicode stores it (UTN 11); Zawgyi has the vowel E and a medial before the consonant."""

BURMESE_RUN = re.compile("[\u1000-\u109f]+")


def broken_runs(text: str) -> list[str]:
    """The stretches of Myanmar letters that are not syllables in Unicode's order."""
    return [run for run in BURMESE_RUN.findall(text) if SYLLABLE.sub("", run)]


def test_zawgyi_and_wrong_orders_are_told_from_unicode() -> None:
    assert broken_runs("ငွေ လွှဲပြောင်းပြီးပါပြီ။ အတည်ပြုချက် ကျွန်ုပ် တောင်းဆို") == []
    assert broken_runs("\u1031\u1004\u103d")  # The vowel E before its consonant.
    assert broken_runs("\u1004\u1031\u103d")  # The vowel before the medial.
    assert broken_runs("\u1015\u102f\u102d")  # The lower vowel before the upper.
    assert broken_runs("\u1015\u107d")  # A letter that Zawgyi puts another in the place of.


def test_burmese_is_unicode_and_not_zawgyi() -> None:
    texts = [form for message in CATALOGUES[BURMESE].messages.values() for form in message.forms]
    assert [(text, broken_runs(text)) for text in texts if broken_runs(text)] == []
    assert [text for text in texts if unicodedata.normalize("NFC", text) != text] == []
    assert [text for text in texts if not BURMESE_RUN.search(text)] == []


def test_burmese_sentences_end_as_sentences_do_and_titles_do_not() -> None:
    sentences = [
        (context, form)
        for (context, _), message in CATALOGUES[BURMESE].messages.items()
        for form in message.forms
    ]
    ends = ("။", "{field}", ")")
    assert [form for context, form in sentences if (context != "title") != form.endswith(ends)] == []
    assert [form for _, form in sentences if "  " in form or form != form.strip() or "\u200b" in form] == []
