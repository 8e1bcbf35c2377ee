"""Signed requests: one strict profile of HTTP Message Signatures (RFC 9421).

A signature covers exactly ``"@method" "@target-uri"`` and, when the request has a
body, ``"content-digest"`` (RFC 9530, SHA-256), and, when it carries a session,
``"authorization"``, in that order, with the parameters
``created``, ``nonce``, ``keyid`` and ``alg``, each once, in any order:

    Content-Digest: sha-256=:X48E…=:
    Signature-Input: sig=("@method" "@target-uri" "content-digest");created=1764000000;…
    Signature: sig=:MEUC…==:

Only the canonical serialisation is accepted, byte for byte, so that no two
readers can see different things in one header, and what is not understood is
refused. The parser never raises anything but a ``Refusal``. This module is pure:
whose key it is, and whether the nonce is new, is asked in ``signed_requests``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from foundation.clock import SECOND_NS, Clock, datetime_from_ns
from foundation.errors import Refusal, Retryable
from identity.errors import IdentityCode
from identity.keys import PublicKey

WINDOW_SECONDS: Final = 300
"""How far ``created`` may lie from the server's time, before or after it."""

HEADER_LENGTH_MAX: Final = 1024
"""Longest header of a signature; ours have some 300 characters."""

COMPONENTS_WITH_BODY: Final = '("@method" "@target-uri" "content-digest")'
"""What is covered when the request has a body."""

COMPONENTS_WITHOUT_BODY: Final = '("@method" "@target-uri")'
"""What is covered when it has none."""

_COMPONENTS: Final = {
    COMPONENTS_WITHOUT_BODY: (False, False),
    COMPONENTS_WITH_BODY: (True, False),
    '("@method" "@target-uri" "authorization")': (False, True),
    '("@method" "@target-uri" "content-digest" "authorization")': (True, True),
}
"""Each list that is accepted: whether it covers a body, and whether a session."""

_USUAL_INPUT = re.compile(
    r"([a-z][a-z0-9_-]{0,31})=(\([^()]*\))"
    r';created=(0|[1-9][0-9]{0,14});nonce="([A-Za-z0-9+/=_.~-]{16,64})"'
    r';keyid="([A-Za-z0-9_-]{43})";alg="([A-Za-z0-9+/=_.~:-]*)"',
    re.ASCII,
)
"""The order in which nearly everybody writes the parameters, read at once; another order is as good."""
_INPUT = re.compile(r"([a-z][a-z0-9_-]{0,31})=(\([^()]*\))((?:;[^;]+)+)", re.ASCII)
_PARAMETER = re.compile(r'([a-z]+)=(?:"([A-Za-z0-9+/=_.~:-]*)"|(0|[1-9][0-9]{0,14}))', re.ASCII)
_SIGNATURE = re.compile(r"([a-z][a-z0-9_-]{0,31})=:([A-Za-z0-9+/]{86}==):", re.ASCII)
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9+/=_.~-]{16,64}", re.ASCII)
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it arrived: each header as the list of its field lines, in order."""

    method: str
    target_uri: str
    """Absolute, as the client saw it: ``https://host/path?query`` (RFC 9421 2.2.2)."""
    signature_input: Sequence[str]
    signature: Sequence[str]
    content_digest: Sequence[str]
    body: bytes
    authorization: Sequence[str] = ()
    """The session, if any: the same signed bytes mean the same wallet for ever."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A well-formed signature; nothing about it is verified yet."""

    key_id: str
    algorithm: str
    created: int
    """Seconds since 1970, by the client's clock."""
    nonce: str
    covers_body: bool
    covers_session: bool
    parameters: str
    """The value of ``@signature-params``, as received."""
    value: bytes


def parse_signature(request: SignedRequest) -> Signature:
    """Read the one signature of a request, in the profile's canonical form.

    Refused as ``signature_missing``, ``signature_malformed``,
    ``signature_components_not_accepted`` or ``signature_parameters_not_accepted``.
    """
    if not request.signature_input or not request.signature:
        raise Refusal(
            IdentityCode.SIGNATURE_MISSING,
            "The request is not signed: Signature-Input and Signature are needed (RFC 9421).",
        )
    text = _single(request.signature_input, "Signature-Input")
    label, components, named = _read_input(text)
    value = _SIGNATURE.fullmatch(_single(request.signature, "Signature"))
    if value is None or value.group(1) != label:
        raise _malformed(f"Signature must be one member of 64 bytes with the same label: {label}=:…:.")
    covers_body, covers_session = _COMPONENTS.get(components, (False, None))
    if covers_session is None or covers_session != bool(request.authorization):
        raise Refusal(
            IdentityCode.SIGNATURE_COMPONENTS_NOT_ACCEPTED,
            f"The signature must cover exactly {COMPONENTS_WITH_BODY}, "
            f"or {COMPONENTS_WITHOUT_BODY} when there is no body; "
            'with one Authorization header also "authorization", as the last.',
        )
    if covers_session:
        _single(request.authorization, "Authorization")
    named = named if named is not None else _read_parameters(text[len(label) + 1 + len(components) :])
    return Signature(
        key_id=named.key_id,
        algorithm=named.algorithm,
        created=named.created,
        nonce=named.nonce,
        covers_body=covers_body,
        covers_session=covers_session,
        parameters=text[len(label) + 1 :],
        value=_decoded(value.group(2)),
    )


def signature_base(request: SignedRequest, signature: Signature) -> bytes:
    """The bytes that are signed (RFC 9421 section 2.5)."""
    lines = [f'"@method": {request.method}', f'"@target-uri": {request.target_uri}']
    if signature.covers_body:
        lines.append(f'"content-digest": {request.content_digest[0]}')
    if signature.covers_session:
        lines.append(f'"authorization": {request.authorization[0].strip()}')
    lines.append(f'"@signature-params": {signature.parameters}')
    return "\n".join(lines).encode()


