"""Answers of the proxy's own, as they are written into a flow."""

from collections.abc import Iterable

from mitmproxy import http
from mitmproxy.net.http import http1

from resolver import errors
from resolver.grammar.client import Client
from resolver.grammar.reference import printable

JSON_HEADERS = (("Content-Type", "application/json"), errors.API_VERSION_HEADER)
NO_STORE = ("Cache-Control", "no-store")
ID_LENGTH = 8
"""How much of a request's id a person is shown, in messages and in the log."""
REQUEST_ID_HEADER = "X-Request-Id"
REASON_LENGTH_MAX = 400
"""Characters; longer than any message, and short enough for every status line."""


def answer(
    flow: http.HTTPFlow, status: int, body: bytes, *headers: tuple[str, str]
) -> None:
    """Answer the flow; without a body where HEAD asked, which could not take one."""
    flow.response = http.Response.make(status, body, http.Headers(fields(headers)))
    if flow.request.method == "HEAD":
        flow.response.raw_content = b""


def fail(
    flow: http.HTTPFlow,
    error: errors.RegistryError,
    request_id: str,
    *headers: tuple[str, str],
) -> None:
    """Answer the flow with an OCI error, which ends with the beginning of the id.

    So whoever was refused can say which line of the log is about it. The message is
    the reason phrase as well: of an answer to HEAD it is all that containerd, BuildKit
    and docker with the containerd store show (rule R8), and of a 503 all that docker's
    classic store does. Of a 404 some show nothing, and get a 403.
    """
    client = Client(flow.request.headers.get("user-agent", ""))
    is_missing = isinstance(error, errors.ReleaseUnknown | errors.TagUnknown)
    if is_missing and client.hides_missing(flow.request.method):
        error = errors.AccessDenied(error.message)
    body = errors.error_body(error.code, with_id(error.message, request_id))
    answer(flow, error.status, body, *JSON_HEADERS, *error.headers, *headers)
    if flow.response:
        flow.response.reason = reason_phrase(error.message, request_id)


def last_page(
    error: errors.RegistryError,
    *,
    request_id: str = "",
    status: int | None = None,
    reason: str = "",
    has_body: bool = True,
) -> bytes:
    """Return the whole answer after which a connection ends, as it is sent.

    Args:
        error: what the client is told.
        request_id: that of the request, where the log has it.
        status: another one than that of the error.
        reason: another reason phrase than the error's message.
        has_body: whether the request takes a body in its answer.

    """
    headers = [*JSON_HEADERS, *error.headers, ("Connection", "close")]
    if request_id:
        headers.append((REQUEST_ID_HEADER, request_id))
    body = errors.error_body(error.code, with_id(error.message, request_id))
    response = http.Response.make(
        status or error.status, body, http.Headers(fields(headers))
    )
    response.reason = reason or reason_phrase(error.message, request_id)
    if not has_body:
        response.raw_content = b""
    page: bytes = http1.assemble_response(response)
    return page


def with_id(message: str, request_id: str) -> str:
    """Return the message with the beginning of the request's id, if there is one."""
    return f"{message} [{brief_id(request_id)}]" if request_id else message


def reason_phrase(message: str, request_id: str = "") -> str:
    """Return the message as a status line can have it (RFC 9112 section 4).

    Where it is cut, the id stays.
    """
    room = REASON_LENGTH_MAX - len(with_id("", request_id))
    return with_id(printable(message)[:room], request_id)


def brief_id(request_id: str) -> str:
    """Return as much of a request's id as a person is shown."""
    return request_id[:ID_LENGTH]


def fields(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as mitmproxy takes them."""
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
