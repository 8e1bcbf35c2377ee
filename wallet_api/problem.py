"""Problems: every answer that is not a success, as problem+json (RFC 9457).

A problem says what happened (``code``, ``detail``), whether money moved
(``money_moved``), whether the same request may succeed later (``retryable``), and
what to do now. "unknown" is an answer of its own: the outcome is settled by
asking for the id, or by sending the same request again. The sentences are in the
language that ``Accept-Language`` asks for; nothing that a program reads is.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from foundation.errors import Refusal, RefusalData, Retryable, Unavailable
from foundation.languages.preferences import languages_wanted
from wallet_api.errors import ApiCode
from wallet_api.problem_kinds import PROBLEM_KINDS
from wallet_api.problem_texts import problem_text

MEDIA_TYPE: Final = "application/problem+json"

RETRY_SECONDS: Final = 1
"""What Retry-After says where nothing better is known."""

ACCEPT_SIGNATURE: Final = 'sig=("@method" "@target-uri" "content-digest");created;nonce;keyid;alg'
"""How a request is to be signed, said with every 401 (RFC 9421 section 5.1)."""


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A name for the kind of problem: urn:nugpay:problem:<code>.")
    title: str = Field(description="The code in words, in the language of the answer.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, in a sentence; in the language of the answer.")
    instance: str = Field(description="The path that was asked.")
    code: str = Field(description="Stable name of the problem; switch on this.")
    retryable: Literal["true", "false", "unknown"] = Field(
        description="Whether the same request may succeed later; unknown: send it again with the same id."
    )
    money_moved: Literal["false", "unknown"] = Field(
        description="Whether this request moved money; unknown: ask for the id."
    )
    about_money: str = Field(description="What money_moved says, in the language of the answer.")
    what_to_do: str = Field(description="Advice for whoever sent the request, in the language of the answer.")
    request_id: str = Field(description="Names this request in our logs.")
    server_time: str | None = Field(default=None, description="Of clock problems: the server's time.")
    field: str | None = Field(default=None, description="The field that is wrong or differs.")
    state: str | None = Field(default=None, description="Of a request to pay: how it ended.")
    payment_id: str | None = Field(default=None, description="Of a request to pay: what it was paid with.")
    retry_after_seconds: int | None = Field(default=None, description="When to send the same again.")
    new_id_needed: bool | None = Field(
        default=None, description="True when this id stays refused and a new attempt needs a new one."
    )


def refusal_response(refusal: Refusal, *, path: str, request_id: str, accept_language: str) -> Response:
    """The answer to a refusal; what was asked for has had no effect."""
    return _response(
        refusal.code.value,
        refusal.detail,
        retryable=refusal.retryable,
        money_moved="false",
        path=path,
        request_id=request_id,
        accept_language=accept_language,
        **refusal.data,
    )


def unavailable_response(error: Unavailable, *, path: str, request_id: str, accept_language: str) -> Response:
    """The answer when a dependency did not answer."""
    response = _response(
        error.code,
        error.detail,
        retryable=Retryable.UNKNOWN if error.outcome_unknown else Retryable.YES,
        money_moved="unknown" if error.outcome_unknown else "false",
        path=path,
        request_id=request_id,
        accept_language=accept_language,
    )
    response.headers["retry-after"] = str(getattr(error, "retry_seconds", RETRY_SECONDS))
    return response


def internal_response(*, path: str, request_id: str, accept_language: str, may_have_moved: bool) -> Response:
    """The answer to a fault of ours; ``may_have_moved`` when money could have moved before it."""
    return _response(
        ApiCode.INTERNAL_ERROR.value,
        "Something of ours broke.",
        retryable=Retryable.UNKNOWN if may_have_moved else Retryable.YES,
        money_moved="unknown" if may_have_moved else "false",
        path=path,
        request_id=request_id,
        accept_language=accept_language,
    )


def _response(
    code: str,
    detail: str,
    *,
    retryable: Retryable,
    money_moved: Literal["false", "unknown"],
    path: str,
    request_id: str,
    accept_language: str,
    **data: RefusalData,
) -> Response:
    # A code without an entry is a fault of ours and answered as one: never as a success.
    kind = PROBLEM_KINDS.get(code) or PROBLEM_KINDS[ApiCode.INTERNAL_ERROR]
    more: dict[str, Any] = dict(data)
    said = problem_text(
        code, kind, detail, data, money_moved=money_moved, languages=languages_wanted(accept_language)
    )
    problem = Problem(
        type=f"urn:nugpay:problem:{code}",
        title=said.title,
        status=kind.status,
        detail=said.detail,
        instance=path,
        code=code,
        retryable=retryable.value,
        money_moved=money_moved,
        about_money=said.about_money,
        what_to_do=said.what_to_do,
        request_id=request_id,
        new_id_needed=kind.new_id_needed or None,
        **more,
    )
    headers = {
        "content-type": MEDIA_TYPE,
        "content-language": ", ".join(said.languages),
        "vary": "Accept-Language",
    }
    if problem.retry_after_seconds is not None:
        headers["retry-after"] = str(problem.retry_after_seconds)
    if kind.status == 401:
        headers["www-authenticate"] = 'Signature realm="nugpay"'
        headers["accept-signature"] = ACCEPT_SIGNATURE
    return Response(problem.model_dump_json(exclude_none=True), status_code=kind.status, headers=headers)
