"""Decides what flows and log lines show: no credential, and no token (rule R15)."""

import logging
import re

from mitmproxy import http

from resolver import forward

REDACTED = "[redacted]"
READ_HEADERS = frozenset({"authorization", "content-length", "content-type", "host"})
_BYTES = re.compile(r"""\bb(?:'.*'|".*"|['"].*)""", re.DOTALL)
"""Bytes as Python shows them, also where they are cut off before the end."""


class TokenResponse(http.Response):
    """Sends a token, and shows none to whatever saves, prints or views flows.

    mitmproxy sends `raw_content`; everything else reads `content` or the state (R15).
    """

    _sent: bytes | None = None

    @property
    def raw_content(self) -> bytes | None:
        """The body as the client gets it."""
        return self._sent

    @raw_content.setter
    def raw_content(self, content: bytes | None) -> None:
        self._sent = content
        self.data.content = REDACTED.encode()

    def get_content(self, strict: bool = True) -> bytes | None:  # noqa: ARG002, FBT001, FBT002 - mitmproxy's
        """Return what may be shown."""
        return self.data.content


def strip_headers(request: http.Request) -> None:
    """Keep the headers that are forwarded, and those that the addon itself reads."""
    kept = forward.FORWARDED_HEADERS | READ_HEADERS
    request.headers = http.Headers(
        [
            (name, value)
            for name, value in request.headers.fields
            if name.decode("latin-1").lower() in kept
        ]
    )


def redact(flow: http.HTTPFlow) -> None:
    """Take credentials out of a flow that has done its work (rule R15)."""
    strip_headers(flow.request)
    if "authorization" in flow.request.headers:
        scheme, _, login = flow.request.headers["authorization"].partition(" ")
        shown = f"{scheme} {REDACTED}" if login else REDACTED
        flow.request.headers["authorization"] = shown
    if flow.request.raw_content:
        flow.request.content = REDACTED.encode()


def quieten_logs() -> None:
    """Keep what was received and sent out of the logs of the libraries.

    urllib3 logs whole request targets, and they have locations in them; mitmproxy
    logs the bytes of a broken message, and they may be a login. Its lines about each
    connection are for those who look for details; the log has one for each request.
    """
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("mitmproxy.proxy.server").addFilter(_without_bytes)


def without_bytes(text: str) -> str:
    """Return what mitmproxy says without the bytes that it quotes."""
    return _BYTES.sub(REDACTED, text)


def _without_bytes(record: logging.LogRecord) -> bool:
    """Cut what was received out of a log line, and let the line through."""
    record.msg = without_bytes(record.getMessage())
    record.args = ()
    if record.levelno == logging.INFO:
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return True
