"""Decides how an answer of the proxy's own is written into a flow."""

import logging
from collections.abc import Iterable
from http import HTTPStatus

from mitmproxy import http

from mitm import redaction
from resolver import errors
from resolver.reference import printable

logger = logging.getLogger(__name__)

METADATA = "balena."
"""The prefix of what is noted in a flow's metadata."""
MARK = ":x:"
"""What mitmproxy's interfaces show beside refused and failed flows."""
JSON_HEADERS = (("Content-Type", "application/json"), errors.API_VERSION_HEADER)
NO_STORE = ("Cache-Control", "no-store")


def answer(
    flow: http.HTTPFlow, status: int, body: bytes, *headers: tuple[str, str]
) -> None:
    """Answer the flow; without a body where HEAD asked, which could not take one."""
    flow.response = http.Response.make(status, body, http.Headers(fields(headers)))
    if flow.request.method == "HEAD":
        flow.response.raw_content = b""


def answer_token(flow: http.HTTPFlow, body: bytes) -> None:
    """Answer the flow with a token, which only the client gets to see."""
    headers = http.Headers(fields([*JSON_HEADERS, NO_STORE]))
    flow.response = redaction.TokenResponse.make(HTTPStatus.OK, body, headers)


def fail(
    flow: http.HTTPFlow, error: errors.RegistryError, *headers: tuple[str, str]
) -> None:
    """Answer the flow with an OCI error, and mark it for whoever looks at flows."""
    body = errors.error_body(error.code, error.message)
    answer(flow, error.status, body, *JSON_HEADERS, *error.headers, *headers)
    flow.metadata[METADATA + "error"] = str(error.code)
    flow.comment = f"refused: {error.message}"
    # A client without the right token is told so, and comes back: nothing is wrong.
    expected = isinstance(error, errors.TokenError)
    flow.marked = "" if expected else MARK
    logger.log(
        logging.INFO if expected else logging.WARNING,
        "%s %s: %d %s, %s",
        printable(flow.request.method),
        flow.metadata.get(METADATA + "path", "?"),
        error.status,
        error.code,
        error.message,
        extra=client(flow),
    )


def note_failure(flow: http.HTTPFlow, *, is_forwarded: bool) -> None:
    """Mark a flow that mitmproxy could not finish, and log why where that is news.

    A client that goes away is none; a registry that does is.
    """
    reason = redaction.without_bytes(flow.error.msg if flow.error else "unknown")
    flow.comment = f"failed: {reason}"
    flow.marked = MARK
    is_news = is_forwarded and flow.client_conn.connected
    logger.log(
        logging.WARNING if is_news else logging.DEBUG,
        "%s %s: not answered by the registry, %s",
        printable(flow.request.method),
        flow.metadata.get(METADATA + "path", "?"),
        reason,
        extra=client(flow),
    )


def client(flow: http.HTTPFlow) -> dict[str, object]:
    """Return what makes mitmproxy print the client's address beside a log line."""
    return {"client": flow.client_conn.peername}


def is_failed(flow: http.HTTPFlow) -> bool:
    """Return whether the flow was answered with an error of ours."""
    return METADATA + "error" in flow.metadata


def fields(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as mitmproxy takes them."""
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
