"""A patch of mitmproxy's HTTP/1: what it leaves its peers waiting for ends at once.

Its parser has three gaps that no hook closes. It raises an error of its own over
trailers, and the connection then hangs. What does not begin like an answer, a blank
line or another protocol, is waited for as the beginning of one. And in a body that is
streamed, a line between two chunks may be of any length.

The two classes are replaced by their names in mitmproxy's modules. Where a later
version takes them from elsewhere, `tests/integration/test_framing.py` fails.
"""

import h11
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import http
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, ResponseProtocolError

LINE_LENGTH_MAX = 64 << 10
"""Bytes between two chunks, and of all trailers."""
CLOSED = "server closed connection"
"""What mitmproxy says where not a byte of an answer came."""
NO_HTTP = "this is no HTTP/1 answer"
TLS_ALERT = "a server of TLS answers"
"""Why such a server is given up."""
_BEGIN = b"HTTP/"
_ALERT = b"\x15\x03"
"""The beginning of a TLS record by which a server complains (RFC 8446 section 6)."""


class TrailerlessReader(ChunkedReader):
    """Reads a body in chunks, and drops its trailers (RFC 9112 section 7.1.2).

    What is there comes as one piece, however small its chunks are: what mitmproxy does
    with a piece costs the same whatever its size.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_over = False

    def __call__(self, buffer: ReceiveBuffer) -> h11.Data | h11.EndOfMessage | None:
        """Return the next piece, or the end; nothing where more has to come.

        Raises:
            h11.ProtocolError: the chunks are none, or what is between them is too long.

        """
        if self._is_over:
            return h11.EndOfMessage()
        pieces: list[bytes] = []
        while isinstance(event := super().__call__(buffer), h11.Data):
            pieces.append(bytes(event.data))
        if event is None and len(buffer) > LINE_LENGTH_MAX:
            raise h11.RemoteProtocolError("a line between two chunks is too long")
        self._is_over = event is not None
        if pieces:
            return h11.Data(data=b"".join(pieces))
        return h11.EndOfMessage() if self._is_over else None


class StrictClient(_http1.Http1Client):
    """Gives up a server that speaks, but no HTTP."""

    def read_headers(
        self, event: events.ConnectionEvent
    ) -> layer.CommandGenerator[None]:
        """Read the head of an answer, once it begins like one."""
        # What came before was seen to be a part of the beginning, or all of it.
        length = len(event.data) if isinstance(event, events.DataReceived) else 0
        is_begin = len(self.buf) - length < len(_BEGIN)
        if self.request and length and is_begin:
            begin = bytes(self.buf)[: len(_BEGIN)]
            if not _BEGIN.startswith(begin):
                yield from self._give_up()
                return
        yield from super().read_headers(event)

    def _give_up(self) -> layer.CommandGenerator[None]:
        assert self.stream_id is not None, "a request was sent"  # noqa: S101
        yield commands.CloseConnection(self.conn)
        error = ResponseProtocolError(
            self.stream_id,
            TLS_ALERT if bytes(self.buf).startswith(_ALERT) else NO_HTTP,
            ErrorCode.GENERIC_SERVER_ERROR,
        )
        yield ReceiveHttp(error)


def replace_parsers() -> None:
    """Let mitmproxy read by these."""
    _http1.ChunkedReader = TrailerlessReader  # type: ignore[attr-defined]
    http.Http1Client = StrictClient  # type: ignore[attr-defined]
