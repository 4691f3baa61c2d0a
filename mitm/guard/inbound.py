"""What of a request is sound enough to be looked at."""

from mitmproxy import http

from resolver import errors
from resolver.grammar import url
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.reference import shorten

BODY_LENGTH_MAX = 16 << 10
"""Bytes; the one body that is taken is the form of a token request."""
_THE_BODY = (
    f"only POST {TOKEN_PATH} takes one, a form of at most {BODY_LENGTH_MAX} bytes"
)
_DIGITS_MAX = 18
"""Beyond which Python takes its time for a number."""


def check_body(method: str, path: str, headers: dict[str, str]) -> None:
    """See that a request's body may be taken into memory, going by its head.

    ``PRI`` begins HTTP/2 for those who know that it is served; in plain text it is not.
    Podman and its family send the form of a token request in chunks, of which
    `mitm.guard.parting` takes no more than of any request.

    Raises:
        RequestError: nothing more can be taken from the connection.

    """
    if method == "PRI":
        raise errors.RequestInvalid(
            "HTTP/2 is not served without TLS; use HTTP/1.1 on this port"
        )
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers:
        if "content-length" in headers:
            raise errors.RequestInvalid(
                "a request has either a Content-Length or a Transfer-Encoding, not both"
            )
        if (method, path) != ("POST", TOKEN_PATH):
            raise errors.LengthUnknown(
                f"the body does not say how long it is; {_THE_BODY}"
            )
    elif not length.isdecimal():
        raise errors.RequestInvalid(
            f"the Content-Length {shorten(length)} is no number; send it once, in"
            " digits"
        )
    elif len(length) > _DIGITS_MAX or int(length) > BODY_LENGTH_MAX:
        raise body_too_long()


def body_too_long() -> errors.BodyTooLong:
    """Return what a client is told whose body is longer than any that is taken."""
    return errors.BodyTooLong(
        f"the body has more than {BODY_LENGTH_MAX} bytes; {_THE_BODY}"
    )


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
