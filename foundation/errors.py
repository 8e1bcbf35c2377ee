"""The error tree of the project, and what a code promises.

    NUGPayError
    ├── Refusal              the business expects it; nothing was written
    ├── Unavailable          a dependency did not answer; the outcome may be unknown
    └── InvariantViolation   the books or the code are wrong; never caught, the task stops

A refusal carries a stable code (a member of its room's ``RefusalCode`` enum), a
sentence for people, whether the same request may succeed later, and the data
that explains it. Rooms know no HTTP: ``wallet_api.problem`` maps codes to
statuses in one table.
"""

from __future__ import annotations

from enum import StrEnum

RefusalData = str | int | bool | None
"""What a refusal may carry: plain values that may be shown to the client."""


class NUGPayError(Exception):
    """Root of every error that this project raises on purpose."""


class RefusalCode(StrEnum):
    """Base of each room's enum of refusals.

    The value is the stable code that clients see for ever; it is unique across
    the whole project (a test says so). Each member has a docstring.
    """


class Retryable(StrEnum):
    """Whether sending the same request again can change the answer."""

    YES = "true"
    """Nothing was written; the same request may succeed later."""
    NO = "false"
    """The answer is final for this request."""
    UNKNOWN = "unknown"
    """The outcome is not known; repeat with the same id, or look it up."""


class FoundationCode(RefusalCode):
    """Refusals of the foundation: malformed money, assets and ids."""

    UNKNOWN_ASSET = "unknown_asset"
    """No asset is registered under that code or ledger number."""
    AMOUNT_MALFORMED = "amount_malformed"
    """The text is not a plain decimal number such as "12.50"."""
    AMOUNT_TOO_PRECISE = "amount_too_precise"
    """More decimals than the asset's scale; amounts are never rounded."""
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    """The amount does not fit a signed 64-bit count of minor units."""
    ID_MALFORMED = "id_malformed"
    """The text is not a UUID."""


class Refusal(NUGPayError):
    """A request is refused for a reason that the business expects.

    Guarantee to the caller: what was asked has had no effect. ``data`` holds
    plain values only, never secrets, since it is shown to the client.
    """

    def __init__(
        self,
        code: RefusalCode,
        detail: str,
        *,
        retryable: Retryable = Retryable.NO,
        **data: RefusalData,
    ) -> None:
        super().__init__(f"{code.value}: {detail}")
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.data = data


class Unavailable(NUGPayError):
    """A dependency (database, ledger, chain, signer) did not answer.

    ``outcome_unknown`` is true when the request may have been carried out: the
    caller repeats it with the same id, or looks the id up, and never takes this
    for a refusal.
    """

    def __init__(self, code: str, detail: str, *, outcome_unknown: bool) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.outcome_unknown = outcome_unknown


class InvariantViolation(NUGPayError):
    """A law of the books does not hold. Nobody catches this: the task stops."""
