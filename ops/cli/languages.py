"""``nugpay languages``: how much of each language is translated, and what is not."""

from __future__ import annotations

from typing import Annotated

import typer

INCOMPLETE = 3
"""Exit status when a language that must be complete is not."""


def command(
    *, missing: Annotated[str, typer.Option(help="Show what this language has no text for: ksw.")] = ""
) -> None:
    """Show each language's coverage: messages translated, of all; where the others come from.

    Ends with 0 when English and Burmese have every text, with 3 otherwise.
    """
    from rich.console import Console
    from rich.table import Table

    from foundation.languages.catalogues import all_texts
    from foundation.languages.coverage import coverage_of
    from foundation.languages.spoken import BY_TAG, fallbacks_of

    if missing and missing not in BY_TAG:
        raise typer.BadParameter(f"{missing} is none of {', '.join(BY_TAG)}", param_hint="--missing")
    found = coverage_of(all_texts())
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("language", "tag", "translated", "of", "else in", "digits"):
        table.add_column(title, justify="right" if title in {"translated", "of"} else "left")
    for each in found:
        chain = ", ".join(one.tag for one in fallbacks_of(each.language)) or "–"
        language = each.language
        table.add_row(
            language.name, language.tag, str(each.translated), str(each.total), chain, language.digits
        )
    console = Console(soft_wrap=True)
    console.print(table)
    for each in found:
        # What must be complete is told without being asked for.
        if each.language.tag == missing or (each.must_be_complete and each.missing):
            for context, english in each.missing:
                console.print(f"{each.language.tag}: {context}: {english}", markup=False, highlight=False)
    raise typer.Exit(INCOMPLETE if any(each.must_be_complete and each.missing for each in found) else 0)
