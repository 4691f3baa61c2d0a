"""Decides which requests are sound enough to be looked at."""

from mitmproxy import http

from mitm.option import Settings
from resolver import errors, public_url

BODY_LENGTH_MAX = 16 << 10
"""Bytes; the one body that is taken is the form of a token request."""


def has_small_body(request: http.Request) -> bool:
    """Return whether the body may be taken into memory, going by its head."""
    length = request.headers.get("content-length", "0")
    return (
        "transfer-encoding" not in request.headers
        and length.isdecimal()
        and int(length) <= BODY_LENGTH_MAX
    )


def first_values(headers: http.Headers) -> dict[str, str]:
    """Return the first value of each header; `items` takes a minute for thousands."""
    values: dict[str, str] = {}
    for name, value in headers.fields:
        values.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return values


def client_url(
    flow: http.HTTPFlow, authority: str, headers: dict[str, str], settings: Settings
) -> str:
    """Return the URL under which the client reached the proxy.

    Args:
        flow: the request, of any version.
        authority: what the request line had as a host, or HTTP/2 in its place.
        headers: the first value of each header, as they came.
        settings: who is to be believed about it.

    Raises:
        RequestInvalid: it is no request to a server.

    """
    is_http2 = flow.client_conn.alpn == b"h2"
    if not is_http2 and flow.request.http_version not in ("HTTP/1.0", "HTTP/1.1"):
        raise errors.RequestInvalid("this is not HTTP/1.1")
    if not is_http2 and authority:
        raise errors.RequestInvalid(
            "a request with a whole URL is one to a forward proxy, and this is none"
        )
    return settings.public_url or public_url.client_url(
        tls=flow.client_conn.tls,
        host=flow.request.host_header,
        headers=headers,
        trust_forwarded=settings.trust_forwarded,
    )
