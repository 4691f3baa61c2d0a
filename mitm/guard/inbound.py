"""What of a request is sound enough to be looked at."""

from mitmproxy import http

from resolver import errors
from resolver.grammar import url
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.reference import printable

BODY_LENGTH_MAX = 16 << 10
"""Bytes; the one body that is taken is the form of a token request."""


def find_fault(method: str, path: str, headers: dict[str, str]) -> str | None:
    """Return why a connection has to be closed, going by a request's head.

    ``PRI`` begins HTTP/2 for those who know that it is served; in plain text it is not.
    """
    if method == "PRI":
        return "HTTP/2 without TLS"
    if not has_small_body(method, path, headers):
        return f"{printable(method)} with a body of unknown or excessive size"
    return None


def has_small_body(method: str, path: str, headers: dict[str, str]) -> bool:
    """Return whether the body may be taken into memory, going by its head.

    Podman and its family send the form of a token request in chunks, of which
    `mitm.guard.reader` takes no more than of any request.
    """
    if "transfer-encoding" in headers:
        is_form = (method, path) == ("POST", TOKEN_PATH)
        return is_form and "content-length" not in headers
    length = headers.get("content-length", "0")
    return length.isdecimal() and int(length) <= BODY_LENGTH_MAX


def joined_values(headers: http.Headers) -> dict[str, str]:
    """Return the values of each header as one list (RFC 9110 section 5.3).

    mitmproxy's own `items` takes a minute for thousands of headers.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers.fields:
        key = name.decode("latin-1").lower()
        values.setdefault(key, []).append(value.decode("latin-1"))
    return {name: ", ".join(parts) for name, parts in values.items()}


def client_url(
    flow: http.HTTPFlow,
    headers: dict[str, str],
    *,
    public_url: str | None,
    trust_forwarded: bool,
) -> str:
    """Return the URL under which the client reached the proxy.

    Args:
        flow: the request, of any version.
        headers: the headers, as they came.
        public_url: what the operator says that it is, if anything.
        trust_forwarded: whether forwarding headers are believed about it.

    Raises:
        RequestInvalid: it is no request to a server.

    """
    is_http2 = flow.client_conn.alpn == b"h2"
    if not is_http2 and flow.request.http_version not in ("HTTP/1.0", "HTTP/1.1"):
        raise errors.RequestInvalid("this is not HTTP/1.1")
    if not is_http2 and flow.request.authority:
        raise errors.RequestInvalid(
            "a request with a whole URL is one to a forward proxy, and this is none"
        )
    return public_url or url.client_url(
        tls=flow.client_conn.tls,
        host=flow.request.host_header,
        headers=headers,
        trust_forwarded=trust_forwarded,
    )
