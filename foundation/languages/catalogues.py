"""Catalogues: the texts for people, read from gettext files once a process.

``texts/messages.pot`` has every message in English, written from the code; each other
language is a ``.po`` file beside it, and no compiled form is kept that could be older
than its source. A message is found by its context (``title``, ``advice``, ``detail
payee_unknown``) and its English. Where the English has changed since, or the translator
marked it fuzzy, the translation does not count: a stale sentence about money is worse
than one in another language.
"""

from __future__ import annotations

import functools
import gettext
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.pofile import PoFileError, read_po

from foundation.errors import NUGPayError
from foundation.languages.numerals import amount_text, number_text
from foundation.languages.spoken import ENGLISH, LANGUAGES, Language

TEXTS: Final = Path(__file__).with_name("texts")
"""Where the catalogues lie."""

TEMPLATE: Final = "messages.pot"
"""The English texts: the source that all catalogues translate."""

AMOUNT_PARAMETERS: Final = frozenset({"amount", "fee", "fee_max", "limit", "total"})
"""Parameters that are amounts in plain decimals: they are written as people write amounts."""

PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
"""A parameter's place in a text. Nothing else in braces means anything."""

Value = str | int | bool | None
"""What a text may be given: the data of a refusal."""


class CatalogueMalformed(NUGPayError):
    """A catalogue is no gettext file, or not the one of its language."""


@dataclass(frozen=True, slots=True)
class Message:
    """A text of one language; one form for each of its plurals, and one only if it counts nothing."""

    forms: tuple[str, ...]

    @property
    def parameters(self) -> frozenset[str]:
        """The names in braces, of all forms."""
        return frozenset(name for form in self.forms for name in PLACEHOLDER.findall(form))


@dataclass(frozen=True, slots=True)
class Text:
    """A text for people, and the language that it came out in."""

    text: str
    language: Language


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The texts of one language."""

    language: Language
    messages: Mapping[tuple[str, str], Message]
    """By context and English text."""
    form_of: Callable[[int], int]
    """Which plural form a number takes."""


class Catalogues:
    """All texts in all languages; made once and never changed."""

    def __init__(self, english: Catalogue, others: Iterable[Catalogue]) -> None:
        self._by_language = {english.language: english} | {one.language: one for one in others}
        # Of a context that has one message only, that message is asked for by the context alone.
        self._english = {context: text for context, text in english.messages if context.startswith("detail ")}

    def say(
        self,
        languages: Iterable[Language],
        context: str,
        english: str,
        data: Mapping[str, Value] | None = None,
    ) -> Text | None:
        """A message in the first of the languages that has it, if ``data`` has all that it speaks of.

        ``english`` is its text in the template; None when no language has it.
        """
        given = {name: value for name, value in (data or {}).items() if value is not None}
        for language in languages:
            catalogue = self._by_language.get(language)
            message = catalogue.messages.get((context, english)) if catalogue is not None else None
            if catalogue is not None and message is not None and message.parameters <= given.keys():
                return Text(_filled(catalogue, message, given), language)
        return None

    def detail(
        self, languages: Iterable[Language], code: str, data: Mapping[str, Value] | None = None
    ) -> Text | None:
        """What a code says has happened, with the data of its refusal; None when no language can say it."""
        context = f"detail {code}"
        english = self._english.get(context)
        return self.say(languages, context, english, data) if english is not None else None

    def __getitem__(self, language: Language) -> Catalogue:
        """The catalogue of one language."""
        return self._by_language[language]


def load_catalogues(directory: Path = TEXTS) -> Catalogues:
    """Read every language's catalogue; ``CatalogueMalformed`` when one cannot be read."""
    template = _read(directory / TEMPLATE, None)
    english = Catalogue(
        ENGLISH, _messages(template, is_template=True), _plural_rule(directory / TEMPLATE, template)
    )
    others = []
    for language in LANGUAGES:
        if language is ENGLISH:
            continue
        path = directory / f"{language.tag}.po"
        catalog = _read(path, language)
        known = english.messages.keys()
        messages = {
            key: message for key, message in _messages(catalog, is_template=False).items() if key in known
        }
        others.append(Catalogue(language, messages, _plural_rule(path, catalog)))
    return Catalogues(english, others)


@functools.cache
def all_texts() -> Catalogues:
    """This process' catalogues, read when first asked for."""
    return load_catalogues()


def _read(path: Path, language: Language | None) -> Catalog:
    try:
        with path.open("rb") as file:
            catalog = read_po(file, charset="utf-8", abort_invalid=True)
    except (OSError, PoFileError, ValueError) as error:
        raise CatalogueMalformed(f"{path.name}: {error}") from error
    if language is not None and catalog.locale_identifier != language.tag:
        raise CatalogueMalformed(f"{path.name} says that it is {catalog.locale_identifier}.")
    return catalog


def _messages(catalog: Catalog, *, is_template: bool) -> dict[tuple[str, str], Message]:
    found: dict[tuple[str, str], Message] = {}
    for message in catalog:
        if not message.id or message.fuzzy:
            continue
        written = (message.id if is_template else message.string) or ""
        forms = (written,) if isinstance(written, str) else tuple(written)
        if all(forms):
            single = message.id if isinstance(message.id, str) else message.id[0]
            found[message.context or "", single] = Message(forms)
    return found


def _plural_rule(path: Path, catalog: Catalog) -> Callable[[int], int]:
    try:
        return gettext.c2py(catalog.plural_expr)
    except ValueError as error:
        raise CatalogueMalformed(f"{path.name}: {error}") from error


def _filled(catalogue: Catalogue, message: Message, data: Mapping[str, Value]) -> str:
    form = message.forms[0]
    if len(message.forms) > 1:
        form = message.forms[catalogue.form_of(_count(message, data))]
    # Each place is filled once: what a caller put into a value is never read as a place again.
    return PLACEHOLDER.sub(lambda place: _written(catalogue.language, place[1], data[place[1]]), form)


def _count(message: Message, data: Mapping[str, Value]) -> int:
    """The number that decides the plural: the one whole number that the message speaks of."""
    numbers = [value for name in sorted(message.parameters) if _is_number(value := data[name])]
    return abs(int(numbers[0] or 0)) if numbers else 0


def _is_number(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _written(language: Language, name: str, value: Value) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return number_text(language, value)
    if name in AMOUNT_PARAMETERS and isinstance(value, str):
        return amount_text(language, value)
    # Names, ids and addresses are shown as they are: a digit of them that was replaced would mislead.
    return str(value)
