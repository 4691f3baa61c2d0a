"""Decides how an answer of the proxy's own is written into a flow."""

from collections.abc import Iterable
from http import HTTPStatus

from mitmproxy import http

from mitm import redaction
from resolver import errors

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
    flow.marked = "" if isinstance(error, errors.TokenError) else MARK


def note_failure(flow: http.HTTPFlow) -> str:
    """Mark a flow that mitmproxy could not finish, and return why."""
    reason = redaction.without_bytes(flow.error.msg if flow.error else "unknown")
    flow.comment = f"failed: {reason}"
    flow.marked = MARK
    return reason


def is_failed(flow: http.HTTPFlow) -> bool:
    """Return whether the flow was answered with an error of ours."""
    return METADATA + "error" in flow.metadata


def fields(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as mitmproxy takes them."""
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
