"""Signing requests as NUG Pay reads them: one profile of RFC 9421.

Covered are the method, the whole target URI and, when there is a body, its
SHA-256 digest (RFC 9530). Every request, a repeated one too, gets a nonce of its
own.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

from nugpay_client.keys import RequestSigner, key_id


def signature_headers(
    signer: RequestSigner,
    *,
    method: str,
    url: str,
    body: bytes,
    created: int,
    nonce: str | None = None,
    token: str | None = None,
) -> dict[str, str]:
    """The headers that sign a request.

    ``url`` is absolute, exactly as it will be sent; ``created`` is seconds since
    1970. The nonce is random unless given. ``token`` is a session's, which says which
    wallet is meant; it is sent and covered.
    """
    lines = [f'"@method": {method}', f'"@target-uri": {url}']
    headers: dict[str, str] = {}
    names = ["@method", "@target-uri"]
    if body:
        digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
        headers["Content-Digest"] = digest
        lines.append(f'"content-digest": {digest}')
        names.append("content-digest")
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
        lines.append(f'"authorization": Bearer {token}')
        names.append("authorization")
    covered = "(" + " ".join(f'"{name}"' for name in names) + ")"
    parameters = (
        f'{covered};created={created};nonce="{nonce or secrets.token_urlsafe(16)}"'
        f';keyid="{key_id(signer.public_jwk)}";alg="{signer.algorithm}"'
    )
    lines.append(f'"@signature-params": {parameters}')
    signature = base64.b64encode(signer.sign("\n".join(lines).encode())).decode()
    headers["Signature-Input"] = f"sig={parameters}"
    headers["Signature"] = f"sig=:{signature}:"
    return headers
