"""The wire: how values are written in requests and answers, each rule stated once.

Patterns and enumerations stand in the description alone: what does not fit them is refused
by the code of its own meaning (``handle_malformed``, ``asset_unknown``), which says more than
that the request is malformed.

Every object that has amounts has one ``asset``, and each amount in it is a decimal
string: never a JSON number, which phones read as a float. Requests may leave out
trailing decimals and never write more than the asset's scale; answers always write
the full scale. Times are UTC in RFC 3339.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from foundation.assets import ASSETS
from foundation.clock import SECOND_NS, datetime_from_ns
from foundation.errors import Refusal
from wallet_api.cbor_bodies import is_cbor, json_of
from wallet_api.errors import ApiCode

HANDLE_PATTERN: Final = "^@?[A-Za-z][A-Za-z0-9_]{2,29}$"
"""How a handle is written."""

UUID_PATTERN: Final = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""How a UUID is written."""

AmountText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        description="A decimal number without sign or exponent, with at most the asset's decimals.",
        examples=["12.50"],
        json_schema_extra={"pattern": r"^(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?$"},
    ),
]
"""An amount in a request."""

AmountAnswer = Annotated[
    str, Field(description="A decimal number at the asset's full scale.", examples=["12.500000"])
]
"""An amount in an answer."""

AssetText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=16,
        description="Code of an asset: GET /v1/assets.",
        examples=["USDT"],
        json_schema_extra={"enum": [asset.code for asset in ASSETS]},
    ),
]
"""An asset's code."""

HandleText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=31,
        description="A handle: 3 to 30 of a-z, 0-9 and _, beginning with a letter; @ and case do not matter.",
        examples=["@ko_ko"],
        json_schema_extra={"pattern": HANDLE_PATTERN},
    ),
]
"""A handle, with or without @."""

IdText = Annotated[
    str,
    Field(
        min_length=36,
        max_length=36,
        description="A UUIDv7 (RFC 9562), made once by the device and kept until the answer is known.",
        examples=["019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a"],
        json_schema_extra={
            "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
        },
    ),
]
"""An id made by the client."""

UUIDText = Annotated[
    str,
    Field(
        min_length=36,
        max_length=36,
        description="A UUID.",
        json_schema_extra={"pattern": UUID_PATTERN},
    ),
]
"""Any other id."""

SHOWN_PATTERN: Final = r"^[^\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]*$"
"""Text without control characters, and without those that turn the order of what follows."""

NameText = Annotated[
    str, Field(min_length=1, max_length=60, pattern=SHOWN_PATTERN, examples=["Golden Tea House"])
]
"""What somebody calls a thing of theirs."""

NoteText = Annotated[str, Field(max_length=200, pattern=SHOWN_PATTERN, examples=["Table 4"])]
"""A line that somebody writes for themselves."""

MemoText = Annotated[
    str,
    Field(
        min_length=512,
        max_length=1536,
        description="Ciphertext that only payer and payee can read: 384, 768 or 1152 bytes in base64url, "
        "without padding.",
        json_schema_extra={"pattern": "^([A-Za-z0-9_-]{512}|[A-Za-z0-9_-]{1024}|[A-Za-z0-9_-]{1536})$"},
    ),
]
"""A memo."""

MemoAnswer = Annotated[MemoText | None, Field(exclude_if=lambda memo: memo is None)]
"""A memo in an answer, which has no such member where there is no memo."""

PassText = Annotated[
    str,
    Field(
        min_length=16,
        max_length=16,
        description="Of a payment code: by it a payee is found who is not listed.",
        examples=["MFZWKYLTMRTGG2DJ"],
        json_schema_extra={"pattern": "^[A-Z2-7]{16}$"},
    ),
]
"""A payee's pass."""

MemoKeyText = Annotated[
    str,
    Field(
        min_length=43,
        max_length=43,
        description="An X25519 public key (RFC 7748) in base64url, without padding.",
        examples=["5kd3kbLkDbYEHDOX1bUFf3q9aIEWZwJyVIz2ZyqzvWA"],
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]{43}$"},
    ),
]
"""A public key that memos are encrypted to."""

TimeAnswer = Annotated[
    str, Field(description="UTC, RFC 3339 with microseconds.", examples=["2026-11-23T14:05:09.123456Z"])
]
"""A time in an answer."""


