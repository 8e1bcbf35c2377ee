"""Preferences: which languages somebody wants, as ``Accept-Language`` says it.

The header is RFC 9110 section 12.5.4, matched by lookup (RFC 4647 section 3.4). It is
a wish and never a reason to refuse: what cannot be read is passed over, and who says
nothing that is spoken here gets English.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from foundation.languages.spoken import ENGLISH, Language, fallbacks_of, language_of_tag

LENGTH_MAX: Final = 1000
"""Longest header that is read, in characters; phones send less than a hundred."""

RANGES_MAX: Final = 50
"""How many of its languages are looked at."""

_RANGE: Final = re.compile(
    r"\s*(?P<tag>\*|[A-Za-z]{1,8}(?:[-_][A-Za-z0-9]{1,8})*)"
    r"\s*(?:;\s*[qQ]\s*=\s*(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?"
)
"""A language range and its weight; anything more or less is passed over."""


@functools.lru_cache(maxsize=512)
def languages_wanted(accept_language: str) -> tuple[Language, ...]:
    """The languages to try for a text, in order; English is always among them.

    First those that are named, by weight and then as they stand; then what falls in for
    them. Somebody who names ``kac, en`` does not get Burmese between the two; somebody
    who names ``kac`` alone does. ``q=0`` takes a language out, other than English,
    which alone is sure to have every text where Burmese is not wanted.
    """
    named, unwanted = _named(accept_language)
    chain = [language for language in named if language not in unwanted]
    for language in tuple(chain):
        chain += [one for one in fallbacks_of(language) if one not in chain and one not in unwanted]
    if ENGLISH not in chain:
        chain.append(ENGLISH)
    # Nothing after English is ever reached: it has every text.
    return tuple(chain[: chain.index(ENGLISH) + 1])


def _named(accept_language: str) -> tuple[list[Language], set[Language]]:
    """The languages spoken here that a header names, the most wanted first, and those it excludes."""
    wanted: dict[Language, int] = {}
    unwanted: set[Language] = set()
    if len(accept_language) > LENGTH_MAX:
        return [], unwanted
    for part in accept_language.split(",")[:RANGES_MAX]:
        match = _RANGE.fullmatch(part)
        language = language_of_tag(match["tag"]) if match is not None else None
        if match is None or language is None:
            continue
        weight = _thousandths(match["weight"] or "1")
        if weight == 0:
            unwanted.add(language)
        else:
            # Named twice (my-MM, my;q=0.5), the greater wish counts.
            wanted[language] = max(weight, wanted.get(language, 0))
    # Sorting keeps the order of what weighs the same.
    named = sorted(wanted, key=lambda language: -wanted[language])
    return named, unwanted - wanted.keys()


def _thousandths(weight: str) -> int:
    whole, _, decimals = weight.partition(".")
    return int(whole) * 1000 + int(decimals.ljust(3, "0"))
