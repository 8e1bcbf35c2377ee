"""The languages that are spoken here, and what is written differently in each.

English and Burmese have every text. The others are there with their digits, plural
rules and fallbacks; each text that nobody has translated yet is given in Burmese,
which most of their speakers in Myanmar read, and only then in English.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LATIN_DIGITS: Final = "0123456789"
"""CLDR's numbering system ``latn``."""

MYANMAR_DIGITS: Final = "၀၁၂၃၄၅၆၇၈၉"
"""CLDR's numbering system ``mymr``."""


# Each language is one object, told from others by being it: comparing is as quick as that.
@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """A language of the product."""

    tag: str
    """The shortest BCP 47 tag, in lower case: ``my``."""
    name: str
    """In English, for operators and reports."""
    digits: str = LATIN_DIGITS
    """Its ten digits, zero first."""
    fallback: str | None = "en"
    """Where a text comes from that this language does not have; None at the end of the chain."""


ENGLISH: Final = Language("en", "English", fallback=None)
BURMESE: Final = Language("my", "Burmese", MYANMAR_DIGITS)

LANGUAGES: Final[tuple[Language, ...]] = (
    ENGLISH,
    BURMESE,
    Language("ksw", "Karen (S’gaw)", MYANMAR_DIGITS, fallback="my"),
    Language("kac", "Kachin (Jingpho)", fallback="my"),
    Language("cnh", "Chin (Hakha)", fallback="my"),
    # CLDR's default for Shan are Latin digits, although the script has digits of its own.
    Language("shn", "Shan", fallback="my"),
    Language("mnw", "Mon", MYANMAR_DIGITS, fallback="my"),
    Language("rki", "Rakhine", MYANMAR_DIGITS, fallback="my"),
)
"""Every language, the complete ones first."""

COMPLETE: Final[frozenset[str]] = frozenset({ENGLISH.tag, BURMESE.tag})
"""Tags of the languages that must have every text: a missing one fails the tests."""

BY_TAG: Final[dict[str, Language]] = {language.tag: language for language in LANGUAGES}
"""The languages by their tags."""

_ALIASES: Final = {"mya": "my", "bur": "my", "eng": "en"}
"""Codes of ISO 639-2 and 639-3 that phones send although BCP 47 wants the shorter one."""

_ZAWGYI: Final = "qaag"
"""CLDR's script code of Zawgyi."""


def language_of_tag(tag: str) -> Language | None:
    """The language of a BCP 47 tag such as ``my-Mymr-MM``; None when it is not spoken here.

    Region and variant do not matter, nor do case and ``_`` in the place of ``-``, as
    some phones write it. Burmese in Zawgyi is not spoken: on a phone with such a font
    our Unicode would be a jumble, and English can be read.
    """
    parts = tag.strip().lower().replace("_", "-").split("-")
    if _ZAWGYI in parts[1:]:
        return None
    return BY_TAG.get(_ALIASES.get(parts[0], parts[0]))


def fallbacks_of(language: Language) -> tuple[Language, ...]:
    """The languages that stand in for ``language``, nearest first; English is the last."""
    found: list[Language] = []
    while language.fallback is not None:
        language = BY_TAG[language.fallback]
        found.append(language)
    return tuple(found)