def check_created(signature: Signature, clock: Clock) -> None:
    """Refuse a signature whose time is out of the window; the refusal carries ours."""
    now_ns = clock.now_ns()
    if abs(now_ns - signature.created * SECOND_NS) > WINDOW_SECONDS * SECOND_NS:
        now = datetime_from_ns(now_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        raise Refusal(
            IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW,
            f"The signature was made more than {WINDOW_SECONDS} s away from the server's time, {now}.",
            retryable=Retryable.NO,
            server_time=now,
            window_seconds=WINDOW_SECONDS,
        )


def check_content_digest(request: SignedRequest, signature: Signature) -> None:
    """Refuse a body that is not the one digested, or one that is not covered at all."""
    if not signature.covers_body:
        if request.body or request.content_digest:
            raise Refusal(
                IdentityCode.CONTENT_DIGEST_MISSING,
                "The request has a body (or a Content-Digest) that its signature does not cover.",
            )
        return
    if not request.content_digest:
        raise Refusal(
            IdentityCode.CONTENT_DIGEST_MISSING, "The signature covers a Content-Digest that is not there."
        )
    text = request.content_digest[0]
    read = _DIGEST.fullmatch(text) if len(request.content_digest) == 1 else None
    if read is None:
        raise Refusal(
            IdentityCode.CONTENT_DIGEST_MALFORMED,
            "Content-Digest must be exactly one SHA-256 digest: sha-256=:…=:.",
        )
    if not hmac.compare_digest(text, content_digest(request.body)):
        raise Refusal(
            IdentityCode.CONTENT_DIGEST_MISMATCH, "The body is not the one that Content-Digest was made of."
        )


def verify_signature(request: SignedRequest, signature: Signature, key: PublicKey) -> None:
    """Refuse a signature that ``key`` did not make over this request.

    The algorithm is the key's; ``alg`` must name it and chooses nothing.
    """
    if signature.algorithm != key.algorithm.value:
        raise Refusal(
            IdentityCode.SIGNATURE_ALGORITHM_NOT_ACCEPTED,
            f"The key signs with {key.algorithm.value}; the signature names another algorithm.",
        )
    if not key.verifies(signature.value, signature_base(request, signature)):
        raise Refusal(
            IdentityCode.SIGNATURE_WRONG,
            "The signature does not fit the key, method, target and body. "
            f"The server read the target as {request.target_uri}",
        )


def signature_expires_at_ns(signature: Signature) -> int:
    """From when on the signature is refused for its age alone, so that its nonce may be forgotten."""
    return (signature.created + WINDOW_SECONDS + 1) * SECOND_NS


def content_digest(body: bytes) -> str:
    """The value of Content-Digest for a body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def _single(lines: Sequence[str], name: str) -> str:
    if len(lines) != 1:
        raise _malformed(f"{name} is given {len(lines)} times.")
    if len(lines[0]) > HEADER_LENGTH_MAX:
        raise _malformed(f"{name} is longer than {HEADER_LENGTH_MAX} characters.")
    return lines[0]


class _Parameters(NamedTuple):
    """What the parameters of a signature say."""

    created: int
    nonce: str
    key_id: str
    algorithm: str


def _read_input(text: str) -> tuple[str, str, _Parameters | None]:
    """Label and components, and the parameters where they stand in the usual order."""
    usual = _USUAL_INPUT.fullmatch(text)
    if usual is not None:
        label, components, created, nonce, key_id, algorithm = usual.groups()
        return label, components, _Parameters(int(created), nonce, key_id, algorithm)
    read = _INPUT.fullmatch(text)
    if read is None:
        raise _malformed("Signature-Input must be one member: label=(components);parameters.")
    return read[1], read[2], None


def _read_parameters(text: str) -> _Parameters:
    named: dict[str, str] = {}
    for part in text[1:].split(";"):
        read = _PARAMETER.fullmatch(part)
        if read is None:
            raise _parameters("A parameter of the signature is malformed.")
        name, quoted, number = read.groups()
        if (name == "created") != (number is not None):
            raise _parameters("created is a plain number; every other parameter is in quotes.")
        if name in named:
            raise _parameters(f"The parameter {name} is given twice.")
        named[name] = number if number is not None else quoted
    if named.keys() != {"created", "nonce", "keyid", "alg"}:
        raise _parameters("A signature has the parameters created, nonce, keyid and alg, and no others.")
    return _Parameters(
        created=int(named["created"]),
        nonce=_matching(named, "nonce", _NONCE, "16 to 64 characters"),
        key_id=_matching(named, "keyid", _KEY_ID, "43 characters of base64url"),
        algorithm=named["alg"],
    )


def _matching(named: dict[str, str], name: str, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.fullmatch(named[name]):
        raise _parameters(f"The parameter {name} must be {what}.")
    return named[name]


def _decoded(text: str) -> bytes:
    raw = base64.b64decode(text)
    # The last character holds 2 bits that decoding drops: two spellings of one
    # signature would otherwise pass for two different requests.
    if base64.b64encode(raw).decode() != text:
        raise _malformed("The base64 of the signature is not canonical.")
    return raw


def _malformed(detail: str) -> Refusal:
    return Refusal(IdentityCode.SIGNATURE_MALFORMED, detail)


def _parameters(detail: str) -> Refusal:
    return Refusal(IdentityCode.SIGNATURE_PARAMETERS_NOT_ACCEPTED, detail)
