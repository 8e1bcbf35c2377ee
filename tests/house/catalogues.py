"""The catalogues of texts, brought up to date with the code: what xgettext and msgmerge would do.

The template has the title, the detail and the advice of every code that the API answers
with; the English of a detail is ``problem_texts.DETAILS`` or else the code's docstring.
Translations stay; one whose English has changed is marked fuzzy, and does not count until
somebody has looked at it. After a code, its docstring or its advice has changed:

    .venv/bin/python -m tests.house.catalogues
"""

import io
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

from foundation.languages.catalogues import TEMPLATE, TEXTS
from foundation.languages.spoken import COMPLETE, ENGLISH, LANGUAGES, Language
from tests.house.vocabulary import vocabularies
from wallet_api.problem_kinds import PROBLEM_KINDS
from wallet_api.problem_texts import ABOUT_MONEY, DETAILS, shown_code, title_of

WIDTH = 110

PLURAL_FORMS = {ENGLISH: "nplurals=2; plural=(n != 1);"}
"""By language; every other one has one form for all numbers (CLDR; those it does not know, as its root)."""

Text = str | tuple[str, str]


def wanted() -> list[tuple[str, Text]]:
    """Every message, context and English, in the order of the table of kinds."""
    meanings = {
        member.value: member.meaning.replace("``", "")
        for vocabulary in vocabularies()
        if vocabulary.is_refusals
        for member in vocabulary.members
    }
    found: list[tuple[str, Text]] = [("money", text) for text in ABOUT_MONEY.values()]
    for code, kind in PROBLEM_KINDS.items():
        if shown_code(code) == code:
            found.append(("title", title_of(code)))
            found.append((f"detail {code}", DETAILS.get(code) or meanings[code]))
        found.append(("advice", kind.what_to_do))
    return list(dict.fromkeys(found))


def fields_of(language: Language) -> dict[str, str]:
    """What the head of a catalogue says; no date in it, so that the same code gives the same file."""
    return {
        "Project-Id-Version": "nugpay",
        "Language": language.tag,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": PLURAL_FORMS.get(language, "nplurals=1; plural=0;"),
        "X-Text-Direction": "ltr",
    }


def header(language: Language) -> str:
    """The first lines of a catalogue."""
    title = "The texts in English: the source that is translated." if language is ENGLISH else language.name
    lines = [f"# {title}", "# Messages by tests/house/catalogues.py, translations by hand."]
    lines += [
        'msgid ""',
        'msgstr ""',
        *(f'"{name}: {value}\\n"' for name, value in fields_of(language).items()),
    ]
    return "\n".join(lines) + "\n"


def merged(language: Language, old: Catalog | None) -> str:
    """A catalogue's text: all messages that are wanted, with the translations that there are."""
    catalog = Catalog(charset="utf-8")
    catalog.mime_headers = list(fields_of(language).items())
    # A detail is found by its code even when its English has changed.
    details = {one.context: one for one in old or () if (one.context or "").startswith("detail ")}
    for context, english in wanted():
        was = old.get(english, context) if old is not None else None
        fuzzy = False
        if was is None and context in details:
            was, fuzzy = details[context], True
        message = Message(english, context=context)
        if was is not None and _is_translated(was) and message.pluralizable == was.pluralizable:
            message.string = was.string
            message.user_comments = was.user_comments
            message.flags |= was.flags | ({"fuzzy"} if fuzzy else set())
        # The catalogues that need not be complete hold what is translated; the template has the rest.
        if language.tag in COMPLETE or _is_translated(message):
            catalog[english] = message
    out = io.BytesIO()
    write_po(out, catalog, width=WIDTH, omit_header=True)
    messages = out.getvalue().decode().strip()
    return "\n".join([header(language), messages + "\n"]) if messages else header(language)


def _is_translated(message: Message) -> bool:
    return any(message.string or ())


def path_of(language: Language) -> Path:
    """Where a language's catalogue lies."""
    return TEXTS / (TEMPLATE if language is ENGLISH else f"{language.tag}.po")


def fresh(language: Language) -> str:
    """What a language's catalogue must be: its own translations and the code's messages."""
    path = path_of(language)
    if language is ENGLISH or not path.exists():
        return merged(language, None)
    with path.open("rb") as file:
        return merged(language, read_po(file, charset="utf-8"))


if __name__ == "__main__":
    for each in LANGUAGES:
        path_of(each).write_text(fresh(each))
