"""Coverage: how much of each language is translated, and what is not."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.languages.catalogues import Catalogues
from foundation.languages.spoken import COMPLETE, ENGLISH, LANGUAGES, Language


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one language has of all messages."""

    language: Language
    total: int
    """All messages."""
    missing: tuple[tuple[str, str], ...]
    """Context and English of those that are given in another language, in the template's order."""

    @property
    def translated(self) -> int:
        """How many messages it has."""
        return self.total - len(self.missing)

    @property
    def must_be_complete(self) -> bool:
        """Whether a missing message fails the tests."""
        return self.language.tag in COMPLETE


def coverage_of(catalogues: Catalogues) -> tuple[Coverage, ...]:
    """The coverage of every language."""
    wanted = tuple(catalogues[ENGLISH].messages)
    return tuple(
        Coverage(
            language, len(wanted), tuple(key for key in wanted if key not in catalogues[language].messages)
        )
        for language in LANGUAGES
    )
