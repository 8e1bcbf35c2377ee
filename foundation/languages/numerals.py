"""Numerals: numbers as people write them, in texts only.

Groups of three and the decimal point are the same in all our languages (CLDR); the
digits are each language's own. Amounts stay exact: only zeros that say nothing are
left out, and never is anything rounded. Fields for machines are not written here.
"""

from __future__ import annotations

import re
from typing import Final

from foundation.languages.spoken import LATIN_DIGITS, Language

DECIMALS_MIN: Final = 2
"""An amount keeps as many decimals as coins have, if it has that many: 25.00, and 0.0250 is 0.025."""

_PLAIN_DECIMAL: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?", re.ASCII)


def number_text(language: Language, number: int) -> str:
    """A whole number: 12,500, and ၁၂,၅၀၀ in Burmese."""
    return digits_of(language, f"{number:,}")


def amount_text(language: Language, amount: str) -> str:
    """An amount as ``Money.format`` writes it: "1250.500000" is 1,250.50; other text stays as it is."""
    match = _PLAIN_DECIMAL.fullmatch(amount)
    if match is None:
        return amount
    sign, whole, decimals = match.groups()
    shown = f"{sign}{int(whole):,}"
    if decimals is not None:
        shown += "." + decimals[:DECIMALS_MIN] + decimals[DECIMALS_MIN:].rstrip("0")
    return digits_of(language, shown)


def digits_of(language: Language, text: str) -> str:
    """The text with Latin digits replaced by the language's."""
    if language.digits == LATIN_DIGITS:
        return text
    return text.translate(str.maketrans(LATIN_DIGITS, language.digits))
