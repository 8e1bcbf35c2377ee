"""What a problem says to people: its four sentences, in the language that was asked for.

English is what the rooms and the table of kinds say: the sentence made where a request
was refused knows the most. In every other language the sentence is the one of the code's
meaning, filled with the refusal's data; it is never a translation of an assembled
English one. A text without translation comes from the next language of the chain, so
one answer may hold two, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from foundation.errors import FoundationCode
from foundation.languages.catalogues import Text, Value, all_texts
from foundation.languages.spoken import ENGLISH, Language
from identity.errors import IdentityCode
from treasury.errors import TreasuryCode
from wallet_api.errors import ApiCode
from wallet_api.problem_kinds import PROBLEM_KINDS, ProblemKind
from wallets.errors import WalletCode

ABOUT_MONEY: Final[dict[str, str]] = {
    "false": "This request has moved no money.",
    "unknown": "It is not known yet whether money moved; ask for the id of what you sent.",
}
"""What ``money_moved`` says, by its value.

It speaks of this request only: under an id that was used before, an earlier one may have paid.
"""

DETAILS: Final[dict[str, str | tuple[str, str]]] = {
    FoundationCode.AMOUNT_TOO_PRECISE: (
        "{asset} has {scale} decimal; amounts are never rounded.",
        "{asset} has {scale} decimals; amounts are never rounded.",
    ),
    IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW: (
        "The device's clock is more than {window_seconds} second off the server's.",
        "The device's clock is more than {window_seconds} seconds off the server's.",
    ),
    WalletCode.HANDLE_RESERVED: "@{handle} could be taken for the bank's own.",
    WalletCode.HANDLE_TAKEN: "@{handle} belongs to somebody else.",
    WalletCode.WALLET_ALREADY_OPEN: "Your wallet is open already, as @{handle}.",
    WalletCode.PAYEE_UNKNOWN: "No wallet has the handle @{handle}.",
    WalletCode.FEE_ABOVE_MAXIMUM: "The fee is {fee} {asset}, more than you agreed to.",
    WalletCode.PAYMENT_ID_USED_DIFFERENTLY: "A payment with this id was made with other content: {field}.",
    WalletCode.INSUFFICIENT_FUNDS: "The available balance does not cover {amount} {asset} and its fee.",
    TreasuryCode.ASSET_NOT_ON_CHAIN: "{asset} has no token on this chain: no deposits, no withdrawals.",
    TreasuryCode.WITHDRAWAL_ABOVE_LIMIT: "At most {limit} {asset} can be withdrawn at once.",
    TreasuryCode.WITHDRAWAL_ABOVE_DAILY_LIMIT: "At most {limit} {asset} can be withdrawn in 24 hours.",
    TreasuryCode.WITHDRAWAL_FEE_ABOVE_MAXIMUM: "The fee is {fee} {asset}, more than you agreed to.",
    # Who is no officer is told no more than that in English either.
    TreasuryCode.APPROVER_IS_NO_OFFICER: "There is nothing at this path.",
    TreasuryCode.RELEASE_BOOKS_NOT_COMPARED: (
        "The {asset} books have not been compared since the breaker tripped."
    ),
    TreasuryCode.RELEASE_BOOKS_DIFFER: "The {asset} books still differ by what nothing explains.",
    ApiCode.REQUEST_MALFORMED: "This field is missing, unknown, of another type or too long: {field}.",
    "ledger_unavailable": "The ledger does not answer.",
    "ledger_busy": "The ledger is busy.",
    "ledger_segment_archived": "The entries that this needs are in the archive.",
    "database_unavailable": "The database does not answer.",
    "chain_unavailable": "The chain's node does not answer.",
}
"""The English of codes whose text has parameters or no docstring, with their plurals.

Every other code's is its docstring. Each parameter is one that all refusals of the code
carry as data, in the same words; a test looks at every place that refuses.
"""


@dataclass(frozen=True, slots=True)
class ProblemText:
    """The sentences of one problem."""

    title: str
    """The code in words."""
    detail: str
    """What happened."""
    about_money: str
    """Whether money moved."""
    what_to_do: str
    """What to do now."""
    languages: tuple[str, ...]
    """Tags of the languages they are in, the one that was asked for first."""


def title_of(code: str) -> str:
    """A code in English words."""
    return code.replace("_", " ").capitalize()


def shown_code(code: str) -> str:
    """The code whose text is shown: nobody outside can act on one fault of ours rather than another."""
    kind = PROBLEM_KINDS.get(code)
    return ApiCode.INTERNAL_ERROR.value if kind is None or kind.status == 500 else code


def problem_text(
    code: str,
    kind: ProblemKind,
    detail: str,
    data: Mapping[str, Value],
    *,
    money_moved: str,
    languages: tuple[Language, ...],
) -> ProblemText:
    """The four sentences in the first of ``languages`` that has each; ``detail`` is the English one."""
    shown = shown_code(code)
    title = _said(languages, "title", title_of(shown), title_of(code))
    happened = _detail(languages, shown, detail, data, title)
    about_money = _said(languages, "money", ABOUT_MONEY[money_moved])
    what_to_do = _said(languages, "advice", kind.what_to_do)
    used = {text.language for text in (title, happened, about_money, what_to_do)}
    return ProblemText(
        title.text,
        happened.text,
        about_money.text,
        what_to_do.text,
        tuple(language.tag for language in languages if language in used),
    )


def _said(languages: tuple[Language, ...], context: str, english: str, shown: str | None = None) -> Text:
    """A text of the catalogues; in English ``shown`` when that says more than what others translate."""
    found = all_texts().say(_before_english(languages), context, english)
    return found or Text(shown or english, ENGLISH)


def _detail(
    languages: tuple[Language, ...], code: str, english: str, data: Mapping[str, Value], title: Text
) -> Text:
    found = all_texts().detail(_before_english(languages), code, data)
    if found is not None:
        return found
    # A refusal without the data that its text speaks of: the title says it in the language at least.
    return title if title.language is not ENGLISH else Text(english, ENGLISH)


def _before_english(languages: tuple[Language, ...]) -> tuple[Language, ...]:
    return languages[: languages.index(ENGLISH)]