InstantText = Annotated[
    str,
    Field(
        max_length=32,
        description="UTC, RFC 3339 with Z.",
        examples=["2026-11-23T14:05:09Z"],
        json_schema_extra={
            "pattern": r"^20[0-9]{2}-(0[1-9]|1[0-2])-([01][0-9]|2[0-8])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}Z$"
        },
    ),
]
"""A time in a request."""


SignatureText = Annotated[
    str, Field(min_length=88, max_length=88, description="64 bytes of the device's key, in base64.")
]
"""A device's signature under a statement."""


def id_in_path(description: str) -> Any:
    """The parameter of a path that is an id."""
    return Path(max_length=36, description=description, json_schema_extra={"pattern": UUID_PATTERN})


def handle_in_path(description: str) -> Any:
    """The parameter of a path that is a handle."""
    return Path(max_length=31, description=description, json_schema_extra={"pattern": HANDLE_PATTERN})


class Asked(BaseModel):
    """A body or query that clients send: nothing unknown in it, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Answer(BaseModel):
    """A body that clients get."""

    model_config = ConfigDict(frozen=True)


def shown(example: dict[str, Any]) -> ConfigDict:
    """The configuration of an answer that the API's description shows with ``example``."""
    return ConfigDict(frozen=True, json_schema_extra={"examples": [example]})


AskedType = TypeVar("AskedType", bound=Asked)


def read(kind: type[AskedType], body: bytes) -> AskedType:
    """Read a body; refused as ``json_malformed`` or ``request_malformed`` with the field's name.

    A body of CBOR is read as the JSON that says the same, or refused as ``cbor_malformed``.

    A name that stands twice in an object is refused: RFC 8259 section 4 leaves open
    which one counts, and a person may have been shown the other amount.
    """
    if is_cbor(body):
        body = json_of(body)
    try:
        asked = kind.model_validate_json(body)
    except ValidationError as error:
        raise malformed(error.errors(include_url=False, include_context=False)) from None
    # It is sound JSON by now. Numbers stay text: only the names are looked at.
    _NAMES.decode(body.decode())
    return asked


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            field = name[:100]
            raise Refusal(ApiCode.REQUEST_MALFORMED, f"{field}: Stands twice in its object.", field=field)
        seen.add(name)


_NAMES: Final = json.JSONDecoder(object_pairs_hook=_refuse_twice, parse_int=str, parse_float=str)


def malformed(errors: list[Any]) -> Refusal:
    """The refusal of a request that does not have its form; names the first field that is wrong."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return Refusal(ApiCode.JSON_MALFORMED, "The body is not JSON in UTF-8.")
    field = ".".join(str(part) for part in first["loc"])[:100]
    return Refusal(ApiCode.REQUEST_MALFORMED, f"{field or 'The body'}: {first['msg']}.", field=field or None)


def answered(answer: Answer, *, status: int = 200, replayed: bool = False) -> Response:
    """The response that carries ``answer``; a replay says so in a header, and in nothing else."""
    response = Response(answer.model_dump_json(), status_code=status, media_type="application/json")
    if replayed:
        response.headers["idempotency-replayed"] = "true"
    return response


def time_text(ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC, cut to microseconds."""
    seconds, rest = divmod(ns, SECOND_NS)
    return f"{_second_text(seconds)}.{rest // 1_000:06d}Z"


@functools.lru_cache(maxsize=1_000)
def _second_text(seconds: int) -> str:
    # Many answers are of one second.
    return datetime_from_ns(seconds * SECOND_NS).isoformat(timespec="seconds").replace("+00:00", "")


def instant_text(at: datetime) -> str:
    """An aware time as RFC 3339 in UTC, with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z", re.ASCII
)


def parse_instant(text: str) -> int | None:
    """Nanoseconds since 1970 of a time in a request; None for what is none, or not of 1971 to 2261."""
    match = _INSTANT.fullmatch(text)
    try:
        at = datetime.fromisoformat(match[1] + "+00:00") if match is not None else None
    except ValueError:
        at = None
    if match is None or at is None or not 1971 <= at.year <= 2261:
        return None
    whole = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return whole * SECOND_NS + int((match[2] or "").ljust(9, "0"))


def signature_of(text: str) -> bytes:
    """The bytes of a signature in base64; what is none verifies under nothing."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def handle_text(handle: str) -> str:
    """A handle as people see it."""
    return f"@{handle}"
