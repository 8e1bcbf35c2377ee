"""Refusals of the API itself: what is wrong with a request before any room sees it."""

from __future__ import annotations

from foundation.errors import RefusalCode


class ApiCode(RefusalCode):
    """Why a request is not read, or not understood."""

    ROUTE_NOT_FOUND = "route_not_found"
    """There is nothing at this path."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The path exists, and does not answer this method."""
    HOST_MALFORMED = "host_malformed"
    """The request has not exactly one Host header, or it is no host and port."""
    HOST_NOT_ACCEPTED = "host_not_accepted"
    """The request was made for a host that is not this server."""
    HEADERS_TOO_LARGE = "headers_too_large"
    """The target or a header is longer than anything that this API uses."""
    BODY_TOO_LARGE = "body_too_large"
    """The body is longer than any request of this API can be."""
    BODY_TOO_SLOW = "body_too_slow"
    """The body did not arrive in time."""
    CONTENT_TYPE_NOT_ACCEPTED = "content_type_not_accepted"
    """A body is JSON in UTF-8 or CBOR (a file of payments CSV), said by Content-Type, and not compressed."""
    JSON_MALFORMED = "json_malformed"
    """The body is not JSON."""
    CBOR_MALFORMED = "cbor_malformed"
    """The body is not CBOR in its deterministic form, or has what JSON has not."""
    REQUEST_MALFORMED = "request_malformed"
    """A field of the body or query is missing, unknown, of another type or too long."""
    INTERNAL_ERROR = "internal_error"
    """Something of ours broke; it has been logged under the request's id."""
