"""The parts of docs/errors.md and docs/glossary.md that say again what the code says.

They stand between two marks; what is around them is written by hand. After a code
or an enum has changed:

    .venv/bin/python -m tests.house.documents
"""

from collections.abc import Callable
from pathlib import Path

from foundation.errors import Retryable
from tests.house.vocabulary import ROOT, Vocabulary, vocabularies
from wallet_api.problem_kinds import PROBLEM_KINDS

BEGIN = "<!-- From the code, by tests/house/documents.py; do not edit below. -->"
END = "<!-- End of what is from the code. -->"

ERRORS = ROOT / "docs" / "errors.md"
GLOSSARY = ROOT / "docs" / "glossary.md"

INTRODUCTIONS = {
    ERRORS: f"""\
# Errors

Every refusal has a stable code. A client switches on the code, never on the text. The API answers as
`application/problem+json` with the code, a sentence, `retryable` (`{Retryable.YES.value}`,
`{Retryable.NO.value}` or `{Retryable.UNKNOWN.value}`) and what to do now.

A refusal promises that nothing happened. Only `{Retryable.UNKNOWN.value}` leaves that open: then the same
request with the same id settles it.

""",
    GLOSSARY: """\
# Glossary

The words of the project, as the code defines them: each public enum and its members, room by room.

""",
}


def errors_text() -> str:
    """Every code, room by room, with its HTTP status and advice."""
    parts = []
    for vocabulary in vocabularies():
        if not vocabulary.is_refusals:
            continue
        rows = ["| code | status | meaning | what to do |", "|---|---|---|---|"]
        for member in vocabulary.members:
            kind = PROBLEM_KINDS.get(member.value)
            status, advice = (str(kind.status), kind.what_to_do) if kind is not None else ("–", "–")
            rows.append(f"| `{member.value}` | {status} | {_cell(member.meaning)} | {_cell(advice)} |")
        parts.append(_section(vocabulary, rows))
    return "\n".join([*parts, _outages()])


def _outages() -> str:
    """The codes of dependencies that did not answer, which no room's enum has."""
    known = {member.value for vocabulary in vocabularies() for member in vocabulary.members}
    rows = [
        f"| `{code}` | {kind.status} | {_cell(kind.what_to_do)} |"
        for code, kind in PROBLEM_KINDS.items()
        if str(code) not in known
    ]
    head = ["## Outages", "", "A part that did not answer; the outcome may be unknown.", ""]
    return "\n".join([*head, "| code | status | what to do |", "|---|---|---|", *rows, ""])


def glossary_text() -> str:
    """Every public enum but the refusals, which docs/errors.md has."""
    parts = []
    for vocabulary in vocabularies():
        if vocabulary.is_refusals:
            continue
        rows = ["| word | value | meaning |", "|---|---|---|"]
        rows += [
            f"| `{member.name}` | `{member.value}` | {_cell(member.meaning)} |"
            for member in vocabulary.members
        ]
        parts.append(_section(vocabulary, rows))
    return "\n".join(parts)


def _section(vocabulary: Vocabulary, rows: list[str]) -> str:
    title = f"## {vocabulary.name} (`{vocabulary.module}`)"
    return "\n".join([title, "", vocabulary.meaning, "", *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


DOCUMENTS: dict[Path, Callable[[], str]] = {ERRORS: errors_text, GLOSSARY: glossary_text}
"""Each document and what fills it."""


def generated_part(path: Path) -> str:
    """What stands between the marks now."""
    return path.read_text().partition(BEGIN)[2].partition(END)[0].strip("\n")


def write(path: Path) -> None:
    """Bring one document up to date; what is written by hand stays."""
    text = path.read_text() if path.exists() else f"{INTRODUCTIONS[path]}{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{DOCUMENTS[path]().strip()}\n\n{END}{after}")


if __name__ == "__main__":
    for document in DOCUMENTS:
        write(document)
